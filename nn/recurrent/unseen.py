"""Whether anybody sees the single steps of a recurrent layer in a run over time.

If nobody does, one operation for all steps stands for them (`recurrent/at_once.py`): without a
record of each small operation, an LSTM takes a third of the time.  Who sees steps: `forward`, which
keeps `output` and `gradInput` of every module inside; hooks; a class or an object that overrides
what a step is; a frozen module, whose parameters are constants for its own calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd import is_recording
from tapegrad.nn.core.frames import current_frame
from tapegrad.nn.core.hooks import has_hooks

if TYPE_CHECKING:
    from tapegrad.nn.module import Module

__all__ = ["are_steps_unseen"]

# What an object may override by an attribute of its own.
CODE = frozenset({"updateOutput", "step", "start", "check", "prepare", "noises", "forward"})


def are_steps_unseen(cell: Any) -> bool:
    """Whether `cell.run` may stand for the steps of a sequence of floats (T, N, D).

    cell: has `parts_of_run()`, pairs of a module that runs in a step and the class of which it must
    be an instance, itself first; None if no operation computes its steps
    """
    parts: list[tuple[Module, type]] | None = cell.parts_of_run()
    if parts is None:
        return False
    frame, is_tracking = current_frame(), is_recording()
    if frame is not None and frame.trace is not None:
        return False
    for module, wanted in parts:
        if type(module) is not wanted or has_hooks(module):
            return False
        if is_tracking and module._frozen:  # noqa: SLF001  # its own calls track nothing
            return False
        if not CODE.isdisjoint(vars(module)):
            return False
    return True
