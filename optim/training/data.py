"""Batches from arrays, in an order that is a function of a seed and an epoch.

So a run can be continued anywhere: the position is two numbers, and no generator has to be wound
forward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Batches"]

# Inputs and target of some samples, such as (x, target).
Batch: TypeAlias = tuple[Any, ...]


@runtime_checkable
class HasEpochs(Protocol):
    """A source of data that can begin anywhere: `Batches`, or a class of the user's."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch, from batch `start` on."""
        ...


class Batches:
    """Batches (x[i], y[i], …) of arrays of equal length, shuffled anew in each epoch.

    shuffle, seed: the order of epoch e is a function of (seed, e)
    drop_last: leave out a last batch that is smaller
    ``batches.epoch(e, start)`` goes through epoch e from batch `start` on.
    Raises ValueError for arrays of different lengths.
    """

    def __init__(
        self,
        *arrays: npt.ArrayLike,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if not arrays:
            raise ValueError("Batches: give at least one array")
        self.arrays = tuple(np.asarray(a) for a in arrays)
        lengths = {len(a) for a in self.arrays}
        if len(lengths) != 1:
            raise ValueError(f"Batches: arrays of different lengths {sorted(lengths)}")
        if batch_size < 1:
            raise ValueError(f"Batches: batch_size must be at least 1, not {batch_size}")
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.drop_last = drop_last

    def __len__(self) -> int:
        n = len(self.arrays[0])
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Go through the batches of an epoch, from batch `start` on."""
        n = len(self.arrays[0])
        order = np.arange(n)
        if self.shuffle:
            order = np.random.default_rng([self.seed, number]).permutation(n)
        for index in range(start, len(self)):
            samples = order[index * self.batch_size : (index + 1) * self.batch_size]
            yield tuple(a[samples] for a in self.arrays)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)


class SampleStream:
    """Batches from any iterable, or from a function that makes one, anew for each epoch.

    To continue in the middle of an epoch, it is begun again and what has been used is skipped: the
    source must give the same batches again.  A function of one argument gets the epoch's number.
    """

    def __init__(self, source: Iterable[Any] | Callable[..., Iterable[Any]]) -> None:
        self.source = source

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Go through the batches of an epoch, from batch `start` on.

        Raises ValueError for a generator that would be needed a second time.
        """
        if not callable(self.source):
            if iter(self.source) is self.source and (number or start):
                raise ValueError(
                    "a generator can be used once: give a function that makes it, for further "
                    "epochs and for resuming"
                )
            batches = iter(self.source)
        elif inspect.signature(self.source).parameters:
            batches = iter(self.source(number))
        else:
            batches = iter(self.source())
        for index, batch in enumerate(batches):
            if index >= start:
                yield tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)


# What a trainer learns from: arrays, a source of epochs, batches, or a function that makes batches.
Data: TypeAlias = tuple[Any, ...] | HasEpochs | Iterable[Any] | Callable[..., Iterable[Any]]


def as_batches(data: Data, batch_size: int, seed: int, *, shuffle: bool = True) -> HasEpochs:
    """Return `data` as an object with `epoch(number, start)`; arrays are cut into batches."""
    if isinstance(data, HasEpochs):
        return data
    if isinstance(data, tuple) and all(hasattr(a, "shape") for a in data):
        return Batches(*data, batch_size=batch_size, seed=seed, shuffle=shuffle)
    return SampleStream(data)
