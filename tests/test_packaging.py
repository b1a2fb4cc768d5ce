"""Packaging: what users install is what the repository holds, and importing it stays light.

The folders lie at the repository's root under their short names and are mapped under `tapegrad` by
pyproject.toml, so a forgotten line there would lose a folder from the wheel while every other test,
run on the editable install, still passes. Here the sdist is built from a copy of the sources, the
wheel from the unpacked sdist, and that wheel is installed and run from another directory. Nothing
uses the network: the build back end is the setuptools of the running environment.
"""

import email
import re
import sys
import tarfile
import time
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from building import ROOT, build, run

FOLDERS = ("autograd", "devices", "nn", "optim", "package")

# What `import tapegrad` must leave alone until it is used.
HEAVY = {
    "pytest",
    "hypothesis",
    "numba",
    "cupy",
    "mpi4py",
    "matplotlib",
    "sklearn",
    "scipy",
    "tqdm",
    "threadpoolctl",
    "opt_einsum",
    "safetensors",
    "IPython",
    "PIL",
    "joblib",
    "pandas",
    "pyarrow",
}
# The same of Python's and NumPy's own modules, unless NumPy imports them itself, …
OWN = {
    *("base64", "difflib", "hashlib", "hmac", "html", "json", "logging", "numpy.random"),
    *("random", "secrets", "subprocess", "traceback", "zlib"),
}
# … and of tapegrad's.  `vector_code` stands for all kernels of machine code: they are made with it.
LATE = {
    "tapegrad.autograd.check",
    "tapegrad.autograd.compiling",
    "tapegrad.autograd.core.drawing",
    "tapegrad.autograd.core.progress",
    "tapegrad.autograd.debug",
    "tapegrad.autograd.kernels.convolution",
    "tapegrad.autograd.kernels.pooling",
    "tapegrad.autograd.kernels.vector_code",
    "tapegrad.autograd.kernels.windows",
    "tapegrad.autograd.replay.recording",
    "tapegrad.autograd.scipy",
    "tapegrad.autograd.surface.array_api",
    "tapegrad.autograd.transforms.checkpoint",
    "tapegrad.devices.collectives",
    "tapegrad.nn",
    "tapegrad.optim",
}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def sources():
    """The Python files of the package as (folder at the root, path)."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield folder, path


def module_name(path):
    """`autograd/ops/linear.py` -> `tapegrad.autograd.ops.linear`."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts[0:1] = ["tapegrad"] if parts[0] == "package" else ["tapegrad", parts[0]]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel that comes out of the sdist, and both archives' member names."""
    sdist, wheel = build(tmp_path_factory.mktemp("build"))
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    return wheel, in_wheel, in_sdist


def test_every_package_folder_is_listed_and_every_listed_one_exists():
    found = {module_name(path) for _, path in sources() if path.name == "__init__.py"}
    listed = project()["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(found), "list each folder under `packages` in pyproject.toml"


def test_every_folder_that_holds_modules_is_a_package():
    for _, path in sources():
        assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"


@pytest.mark.extra
def test_the_wheel_holds_every_module_and_data_file_and_no_tests(built):
    _, in_wheel, _ = built
    expected = {"pytest_tapegrad.py"}  # what pytest imports in every run, beside the package
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                below = path.relative_to(ROOT / folder)
                expected.add(
                    (
                        "tapegrad" / below
                        if folder == "package"
                        else "tapegrad" / Path(folder) / below
                    ).as_posix()
                )
    held = {name for name in in_wheel if ".dist-info/" not in name}
    assert held == expected
    assert "tapegrad/py.typed" in held
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in in_wheel)


@pytest.mark.extra
def test_the_sdist_holds_what_its_tests_need(built):
    _, _, in_sdist = built
    expected = {"README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "SECURITY.md"}
    expected |= {".ci/run", "MANIFEST.in", "pyproject.toml", "pytest_tapegrad.py"}
    for folder in ("docs", "tests", "notebooks", "benchmarks"):
        expected |= {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / folder).rglob("*")
            if path.is_file()
            and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
            and path.suffix != ".pyc"
        }
    assert expected <= in_sdist


