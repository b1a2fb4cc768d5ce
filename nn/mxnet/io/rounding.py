"""MXDataIter: batches of rows of a file, with the rules of MXNet's own loaders.

The last batch of an epoch is filled from the beginning (round_batch=True), and the next epoch goes
on behind the rows that filled it.  A label of width 1 has one axis.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.attributes import Shape
from tapegrad.nn.mxnet.context import cpu
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.io.description import DataBatch, DataDesc, DataIter
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import ShapeOrText


__all__ = ["MXDataIter", "part_of", "shape_of", "true", "warn_of"]

# What MXNet's loaders take and what nothing here depends on: threads and how much is read ahead.
_WITHOUT_EFFECT = (
    "ctx", "data_name", "device_id", "input_shape", "label_name", "preprocess_threads",
    "prefetch_buffer", "silent", "verbose", "shuffle_chunk_size", "shuffle_chunk_seed",
)  # fmt: skip


class MXDataIter(DataIter):
    """Batches of rows; a subclass gives `_rows`, the arrays of an epoch's rows, one by one.

    round_batch: whether the last batch is filled from the beginning, and the next epoch goes on
                 behind those rows; else it is filled with what the batch before had there
    Raises MXNetError where there are fewer rows than a batch and it is filled.
    Source: mx.io.MXDataIter.
    """

    def __init__(
        self,
        batch_size: int,
        round_batch: bool = True,
        data_name: str = "data",
        label_name: str = "softmax_label",
        drops: bool = False,
    ):
        super().__init__(int(batch_size))
        if self.batch_size < 1:
            raise MXNetError(f"batch_size is at least 1, not {self.batch_size}")
        self._round, self._drops = true(round_batch), drops
        self._names = (data_name, label_name)
        self._source: Iterator[tuple[int, np.ndarray, np.ndarray]] | None = None
        self._overflow = 0
        self._before: tuple[list[np.ndarray], list[np.ndarray]] | None = None
        self._current: DataBatch | None = None
        self._shapes: tuple[DataDesc, DataDesc] | None = None

    def _rows(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(number, data, label) of each row of an epoch, from its beginning."""
        raise NotImplementedError

    def _described(self) -> tuple[DataDesc, DataDesc]:
        if self._shapes is None:
            _, data, label = next(iter(self._peek()), (0, np.zeros(0), np.zeros(1)))
            shape = () if label.shape == (1,) else label.shape
            self._shapes = (
                DataDesc(self._names[0], (self.batch_size, *data.shape), data.dtype.type),
                DataDesc(self._names[1], (self.batch_size, *shape), label.dtype.type),
            )
        return self._shapes

    def _peek(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Rows that say what shapes they have, without going on in the epoch."""
        return self._rows()

    @property
    def provide_data(self) -> list[DataDesc]:
        """The description of the data."""
        return [self._described()[0]]

    @property
    def provide_label(self) -> list[DataDesc]:
        """The description of the labels."""
        return [self._described()[1]]

    def reset(self) -> None:
        """Begin anew; behind the rows that filled the last batch."""
        if self._overflow == 0 or not self._round:
            self._source = None
        self._overflow = 0

    def iter_next(self) -> bool:
        """Go on to the next batch; False at the end."""
        self._current = None
        if self._overflow:
            return False
        if self._source is None:
            self._source = self._rows()
        found = []
        for row in self._source:
            found.append(row)
            if len(found) == self.batch_size:
                break
        missing = self.batch_size - len(found)
        if not found or (missing and self._drops):
            self._source = iter(())
            return False
        if missing and self._round:
            self._source = self._rows()
            for row in self._source:
                found.append(row)
                if len(found) == self.batch_size:
                    break
            if len(found) < self.batch_size:
                raise MXNetError(
                    f"number of input must be bigger than batch size: {self.batch_size} rows do "
                    f"not fit, with {len(found)} found: give a smaller batch_size"
                )
            self._overflow = missing
        self._current = self._batch(found, missing)
        return True

    def _batch(self, found: Sequence[tuple[int, np.ndarray, np.ndarray]], pad: int) -> DataBatch:
        rows, labels = [x for _, x, _ in found], [y for _, _, y in found]
        if len(found) < self.batch_size:
            old = self._before or ([np.zeros_like(rows[0])] * self.batch_size,
                                   [np.zeros_like(labels[0])] * self.batch_size)  # fmt: skip
            rows, labels = rows + old[0][len(rows) :], labels + old[1][len(labels) :]
        self._before = (rows, labels)
        label = np.stack(labels)
        if label.shape[1:] == (1,):
            label = label[:, 0]
        index = np.array([i for i, _, _ in found] + [0] * (self.batch_size - len(found)), np.uint64)
        data = np.stack(rows)
        return DataBatch(
            data=[array(data, cpu(), data.dtype)], label=[array(label, cpu(), label.dtype)],
            pad=pad, index=index,
        )  # fmt: skip

    def next(self) -> DataBatch:
        """The next batch.  Raises StopIteration at the end."""
        if not self.iter_next():
            raise StopIteration
        assert self._current is not None
        return self._current

    def _now(self) -> DataBatch:
        if self._current is None:
            raise MXNetError("there is no batch: call next() or iter_next()")
        return self._current

    def getdata(self) -> NDArray:
        """The data of the current batch."""
        found: NDArray = self._now().data[0]
        return found

    def getlabel(self) -> NDArray:
        """The labels of the current batch."""
        found: NDArray = self._now().label[0]
        return found

    def getindex(self) -> np.ndarray:
        """The numbers of the rows of the current batch."""
        return np.asarray(self._now().index)

    def getpad(self) -> int:
        """The number of rows that only fill the current batch."""
        return self._now().pad or 0


def part_of(count: int, part_index: int, num_parts: int) -> range:
    """The rows of one of several parts.  Raises MXNetError for a part that is none."""
    if not 0 <= part_index < num_parts:
        raise MXNetError(f"part_index is from 0 to {num_parts - 1}, not {part_index}")
    return range(int(count / num_parts * part_index), int(count / num_parts * (part_index + 1)))


def shape_of(given: ShapeOrText) -> tuple[int, ...]:
    """A shape: numbers, one number, or the text of them as MXNet takes it."""
    if isinstance(given, str):
        return Shape().read(given)
    return tuple(int(n) for n in given) if isinstance(given, (tuple, list)) else (int(given),)


def true(given: bool | int | str) -> bool:
    """A truth, or the text of one: "True", "1"."""
    return given.lower() in ("true", "1") if isinstance(given, str) else bool(given)


def warn_of(owner: str, others: Mapping[str, Any]) -> None:
    """Warn of arguments that do nothing; MXNet takes any and says nothing."""
    unknown = sorted(set(others) - set(_WITHOUT_EFFECT))
    if unknown:
        warnings.warn(f"{owner}: {', '.join(unknown)} has no effect here", stacklevel=3)
