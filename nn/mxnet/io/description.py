"""DataDesc, DataBatch, DataIter: what an iterator says of its arrays, and what it hands out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import DTypeLike, NDArrayLike


__all__ = ["DataBatch", "DataDesc", "DataIter", "described"]


class _NameAndShape(NamedTuple):
    name: str
    shape: tuple[int, ...]


class DataDesc(_NameAndShape):
    """A pair (name, shape) with the type of the entries and the meaning of the axes.

    Two are equal when name and shape are.  Source: mx.io.DataDesc.
    """

    dtype: Any
    layout: str | None

    def __new__(
        cls,
        name: str,
        shape: Sequence[int],
        dtype: DTypeLike = np.float32,
        layout: str | None = "NCHW",
    ) -> Self:
        """The pair of name and shape."""
        made = super().__new__(cls, name, tuple(shape))
        made.dtype = dtype
        made.layout = layout
        return made

    def __repr__(self) -> str:
        return f"DataDesc[{self.name},{self.shape},{self.dtype},{self.layout}]"

    @staticmethod
    def get_batch_axis(layout: str | None) -> int:
        """The axis N of a layout; 0 for None, -1 where it has no N."""
        return 0 if layout is None else layout.find("N")

    @staticmethod
    def get_list(shapes: Sequence[Any], types: Sequence[Any] | None) -> list[DataDesc]:
        """Descriptions of (name, shape) pairs, with types from (name, type) pairs."""
        if types is None:
            return [DataDesc(*pair) for pair in shapes]
        known = dict(types)
        return [DataDesc(name, shape, known[name]) for name, shape in shapes]


def described(shapes: Sequence[Any] | None) -> list[DataDesc] | None:
    """A DataDesc for each item: one, or a tuple (name, shape, …); None for None or none."""
    if shapes is None:
        return None
    return [s if isinstance(s, DataDesc) else DataDesc(*s) for s in shapes]


class DataBatch:
    """The arrays of one step.

    data, label: lists of arrays
    pad:         how many of the last rows are there only to fill the batch
    index:       the rows' numbers in the data
    bucket_key:  which bucket of a BucketingModule the batch is for
    Raises TypeError for data or label that are no list.  Source: mx.io.DataBatch.
    """

    data: Any
    label: Any
    index: Any

    def __init__(
        self,
        data: Sequence[NDArrayLike] | None,
        label: Sequence[NDArrayLike] | None = None,
        pad: int | None = None,
        index: np.ndarray | Sequence[int] | None = None,
        bucket_key: Any = None,
        provide_data: Sequence[Any] | None = None,
        provide_label: Sequence[Any] | None = None,
    ):
        for name, value in (("Data", data), ("Label", label)):
            if value is not None and not isinstance(value, (list, tuple)):
                raise AssertionError(f"{name} must be list of NDArrays")
        self.data, self.label, self.pad, self.index = data, label, pad, index
        self.bucket_key = bucket_key
        self.provide_data, self.provide_label = provide_data, provide_label

    def __str__(self) -> str:
        data = [tuple(d.shape) for d in self.data]
        label = [tuple(x.shape) for x in self.label] if self.label else None
        return f"{type(self).__name__}: data shapes: {data} label shapes: {label}"


class DataIter:
    """An iterator of batches that `reset` begins anew; a subclass gives `next`, or the parts.

    Source: mx.io.DataIter.
    """

    batch_size: int
    provide_data: Any = None
    provide_label: Any = None
    _ended: ClassVar[str] = "the iterator has ended: call reset()"

    def __init__(self, batch_size: int = 0):
        self.batch_size = batch_size

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> DataBatch:
        return self.next()

    def reset(self) -> None:
        """Begin anew."""

    def next(self) -> DataBatch:
        """The next batch.  Raises StopIteration at the end."""
        if self.iter_next():
            return DataBatch(
                data=self.getdata(), label=self.getlabel(), pad=self.getpad(), index=self.getindex()
            )
        raise StopIteration

    def iter_next(self) -> bool:
        """Go on to the next batch; False at the end."""
        return False

    def getdata(self) -> Any:
        """The data of the current batch."""

    def getlabel(self) -> Any:
        """The labels of the current batch."""

    def getindex(self) -> np.ndarray | None:
        """The numbers of the rows of the current batch."""
        return None

    def getpad(self) -> int | None:
        """The number of rows that only fill the current batch."""
        return None
