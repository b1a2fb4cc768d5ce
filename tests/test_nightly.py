"""Nightly runs are found by themselves, say what they take, and start from a clone."""

import subprocess
import sys
import tomllib
from pathlib import Path

import environment_checks
import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.extra


def nightly(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.nightly", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_name_it_lists_every_run_with_its_budget_and_options():
    done = nightly()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    declared = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "nightly").glob("[!_]*.py")
    )
    assert len(lines) == 2 * declared.count("@nightly(") >= 6
    for name, options in zip(lines[::2], lines[1::2], strict=True):
        assert f"def {name.split()[0]}(" in declared
        assert " minutes): " in name
        assert options.strip().startswith("--")


def test_help_lists_them_too_and_after_a_name_says_what_its_options_mean():
    assert nightly("--help").stdout == nightly().stdout
    done = nightly("format_mutants", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("format_mutants  (40 minutes): Load mutated model files")
    assert "\ncount:   how many mutants" in done.stdout


def test_each_extra_of_the_project_is_used_in_a_fresh_environment():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    used = {*environment_checks.USES} - {"laws"}
    assert used | {*environment_checks.WITHOUT_USE} == {*extras}
    assert not used & {*environment_checks.WITHOUT_USE}
    for name, code in {**environment_checks.CORE, **environment_checks.USES}.items():
        compile(code, name, "exec")


@pytest.mark.parametrize(
    ("requirement", "pin"),
    [
        ("scipy>=1.14", "scipy~=1.14.0"),
        ("pandas>=2.2.2,<3", "pandas==2.2.2"),
        ("numpy>=2", "numpy~=2.0.0"),
        ("setuptools<82; python_version>='3.12'", None),
        ("aiobotocore[boto3]>=2.19", "aiobotocore~=2.19.0"),
    ],
)
def test_the_oldest_versions_are_those_of_the_bounds(requirement, pin):
    sys.path.insert(0, str(ROOT))
    try:
        from tests.nightly import environments
    finally:
        sys.path.remove(str(ROOT))
    assert environments.oldest(requirement) == pin


def test_a_run_prints_its_budget_and_what_it_did():
    done = nightly("deep_laws", "--only=ReLU6-nan_stays", "--examples=20", "--minutes=1")
    assert done.returncode == 0, done.stderr
    assert "Budget: 480 minutes." in done.stdout
    assert "1 of 1 pairs" in done.stdout
    assert "deep_laws: 0 failures" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["dep_laws"],
            "no nightly run is called 'dep_laws'; there are attention_machine, compiled_steps, ",
        ),
        (["deep_laws", "--exmples=3"], "--exmples=3: not an option; there are --examples="),
        (["deep_laws", "--examples=few"], "--examples=few: invalid literal"),
    ],
)
def test_what_is_misspelled_is_one_line(arguments, said):
    done = nightly(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