@pytest.mark.extra
def test_the_metadata_pass_the_index_checks_and_say_what_the_project_says(built):
    pytest.importorskip("readme_renderer.markdown")
    wheel, in_wheel, _ = built
    checked = run(
        sys.executable, "-m", "twine", "--no-color", "check", "--strict",
        *(wheel.parent.glob("*.gz")), wheel, cwd=wheel.parent,
    )  # fmt: skip
    assert checked.count("PASSED") == 2
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in in_wheel if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    said = project()["project"]
    assert metadata["Name"] == said["name"]
    assert metadata["Requires-Python"] == said["requires-python"]
    assert metadata["License-Expression"] == said["license"]
    assert metadata.get_all("Classifier") == said["classifiers"]
    assert metadata.get_all("Provides-Extra") == list(said["optional-dependencies"])
    assert not metadata.get_all("Project-URL"), "a host that nobody has named"
    assert metadata.get_payload(decode=True).decode() == (ROOT / "README.md").read_text("utf-8")


@pytest.mark.extra
def test_the_wheel_runs_from_another_directory(built, tmp_path):
    wheel, _, _ = built
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
        "--disable-pip-version-check", "--target", site, wheel, cwd=elsewhere,
    )  # fmt: skip
    script = (
        "import tapegrad as tg, numpy as np\n"
        "print(tg.__file__, tg.nn.__file__)\n"
        "print(tg.grad(lambda x: np.tanh(x) * x)(0.5))\n"
    )
    printed = run(sys.executable, "-c", script, cwd=elsewhere, PYTHONPATH=str(site))
    paths, value = printed.splitlines()[:2]
    assert all(Path(path).is_relative_to(site) for path in paths.split())
    assert float(value) == pytest.approx(0.8553409, abs=1e-6)
    assert "tapegrad" in run(site / "bin" / "tapegrad", "info", cwd=elsewhere, PYTHONPATH=str(site))


def imported(statement, cwd):
    """Names of the modules that a statement imports, as `python -X importtime` lists them."""
    lines = run(sys.executable, "-X", "importtime", "-c", statement, cwd=cwd).splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def test_importing_tapegrad_imports_nothing_heavy(tmp_path):
    assert all(map(find_spec, LATE)), "a module that is not there is never imported too early"
    modules = imported("import tapegrad", tmp_path)
    assert {"tapegrad", "tapegrad.autograd", "tapegrad.devices"} <= modules
    assert modules & LATE == set(), "see `late_module`, and `__getattr__` of the front doors"
    assert (modules - imported("import numpy", tmp_path)) & OWN == set()
    assert not {module.split(".")[0] for module in modules} & HEAVY
    modules = imported("import tapegrad as tg; tg.nn, tg.optim", tmp_path)
    assert {"tapegrad.nn.module", "tapegrad.optim.rules.descent"} <= modules
    assert not {module.split(".")[0] for module in modules} & HEAVY


@pytest.mark.extra
def test_import_time_is_measured(tmp_path, figures):
    """tapegrad's own share, NumPy already being there, is a figure that the summary prints."""

    def seconds(statement):
        start = time.perf_counter()
        run(sys.executable, "-c", statement, cwd=tmp_path)
        return time.perf_counter() - start

    bare = min(seconds("pass") for _ in range(3))
    numpy = min(seconds("import numpy") for _ in range(3)) - bare
    ours = min(seconds("import tapegrad") for _ in range(3)) - bare
    figures(f"import tapegrad {1e3 * ours:.0f} ms = {ours / numpy:.2f} x import numpy")


def test_no_path_of_a_machine_and_no_host_of_a_registry_is_in_the_set_up():
    absolute = re.compile(r"(?<![\w.:/$}])/(?!dev/null|usr/bin/env)[a-z]+/[a-z]+")
    for name in ("README.md", ".ci/run", "pyproject.toml", "MANIFEST.in"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not absolute.search(text), absolute.search(text)
        assert not re.search(r"pypi\.org|pythonhosted|index-url", text)


@pytest.mark.extra
def test_the_wheel_has_the_package_s_version(built):
    import tapegrad

    wheel, _, _ = built
    assert wheel.name.split("-")[1] == tapegrad.__version__
