"""Facts about arrays (shapes, types, truth values, text), and constants in the shape of an array.

Nothing here has a derivative.  `ops` exports all of it but `shape`, which would hide the file of
that name; NumPy's function finds it in the registry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.mode import is_followed
from tapegrad.autograd.core.tensor import Tensor, as_array, result_tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_axes,
    as_operand,
    is_fortran,
    namespace_of,
    value_of,
)

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Axes, DTypeLike, Operand, Shape
    from tapegrad.devices import Device

__all__ = [
    "allclose",
    "array_equal",
    "array_repr",
    "array_text",
    "common_type",
    "diag_indices_from",
    "einsum_path",
    "full_like",
    "isclose",
    "iscomplexobj",
    "isrealobj",
    "ndim",
    "ones_like",
    "result_type",
    "shares_memory",
    "size",
    "tril_indices_from",
    "triu_indices_from",
    "zeros_like",
]


@composite(numpy=np.shape, fact=True)
def shape(a: Array) -> Shape:
    """The lengths of the axes."""
    return tuple(a.shape)


@composite(numpy=np.ndim, fact=True)
def ndim(a: Array) -> int:
    """The number of axes."""
    return int(a.ndim)


@composite(numpy=np.size, fact=True)
def size(a: Array, axis: Axes = None) -> int:
    """The number of entries, or of those along some axes: the product of their lengths."""
    if axis is None:
        return int(a.size)
    return math.prod(int(a.shape[i]) for i in as_axes(axis, a.ndim))


@composite(numpy=np.result_type, fact=True)
def result_type(*operands: Operand) -> np.dtype:
    """The dtype that an operation on the operands has, as in NumPy."""
    return np.result_type(*[x.dtype if isinstance(x, Tensor) else x for x in operands])


@composite(numpy=np.isclose, differentiable=False)
def isclose(
    a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """|a - b| <= atol + rtol·|b|, elementwise, as booleans."""
    a, b = as_operand(a), as_operand(b)
    close = e.less_equal(e.absolute(a - b), atol + rtol * e.absolute(b))
    close = e.where(e.isfinite(b), close, e.equal(a, b))
    if equal_nan:
        close = e.logical_or(close, e.logical_and(e.isnan(a), e.isnan(b)))
    return close


@composite(numpy=np.allclose, fact=True)
def allclose(
    a: Operand, b: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all entries are close, as `isclose` says."""
    return bool(r.all(isclose(a, b, rtol, atol, equal_nan)))


@composite(numpy=np.array_equal, fact=True)
def array_equal(a1: Operand, a2: Operand, equal_nan: bool = False) -> bool:
    """Whether a1 and a2 have one shape and equal entries."""
    a1, a2 = (devices.to_numpy(as_array(x)) for x in (a1, a2))
    return bool(np.array_equal(a1, a2, equal_nan=equal_nan))


@composite(numpy=(np.shares_memory, np.may_share_memory), fact=True)
def shares_memory(a: Array, b: Array, max_work: int | None = None) -> bool:
    """Whether a and b overlap in memory; exactly, whatever work that is."""
    del max_work
    return bool(np.shares_memory(as_array(a), as_array(b)))


@composite(numpy=np.iscomplexobj, fact=True)
def iscomplexobj(x: Array) -> bool:
    """Whether the dtype is complex."""
    return bool(x.dtype.kind == "c")


@composite(numpy=np.isrealobj, fact=True)
def isrealobj(x: Array) -> bool:
    """Whether the dtype is not complex."""
    return bool(x.dtype.kind != "c")


@composite(numpy=(np.array2string, np.array_str), fact=True)
def array_text(a: Operand, **options: Any) -> str:
    """The entries as text, as NumPy writes them."""
    return np.array2string(value_of(a), **options)


@composite(numpy=np.array_repr, fact=True)
def array_repr(a: Operand, **options: Any) -> str:
    """The text of the NumPy array that holds the entries."""
    return np.array_repr(value_of(a), **options)


@composite(numpy=np.common_type, fact=True)
def common_type(*arrays: Operand) -> type:
    """The floating point type that holds the entries of all arrays."""
    return np.common_type(*[value_of(as_operand(a)) for a in arrays])


@composite(numpy=np.diag_indices_from, fact=True)
def diag_indices_from(arr: Array) -> tuple[np.ndarray, ...]:
    """The indices of the main diagonal."""
    return np.diag_indices_from(np.broadcast_to(0, arr.shape))


