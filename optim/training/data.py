"""Batches from arrays, in an order that is a function of a seed and an epoch.

So a run can be continued anywhere: the position is two numbers, and no generator has to be wound
forward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from tapegrad.autograd.core.former import renamed_argument
from tapegrad.autograd.core.tree import leaves
from tapegrad.optim.training.labels import nest_to_numpy

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Batches", "random_split"]

# Inputs and target of some samples, such as (x, target).
Batch: TypeAlias = tuple[Any, ...]

KINDS = (
    "a tuple of arrays (x, target), an optim.Batches, an iterable of batches (x, target), or a "
    "function that makes one"
)
ONE_ARRAY = "{place}: the data is {what}: give inputs and targets together, {place}((x, target), …)"
NO_DATA = "{place}: the data is {what}; it is " + KINDS
MIXED = "{place}: the data is a {kind} of {what}; it is " + KINDS
NO_BATCH = "{place}: batch {index} is {what}; it is a tuple (x, target)"
NO_SAMPLES = "{place}: there are no samples in the data, of which {what}"


@runtime_checkable
class HasEpochs(Protocol):
    """A source of data that can begin anywhere: `Batches`, or a class of the user's."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch, from batch `start` on."""
        ...


class Batches:
    """Batches (x[i], y[i], …) of arrays of equal length, shuffled anew in each epoch.

    arrays:  NumPy arrays, Tensors, or lists of numbers
    shuffle, seed: the order of epoch e is a function of (seed, e)
    drop_last: leave out a last batch that is smaller
    sampling_weights: one for each sample; an epoch then draws as many samples as there are, with
             replacement, each with a probability in proportion to its weight
    ``batches.epoch(e, start)`` goes through epoch e from batch `start` on.
    ``for batch in batches`` is epoch 0 the first time, then epoch 1, and so on.
    Raises ValueError for arrays of different lengths, and for weights that are no probabilities.

    >>> x, y = np.arange(10.0), np.arange(10)
    >>> [len(target) for _, target in Batches(x, y, batch_size=4)]
    [4, 4, 2]
    """

    @renamed_argument("size", "batch_size")
    def __init__(
        self,
        *arrays: npt.ArrayLike,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        sampling_weights: npt.ArrayLike | None = None,
    ) -> None:
        if not arrays:
            raise ValueError("Batches: give at least one array")
        self.arrays = tuple(_array_of_samples("Batches", a) for a in arrays)
        lengths = {len(a) for a in self.arrays}
        if len(lengths) != 1:
            raise ValueError(f"Batches: arrays of different lengths {sorted(lengths)}")
        if batch_size < 1:
            raise ValueError(f"Batches: batch_size must be at least 1, not {batch_size}")
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.drop_last = drop_last
        self.probabilities: np.ndarray | None = None
        if sampling_weights is not None:
            if not shuffle:
                raise ValueError("Batches: sampling_weights draw at random; shuffle=False does not")
            self.probabilities = _probabilities(sampling_weights, *lengths)
        self._iterations = 0

    def __repr__(self) -> str:
        shapes = ", ".join(str(a.shape) for a in self.arrays)
        return f"Batches({shapes}; batch_size={self.batch_size}, {len(self)} batches)"

    def __len__(self) -> int:
        n = len(self.arrays[0])
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Go through the batches of an epoch, from batch `start` on."""
        order = self._order(number)
        for index in range(start, len(self)):
            samples = order[index * self.batch_size : (index + 1) * self.batch_size]
            yield tuple(a[samples] for a in self.arrays)

    def _order(self, number: int) -> np.ndarray:
        n = len(self.arrays[0])
        if not self.shuffle:
            return np.arange(n)
        draw = np.random.default_rng([self.seed, number])
        if self.probabilities is None:
            return draw.permutation(n)
        return draw.choice(n, size=n, p=self.probabilities)

    def __iter__(self) -> Iterator[Batch]:
        number = self._iterations
        self._iterations += 1
        return self.epoch(number)

    def describe_order(self) -> dict[str, Any]:
        """Return what the order of samples depends on, beside the number of the epoch."""
        return {
            "samples": len(self.arrays[0]), "batch_size": self.batch_size, "shuffle": self.shuffle,
            "seed": self.seed, "drop_last": self.drop_last,
        }  # fmt: skip


def _array_of_samples(place: str, values: Any) -> np.ndarray:
    try:
        array = nest_to_numpy(values)
        if isinstance(array, list):
            array = np.stack(array)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{place}: the data is no array: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind in "OUSV":
        raise ValueError(f"{place}: the data is {_describe(values)}: arrays of numbers are needed")
    if not array.ndim:
        raise ValueError(f"{place}: a number has no samples: {values!r:.60}")
    return array


def _probabilities(weights: npt.ArrayLike, samples: int) -> np.ndarray:
    found = np.asarray(weights, np.float64)
    if found.shape != (samples,):
        raise ValueError(f"Batches: sampling_weights are {found.shape}, for {samples} samples")
    if not (np.isfinite(found).all() and (found >= 0).all() and found.sum() > 0):
        raise ValueError("Batches: sampling_weights must be at least 0, finite, and not all 0")
    return found / found.sum()


def random_split(
    *arrays: npt.ArrayLike, fractions: Sequence[float], seed: int = 0
) -> list[tuple[np.ndarray, ...]]:
    """Split arrays of equal length at random: ``train, test = random_split(x, y, fractions=…)``.

    fractions: of the samples for each part; they sum to 1.  Each sample is in exactly one part.
    Raises ValueError for fractions that do not sum to 1, and for a part without samples.
    """
    found = [_array_of_samples("random_split", a) for a in arrays]
    lengths = {len(a) for a in found}
    if len(lengths) != 1:
        raise ValueError(f"random_split: arrays of different lengths {sorted(lengths)}")
    [n] = lengths
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"random_split: fractions {tuple(fractions)} do not sum to 1")
    ends = [round(n * end) for end in np.cumsum(fractions)]
    order = np.random.default_rng(seed).permutation(n)
    parts = [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    for fraction, part in zip(fractions, parts, strict=True):
        if not len(part):
            raise ValueError(f"random_split: {fraction} of {n} samples are none")
    return [tuple(a[part] for a in found) for part in parts]


class SampleStream:
    """Batches from any iterable, or from a function that makes one, anew for each epoch.

    To continue in the middle of an epoch, it is begun again and what has been used is skipped: the
    source must give the same batches again.  A function of one argument gets the epoch's number.
    """

    def __init__(
        self, source: Iterable[Any] | Callable[..., Iterable[Any]], place: str, entries: int = 2
    ) -> None:
        self.source, self.place, self.entries = source, place, entries

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Go through the batches of an epoch, from batch `start` on.

        Raises ValueError for a generator that would be needed a second time, TypeError for what is
        no batch.
        """
        source: Any = self.source
        if callable(source):
            source = source(number) if inspect.signature(source).parameters else source()
            if isinstance(source, HasEpochs):  # its own first epoch would be the same each time
                yield from source.epoch(number, start)
                return
        elif iter(source) is source and (number or start):
            raise ValueError(
                "a generator can be used once: give a function that makes it, for further "
                "epochs and for resuming"
            )
        for index, batch in enumerate(source):
            if index >= start:
                yield self._checked(batch, index)

    def _checked(self, batch: Any, index: int) -> Batch:
        entries = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
        if len(entries) < self.entries or not _has_samples(entries[-1]):
            what = _describe(batch)
            if isinstance(batch, (tuple, list)):
                what = f"a {type(batch).__name__} of {_describe_all(batch)}"
            raise TypeError(NO_BATCH.format(place=self.place, index=index, what=what))
        return entries


