"""Mini-batches: samples stacked along a new first axis, with padding where their lengths differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.data.sample import Sample, row_array

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.autograd.core.types import Nest

__all__ = [
    "DefaultPadding",
    "FixedLength",
    "MiniBatch",
    "PaddingLongest",
    "PaddingParam",
    "PerSample",
    "collate",
    "nest_length",
    "slice_nest",
]

DIFFERENT = (
    "sample {index} of a batch has {what} of shape {found}, the first one {expected}: give a "
    "PaddingParam (SampleToMiniBatch(…, featurePaddingParam=PaddingParam()), or "
    "labelPaddingParam), or batches of one sample"
)
TOO_LONG = "FixedLength({fixed}): {what} {index} has length {found}; give at least that"
NO_ROOM = "padding: paddingTensor is of shape {found}, the rows of {what} {index} are {expected}"
OTHER_NEST = "sample {index} of a batch has {found}, the first one {expected}: all must be alike"


class MiniBatch(tuple):
    """Inputs and targets of some samples, stacked: the tuple (input, target), or (input,).

    input, target: an array (N, …), or a list, tuple or dict of such; None for no target
    As a tuple it is a batch of any Trainer's.  (BigDL's MiniBatch; offsets count from 0.)
    """

    __slots__ = ()

    def __new__(cls, input: Nest, target: Nest = None) -> Self:
        return super().__new__(cls, (input,) if target is None else (input, target))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    @staticmethod
    def of(samples: Sequence[Sample]) -> MiniBatch:
        """Stack samples of equal shapes.  Raises ValueError for other ones, and for none."""
        return stack_samples(samples)

    def getInput(self) -> Nest:
        """The input: an array (N, …), or a nest of them."""
        return self[0]

    def getTarget(self) -> Nest:
        """The target: an array (N, …), a nest of them, or None."""
        return self[1] if len(self) > 1 else None

    def size(self) -> int:
        """How many samples there are."""
        return nest_length(self[0])

    def slice(self, offset: int, length: int) -> MiniBatch:
        """The batch of `length` samples from `offset` on, counted from 0; arrays are views.

        Raises ValueError for samples that are not there.
        """
        if offset < 0 or length < 0 or offset + length > self.size():
            raise ValueError(
                f"MiniBatch.slice: samples {offset} to {offset + length} of {self.size()}"
            )
        return MiniBatch(*(slice_nest(entry, offset, offset + length) for entry in self))

    def toSamples(self) -> list[Sample]:
        """The samples, whose arrays are views of the batch's."""
        return [
            Sample(_row(self[0], i), () if len(self) == 1 else _row(self[1], i))
            for i in range(self.size())
        ]

    def __repr__(self) -> str:
        return f"MiniBatch({', '.join(map(_shown, self))})"


@dataclass(frozen=True)
class DefaultPadding:
    """Pad to the longest sample of the batch, along every axis."""

    def lengths(self, shapes: list[list[int]], what: str) -> list[list[int]]:
        """The shapes that the arrays of a sample are padded to; `shapes` are the largest found."""
        return shapes


@dataclass(frozen=True)
class PaddingLongest(DefaultPadding):
    """Pad to the longest sample of the batch, and `paddingLength` further along the first axis.

    paddingLength: one number for each array of a sample
    """

    paddingLength: Sequence[int]

    def lengths(self, shapes: list[list[int]], what: str) -> list[list[int]]:
        """As the base's, longer by paddingLength along the first axis."""
        pairs = zip(shapes, self.paddingLength, strict=True)
        return [[shape[0] + more, *shape[1:]] if shape else shape for shape, more in pairs]


@dataclass(frozen=True)
class FixedLength(DefaultPadding):
    """Pad the first axis of each array to a given length; a negative one means the longest.

    fixedLength: one number for each array of a sample.  Raises ValueError for a longer sample.
    """

    fixedLength: Sequence[int]

    def lengths(self, shapes: list[list[int]], what: str) -> list[list[int]]:
        """As the base's, of the fixed length along the first axis.

        Raises ValueError for a sample that is longer.
        """
        found = []
        for index, (shape, fixed) in enumerate(zip(shapes, self.fixedLength, strict=True)):
            if shape and 0 <= fixed < shape[0]:
                raise ValueError(
                    TOO_LONG.format(fixed=fixed, what=what, index=index, found=shape[0])
                )
            found.append([fixed, *shape[1:]] if shape and fixed >= 0 else shape)
        return found


@dataclass(frozen=True)
class PaddingParam:
    """How samples of different lengths become one array.

    paddingTensor:   what fills up, for each array of a sample: a number, or an array of the shape
                     of one row; 0 where it is None
    paddingStrategy: to which length: DefaultPadding(), PaddingLongest([2]), FixedLength([10])
    (BigDL's PaddingParam.)
    """

    paddingTensor: Sequence[npt.ArrayLike] | None = None
    paddingStrategy: DefaultPadding = DefaultPadding()


class PerSample(list):
    """A list with an entry for each sample, such as the boxes of each image, that is no table."""


def nest_length(nest: Any) -> int:
    """The number of samples in a nest of arrays, the length of its first array; 0 for none."""
    while isinstance(nest, (list, tuple, dict)):
        entries = list(nest.values()) if isinstance(nest, dict) else nest
        if not entries:
            return 0
        nest = entries[0]
    return len(nest)


