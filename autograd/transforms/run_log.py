"""RunLog: what a run of a checkpointed function draws and writes, so that it can be repeated.

Before the second run, each generator gets back the state that it had before the first draw from it,
and each array that was written in place gets back its earlier values.  After the second run both
get their present state again.  All of this is done by primitives, so that replay repeats it.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.call import apply
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.errors import InPlaceError
from tapegrad.autograd.core.mode import Forwarder, observer, watch_writes
from tapegrad.autograd.core.node import owner_of, set_write, write_of, write_serial
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.ops import inplace
from tapegrad.autograd.ops import shape as shapes

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["RunLog", "Reads"]

WRITTEN = (
    "checkpoint({name}): {primitive} reads an array that was written in place after the call, so "
    "it cannot be computed again. Take the gradient before the write, or pass a copy as argument."
)


def stream_state(xp: Namespace, *, generator: Any) -> Array:
    """The state of a generator as an array of bytes, which replay passes on as any other array."""
    return np.frombuffer(json.dumps(generator.get_state()).encode().ljust(1024), np.uint8)


def set_stream_state(xp: Namespace, state: Array, *, generator: Any) -> Array:
    """Set the state of a generator; returns `state`."""
    generator.set_state(json.loads(state.tobytes()))
    return state


# The two primitives are not registered: nothing else uses them, and they draw nothing, which the
# laws of random primitives expect.
_STATE = Primitive(stream_state, random=True)
_SET_STATE = Primitive(set_stream_state, random=True)


class RunLog:
    """The generators that a run drew from, and the arrays it wrote to, with their earlier state."""

    def __init__(self) -> None:
        self.states: dict[Any, Any] = {}  # generator -> its state before the first draw
        # id -> (function that returns the array or None, its values before the first write).  An
        # array that is written as a whole is referred to weakly: one that fn made itself is freed
        # with the tape, and then nothing has to be restored.
        self.written: dict[int, tuple[Any, Any]] = {}

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note the draws and the writes in this block."""
        with devices.watched_draws(self._note_draw), watch_writes(self._note_write):
            yield

    def _note_draw(self, generator: Any) -> None:
        if generator not in self.states:
            self.states[generator] = apply(_STATE, (), {"generator": generator})

    def _note_write(self, array: Array) -> None:
        owner = owner_of(array)
        whole = owner.size == array.size
        target = owner if whole else array
        known = self.written.get(id(target))
        if known is not None and known[0]() is target:  # and not another that had this id
            return
        # A view is kept alive: nothing but it knows which part of its owner was written.
        self.written[id(target)] = (
            weakref.ref(owner) if whole else lambda: array,
            shapes.copy(target),
        )

    @contextmanager
    def repeating_draws(self) -> Iterator[None]:
        """A block in which the generators draw what the first run drew."""
        present = [apply(_STATE, (), {"generator": generator}) for generator in self.states]
        for generator, state in self.states.items():
            apply(_SET_STATE, (state,), {"generator": generator})
        try:
            yield
        finally:
            for generator, state in zip(self.states, present, strict=True):
                apply(_SET_STATE, (state,), {"generator": generator})

    @contextmanager
    def undoing_writes(self, *, taped: bool) -> Iterator[None]:
        """A block in which arrays hold what they held before the first run; undoes its own writes.

        taped: whether a tape that is made in the block stays in use afterwards
        """
        pairs = [(array(), before) for array, before in self.written.values()]
        pairs = [(array, before) for array, before in pairs if array is not None]
        present = [(array, shapes.copy(array), write_of(array)) for array, _ in pairs]
        for array, before in reversed(pairs):  # a view may have been noted before its base
            inplace.assign(array, before)
        try:
            yield
        finally:
            for array, value, write in present:
                # A tape that stays in use must notice that a value it saved has changed.
                changes = taped and not _equal(array, value)
                inplace.assign(array, value)
                if not changes:
                    set_write(array, write)


def _equal(a: Array, b: Array) -> bool:
    return bool(devices.namespace(a, b).all(a == b))


class Reads(Forwarder):
    """An observer that refuses arrays which were written between the first run and the second."""

    def __init__(self, name: str, since: int, until: int) -> None:
        super().__init__(observer())
        self.name = name
        self.since, self.until = since, until

    def call(self, primitive: Any, operands: Any, settings: dict[str, Any], results: Any) -> None:
        """See `Observer`."""
        for array in leaves(list(operands)):
            if devices.is_array(array) and self.since < write_serial(array) < self.until:
                raise InPlaceError(WRITTEN.format(name=self.name, primitive=primitive.name))
        super().call(primitive, operands, settings, results)
