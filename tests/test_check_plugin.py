"""`pytest --laws` and `tapegrad check`, each run as a user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs" / "laws.md"

LAYERS = '''
import numpy as np
from tapegrad import nn
from tapegrad.autograd import Parameter, primitive


class Right(nn.Module):
    law_case = {"input": "N? n", "n": range(1, 4), "wrong": "N n+1", "batchwise": "split"}

    def __init__(self, n):
        self.weight = Parameter(np.ones(n))

    def updateOutput(self, x):
        if x.shape[-1] != self.weight.shape[0]:
            raise ValueError("the last axis of x is not n")
        return x * self.weight


class Wrong(Right):
    law_case = Right.law_case

    def accGradParameters(self, input, gradOutput, scale=1):
        super().accGradParameters(input, gradOutput, 1)


class Loss(nn.Criterion):
    law_case = {"input": "N n", "target": "N n", "n": range(1, 4), "make": lambda n: Loss()}

    def updateOutput(self, x, target):
        return ((x - target) * (x - target)).sum()


class Forgotten(nn.Module):
    def updateOutput(self, x):
        return x * 2


class _Private(nn.Module):
    def updateOutput(self, x):
        return x


@primitive()
def thrice(xp, x):
    """3x."""
    return 3 * x


thrice.vjp(x=lambda g: g * 2)
thrice.law_case = {"args": ["N A"]}
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    here = tmp_path_factory.mktemp("project")
    (here / "mypackage").mkdir()
    (here / "mypackage" / "__init__.py").write_text("")
    (here / "mypackage" / "layers.py").write_text(LAYERS)
    (here / "test_other.py").write_text("def test_other(): pass\n")
    return here


def run(package, *command):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=package,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def report(package):
    done = run(package, "pytest", "--laws", "mypackage", "-v", "-rs", "-p", "no:cacheprovider")
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.extra
def test_every_law_of_every_class_is_an_item(report):
    for item in (
        "mypackage.layers:Right::its_gradients_are_the_derivatives PASSED",
        "mypackage.layers:Loss::the_loss_is_one_number PASSED",
        "mypackage.layers:Wrong::its_second_derivatives_are_right SKIPPED",
        "mypackage.layers:Wrong::accumulated_gradients_are_linear_in_scale FAILED",
        "mypackage.layers:thrice::its_gradient_is_the_derivative FAILED",
        "mypackage.layers:Forgotten::unchecked FAILED",
    ):
        assert item in report
    assert "_Private" not in report
    assert "test_other" not in report, "a run with --laws alone collects nothing else"


@pytest.mark.extra
def test_failures_say_what_is_wrong_where_and_how_to_see_it_again(report, package):
    assert "argument 0: analytic is 0.666667 times numeric everywhere" in report
    lines = re.findall(r"^    (from tapegrad.*|find\('mypackage.*)$", report, re.MULTILINE)
    assert len(lines) == 2 * report.count("reproduce it:")
    again = "\n".join(line for line in lines[:2])
    done = subprocess.run(
        [sys.executable, "-c", again], cwd=package, capture_output=True, text=True, check=False
    )
    assert "LawError: gradient of parameter 0 with scale 0.5" in done.stderr


@pytest.mark.extra
def test_the_summary_counts_what_ran_and_what_was_not_covered(report):
    [line] = re.findall(r"^\d+ holds, .*$", report, re.MULTILINE)
    assert re.search(r"3 broken, \d+ not covered, 1 subjects without a case, \d+ examples", line)
    assert line.endswith(" 0 unresolved")
    assert "unchecked, has no case: mypackage.layers:Forgotten" in report
    assert "not covered: 5 laws of mypackage.layers:Wrong" in report
    assert "not covered: a gradient written by hand has no second derivative" in report


@pytest.mark.extra
def test_pr_draws_the_same_examples_every_time(package):
    command = ["tapegrad.cli", "check", "mypackage.layers:Wrong", "--quiet"]
    command += ["--law", "accumulated_gradients_are_linear_in_scale"]
    first, second = run(package, *command), run(package, *command)
    assert first.stdout == second.stdout
    assert first.returncode == second.returncode == 1
    assert "BROKEN: mypackage.layers:Wrong: accumulated gradients are linear in" in first.stdout
    assert "find('mypackage.layers:Wrong')[0].rerun(" in first.stdout


@pytest.mark.extra
def test_tapegrad_check_passes_what_is_right(package):
    done = run(package, "tapegrad.cli", "check", "mypackage.layers:Loss", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"\d+ holds", done.stdout)


@pytest.mark.extra
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("mypackage.layers:Nothing", "mypackage.layers has no 'Nothing'"),
        pytest.param("nothing.at.all", "No module named 'nothing'", marks=pytest.mark.extra),
        pytest.param(
            "mypackage.layers:np", "is no module with forward code", marks=pytest.mark.extra
        ),
    ],
)
def test_a_path_that_names_nothing_gets_a_message(package, path, message):
    done = run(package, "tapegrad.cli", "check", path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    done = run(package, "pytest", "--laws", path, "-p", "no:cacheprovider")
    assert done.returncode == 4
    assert message in done.stderr + done.stdout


def test_the_plugin_imports_nothing_until_it_is_asked(package):
    script = "import sys, pytest_tapegrad; print({'numpy', 'tapegrad'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=package, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
    done = run(package, "pytest", "-q", "-p", "no:cacheprovider")
    assert "1 passed" in done.stdout


@pytest.mark.extra
def test_our_own_layers_pass_the_same_command(tmp_path):
    root = DOCS.parents[1]
    command = ["pytest", "--laws", "tapegrad.nn", "-q", "-p", "no:cacheprovider"]
    done = run(root, *command, "-k", "nan_stays_nan")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "without a case" not in done.stdout
    assert "0 unresolved" in done.stdout
