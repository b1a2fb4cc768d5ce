"""The way back from a failed call: whoever changes state says first how to undo that.

When a stateful call raises, its trace runs what was logged: buffers, random generators and
attributes are what they were, so that a wrong shape changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.node import note_write
from tapegrad.nn.core.frames import current_frame

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor

__all__ = ["on_failure", "undo_attribute", "undo_write"]


def on_failure(key: Hashable, make: Callable[[], Callable[[], None]]) -> None:
    """Log, once per key and trace, how to undo a change that is about to be made.

    make: called if this is the first change under `key`; keeps what is there, returns the undoing
    """
    frame = current_frame()
    trace = None if frame is None else frame.trace or frame.undo
    if trace is not None and key not in trace.undo:
        trace.undo[key] = make()


def undo_write(tensor: Tensor) -> None:
    """Give `tensor` its present entries back if the call that is running fails."""

    def keep() -> Callable[[], None]:
        array, old = tensor._data, tensor._data.copy()

        def restore() -> None:
            array[...] = old
            note_write(array)

        return restore

    on_failure(id(tensor._data), keep)  # the log keeps this array, so that its id stays its own


def undo_attribute(owner: Any, name: str) -> None:
    """Let ``owner.name`` be its present value again if the call that is running fails."""

    def keep() -> Callable[[], None]:
        old = getattr(owner, name)
        return lambda: setattr(owner, name, old)

    on_failure((id(owner), name), keep)
