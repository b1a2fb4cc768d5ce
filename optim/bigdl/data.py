"""The data of a run, however they come, as epochs of batches (input, target).

arrays:     (inputs, targets), or any other data of a Trainer
samples:    a list of objects with `feature()` and `label()`, as BigDL's Sample has them
a data set: an object with `data(train)`, `size()` and perhaps `shuffle()`, as BigDL's DataSet has
            them; it gives batches with `getInput()` and `getTarget()`, pairs, or samples
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tapegrad.optim.core.samples import samples_in
from tapegrad.optim.training.data import Batch, HasEpochs, as_batches
from tapegrad.optim.training.labels import nest_to_numpy

__all__ = ["Epochs", "as_epochs"]

NO_PAIR = "{place}: the data set gave {kind}: a batch is (input, target), or has getInput()"
DIFFERENT = (
    "{place}: samples of different shapes {shapes} make no batch: pad them, with SampleToMiniBatch"
)


class Epochs:
    """Epochs of batches that know which one is the last of its epoch.

    is_last: whether the batch that came last ends its epoch.  The next batch is made before the
             last one is used, to know it.
    samples: how many samples that batch has
    """

    def __init__(self, source: HasEpochs) -> None:
        self.source = source
        self.is_last, self.samples = False, 0

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Go through the batches of an epoch, from batch `start` on."""
        batches = iter(self.source.epoch(number, start))
        following = next(batches, None)
        while following is not None:
            batch, following = following, next(batches, None)
            self.is_last, self.samples = following is None, samples_in(batch[-1])
            yield batch


def as_epochs(data: Any, batch_size: int, *, train: bool, place: str, seed: int = 0) -> HasEpochs:
    """Return the data as an object with `epoch(number, start)`.

    Raises TypeError for what is no data, ValueError for data without samples.
    """
    if callable(getattr(data, "data", None)) and callable(getattr(data, "size", None)):
        return _OfDataSet(data, batch_size, train, place)
    if isinstance(data, (list, tuple)) and len(data) and _is_sample(data[0]):
        return _OfSamples(list(data), batch_size, train, place, seed)
    if isinstance(data, (list, tuple)) and len(data) and _is_batch(data[0]):
        data = [_pair(batch, place) for batch in data]
    return as_batches(data, batch_size, seed, shuffle=train, place=place)


def _is_sample(value: Any) -> bool:
    return callable(getattr(value, "feature", None)) and callable(getattr(value, "label", None))


def _is_batch(value: Any) -> bool:
    return callable(getattr(value, "getInput", None)) and callable(
        getattr(value, "getTarget", None)
    )


def _pair(batch: Any, place: str) -> Batch:
    if _is_batch(batch):
        return batch.getInput(), batch.getTarget()
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return tuple(batch)
    raise TypeError(NO_PAIR.format(place=place, kind=type(batch).__name__))


def _stack(samples: list[Any], place: str) -> Batch:
    """Return the features and labels of samples as arrays with an axis of samples."""
    columns = []
    for column in ([s.feature() for s in samples], [s.label() for s in samples]):
        arrays = [np.asarray(nest_to_numpy(value)) for value in column]
        if len({a.shape for a in arrays}) > 1:
            shapes = sorted({a.shape for a in arrays})
            raise ValueError(DIFFERENT.format(place=place, shapes=shapes))
        columns.append(np.stack(arrays))
    return columns[0], columns[1]


class _OfSamples:
    """Samples of a list, in training shuffled anew for each epoch."""

    def __init__(
        self, samples: list[Any], batch_size: int, train: bool, place: str, seed: int
    ) -> None:
        self.samples, self.batch_size = samples, batch_size
        self.train, self.place, self.seed = train, place, seed

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Go through the batches of an epoch, from batch `start` on."""
        count = len(self.samples)
        order = np.arange(count)
        if self.train:
            order = np.random.default_rng([self.seed, number]).permutation(count)
        for first in range(start * self.batch_size, count, self.batch_size):
            picked = order[first : first + self.batch_size]
            yield _stack([self.samples[i] for i in picked], self.place)


class _OfDataSet:
    """What a data set gives; an epoch ends with its iterator, or when its size has been seen."""

    def __init__(self, data: Any, batch_size: int, train: bool, place: str) -> None:
        self.data, self.batch_size, self.train, self.place = data, batch_size, train, place

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Go through the batches of an epoch, from batch `start` on."""
        if self.train and callable(getattr(self.data, "shuffle", None)):
            self.data.shuffle()
        size, seen = int(self.data.size()), 0
        for index, batch in enumerate(self._batches(self.data.data(self.train))):
            if index >= start:
                yield batch
            seen += samples_in(batch[1])
            if seen >= size > 0:
                return

    def _batches(self, entries: Iterable[Any]) -> Iterator[Batch]:
        iterator = iter(entries)
        first = next(iterator, None)
        if first is None:
            return
        if not _is_sample(first):
            yield _pair(first, self.place)
            yield from (_pair(batch, self.place) for batch in iterator)
            return
        samples = itertools.chain([first], iterator)
        while chunk := list(itertools.islice(samples, self.batch_size)):
            yield _stack(chunk, self.place)