def _has_samples(value: Any) -> bool:
    """Tell whether a target has an axis of samples."""
    if isinstance(value, Mapping):
        return any(_has_samples(entry) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return True
    return getattr(value, "ndim", 0) > 0


# What a trainer learns from: arrays, a source of epochs, batches, or a function that makes batches.
Data: TypeAlias = tuple[Any, ...] | HasEpochs | Iterable[Any] | Callable[..., Iterable[Any]]


def as_batches(
    data: Data,
    batch_size: int,
    seed: int,
    *,
    shuffle: bool = True,
    place: str = "Trainer.fit",
    entries: int = 2,
) -> HasEpochs:
    """Return `data` as an object with `epoch(number, start)`; arrays are cut into batches.

    entries: how many arrays a batch has at least
    Raises TypeError for data that is neither, ValueError for arrays without samples.
    """
    if isinstance(data, Batches):
        return _with_samples(data, place)
    if isinstance(data, HasEpochs):
        return data
    if entries == 1 and _is_array(data):
        data = (data,)
    if not isinstance(data, (list, tuple)) and _is_array(data):
        raise TypeError(ONE_ARRAY.format(place=place, what=_describe(data)))
    if isinstance(data, (str, bytes, Mapping)) or not (
        callable(data) or isinstance(data, Iterable)
    ):
        raise TypeError(NO_DATA.format(place=place, what=_describe(data)))
    if isinstance(data, (tuple, list)) and any(_is_array(entry) for entry in data):
        if len(data) < entries:
            raise TypeError(ONE_ARRAY.format(place=place, what=f"one {_describe(data[0])}"))
        if not all(_is_array(entry) for entry in data):
            kind, what = type(data).__name__, _describe_all(data)
            raise TypeError(MIXED.format(place=place, kind=kind, what=what))
        made = Batches(*data, batch_size=batch_size, seed=seed, shuffle=shuffle)
        return _with_samples(made, place)
    return SampleStream(data, place, entries)


def _with_samples(batches: Batches, place: str) -> Batches:
    if not len(batches):
        n = len(batches.arrays[0])
        what = f"there are {n}" if not n else f"drop_last leaves out all {n}"
        raise ValueError(NO_SAMPLES.format(place=place, what=what))
    return batches


def _is_array(value: Any) -> bool:
    """Tell an array, or numbers in lists, from batches: a tuple of lists is a batch."""
    if isinstance(value, (list, tuple)):
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, tuple) and value:
            value = value[0]
        return isinstance(value, (bool, int, float, complex, np.generic))
    return (hasattr(value, "shape") and hasattr(value, "dtype")) or hasattr(value, "iloc")


