"""NDArrayIter: batches of arrays that are in memory.  Source: mx.io.NDArrayIter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.io.description import DataBatch, DataDesc, DataIter
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import IterData


__all__ = ["NDArrayIter"]

HOW = ("pad", "discard", "roll_over")


class NDArrayIter(DataIter):
    """Batches of arrays, in order or shuffled by NumPy's global generator.

    data, label:       an array, a list of them (named _0_data, _1_data, …), or a dict by name;
                       NumPy arrays become float32, an NDArray keeps its type
    last_batch_handle: "pad" fills the last batch from the beginning, "discard" drops it,
                       "roll_over" begins the next epoch with it
    Raises ValueError for arrays of several lengths, more rows in a batch than there are (unless
    padded), or another word.
    """

    def __init__(
        self,
        data: IterData,
        label: IterData = None,
        batch_size: int = 1,
        shuffle: bool = False,
        last_batch_handle: str = "pad",
        data_name: str = "data",
        label_name: str = "softmax_label",
        layout: str | None = "NCHW",
    ):
        super().__init__(batch_size)
        if last_batch_handle not in HOW:
            raise ValueError(f"last_batch_handle is one of {', '.join(HOW)}")
        self.data = _named(data, False, data_name)
        self.label = _named(label, True, label_name)
        self.num_data = self.data[0][1].shape[0]
        for name, x in (*self.data, *self.label):
            if x.shape[0] != self.num_data:
                raise ValueError(
                    f"{name} has {x.shape[0]} rows, {self.data[0][0]} has {self.num_data}"
                )
        if self.num_data < batch_size and last_batch_handle != "pad":
            raise ValueError("batch_size needs to be smaller than data size.")
        self.idx = np.arange(self.num_data)
        self.shuffle, self.last_batch_handle, self.layout = shuffle, last_batch_handle, layout
        self.cursor = -batch_size
        self._cache: list[np.ndarray] | None = None
        self._rows = np.arange(0)
        self.reset()  # a subclass's, too, which may look whether `data_list` is there already
        self.data_list = [x for _, x in (*self.data, *self.label)]
        self.num_source = len(self.data_list)

    @property
    def provide_data(self) -> list[DataDesc]:
        """The descriptions of the data."""
        return self._described(self.data)

    @property
    def provide_label(self) -> list[DataDesc]:
        """The descriptions of the labels."""
        return self._described(self.label)

    def _described(self, arrays: list[tuple[str, Any]]) -> list[DataDesc]:
        return [
            DataDesc(name, (self.batch_size, *x.shape[1:]), np.dtype(x.dtype).type, self.layout)
            for name, x in arrays
        ]

    def hard_reset(self) -> None:
        """Begin anew, and forget rows that would roll over."""
        if self.shuffle:
            np.random.shuffle(self.idx)  # noqa: NPY002  # MXNet's users seed this generator
        self.cursor = -self.batch_size
        self._cache = None

    def reset(self) -> None:
        """Begin anew; rows that roll over come first."""
        if self.shuffle:
            np.random.shuffle(self.idx)  # noqa: NPY002  # MXNet's users seed this generator
        rolls = self.last_batch_handle == "roll_over"
        if rolls and self._cache is not None:
            self.cursor = -len(self._cache[0]) - self.batch_size
        else:
            self.cursor = -self.batch_size

    def iter_next(self) -> bool:
        """Go on; False at the end."""
        self.cursor += self.batch_size
        return self.cursor < self.num_data

    def next(self) -> DataBatch:
        """The next batch.  Raises StopIteration at the end."""
        if not self.iter_next():
            raise StopIteration
        found = self._batch()
        if found is None:
            raise StopIteration
        data, label = found[: len(self.data)], found[len(self.data) :]
        return DataBatch(
            data=data, label=label, pad=self.getpad(), index=None,
            provide_data=self.provide_data, provide_label=self.provide_label,
        )  # fmt: skip

    def _batch(self) -> list[NDArray] | None:
        """The arrays of the batch at the cursor; None where it is dropped or kept for later."""
        end = self.cursor + self.batch_size
        if self.cursor < 0:  # rows that rolled over, then the first ones
            assert self._cache is not None
            head = self.idx[:end]
            parts = [
                np.concatenate([old, self._of(x, head)])
                for old, x in zip(self._cache, self.data_list, strict=True)
            ]
            self._cache = None
            return self._arrays(parts)
        rows = self.idx[self.cursor : min(end, self.num_data)]
        missing = end - self.num_data
        if missing > 0:
            if self.last_batch_handle == "discard":
                return None
            if self.last_batch_handle == "roll_over":
                self._cache = [self._of(x, rows) for x in self.data_list]
                return None
            rows = np.concatenate([rows, np.resize(self.idx, missing)])
        return self._arrays([self._of(x, rows) for x in self.data_list])

    @staticmethod
    def _of(x: Any, rows: np.ndarray) -> np.ndarray:
        values = x.asnumpy() if isinstance(x, NDArray) else x
        return np.asarray(values[rows])

    def _arrays(self, parts: list[np.ndarray]) -> list[NDArray]:
        return [array(part, dtype=x.dtype) for part, x in zip(parts, self.data_list, strict=True)]

    def getdata(self) -> list[NDArray]:
        """The data at the cursor."""
        return (self._batch() or [])[: len(self.data)]

    def getlabel(self) -> list[NDArray]:
        """The labels at the cursor."""
        return (self._batch() or [])[len(self.data) :]

    def getpad(self) -> int:
        """How many rows only fill the batch (or, as in MXNet, come from the epoch before)."""
        if self.last_batch_handle == "pad":
            return max(self.cursor + self.batch_size - self.num_data, 0)
        if self.last_batch_handle == "roll_over" and -self.batch_size < self.cursor < 0:
            return -self.cursor
        return 0


def _named(given: Any, empty: bool, default: str) -> list[tuple[str, Any]]:
    """(name, array) of each array; NumPy arrays as float32."""
    if given is None:
        if empty:
            return []
        raise ValueError("data is None")
    if isinstance(given, (np.ndarray, NDArray)):
        given = [given]
    if isinstance(given, (list, tuple)):
        if not given and not empty:
            raise ValueError("data is empty")
        names = [default] if len(given) == 1 else [f"_{i}_{default}" for i in range(len(given))]
        given = dict(zip(names, given, strict=True))
    if not isinstance(given, Mapping):
        raise TypeError(
            "Input must be NDArray, numpy.ndarray, a list of them or dict with them as values"
        )
    return [(name, _checked(name, x)) for name, x in sorted(given.items())]


def _checked(name: str, x: Any) -> Any:
    if isinstance(x, NDArray):
        return x
    try:
        return np.asarray(x).astype(np.float32)
    except (TypeError, ValueError):
        raise TypeError(
            f"Invalid type '{type(x)}' for {name}, should be NDArray or numpy.ndarray"
        ) from None
