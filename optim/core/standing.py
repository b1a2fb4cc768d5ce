"""A step that is made again on the same arrays, without what only a first one has to look at.

What a step of a small model costs is the way to the loop that updates it: options are joined,
arrays are looked at, a way is chosen.  While all of these are the same, so is what was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.mode import announce_write, current_mode
from tapegrad.autograd.core.node import note_write
from tapegrad.autograd.core.tensor import Tensor, array_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tapegrad.autograd.core.types import Array
    from tapegrad.optim.core.rule import UpdateRule
    from tapegrad.optim.core.runs import MemoryRun

__all__ = ["StandingStep", "step_run"]


class StandingStep:
    """The step of a rule on the arrays of one run, with the options of one mapping.

    call: makes the step and counts it; None where it has to be made in the ordinary way
    """

    __slots__ = ("_arrays", "_options", "call")

    def __init__(
        self, rule: UpdateRule, run: MemoryRun, g: Tensor, options: Mapping[str, Any]
    ) -> None:
        self._options = options
        self._arrays = [array_of(each) for each in _used(run, g, options)]
        self.call: Callable[[], Any] | None = None
        if all(type(array) is np.ndarray for array in self._arrays):
            self.call = rule.ready_step(run.x, g, run.state, options)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copy of a run has other arrays

    def holds(self, run: MemoryRun, g: Tensor, options: Mapping[str, Any]) -> bool:
        """Whether the options and all arrays are those that the step was made for."""
        if options is not self._options:
            return False
        return all(
            array_of(now) is array
            for now, array in zip(_used(run, g, options), self._arrays, strict=True)
        )


def step_run(
    rule: UpdateRule, run: MemoryRun, g: Tensor, options: Mapping[str, Any], updates: Tensor
) -> None:
    """Update the parameters of a run from their gradient g, with the options of its group.

    updates: the number of steps before this one, for schedules
    """
    standing = run.standing
    mode = current_mode()
    is_ordinary = mode is None or (mode.observer is None and mode.interpreter is None)
    if standing is None or not is_ordinary or not standing.holds(run, g, options):
        rule.update(run.x, g, run.state, options, updates)
        run.standing = StandingStep(rule, run, g, options) if is_ordinary else None
    elif standing.call is None:
        rule.update(run.x, g, run.state, options, updates)
    else:
        x: Array = array_of(run.x)
        announce_write(x)
        standing.call()
        note_write(x)


def _used(run: MemoryRun, g: Tensor, options: Mapping[str, Any]) -> list[Tensor]:
    """All Tensors that a step reads."""
    return [run.x, g, *run.state.values(), *[v for v in options.values() if isinstance(v, Tensor)]]
