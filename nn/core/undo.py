"""Undoing a failed call: code that changes state first logs how to undo the change.

When a stateful call raises, its trace runs the log: buffers, random generators and attributes are
as they were, so that a wrong shape changes nothing.
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
    """Log, once per key and trace, how to undo a change that the caller is about to make.

    make: called for the first change under `key`; keeps the present state, returns a function that
          restores it
    """
    frame = current_frame()
    trace = None if frame is None else frame.trace or frame.undo
    if trace is not None and key not in trace.undo:
        trace.undo[key] = make()


def undo_write(tensor: Tensor) -> None:
    """Restore the present entries of `tensor` if the running call fails."""

    def keep() -> Callable[[], None]:
        array, old = tensor._bare, tensor._bare.copy()

        def restore() -> None:
            array[...] = old
            note_write(array)

        return restore

    on_failure(id(tensor._bare), keep)  # the log holds this array, so that no other gets its id


def undo_attribute(owner: Any, name: str) -> None:
    """Restore the present value of ``owner.name`` if the running call fails."""

    def keep() -> Callable[[], None]:
        old = getattr(owner, name)
        return lambda: setattr(owner, name, old)

    on_failure((id(owner), name), keep)
