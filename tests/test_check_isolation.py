"""A subject in a process of its own: a crash in compiled code is a finding, and hides none."""

from __future__ import annotations

import ctypes
import os

import numpy as np
import pytest

from tapegrad.autograd.check import LawError, UsageError, check_vjp

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
GRADIENT = "its_gradient_is_the_derivative"


def crash():
    """A segmentation fault, without the traceback that pytest's faulthandler would print."""
    import faulthandler

    faulthandler.disable()
    ctypes.string_at(0)


def crashes_on_more_than_two(x):
    if x.size > 2:
        crash()
    return 2 * x


def test_a_crash_is_a_broken_law_with_signal_and_example():
    with pytest.raises(LawError) as caught:
        check_vjp(crashes_on_more_than_two, lambda g, x: 2 * g, "N+2", isolate=True, law=GRADIENT)
    text = str(caught.value)
    assert "ended by SIGSEGV, a segmentation fault" in text
    assert "example: crashes_on_more_than_two(float64(" in text


def test_laws_after_a_crash_are_checked():
    def fragile(g, x):
        if g.size and not g.any():
            crash()  # in the law of linearity alone, whose last cotangent is 0
        return 2 * g

    summary = check_vjp(lambda x: 2 * x, fragile, "N", isolate=True, raise_error=False)
    verdicts = {outcome.law.name: outcome.verdict for _, outcome in summary.outcomes}
    assert verdicts["its_gradient_is_linear_in_the_cotangent"] == "broken"
    assert verdicts[GRADIENT] == "holds"
    assert verdicts["an_empty_batch_is_fine"] != "broken"
    assert len(verdicts) > 8


def test_a_crash_on_a_smaller_example_hides_no_fault():
    def crashes_on_one(x):
        if x.size == 1:
            crash()
        return 2 * x

    with pytest.raises(LawError) as caught:
        check_vjp(crashes_on_one, lambda g, x: 3 * g, "N", isolate=True, law=GRADIENT, seed=3)
    text = str(caught.value)
    assert "analytic is 1.5 times numeric everywhere" in text
    assert "a smaller example ended the process by SIGSEGV" in text


def test_an_error_while_a_smaller_example_is_looked_for_hides_no_fault(monkeypatch):
    from tapegrad.autograd.check import running

    def fails(*_):
        raise RuntimeError("no more")

    monkeypatch.setattr(running, "shrink", fails)
    with pytest.raises(LawError) as caught:
        check_vjp(np.sin, lambda g, x: 2 * g * np.cos(x), "N", law=GRADIENT)
    text = str(caught.value)
    assert "analytic is twice numeric everywhere" in text
    assert "no smaller example: RuntimeError: no more" in text


def test_verdicts_and_errors_come_back_whole():
    asked = {"law": GRADIENT, "raise_error": False}
    here = check_vjp(np.sin, lambda g, x: 2 * g * np.cos(x), "N C", **asked)
    there = check_vjp(np.sin, lambda g, x: 2 * g * np.cos(x), "N C", isolate=True, **asked)
    assert str(there) == str(here)


def test_a_wrong_use_is_one_in_the_other_process_too():
    def maker(x, *, size=3):
        raise UsageError("asked for wrongly")

    with pytest.raises(UsageError, match="asked for wrongly"):
        check_vjp(maker, lambda g, x: g, "N", isolate=True)


def test_an_example_that_never_ends_is_a_broken_law_with_the_example():
    def endless(x):
        while x.size > 2:
            pass
        return 2 * x

    asked = {"law": GRADIENT, "raise_error": False}
    summary = check_vjp(endless, lambda g, x: 2 * g, "N+2", isolate=0.2, **asked)
    [(_, outcome)] = summary.outcomes
    assert outcome.verdict == "broken"
    assert "did not end within 0.2 seconds" in str(outcome.error)
    assert "endless(float64(" in outcome.example


def test_a_smaller_example_that_never_ends_hides_no_fault():
    def endless_on_one(x):
        while x.size == 1:
            pass
        return 2 * x

    with pytest.raises(LawError) as caught:
        check_vjp(endless_on_one, lambda g, x: 3 * g, "N", isolate=0.5, law=GRADIENT, seed=3)
    text = str(caught.value)
    assert "analytic is 1.5 times numeric everywhere" in text
    assert "a smaller example took over 0.5 seconds" in text


def test_a_limit_of_no_seconds_is_refused():
    with pytest.raises(UsageError, match="more than 0"):
        check_vjp(np.sin, lambda g, x: g * np.cos(x), "N", isolate=0)
