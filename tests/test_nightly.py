"""Nightly runs are found by themselves, say what they take, and start from a clone."""

import subprocess
import sys
from pathlib import Path

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
