"""What calls leave on a module: passing state, which belongs in no file and no list of parameters.

It lies in one object, made when there is first something to keep, under one name among the module's
attributes.  The slots below are the only list of what is passing: a method that has to remember
something between two calls gets a slot, and files, copies and conversions need no change.
A plain call, ``module(x)``, does not come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapegrad.nn.core.spans import Trace

__all__ = ["ATTRIBUTE", "TransientState", "last_result", "transient_state_of"]

# Its name on modules, unlike any that people's classes have; no file has such an attribute.
ATTRIBUTE = "_tapegrad_run"


class TransientState:
    """The passing state of one module.

    output, gradInput: results of the last `forward` and `backward`; unset before the first
    trace:  the tape of the last `forward`
    target: the target of a criterion's last `forward`
    flat:   the buffers that `getParameters` made, and what lay in them then
    picks:  what a max pooling found, for the unpooling that refers to it
    """

    __slots__ = ("flat", "gradInput", "output", "picks", "target", "trace")

    output: Any
    gradInput: Any

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.target: Any = None
        self.flat: Any = None
        self.picks: Any = None

    def copied(self) -> TransientState:
        """What a copy of the module has: the results, but neither tape nor flat buffers."""
        copy = TransientState()
        copy.picks = self.picks
        for name in ("output", "gradInput"):
            if hasattr(self, name):
                setattr(copy, name, getattr(self, name))
        return copy

    def clear(self) -> None:
        """Forget the results and the tape; flat buffers stay those of the parameters."""
        self.trace = self.target = None
        for name in ("output", "gradInput"):
            if hasattr(self, name):
                delattr(self, name)

    def drop_tape(self) -> None:
        """Forget what refers to parameters as they were: the tape, and the flat buffers."""
        self.trace = self.target = self.flat = None


def transient_state_of(module: Any) -> TransientState:
    """The passing state of `module`; made now if there was none."""
    run: TransientState | None = module._tapegrad_run
    return module.__dict__.setdefault(ATTRIBUTE, TransientState()) if run is None else run


def last_result(module: Any, name: str) -> Any:
    """What the last call left under `name`, a slot of Run; None if nothing."""
    return getattr(module._tapegrad_run, name, None)