def slice_nest(nest: Any, start: int, stop: int) -> Any:
    """The samples from `start` to `stop` of every array in a nest."""
    return _map_arrays(lambda array: array[start:stop], nest)


def _row(nest: Any, index: int) -> Any:
    return _map_arrays(lambda array: array[index], nest)


def _map_arrays(function: Callable[[Any], Any], nest: Any) -> Any:
    if isinstance(nest, PerSample):
        return function(nest)
    if isinstance(nest, dict):
        return {key: _map_arrays(function, value) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return type(nest)([_map_arrays(function, value) for value in nest])
    return function(nest)


def collate(
    rows: Sequence[Any], what: str = "a feature", padding: PaddingParam | None = None
) -> Any:
    """Stack the arrays of equal nests along a new first axis; None for rows of None.

    rows: of each sample an array, or a list, tuple or dict of arrays; a list of numbers is an array
    Raises ValueError for shapes that differ without a `padding`, and for nests that are not alike.
    """
    first = rows[0]
    if first is None:
        return None
    if padding is not None:
        return _padded(rows, what, padding)
    if type(first) is np.ndarray and first.ndim and first.dtype.kind in "fiubc":
        shape = first.shape
        if all(type(row) is np.ndarray and row.shape == shape for row in rows):
            return np.concatenate(rows).reshape(len(rows), *shape)  # much faster than np.stack
    if isinstance(first, dict):
        _check_alike(rows, lambda row: isinstance(row, dict) and row.keys() == first.keys())
        return {key: collate([row[key] for row in rows], what) for key in first}
    if _is_table(first):
        _check_alike(rows, lambda row: _is_table(row) and len(row) == len(first))
        return [collate(entries, what) for entries in zip(*rows, strict=True)]
    arrays = [row_array(row) for row in rows]
    for index, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            expected = arrays[0].shape
            raise ValueError(
                DIFFERENT.format(index=index, what=what, found=array.shape, expected=expected)
            )
    return np.stack(arrays)


def _is_table(row: object) -> bool:
    """Tell a list of arrays from a list of numbers, which is an array."""
    return isinstance(row, (list, tuple)) and any(
        isinstance(entry, (np.ndarray, Tensor, dict)) or _is_table(entry) for entry in row
    )


def _check_alike(rows: Sequence[Any], is_alike: Callable[[Any], bool]) -> None:
    for index, row in enumerate(rows):
        if not is_alike(row):
            raise ValueError(
                OTHER_NEST.format(index=index, found=_shown(row), expected=_shown(rows[0]))
            )


def _padded(rows: Sequence[Any], what: str, padding: PaddingParam) -> Any:
    single = not _is_table(rows[0])
    if single:
        rows = [[row] for row in rows]
    columns = [[row_array(entry) for entry in column] for column in zip(*rows, strict=True)]
    for column in columns:
        for index, array in enumerate(column):
            if array.ndim != column[0].ndim:
                expected = column[0].shape
                raise ValueError(
                    DIFFERENT.format(index=index, what=what, found=array.shape, expected=expected)
                )
    largest = [list(np.max([array.shape for array in column], axis=0)) for column in columns]
    largest = [[int(length) for length in shape] for shape in largest]
    lengths = padding.paddingStrategy.lengths(largest, what)
    fills = padding.paddingTensor or [0] * len(columns)
    padded = [
        _filled(column, shape, fill, what, index)
        for index, (column, shape, fill) in enumerate(zip(columns, lengths, fills, strict=True))
    ]
    return padded[0] if single else padded


def _filled(
    arrays: list[np.ndarray], shape: list[int], fill: npt.ArrayLike, what: str, index: int
) -> np.ndarray:
    dtype = np.result_type(*arrays)
    result = np.empty((len(arrays), *shape), dtype)
    value = np.asarray(fill, dtype)
    if value.ndim and value.shape != tuple(shape[1:]) and value.size != 1:
        expected = tuple(shape[1:])
        raise ValueError(
            NO_ROOM.format(found=value.shape, what=what, index=index, expected=expected)
        )
    result[...] = value if value.shape == tuple(shape[1:]) else value.reshape(-1)[0]
    for row, array in zip(result, arrays, strict=True):
        row[tuple(slice(length) for length in array.shape)] = array
    return result


def stack_samples(
    samples: Sequence[Sample],
    feature_padding: PaddingParam | None = None,
    label_padding: PaddingParam | None = None,
) -> MiniBatch:
    """Make a mini-batch of samples.  Raises ValueError for none, and for shapes that do not fit."""
    if not samples:
        raise ValueError("a mini-batch of no samples: give at least one")
    input = collate([sample.input for sample in samples], "a feature", feature_padding)
    target = collate([sample.target for sample in samples], "a label", label_padding)
    return MiniBatch(input, target)


def _shown(nest: Any) -> str:
    if isinstance(nest, dict):
        return "{" + ", ".join(f"{key}: {_shown(value)}" for key, value in nest.items()) + "}"
    if isinstance(nest, (list, tuple)):
        return "[" + ", ".join(map(_shown, nest)) + "]"
    shape = getattr(nest, "shape", None)
    return type(nest).__name__ if shape is None else f"{nest.dtype}{list(shape)}"
