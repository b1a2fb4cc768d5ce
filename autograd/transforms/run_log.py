"""What a run of a checkpointed function draws and writes, so that a second run repeats the first.

Generators are wound back to where they stood before each was first drawn from, arrays that were
written in place get back what they held before, and both are put right afterwards.  All that is
done by primitives, so that replay repeats it.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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

__all__ = ["Log", "Reads"]

WRITTEN = (
    "checkpoint({name}): {primitive} reads an array that was written in place after the call, so "
    "it cannot be computed again. Take the gradient before the write, or pass a copy as argument."
)


def stream_state(xp: Any, *, generator: Any) -> Any:
    """The state of a generator as bytes: an array, so that replay hands it on like any other."""
    return np.frombuffer(json.dumps(generator.get_state()).encode().ljust(1024), np.uint8)


def set_stream_state(xp: Any, state: Any, *, generator: Any) -> Any:
    """Let a generator go on from `state`, which is returned."""
    generator.set_state(json.loads(state.tobytes()))
    return state


# Not published: nobody else has a use for them, and the laws of random draws are about draws.
_STATE = Primitive(stream_state, random=True)
_SET_STATE = Primitive(set_stream_state, random=True)


class Log:
    """What a run drew from and wrote to, with the state of it before the first time."""

    def __init__(self) -> None:
        self.streams: dict[Any, Any] = {}
        # id -> (the array, or a weak reference to one that is written whole; what it held).  Arrays
        # that fn made itself die with the tape, and then there is nothing to wind back.
        self.written: dict[int, tuple[Any, Any]] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note what is drawn from and written to in this block."""
        with devices.watched_draws(self._drawn), watch_writes(self._write):
            yield

    def _drawn(self, generator: Any) -> None:
        if generator not in self.streams:
            self.streams[generator] = apply(_STATE, (), {"generator": generator})

    def _write(self, array: Any) -> None:
        owner = owner_of(array)
        if owner.size == array.size:
            known = self.written.get(id(owner))
            if known is None or known[0]() is not owner:
                self.written[id(owner)] = (weakref.ref(owner), shapes.copy(owner))
        elif id(array) not in self.written:
            # Views are kept: another one would be made anew each time, under a used id.
            self.written[id(array)] = (lambda: array, shapes.copy(array))

    @contextmanager
    def drawn_again(self) -> Iterator[None]:
        """A block in which the generators draw what the first run drew."""
        present = [apply(_STATE, (), {"generator": stream}) for stream in self.streams]
        for stream, state in self.streams.items():
            apply(_SET_STATE, (state,), {"generator": stream})
        try:
            yield
        finally:
            for stream, state in zip(self.streams, present, strict=True):
                apply(_SET_STATE, (state,), {"generator": stream})

    @contextmanager
    def undone(self, *, taped: bool) -> Iterator[None]:
        """A block in which the arrays start as they were before the first run wrote to them.

        What is written in the block is undone after it.
        """
        pairs = [(array(), before) for array, before in self.written.values()]
        pairs = [(array, before) for array, before in pairs if array is not None]
        present = [(array, shapes.copy(array), write_of(array)) for array, _ in pairs]
        for array, before in reversed(pairs):  # a view may have been noted before its owner
            inplace.assign(array, before)
        try:
            yield
        finally:
            for array, value, write in present:
                # A tape that stays must notice when what it saved changes under it.
                changes = taped and not _equal(array, value)
                inplace.assign(array, value)
                if not changes:
                    set_write(array, write)


def _equal(a: Any, b: Any) -> bool:
    return bool(devices.namespace(a, b).all(a == b))


class Reads(Forwarder):
    """An observer that refuses arrays written between the first run and the second."""

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
