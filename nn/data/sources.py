"""Where samples come from: arrays, frames, tables, lists, generators; read batch by batch.

A *source* has `batches(size)`, an iterator of MiniBatches, and a length where somebody knows one.
Columns are what has all samples in one array (arrays, memory maps, frames, tables): a batch is a
slice of them, and a piece of them a source again.  Rows are samples one by one.

A list is a list of samples, and a tuple is several arrays that hold all samples: `(x, target)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.data.minibatch import (
    MiniBatch,
    PaddingParam,
    collate,
    nest_length,
    slice_nest,
)
from tapegrad.nn.data.sample import Sample, row_array
from tapegrad.nn.data.tables import TableColumns, as_columns, is_table

__all__ = ["Columns", "MadeBatches", "Rows", "Source", "as_source"]

NO_DATA = (
    "{place}: the data is {found}; it is an array, a tuple of arrays, a list of samples, an "
    "iterable or generator of samples or mini-batches, a pandas frame, an Arrow table, a data set"
)
NO_TARGET = (
    "{place} needs targets, and {found}: give (x, target), Samples with labels, or "
    "DataSet.frame(frame, labels=[…])"
)
DIFFERENT_LENGTHS = "{place}: the arrays hold different numbers of samples: {found}"
SHUFFLED = "{place}: the batches are shuffled, and so would be the results: shuffle=False"
ONE_NUMBER = "{place}: a number has no samples: {found}"


class Source:
    """Samples to be read batch by batch; `targets` says whether they have labels."""

    length: int | None = None

    def batches(self, size: int) -> Iterator[MiniBatch]:
        """All samples in order, in batches of `size`, of which the last may be smaller."""
        raise NotImplementedError

    def pieces(self, count: int, size: int) -> Iterator[Source]:
        """The same samples as several sources, cut at multiples of `size` samples.

        count: how many, where the length is known, at most; otherwise pieces of 8 batches each
        """
        raise NotImplementedError


class Columns(Source):
    """Arrays that hold all samples along their first axis, in nests of inputs and targets."""

    def __init__(self, input: Any, target: Any = None) -> None:
        self.input, self.target = input, target
        self.length = nest_length(input)

    def batches(self, size: int) -> Iterator[MiniBatch]:
        """Slices of the arrays: views, where they are NumPy's."""
        for start in range(0, self.length or 0, size):
            stop = start + size
            target = None if self.target is None else _read(self.target, start, stop)
            yield MiniBatch(_read(self.input, start, stop), target)

    def pieces(self, count: int, size: int) -> Iterator[Source]:
        """Slices at multiples of `size`, as equal as these allow."""
        for start, stop in _ends(self.length or 0, count, size):
            target = None if self.target is None else slice_nest(self.target, start, stop)
            yield Columns(slice_nest(self.input, start, stop), target)


class Rows(Source):
    """Samples one by one: `Sample`s, or what `collate` stacks.

    with_targets: whether a row that is a tuple is (input, target); otherwise its entries are inputs
    """

    def __init__(
        self,
        rows: Iterable[Any],
        place: str,
        *,
        with_targets: bool,
        padding: PaddingParam | None = None,
    ) -> None:
        self.rows, self.place, self.with_targets, self.padding = rows, place, with_targets, padding
        self.length = len(rows) if isinstance(rows, Sequence) else None

    def batches(self, size: int) -> Iterator[MiniBatch]:
        """The rows stacked; a row that is a MiniBatch is a batch by itself."""
        waiting: list[Any] = []
        for row in self.rows:
            if isinstance(row, MiniBatch):
                if waiting:
                    yield self._stacked(waiting)
                    waiting = []
                self._check_target(row.getTarget())
                yield row
                continue
            waiting.append(row)
            if len(waiting) == size:
                yield self._stacked(waiting)
                waiting = []
        if waiting:
            yield self._stacked(waiting)

    def _stacked(self, rows: list[Any]) -> MiniBatch:
        pairs = [self._pair(row) for row in rows]
        inputs = [pair[0] for pair in pairs]
        targets = [pair[1] for pair in pairs]
        if not self.with_targets:
            return MiniBatch(collate(inputs, "a feature", self.padding))
        self._check_target(targets[0])
        return MiniBatch(
            collate(inputs, "a feature", self.padding), collate(targets, "a label", None)
        )

    def _pair(self, row: Any) -> tuple[Any, Any]:
        if isinstance(row, Sample):
            return row.input, row.target
        if isinstance(row, tuple):
            if not self.with_targets:
                return row[0] if len(row) == 1 else list(row), None
            *inputs, target = row
            return (inputs[0] if len(inputs) == 1 else inputs, target) if inputs else (row, None)
        return row, None

    def _check_target(self, target: Any) -> None:
        if self.with_targets and target is None:
            raise ValueError(NO_TARGET.format(place=self.place, found="a sample has no label"))

    def pieces(self, count: int, size: int) -> Iterator[Source]:
        """Lists of rows; of rows that are counted as many as asked for, at most."""
        if self.length is not None:
            assert isinstance(self.rows, Sequence)
            for start, stop in _ends(self.length, count, size):
                yield self._like(list(self.rows[start:stop]))
            return
        waiting = iter(self.rows)
        while rows := list(islice(waiting, 8 * size)):
            yield self._like(rows)

    def _like(self, rows: list[Any]) -> Rows:
        return Rows(rows, self.place, with_targets=self.with_targets, padding=self.padding)


