"""Functions that make Tensors: of numbers, of a shape, or of other arrays' memory.

Results are untracked, save those that are made of a tracked Tensor: `asarray` keeps its past, and
`full`, `linspace`, `tril`, … have derivatives in what they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core import tensor
from tapegrad.autograd.core.nesting import as_one_tensor, holds_tensors
from tapegrad.autograd.core.tensor import Tensor, as_array, result_tensor
from tapegrad.autograd.ops import grids, rearranging
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.surface.array_api.data_types import float64, int64

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import DTypeLike, Operand
    from tapegrad.devices import Device

    Home = Device | str | None

__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "linspace",
    "meshgrid",
    "ones",
    "ones_like",
    "tril",
    "triu",
    "zeros",
    "zeros_like",
]

NEEDS_COPY = (
    "asarray: copy=False, but {what} cannot be used without a copy; leave copy out, or give "
    "copy=None"
)


def _placed(array: np.ndarray, device: Home) -> Tensor:
    """A new NumPy array as an untracked Tensor on a device."""
    return result_tensor(array if device is None else devices.to_device(array, device))


def asarray(
    obj: Operand,
    /,
    *,
    dtype: DTypeLike = None,
    device: Home = None,
    copy: bool | None = None,
) -> Tensor:
    """A Tensor of a Tensor, array, number, buffer, or nested sequence of numbers and Tensors.

    dtype:  dtype of the result; of Python numbers bool, int64, float64 or complex128 when omitted
    device: where the result is; where `obj` is when omitted
    copy:   True copies, False never does, None where it must
    A tracked Tensor, or a sequence that holds one, gives a tracked Tensor.
    Raises ValueError with ``copy=False`` where a copy is needed, TypeError for what holds no
    numbers.
    """
    wanted = None if dtype is None else np.dtype(dtype)
    if isinstance(obj, Tensor):
        x = obj
        if wanted is not None and wanted != x.dtype:
            _refuse_copy(copy, f"{x.dtype} as {wanted}")
            x = x.astype(wanted)
        elif copy:
            x = s.copy(x)
    elif holds_tensors(obj):
        _refuse_copy(copy, "a sequence")
        x = as_one_tensor(obj)
        x = x if wanted is None else x.astype(wanted, copy=False)
    else:
        bare: Any = obj
        array = bare if devices.is_array(bare) else as_array(bare)
        shares = array is bare or np.shares_memory(array, _memory(bare))
        if not shares or (wanted is not None and wanted != array.dtype):
            _refuse_copy(copy, type(obj).__name__)
            array = array.astype(wanted or array.dtype)
        elif copy:
            array = array.copy()
        x = Tensor(array)
    if device is None or x.device == devices.device(device):
        return x
    _refuse_copy(copy, f"memory of {x.device}")
    return x.to(device)


def _refuse_copy(copy: bool | None, what: str) -> None:
    if copy is False:
        raise ValueError(NEEDS_COPY.format(what=what))


def _memory(obj: Any) -> np.ndarray:
    """The memory of an object with the buffer protocol; none for others."""
    try:
        return np.asarray(memoryview(obj))
    except TypeError:
        return np.empty(0)


def from_dlpack(x: Any, /, *, device: Home = None, copy: bool | None = None) -> Tensor:
    """An untracked Tensor that shares the memory of x, any object with the DLPack protocol.

    device: where the result is; where x is when omitted
    copy:   True copies, False never does, None where it must
    Raises TypeError for an object without the protocol or a tracked Tensor, DeviceError for memory
    that no library here takes, ValueError with ``copy=False`` for another device.
    """
    return asarray(tensor.from_dlpack(x), device=device, copy=copy)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DTypeLike = None,
    device: Home = None,
) -> Tensor:
    """start, start + step, … up to and without stop: (n,); from 0 if only one bound is given.

    dtype: int64 when omitted and all three are integers, else float64
    Raises ValueError for a step of 0.
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ValueError("arange: the step is 0")
    if dtype is None:
        whole = all(isinstance(v, (int, np.integer)) for v in (start, stop, step))
        dtype = int64 if whole else float64
    if (stop - start) * step <= 0:
        return _placed(np.empty(0, dtype), device)
    return _placed(np.arange(start, stop, step, dtype=dtype), device)


