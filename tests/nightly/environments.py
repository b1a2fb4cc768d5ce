"""Fresh environments: what newcomers install, on each Python, with old libraries and new ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import building
from environment_checks import CORE, USES, WITHOUT_USE

from tests.nightly import nightly

__all__ = ["fresh_environments", "oldest_versions"]

NUMPY = [f"numpy=={major}" for major in ("2.0.0", "2.1.0", "2.2.0", "2.3.0", "2.4.0", "2.5.0")]


class Environment:
    """A virtual environment in a folder of its own, with nothing in it but pip."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        _do([python, "-m", "venv", folder / "venv"], folder)
        self.python = folder / "venv" / "bin" / "python"

    def install(self, *arguments: object, binary: str | None = ":all:") -> None:
        """`pip install`, of wheels alone unless `binary` is None.  Raises RuntimeError."""
        options = [] if binary is None else ["--only-binary", binary]
        pip = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        _do([*pip, *options, *arguments], self.folder)

    def version(self, name: str) -> str:
        """Which version of a distribution is installed."""
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        return _do([self.python, "-c", code], self.folder).strip()

    def check(self, name: str, code: str) -> None:
        """Run a program away from the checkout; deprecations of what it uses are its own matter."""
        file = self.folder / f"{name}.py"
        file.write_text(code, encoding="utf-8")
        _do([self.python, "-P", file], self.folder)


def _do(command: list[object], folder: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=clean | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    if done.returncode:
        shown = (done.stdout + done.stderr).strip().splitlines()[-12:]
        raise RuntimeError("\n        ".join([f"exit {done.returncode}", *shown]))
    return done.stdout


def pythons() -> dict[str, str]:
    """The interpreters from 3.11 on that are here, by version: those of PATH, then pyenv's."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python3.{minor}") for minor in range(11, 30)]
    found += [str(path) for path in sorted(versions.glob("3.*/bin/python3"))]
    known: dict[str, str] = {}
    for path in filter(None, found):
        code = "import sys; print(*sys.version_info[:2])"
        with tempfile.TemporaryDirectory() as folder:
            try:
                major, minor = map(int, _do([path, "-c", code], Path(folder)).split())
            except RuntimeError:  # pyenv's stand-in for a version that is not the chosen one
                continue
        if (major, minor) >= (3, 11):
            known.setdefault(f"{major}.{minor}", path)
    return known


def _oldest_numpy(environment: Environment) -> None:
    """Install the oldest NumPy from 2.0 on that has a wheel for this Python."""
    for requirement in NUMPY:
        try:
            return environment.install(requirement, "opt_einsum==3.3.0")
        except RuntimeError as error:
            why = error
    raise why


def _readme() -> str:
    """The README's first example and what it must print."""
    text = (building.ROOT / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[:2]
    printed = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0].strip()
    return f"{first}\n{second}\nassert abs(float(loss) / {printed} - 1) < 0.05, loss\n"


def _programs() -> Iterator[tuple[str, str]]:
    yield "readme", _readme()
    yield from CORE.items()


@nightly(minutes=20)
def fresh_environments(*, only: str = "") -> int:
    """Install wheel and sdist on each Python here, with the oldest and newest NumPy, and use them.

    only: part of "3.12, oldest NumPy, sdist"
    """
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        sdist, wheel = building.build(Path(scratch))
        for version, python in pythons().items():
            for numpy in ("oldest", "newest"):
                for archive in (wheel, sdist):
                    kind = "wheel" if archive is wheel else "sdist"
                    name = f"{version}, {numpy} NumPy, {kind}"
                    if only in name:
                        failures += not _holds(name, python, numpy, archive)
    return failures


def _holds(name: str, python: str, numpy: str, archive: Path) -> bool:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        step = "python -m venv"
        try:
            environment = Environment(Path(folder), python)
            step = "pip install"
            if numpy == "oldest":
                _oldest_numpy(environment)
            environment.install(archive, binary=None if archive.suffix == ".gz" else ":all:")
            installed = f"NumPy {environment.version('numpy')}"
            for program, code in _programs():
                step = program
                environment.check(program, code)
            step = "pytest --laws"
            environment.install("pytest>=8")
            (Path(folder) / "mine.py").write_text(USES["laws"], encoding="utf-8")
            laws = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--laws", "mine"]
            _do([environment.python, *laws], Path(folder))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {step}: {error}", flush=True)
            return False
    print(f"{name}: {installed}, {time.perf_counter() - began:.0f} s", flush=True)
    return True


def lower_bounds() -> dict[str, list[str]]:
    """For each extra, and "" for the core, its requirements, those of the extras in it included."""
    project = tomllib.loads((building.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras: dict[str, list[str]] = {"": project["dependencies"]}

    def flat(requirements: list[str]) -> Iterator[str]:
        for requirement in requirements:
            own = re.fullmatch(r"tapegrad\[([\w,]+)\]", requirement)
            for name in own[1].split(",") if own else ():
                yield from flat(project["optional-dependencies"][name])
            if not own:
                yield requirement

    for name, requirements in project["optional-dependencies"].items():
        extras[name] = list(dict.fromkeys(flat(requirements)))
    return extras


def oldest(requirement: str) -> str | None:
    """ "h5py>=3.11,<4" -> "h5py~=3.11.0": the first releases that the bound allows.

    None for a requirement without a lower bound.
    """
    match = re.match(r"([\w.-]+)(?:\[[\w,]+\])?[^;]*?>=([\d.]+)", requirement)
    if match is None:
        return None
    name, bound = match.groups()
    return f"{name}=={bound}" if bound.count(".") >= 2 else f"{name}~={_padded(bound)}"


def _padded(bound: str) -> str:
    return bound if bound.count(".") >= 2 else ".".join([*bound.split("."), "0", "0"][:3])


@nightly(minutes=30)
def oldest_versions(*, only: str = "", python: str = "python3.11") -> int:
    """Install each extra at the lowest versions that pyproject allows, import and use it once.

    only: one extra; python: the interpreter
    """
    failures = 0
    bounds = lower_bounds()
    core = [pin for requirement in bounds.pop("") if (pin := oldest(requirement))]
    with tempfile.TemporaryDirectory() as scratch:
        _, wheel = building.build(Path(scratch))
        for extra, requirements in bounds.items():
            if extra in WITHOUT_USE or (only and extra != only):
                continue
            began = time.perf_counter()
            pins = [*core, *(pin for r in requirements if (pin := oldest(r)))]
            folder = Path(scratch) / extra
            folder.mkdir()
            try:
                environment = Environment(folder, python)
                constraints = folder / "oldest.txt"
                constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
                environment.install("--constraint", constraints, f"{wheel}[{extra}]", binary=None)
                environment.check(f"use_of_{extra}", USES[extra])
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                failures += 1
                print(f"{extra} ({', '.join(pins)}): {error}", flush=True)
            else:
                print(
                    f"{extra}: {time.perf_counter() - began:.0f} s: {', '.join(pins)}", flush=True
                )
            shutil.rmtree(folder)
    return failures