class MadeBatches(Source):
    """Batches that somebody made: tuples (input, …, target) of arrays."""

    def __init__(self, batches: Iterable[tuple[Any, ...]], *, with_targets: bool) -> None:
        self.made, self.with_targets = batches, with_targets

    def batches(self, size: int) -> Iterator[MiniBatch]:
        """The batches as they were made, whatever `size` says."""
        for batch in self.made:
            if isinstance(batch, MiniBatch):
                yield batch
                continue
            *inputs, target = batch if self.with_targets else (*batch, None)
            yield MiniBatch(inputs[0] if len(inputs) == 1 else inputs, target)

    def pieces(self, count: int, size: int) -> Iterator[Source]:
        """Each 8 batches."""
        waiting = iter(self.made)
        while batches := list(islice(waiting, 8)):
            yield MadeBatches(batches, with_targets=self.with_targets)


def _ends(length: int, count: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of at most `count` pieces of whole batches, none empty."""
    batches = -(-length // size)
    ends = [round(batches * i / count) * size for i in range(count + 1)]
    for start, stop in pairwise(ends):
        if start < min(stop, length):
            yield start, min(stop, length)


def _read(nest: Any, start: int, stop: int) -> Any:
    """NumPy's arrays of some samples."""
    if isinstance(nest, dict):
        return {key: _read(value, start, stop) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [_read(value, start, stop) for value in nest]
    return row_array(nest[start:stop])


def as_source(
    data: Any,
    place: str,
    *,
    with_targets: bool,
    padding: PaddingParam | None = None,
) -> Source:
    """Return `data` as a source of samples.

    with_targets: whether the last array of a tuple is the target, and labels must be there
    Raises TypeError for what is no data, ValueError for arrays of different lengths and for data
    without the targets that are needed.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, MiniBatch):
        data = [data]
    if callable(getattr(data, "epoch", None)):  # batches of any Trainer's
        if getattr(data, "shuffle", False) is True:
            raise ValueError(SHUFFLED.format(place=place))
        return MadeBatches(data.epoch(0), with_targets=with_targets)
    if callable(getattr(data, "data", None)) and callable(getattr(data, "shuffle", None)):
        data = data.samples()
        if isinstance(data, Columns):
            return _checked_columns(data.input, data.target, place, with_targets=with_targets)
    if is_table(data):
        data = as_columns(data)
    if _is_column(data):
        return _checked_columns(data, None, place, with_targets=with_targets)
    if isinstance(data, tuple) and data and all(_is_column(x) or _is_nest(x) for x in data):
        inputs = [as_columns(x) if is_table(x) else x for x in data]
        target = inputs.pop() if with_targets and len(inputs) > 1 else None
        found = inputs[0] if len(inputs) == 1 else inputs
        return _checked_columns(found, target, place, with_targets=with_targets)
    if isinstance(data, Mapping) and data and all(_is_column(x) for x in data.values()):
        return _checked_columns(dict(data), None, place, with_targets=with_targets)
    if callable(getattr(data, "read_next_batch", None)):  # Arrow's stream of record batches
        data = (row for batch in data for row in np.asarray(as_columns(batch)))
    if isinstance(data, (str, bytes, Mapping)) or not isinstance(data, Iterable):
        raise TypeError(NO_DATA.format(place=place, found=_shown(data)))
    return Rows(data, place, with_targets=with_targets, padding=padding)


def _is_column(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Tensor, TableColumns)) or is_table(value)


def _is_nest(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(map(_is_column, value.values()))
    return isinstance(value, list) and bool(value) and all(map(_is_column, value))


def _checked_columns(input: Any, target: Any, place: str, *, with_targets: bool) -> Columns:
    leaves = [*_columns_in(input), *([] if target is None else _columns_in(target))]
    for leaf in leaves:
        if not np.ndim(leaf):
            raise ValueError(ONE_NUMBER.format(place=place, found=f"{leaf!r:.60}"))
    lengths = [len(leaf) for leaf in leaves]
    if len(set(lengths)) != 1:
        raise ValueError(DIFFERENT_LENGTHS.format(place=place, found=lengths))
    if with_targets and target is None:
        raise ValueError(NO_TARGET.format(place=place, found="the data has inputs only"))
    return Columns(input, target if with_targets else None)


def _columns_in(nest: Any) -> list[Any]:
    if isinstance(nest, dict):
        nest = list(nest.values())
    if isinstance(nest, (list, tuple)):
        return [leaf for entry in nest for leaf in _columns_in(entry)]
    return [nest]


def _shown(value: Any) -> str:
    return f"a {type(value).__name__}" if not isinstance(value, (str, int)) else f"{value!r:.60}"
