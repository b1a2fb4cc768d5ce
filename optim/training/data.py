"""Batches from arrays, in an order that is a function of a seed and an epoch.

So a run can be continued anywhere: the position is two numbers, and no generator has to be wound
forward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

__all__ = ["Batches", "as_batches"]


class Batches:
    """Batches (x[i], y[i], …) of arrays of equal length, shuffled anew in each epoch.

    size: samples in a batch;  shuffle, seed: order of epoch e is a function of (seed, e)
    last: keep a last batch that is smaller
    ``batches.epoch(e, start)`` goes through epoch e from batch `start` on.
    """

    def __init__(
        self,
        *arrays: Any,
        size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        last: bool = True,
    ) -> None:
        if not arrays:
            raise ValueError("Batches: give at least one array")
        self.arrays = tuple(np.asarray(a) for a in arrays)
        lengths = {len(a) for a in self.arrays}
        if len(lengths) != 1:
            raise ValueError(f"Batches: arrays of different lengths {sorted(lengths)}")
        if size < 1:
            raise ValueError(f"Batches: size must be at least 1, not {size}")
        self.size, self.shuffle, self.seed, self.last = size, shuffle, seed, last

    def __len__(self) -> int:
        n = len(self.arrays[0])
        return -(-n // self.size) if self.last else n // self.size

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Any, ...]]:
        """The batches of an epoch, from batch `start` on."""
        n = len(self.arrays[0])
        order = np.arange(n)
        if self.shuffle:
            order = np.random.default_rng([self.seed, number]).permutation(n)
        for batch in range(start, len(self)):
            chosen = order[batch * self.size : (batch + 1) * self.size]
            yield tuple(a[chosen] for a in self.arrays)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self.epoch(0)


class Stream:
    """Batches from any iterable, or a function that makes one, anew for each epoch.

    To continue in the middle of an epoch, it is begun again and what has been used is skipped: the
    source must give the same batches again.  A function of one argument gets the epoch's number.
    """

    def __init__(self, source: Iterable[Any] | Callable[..., Iterable[Any]]) -> None:
        self.source = source

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Any, ...]]:
        """The batches of an epoch, from batch `start` on."""
        if not callable(self.source):
            if iter(self.source) is self.source and (number or start):
                raise ValueError(
                    "a generator can be used once: give a function that makes it, for further "
                    "epochs and for resuming"
                )
            batches = iter(self.source)
        else:
            batches = iter(_made(self.source, number))
        for i, batch in enumerate(batches):
            if i >= start:
                yield tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)


def _made(source: Callable[..., Iterable[Any]], number: int) -> Iterable[Any]:
    return source(number) if inspect.signature(source).parameters else source()


def as_batches(data: Any, size: int, seed: int, *, shuffle: bool = True) -> Any:
    """`data` as an object with `epoch(number, start)`: arrays are cut into batches."""
    if hasattr(data, "epoch"):
        return data
    if isinstance(data, tuple) and all(hasattr(a, "shape") for a in data):
        return Batches(*data, size=size, seed=seed, shuffle=shuffle)
    return Stream(data)