@composite(numpy=np.tril_indices_from, fact=True)
def tril_indices_from(arr: Array, k: int = 0) -> tuple[np.ndarray, ...]:
    """The indices of the lower triangle."""
    return np.tril_indices(arr.shape[-2], k=k, m=arr.shape[-1])


@composite(numpy=np.triu_indices_from, fact=True)
def triu_indices_from(arr: Array, k: int = 0) -> tuple[np.ndarray, ...]:
    """The indices of the upper triangle."""
    return np.triu_indices(arr.shape[-2], k=k, m=arr.shape[-1])


@composite(numpy=np.einsum_path, fact=True)
def einsum_path(
    subscripts: str, *operands: Array, optimize: bool | str | Sequence[Any] = "greedy"
) -> tuple[list[Any], str]:
    """NumPy's plan for a contraction; `einsum` on Tensors follows opt_einsum's."""
    shapes = [np.broadcast_to(0.0, x.shape) for x in operands]
    return np.einsum_path(subscripts, *shapes, optimize=optimize)


# Constants ----------------------------------------------------------------------------------------


def _full_like(
    a: Array,
    fill: Any,
    dtype: DTypeLike | None,
    order: str,
    shape: int | Shape | None,
    device: Device | str | None,
) -> Array:
    """An array full of `fill`, or an untracked Tensor where a is one."""
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"order={order!r} is none of 'C', 'F', 'A', 'K'")
    array = as_array(a)
    kind = dtype or array.dtype
    rows_first = is_followed() or order == "C" or array.ndim < 2 or array.flags.c_contiguous
    if isinstance(a, Tensor) and shape is None and device is None and rows_first:
        return a.full_like(fill, kind)  # also where `a` is one sample of a batch
    lengths: Any = tuple(array.shape) if shape is None else shape
    lengths = tuple(lengths) if isinstance(lengths, (tuple, list)) else (lengths,)
    y: Any = devices.namespace(array).full(lengths, fill, dtype=kind)
    y = in_memory_order(y, order, array)
    y = y if device is None else devices.to_device(y, device)
    if not isinstance(a, Tensor):
        return y
    # what is made of one sample of a batch can be written into for each of them
    return result_tensor(y) + r.sum(a.full_like(0, kind)) if is_followed() else result_tensor(y)


def in_memory_order(y: Array, order: str, like: Array) -> Array:
    """The bare array y with its axes in an order of memory: "C", "F", or "A" and "K" as `like`."""
    same = y.ndim == like.ndim
    if order == "F" or (order in ("A", "K") and same and is_fortran(like)):
        return namespace_of(y).asarray(y, order="F")
    if order != "K" or not same or y.ndim < 3:
        return y
    steps = [abs(step) for step in getattr(like, "strides", ())]
    axes = tuple(sorted(range(len(steps)), key=lambda i: -steps[i]))
    inverse = tuple(sorted(range(y.ndim), key=lambda i: axes[i]))
    return namespace_of(y).ascontiguousarray(y.transpose(axes)).transpose(inverse)


@composite(numpy=(np.zeros_like, np.empty_like), differentiable=False)
def zeros_like(
    a: Operand,
    dtype: DTypeLike | None = None,
    order: str = "K",
    *,
    shape: int | Shape | None = None,
    device: Device | str | None = None,
) -> Tensor:
    """Zeros of a's shape, dtype and device, or of those given; a Tensor for a Tensor, untracked."""
    return _full_like(a, 0, dtype, order, shape, device)


@composite(numpy=np.ones_like, differentiable=False)
def ones_like(
    a: Operand,
    dtype: DTypeLike | None = None,
    order: str = "K",
    *,
    shape: int | Shape | None = None,
    device: Device | str | None = None,
) -> Tensor:
    """Ones of a's shape, dtype and device, or of those given; a Tensor for a Tensor, untracked."""
    return _full_like(a, 1, dtype, order, shape, device)


@composite(numpy=np.full_like)
def full_like(
    a: Operand,
    fill_value: Operand,
    dtype: DTypeLike | None = None,
    order: str = "K",
    *,
    shape: int | Shape | None = None,
    device: Device | str | None = None,
) -> Tensor:
    """`fill_value` in a's shape, dtype and device, or in those given; differentiable in the value.

    fill_value: a number, or what broadcasts to the shape
    """
    if not isinstance(fill_value, Tensor):
        return _full_like(a, fill_value, dtype, order, shape, device)
    ones = _full_like(a, 1, dtype, order, shape, device)
    value = fill_value.astype(ones.dtype)
    return s.copy(s.broadcast_to(value, tuple(ones.shape)), "F" if is_fortran(ones) else "C")
