"""Laws of calls: what a call leaves behind or overwrites, and what a repeated call gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.check.gradients import CheckError
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_be_close,
    must_be_equal,
    must_be_unchanged,
    snapshot,
)
from tapegrad.autograd.check.report import LawError

if TYPE_CHECKING:
    from tapegrad.autograd.check.functions import FunctionTrial

__all__ = ["LAWS"]

LAWS = Laws("function")

NOT_DETERMINISTIC = (
    "{name} gave different values in calls {first} and {call} on equal arguments (largest "
    "difference {gap:.3g}): seed its random numbers inside it, so that equal calls are equal"
)
_ROUNDING = 1e-11  # by which equal calls may differ where nobody promises equal bits


@LAWS()
def equal_calls_give_equal_results(trial: FunctionTrial) -> None:
    """Equal arguments give equal results up to rounding, and with deterministic=True equal bits."""
    before = snapshot(trial.args)
    first = trial.results()
    call = trial.calls
    must_be_unchanged(before, trial.args, "argument")  # else the second call has other arguments
    second = trial.results()
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        try:
            _must_repeat(trial, b, a, f"result {i}")
        except LawError as error:
            gap = float("nan")
            if a.dtype.kind in "fiu" and a.shape == b.shape:
                with np.errstate(invalid="ignore"):
                    gap = float(np.nanmax(np.abs(a.astype(float) - b.astype(float)), initial=0))
            raise CheckError(
                NOT_DETERMINISTIC.format(
                    name=repr(trial), first=call, call=trial.calls, gap=gap
                )
            ) from error  # fmt: skip


@LAWS(regimes=("ordinary", "grid"))
def inputs_are_left_alone(trial: FunctionTrial) -> NotCovered | None:
    """Neither the function nor its gradient writes into an argument or into the cotangent."""
    if trial.pair.inplace:
        return NotCovered("it writes into its arguments on purpose")
    before = snapshot(trial.args)
    v = trial.cotangents()
    cotangents = snapshot(v)
    must_be_unchanged(before, trial.args, "argument")
    trial.gradients(v)
    must_be_unchanged(before, trial.args, "argument")
    must_be_unchanged(cotangents, v, "cotangent")
    return None


@LAWS()
def gradients_share_no_memory(trial: FunctionTrial) -> NotCovered | None:
    """Writing to one gradient changes neither another, nor an argument, nor the cotangent."""
    if trial.pair.copies:
        return NotCovered("results are copies")
    v = trial.cotangents()
    gradients = trial.raw_gradients(v)
    for i, (name, gradient) in enumerate(zip(trial.names, gradients, strict=True)):
        for other in [*gradients[:i], *trial.args, *v]:
            must(not np.shares_memory(gradient, other), f"the gradient of {name} shares memory")
    return None


@LAWS()
def results_do_not_depend_on_earlier_calls(trial: FunctionTrial) -> None:
    """A call on other data changes neither later results nor arrays that were returned before.

    Nor does a call in evaluation mode change a buffer of its module, such as running statistics.
    """
    if trial.pair.moved is not None:
        trial.results()
        names = ", ".join(trial.pair.moved())
        must(not names, f"a call in evaluation mode has changed {names}, which later calls read")
    v = trial.cotangents()
    results, gradients = trial.raw_values(trial.point), trial.raw_gradients(v)
    kept = [np.array(a) for a in (*results, *gradients)]
    other = trial.other_point()
    trial.results(other)
    trial.gradients(trial.cotangents(), other)
    for i, (now, then) in enumerate(zip([*results, *gradients], kept, strict=True)):
        must_be_equal(now, then, f"returned array {i} after another call")
    again = [*trial.results(), *trial.gradients(v)]
    for i, (now, then) in enumerate(zip(again, kept, strict=True)):
        _must_repeat(trial, now, then, f"result {i} of an equal call, others in between")


def _must_repeat(trial: FunctionTrial, found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Raise LawError unless results of equal calls are equal, up to rounding if nobody asks more.

    Libraries add in another order where memory lies otherwise, or on another number of threads.
    """
    asked = getattr(trial.case, "deterministic", None)
    if asked or expected.dtype.kind != "f" or found.dtype != expected.dtype:
        must_be_equal(found, expected, what)
        return
    unit = float(np.finfo(expected.dtype).eps) / float(np.finfo(np.float64).eps)
    must_be_close(found, expected, what, relative=_ROUNDING * unit, scale=1.0)