def linspace(
    start: Operand,
    stop: Operand,
    /,
    num: int,
    *,
    dtype: DTypeLike = None,
    device: Home = None,
    endpoint: bool = True,
) -> Tensor:
    """num evenly spaced numbers from start to stop: (num,); without stop if not `endpoint`.

    start, stop: numbers, or Tensors, in which the result is differentiated
    dtype:       float64 when omitted, complex128 for complex bounds
    """
    if isinstance(start, Tensor) or isinstance(stop, Tensor):
        x: Any = grids.linspace(start, stop, num, endpoint)
        x = x if dtype is None else x.astype(dtype, copy=False)
        return asarray(x, device=device)
    numbers: tuple[Any, Any] = (start, stop)
    return _placed(np.linspace(*numbers, num, endpoint=endpoint, dtype=dtype), device)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DTypeLike = None,
    device: Home = None,
) -> Tensor:
    """Ones on the k-th diagonal, zeros elsewhere: (n_rows, n_cols); n_cols = n_rows if omitted."""
    return _placed(np.eye(n_rows, n_cols, k=k, dtype=dtype or float64), device)


def full(
    shape: int | Sequence[int],
    fill_value: Operand,
    *,
    dtype: DTypeLike = None,
    device: Home = None,
) -> Tensor:
    """`fill_value` in every entry of a shape.

    fill_value: a number, or a 0-d Tensor, in which the result is differentiated
    dtype:      that of the value when omitted
    """
    lengths = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if isinstance(fill_value, Tensor):
        x = s.copy(s.broadcast_to(asarray(fill_value, dtype=dtype), lengths))
        return asarray(x, device=device)
    value: Any = fill_value
    return _placed(np.full(lengths, value, dtype=dtype), device)


def full_like(
    x: Tensor, /, fill_value: Operand, *, dtype: DTypeLike = None, device: Home = None
) -> Tensor:
    """`fill_value` in x's shape, dtype and device."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or x.device)


def zeros(shape: int | Sequence[int], *, dtype: DTypeLike = None, device: Home = None) -> Tensor:
    """Zeros of a shape; float64 when no dtype is given."""
    return _placed(np.zeros(shape, dtype or float64), device)


def ones(shape: int | Sequence[int], *, dtype: DTypeLike = None, device: Home = None) -> Tensor:
    """Ones of a shape; float64 when no dtype is given."""
    return _placed(np.ones(shape, dtype or float64), device)


def empty(shape: int | Sequence[int], *, dtype: DTypeLike = None, device: Home = None) -> Tensor:
    """Any numbers, of a shape, to be overwritten; float64 when no dtype is given."""
    return _placed(np.empty(shape, dtype or float64), device)


def zeros_like(x: Tensor, /, *, dtype: DTypeLike = None, device: Home = None) -> Tensor:
    """Zeros of x's shape, dtype and device."""
    return zeros(x.shape, dtype=dtype or x.dtype, device=device or x.device)


def ones_like(x: Tensor, /, *, dtype: DTypeLike = None, device: Home = None) -> Tensor:
    """Ones of x's shape, dtype and device."""
    return ones(x.shape, dtype=dtype or x.dtype, device=device or x.device)


def empty_like(x: Tensor, /, *, dtype: DTypeLike = None, device: Home = None) -> Tensor:
    """Any numbers, to be overwritten, of x's shape, dtype and device."""
    return empty(x.shape, dtype=dtype or x.dtype, device=device or x.device)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """The coordinates of a grid, one Tensor of its shape for every vector (n_i,).

    indexing: "xy" for a shape that begins (n_2, n_1), "ij" for one in the order of the vectors
    Raises ValueError for another word.
    """
    return tuple(rearranging.meshgrid(*arrays, indexing=indexing))


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The lower triangles of matrices (…, m, n), up to the k-th diagonal; zeros above."""
    _at_least_matrix(x, "tril")
    return rearranging.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The upper triangles of matrices (…, m, n), from the k-th diagonal on; zeros below."""
    _at_least_matrix(x, "triu")
    return rearranging.triu(x, k)


def _at_least_matrix(x: Tensor, name: str) -> None:
    if x.ndim < 2:
        raise ValueError(f"{name}: x has shape {x.shape}, but matrices have two axes at least")
