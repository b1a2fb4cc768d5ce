"""Reports tell each cause once, and what a stranger needs: how sure, what to do, how to see it."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from tapegrad.autograd.check import FUNCTION_LAWS, LawError, check_vjp, must_be_equal
from tapegrad.autograd.check.frameworks.making import subject_name
from tapegrad.autograd.check.localise import diagnose
from tapegrad.autograd.check.report import Probe, Report, certainty
from tapegrad.autograd.check.summary import ADVICE

GRADIENT = "its_gradient_is_the_derivative"


def crashes(g, x):
    raise RuntimeError("no such kernel")


def test_one_fault_is_one_report_and_the_other_laws_are_one_line():
    summary = check_vjp(np.sin, crashes, "N", raise_error=False)
    text = str(summary)
    assert summary.counts()["broken"] == 1
    assert summary.counts()["also broken"] > 3
    assert text.count("BROKEN:") == 1
    assert text.count("reproduce it:") == 1
    [line] = re.findall(r"^ *also breaks, by the same cause: (.*)$", text, re.MULTILINE)
    assert len(line.split("; ")) == summary.counts()["also broken"]
    assert "perhaps" not in text


def test_laws_that_fail_at_the_same_argument_are_folded_into_the_cause():
    def squared(g, x, y):
        return g * g * y, g * x

    summary = check_vjp(lambda x, y: x * y, squared, "N", "N", raise_error=False)
    [(_, cause, others)] = summary.causes()
    assert cause.law.name == GRADIENT
    assert [other.law.name for other in others] == ["its_gradient_is_linear_in_the_cotangent"]
    assert summary.counts()["broken"] == summary.counts()["also broken"] == 1
    assert "also breaks, by the same cause: its gradient is linear in the cotangent" in str(summary)


def test_laws_that_fail_elsewhere_are_counted_and_told_by_themselves():
    def not_zero(g, x, y):
        return 2 * g * y, g * x + (0 if g.any() else 1)

    summary = check_vjp(lambda x, y: x * y, not_zero, "N+1", "N+1", raise_error=False)
    assert summary.counts()["broken"] == 2
    assert "also broken" not in summary.counts()
    [line] = re.findall(r"^ *perhaps by the same cause.*$", str(summary), re.MULTILINE)
    assert "(the gradient of y for the cotangent 0 is not 0)" in line


def test_an_alias_is_not_told_for_the_cause_of_a_wrong_gradient():
    summary = check_vjp(lambda x: 2 * x, lambda g, x: g, "N", raise_error=False)
    [(_, cause, others)] = summary.causes()
    assert cause.law.name == GRADIENT
    assert "gradients_share_no_memory" in [outcome.law.name for outcome in others]


def test_what_was_not_covered_is_counted_and_told_in_one_line_per_subject():
    summary = check_vjp(np.sin, lambda g, x: g * np.cos(x), "N")
    assert summary.counts()["not covered"] > 0
    assert len(re.findall("^not covered: sin: ", str(summary), re.MULTILINE)) == 1


def test_the_lines_of_a_report_run_by_themselves_and_show_both_numbers():
    with pytest.raises(LawError) as caught:
        check_vjp(np.sin, lambda g, x: 2 * g * np.cos(x), "N? C", law=GRADIENT)
    text = str(caught.value).split("see it without tapegrad:\n")[1].split("\n    reproduce it:")[0]
    code = "\n".join(line[8:] for line in text.split("\n"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tapegrad" not in code
    shown = dict(re.findall(r"^(\w+) +(\S+)$", done.stdout, re.MULTILINE))
    assert float(shown["analytic"]) == pytest.approx(2 * float(shown["numeric"]), rel=1e-6)


def wrong(analytic, numeric, error, **more):
    probe = Probe("first order", "wrong", analytic, numeric, error, 0.0, 1.0, 1, **more)
    return Report("f", (probe,))


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (None, "^$"),
        (wrong(2.0, 1.0, 1e-10), "^how sure: certain, .* 1e.10 error bars apart$"),
        (wrong(2.0, 1.0, 1e-3), "^how sure: nearly certain, .* 1e.03 error bars apart$"),
        (wrong(2.0, 1.0, 0.1), "^how sure: likely, .* 10 error bars apart$"),
        (wrong(2.0, 1.0, 0.5), "^how sure: weak, .* 2 error bars apart$"),
        (wrong(2.0, 1.0, 1e-10, taylor_rate=1.0), "that of a right one falls as its square$"),
        (wrong(np.nan, 1.0, 1e-10), "certain, the function is finite on both sides"),
        (wrong(np.nan, np.nan, 0.0), "certain, it is seen without measuring"),
    ],
)
def test_error_bars_are_told_in_words(report, words):
    assert re.search(words, certainty(report))


def test_a_small_gap_is_told_by_its_size():
    numeric = np.array([1.0, -2.0, 3.0])
    [sentence] = diagnose("x", numeric * (1 + 3e-6), numeric, 1e-13)
    assert sentence == "x: analytic and numeric differ by 3.0e-06 of their size everywhere"


def test_what_to_do_is_said_of_laws_that_there_are():
    assert set(ADVICE) <= {law.name for law in FUNCTION_LAWS}


def test_the_name_of_a_lambda_is_its_source():
    assert subject_name(lambda x: np.sin(x) + 1) == "lambda x: np.sin(x) + 1"
    assert subject_name(np.sin) == "sin"
    assert subject_name(object()) == "object"


def test_a_difference_is_told_in_plain_numbers():
    with pytest.raises(LawError, match=r"most at \[1\]: -0\.5 instead of 2\.25$"):
        must_be_equal(np.array([1.0, -0.5]), np.array([1.0, 2.25]), "output")
