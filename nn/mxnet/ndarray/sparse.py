"""mx.nd.sparse: row_sparse and csr arrays, which are dense inside and keep their kind.

What an operator makes of them is a plain NDArray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.core.services import register_service
from tapegrad.nn.mxnet.context import Context, current_context
from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.ndarray import ndarray as dense
from tapegrad.nn.mxnet.ndarray.functions import named_function
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import ArrayLike, DTypeLike, ShapeLike


__all__ = [
    "BaseSparseNDArray",
    "CSRNDArray",
    "RowSparseNDArray",
    "csr_matrix",
    "row_sparse_array",
    "zeros",
]

__getattr__ = finder("mx.nd.sparse", ["_sparse_"], named_function)


class BaseSparseNDArray(NDArray):
    """An array of which few entries are other than 0."""

    __slots__ = ()

    def copy(self) -> NDArray:
        """A copy of the same kind."""
        return type(self)(Tensor(self.asnumpy(), device=self._context.device), self._context)

    def tostype(self, stype: str) -> NDArray:
        """The array with another kind of storage: "default", "row_sparse" or "csr".

        Raises ValueError for another kind.
        """
        return self if stype == self.stype else with_storage(self, stype)

    def todense(self) -> NDArray:
        """The array with plain storage."""
        return self.tostype("default")

    def _array(self, values: np.ndarray) -> NDArray:
        return array(values, self._context, values.dtype)

    def _nonzero_rows(self) -> np.ndarray:
        values = self.asnumpy()
        return np.flatnonzero(values.reshape((len(values), -1)).any(1))


class RowSparseNDArray(BaseSparseNDArray):
    """An array of which few rows are other than 0: `indices` (k,) and `data` (k, …)."""

    __slots__ = ("_rows",)

    @property
    def stype(self) -> str:
        """The word "row_sparse"."""
        return "row_sparse"

    def keep(self, rows: np.ndarray) -> None:
        """Keep these rows whether they are 0 or not."""
        self._rows = np.asarray(rows, np.int64)

    def _stored(self) -> np.ndarray:
        """The numbers of the rows that are kept: those given, and all that are not 0."""
        given = getattr(self, "_rows", np.zeros(0, np.int64))
        return np.union1d(given, self._nonzero_rows()).astype(np.int64)

    @property
    def indices(self) -> NDArray:
        """The numbers of the rows that are kept, int64, in order."""
        return self._array(self._stored())

    @property
    def data(self) -> NDArray:
        """The rows that are kept."""
        return self._array(self.asnumpy()[self._stored()])

    def retain(self, indices: ArrayLike) -> RowSparseNDArray:
        """The rows of these numbers; the others are 0."""
        at = np.asarray(indices.asnumpy() if isinstance(indices, NDArray) else indices)
        values = np.zeros_like(self.asnumpy())
        at = at.astype(np.int64)
        values[at] = self.asnumpy()[at]
        return _row_sparse(values, np.unique(at), self._context)


class CSRNDArray(BaseSparseNDArray):
    """A matrix of which few entries are other than 0, row by row: `data`, `indices`, `indptr`."""

    __slots__ = ()

    @property
    def stype(self) -> str:
        """The word "csr"."""
        return "csr"

    @property
    def data(self) -> NDArray:
        """The entries that are not 0, row by row."""
        values = self.asnumpy()
        return self._array(values[values != 0])

    @property
    def indices(self) -> NDArray:
        """The columns of the entries, int64."""
        return self._array(np.nonzero(self.asnumpy())[1].astype(np.int64))

    @property
    def indptr(self) -> NDArray:
        """Where each row begins among the entries, int64; (rows + 1,)."""
        counts = np.count_nonzero(self.asnumpy(), axis=1)
        return self._array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _row_sparse(values: np.ndarray, rows: Any, context: Context) -> RowSparseNDArray:
    found = RowSparseNDArray(Tensor(values, device=context.device), context)
    found.keep(rows)
    return found


@register_service("mxnet.with_storage")  # a method of NDArray, which stands below
def with_storage(x: NDArray, stype: str) -> NDArray:
    """A copy of an array with a kind of storage.  Raises ValueError for an unknown one."""
    kinds: dict[str, type[NDArray]] = {
        "default": NDArray, "row_sparse": RowSparseNDArray, "csr": CSRNDArray,
    }  # fmt: skip
    if stype not in kinds:
        raise ValueError(f"no storage {stype!r}; there are {', '.join(kinds)}")
    if stype == "csr" and x.ndim != 2:
        raise ValueError(f"csr is for matrices, not for the shape {x.shape}")
    return kinds[stype](Tensor(x.asnumpy(), device=x.context.device), x.context)


def row_sparse_array(
    arg1: ArrayLike | tuple[Any, ...],
    shape: tuple[int, ...] | None = None,
    ctx: Context | None = None,
    dtype: DTypeLike | None = None,
) -> RowSparseNDArray:
    """A row_sparse array of (data, indices), of a dense array, or of zeros of a shape.

    Raises ValueError for an index out of range of `shape`.
    """
    context = ctx or current_context()
    if isinstance(arg1, tuple) and len(arg1) == 2 and not isinstance(arg1[0], (int, np.integer)):
        rows = _numbers(arg1[1]).astype(np.int64)
        data = _numbers(arg1[0], dtype)
        whole = shape or (int(rows.max(initial=-1)) + 1, *data.shape[1:])
        if rows.size and (rows.min() < 0 or rows.max() >= whole[0]):
            raise ValueError(f"row_sparse_array: a row is out of range of {whole[0]} rows")
        values = np.zeros(whole, data.dtype)
        values[rows] = data
        return _row_sparse(values, rows, context)
    if isinstance(arg1, tuple):
        return _row_sparse(np.zeros(arg1, dtype or np.float32), [], context)
    return _row_sparse(_numbers(arg1, dtype), [], context)


def csr_matrix(
    arg1: ArrayLike | tuple[Any, ...],
    shape: tuple[int, ...] | None = None,
    ctx: Context | None = None,
    dtype: DTypeLike | None = None,
) -> CSRNDArray:
    """A csr matrix of (data, indices, indptr), (data, (row, column)), a dense array, or a shape.

    Raises ValueError for an index out of range of `shape`.
    """
    context = ctx or current_context()
    if isinstance(arg1, tuple) and len(arg1) == 3:
        data, columns, starts = _numbers(arg1[0], dtype), _numbers(arg1[1]), _numbers(arg1[2])
        rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts).astype(np.int64))
        values = _scattered(data, rows, columns, shape, len(starts) - 1)
    elif isinstance(arg1, tuple) and isinstance(arg1[1], tuple):
        rows, columns = (_numbers(part) for part in arg1[1])
        values = _scattered(_numbers(arg1[0], dtype), rows, columns, shape, 0)
    elif isinstance(arg1, tuple):
        values = np.zeros(arg1, dtype or np.float32)
    else:
        values = _numbers(arg1.toarray() if hasattr(arg1, "toarray") else arg1, dtype)
    return CSRNDArray(Tensor(values, device=context.device), context)


def _scattered(data: Any, rows: Any, columns: Any, shape: Any, least: int) -> np.ndarray:
    rows, columns = rows.astype(np.int64), columns.astype(np.int64)
    size = (max(least, int(rows.max(initial=-1)) + 1), int(columns.max(initial=-1)) + 1)
    whole = shape or size
    if any(n < m for n, m in zip(whole, size, strict=True)):
        raise ValueError(f"csr_matrix: an index is out of range of the shape {tuple(whole)}")
    values = np.zeros(whole, data.dtype)
    np.add.at(values, (rows, columns), data)
    return values


def _numbers(x: Any, dtype: DTypeLike | None = None) -> np.ndarray:
    """x as a NumPy array; floats and lists in float32, as MXNet takes them."""
    values = x.asnumpy() if isinstance(x, NDArray) else np.asarray(x)
    if dtype is not None:
        return values.astype(dtype)
    given = isinstance(x, (NDArray, np.ndarray))
    return values if given and values.dtype != np.float64 else values.astype(np.float32)


def zeros(
    stype: str, shape: ShapeLike, ctx: Context | None = None, dtype: DTypeLike | None = None
) -> NDArray:
    """An array of zeros of a kind: "csr", "row_sparse" or "default".

    Raises ValueError for an unknown kind.
    """
    x = dense.zeros(shape, ctx, dtype)
    return x if stype == "default" else with_storage(x, str(stype))