def _describe(value: Any) -> str:
    if isinstance(value, (bool, int, float, str, type(None))):
        return repr(value)[:60]
    shape = getattr(value, "shape", None)
    of_shape = "" if shape is None else f" of shape {tuple(shape)}"
    return f"{type(value).__name__}{of_shape}"


def _describe_all(values: Iterable[Any]) -> str:
    return ", ".join(_describe(value) for value in values)


def not_finite_in(batch: Batch) -> str:
    """Which arrays of a batch have NaN or infinite entries, and in which rows; "" if none has.

    A text such as "12 of 64 numbers of the input, in the batch's rows 0, 5".
    """
    found = []
    for position, nest in enumerate(batch):
        name = "the input" if position == 0 else f"array {position} of the batch"
        for leaf in leaves(nest_to_numpy(nest)):
            array = np.asarray(leaf)
            if array.dtype.kind not in "fc":
                continue
            bad = ~np.isfinite(array)
            if not bad.any():
                continue
            text = f"{np.count_nonzero(bad)} of {array.size} numbers of {name}"
            if array.ndim > 1:
                rows = bad.reshape(len(array), -1).any(axis=1)
                shown = ", ".join(map(str, np.flatnonzero(rows)[:4]))
                more = ", …" if np.count_nonzero(rows) > 4 else ""
                text += f", in the batch's rows {shown}{more}"
            found.append(text)
    return "; ".join(found)


def length_of(batches: HasEpochs) -> int | None:
    """Return how many batches an epoch has, None where nobody knows."""
    source: Any = batches.source if isinstance(batches, SampleStream) else batches
    return len(source) if hasattr(source, "__len__") else None
