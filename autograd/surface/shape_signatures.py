"""NumPy's functions that move, choose and convert entries, with every option: see `signatures.py`.

`write_to_out` is what all functions with NumPy's signature do with ``out=``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from tapegrad.autograd.core.declaration import newer_numpy
from tapegrad.autograd.core.tensor import Tensor, as_array
from tapegrad.autograd.ops import counting, indexing, linalg, sorting
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, is_fortran, value_of
from tapegrad.autograd.ops.conversion import to_integer
from tapegrad.autograd.ops.rearranging import joining
from tapegrad.autograd.reverse.write import write_result

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, DTypeLike, Operand
    from tapegrad.devices import Device

__all__ = [
    "NO_VALUE",
    "OUT_IS_TENSOR",
    "SHAPE_FULL",
    "argpartition",
    "astype",
    "cast_if_needed",
    "clip",
    "concatenate",
    "copy",
    "copy_method",
    "einsum",
    "flatten",
    "isin",
    "laid_out",
    "numpy_astype",
    "packbits",
    "ravel",
    "reshape",
    "searchsorted",
    "stack",
    "take",
    "unpackbits",
    "where",
    "write_to_out",
]

NO_VALUE = (
    "{name} on a Tensor: where= without out= is not supported: the entries that where= leaves out "
    "would have no value; give them one, out=np.zeros_like(x)"
)
OUT_IS_TENSOR = (
    "{name}(…, out=…): an ndarray cannot take a Tensor's result without losing its gradient; "
    "write `y = …` instead of `y += …` or `out=y`, or make y a Tensor."
)
NO_ORDER = "{name}: order={order!r} is none of 'C', 'F', 'A'"
Casting: TypeAlias = Literal["no", "equiv", "safe", "same_kind", "unsafe"]
CANNOT_CAST = "astype: {own} cannot be cast to {dtype} according to casting={casting!r}"


def laid_out(y: Any, order: str, operands: Sequence[Any]) -> Any:
    """y, or a copy of it in the order of memory that a call with `order` gives its result."""
    if order == "K" or not hasattr(y, "ndim") or y.ndim < 2:
        return y
    arrays = [x for x in operands if getattr(x, "ndim", 0) > 1]
    fortran = order == "F" or (order == "A" and bool(arrays) and all(map(is_fortran, arrays)))
    return s.lie_as(y, fortran=fortran)


def write_to_out(out: Array | None, y: Array, name: str) -> Array:
    """Return y, or write it into the Tensor `out` and return that.

    Raises TypeError for an ndarray `out`, and what ``out[...] = y`` raises.
    """
    if out is None:
        return y
    if not isinstance(out, Tensor):
        raise TypeError(OUT_IS_TENSOR.format(name=name))
    return write_result(out, y, f"{name}(…, out=x)")


def cast_if_needed(x: Array, dtype: DTypeLike) -> Array:
    """x in `dtype`; x itself when that is None or its own."""
    return x if dtype is None or x.dtype == np.dtype(dtype) else astype(x, dtype)


def _is_fortran(name: str, order: str, a: Array) -> bool:
    """Whether `order` asks for columns first: "F", or "A" for an array that lies so."""
    if order not in ("C", "F", "A"):
        raise ValueError(NO_ORDER.format(name=name, order=order))
    return order == "F" or (order == "A" and is_fortran(a))


def _by_memory(a: Array) -> Array:
    """a with its axes in the order in which they lie in memory, the slowest first."""
    strides = getattr(as_array(a), "strides", ())
    axes = sorted(range(len(strides)), key=lambda i: -abs(strides[i]))
    return a if axes == sorted(axes) else s.transpose(a, tuple(axes))


def ravel(a: Operand, order: str = "C") -> Tensor:
    """The entries as one axis, row by row; column by column for order "F", as in memory for "K"."""
    a = as_operand(a)
    if order == "K":
        return s.ravel(_by_memory(a))
    return s.ravel(s.transpose(a) if _is_fortran("ravel", order, a) else a)


def flatten(a: Operand, order: str = "C") -> Tensor:
    """A copy with one axis; of the entries column by column for order "F"; see `ravel`."""
    return s.copy(ravel(a, order))


def reshape(
    a: Operand,
    /,
    shape: int | Sequence[int] | None = None,
    order: str = "C",
    *,
    newshape: int | Sequence[int] | None = None,
    copy: bool | None = None,
) -> Tensor:
    """The entries in another shape; read and placed column by column for order "F"."""
    target: Any = newshape if shape is None else shape
    lengths = (target,) if isinstance(target, (int, np.integer)) else tuple(target)
    a = as_operand(a)
    if _is_fortran("reshape", order, a):
        y = s.transpose(s.reshape(s.transpose(a), lengths[::-1]))
    else:
        y = s.reshape(a, lengths)
    return s.copy(y) if copy else y


def copy(a: Operand, order: str = "K", subok: bool = False) -> Tensor:
    """A copy, tracked as x is, in an `order` of memory: "C", "F", or "K" for that of a."""
    del subok
    return s.copy(as_operand(a), order)


def copy_method(a: Operand, order: str = "C") -> Tensor:
    """A copy, tracked as x is, in an `order` of memory: "C", "F", or "K" for that of x."""
    return s.copy(a, order)


def astype(
    x: Operand,
    dtype: DTypeLike,
    order: str = "K",
    casting: Casting = "unsafe",
    subok: bool = True,
    copy: bool = True,
) -> Tensor:
    """The entries converted; a conversion to integers or booleans has no derivative.

    casting: which conversions are refused with TypeError, as in NumPy
    copy:    when False and the dtype is x's own, x itself is returned
    """
    x = as_operand(x)
    del subok
    dtype = np.dtype(dtype)
    if casting != "unsafe" and not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(CANNOT_CAST.format(own=x.dtype, dtype=dtype, casting=casting))
    if not copy and x.dtype == dtype and laid_out(x, order, [x]) is x:
        return x
    y = e.cast(x, dtype=dtype) if dtype.kind in "fc" else to_integer(x, dtype=dtype)
    return laid_out(y, order, [x])


def take(
    a: Operand,
    indices: Operand,
    axis: int | None = None,
    out: Tensor | None = None,
    mode: str = "raise",
) -> Tensor:
    """The entries at `indices` along `axis`; those outside raise, "wrap" round or are "clip"ped."""
    a, indices = as_operand(a), as_operand(indices)
    n = a.size if axis is None else a.shape[axis]
    if mode == "wrap":
        indices = e.remainder(indices, n)
    elif mode == "clip":
        indices = e.clip(indices, 0, n - 1)
    elif mode != "raise":
        raise ValueError(f"take: the mode is {mode!r}, none of 'raise', 'wrap', 'clip'")
    return write_to_out(out, indexing.take(a, indices, axis), "take")


def searchsorted(
    a: Operand, v: Operand, side: str = "left", sorter: Operand | None = None
) -> Tensor:
    """Where v would be inserted into the vector a, which is sorted, or sorted by `sorter`."""
    if sorter is not None:
        a = indexing.take(as_operand(a), as_operand(sorter), 0)
    return counting.searchsorted(a, v, side=side)


def concatenate(
    arrays: Sequence[Operand],
    axis: int | None = 0,
    out: Tensor | None = None,
    *,
    dtype: DTypeLike | None = None,
    casting: Casting = "same_kind",
) -> Tensor:
    """The arrays joined along an existing `axis`, in `dtype` if that is given.

    Raises TypeError for a conversion that `casting` forbids.
    """
    parts = joining.cast_all(list(arrays), dtype, casting)
    return write_to_out(out, s.concatenate(parts, axis=axis), "concatenate")


def where(condition: Operand, *choices: Operand) -> Tensor | tuple[Tensor, ...]:
    """x where the condition holds, else y; of the condition alone, the indices where it holds."""
    return e.where(condition, *choices) if choices else counting.nonzero(condition)


def numpy_astype(
    x: Operand, dtype: DTypeLike, /, *, copy: bool = True, device: Device | str | None = None
) -> Tensor:
    """The entries converted: `astype`, as a function."""
    y = astype(x, dtype, copy=copy)
    return y if device is None else y.to(device)


def clip(
    a: Operand,
    a_min: Operand | None = None,
    a_max: Operand | None = None,
    out: Tensor | None = None,
    *,
    min: Operand | None = None,
    max: Operand | None = None,
    dtype: DTypeLike | None = None,
    casting: Casting = "same_kind",
    order: str = "K",
    subok: bool = True,
    where: Operand = True,
) -> Tensor:
    """x within the bounds, in `dtype` if that is given, and `out` where `where` does not hold.

    Raises TypeError for a conversion that `casting` forbids, and for where= without out=.
    """
    del subok
    bounds = (a_min if min is None else min, a_max if max is None else max)
    x = as_operand(a)
    if dtype is not None:
        [x] = joining.cast_all([x], dtype, casting)
    y = e.numpy_clip(x, *bounds)
    y = laid_out(cast_if_needed(y, dtype), order, [x])
    if where is not True:
        if out is None:
            raise TypeError(NO_VALUE.format(name="numpy.clip"))
        y = e.where(where, y, out)
    return write_to_out(out, y, "clip")


def stack(
    arrays: Sequence[Operand],
    axis: int = 0,
    out: Tensor | None = None,
    *,
    dtype: DTypeLike | None = None,
    casting: Casting = "same_kind",
) -> Tensor:
    """The arrays, all of one shape, joined along a new `axis`, in `dtype` if that is given.

    Raises TypeError for a conversion that `casting` forbids.
    """
    return write_to_out(out, s.stack(joining.cast_all(list(arrays), dtype, casting), axis), "stack")


def isin(
    element: Operand,
    test_elements: Operand,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: str | None = None,
) -> Tensor:
    """Whether each entry is one of the test elements, or, inverted, whether it is none.

    assume_unique, kind: shorter ways to the same result, which are not taken
    """
    del assume_unique, kind
    return counting.isin(as_operand(element), as_operand(test_elements), invert=invert)


def argpartition(a: Operand, kth: Any, axis: int | None = -1, kind: str = "introselect") -> Tensor:
    """Indices that put the kth entries where sorting would, smaller before and larger after."""
    del kind  # there is but one
    ranks = np.asarray(value_of(as_operand(kth)))
    order = tuple(int(k) for k in ranks) if ranks.ndim else int(ranks)
    return sorting.argpartition(as_operand(a), order, axis)


def packbits(a: Operand, axis: int | None = None, bitorder: str = "big") -> Tensor:
    """Truth values packed eight to a byte, along `axis`, or flattened."""
    if axis is None:
        return counting.packbits(as_operand(a), bitorder=bitorder)
    moved = s.moveaxis(as_operand(a), axis, -1)
    n = moved.shape[-1]
    truths = e.not_equal(moved, 0)
    truths = s.pad(truths, (*((0, 0),) * (truths.ndim - 1), (0, -n % 8)))
    y = counting.packbits(truths, bitorder=bitorder)
    return s.moveaxis(s.reshape(y, (*moved.shape[:-1], -(-n // 8))), -1, axis)


def unpackbits(
    a: Operand, axis: int | None = None, count: int | None = None, bitorder: str = "big"
) -> Tensor:
    """The bits of bytes along `axis`, or flattened: `count` of them, or all but -`count`."""
    x = as_operand(a)
    moved = s.ravel(x) if axis is None else s.moveaxis(x, axis, -1)
    n = 8 * moved.shape[-1]
    y = s.reshape(counting.unpackbits(moved, bitorder=bitorder), (*moved.shape[:-1], n))
    if count is not None:
        wanted = count if count >= 0 else n + count
        y = s.pad(y, (*((0, 0),) * (y.ndim - 1), (0, wanted - n)))
    return y if axis is None else s.moveaxis(y, -1, axis)


def einsum(
    subscripts: str | Operand,
    *operands: Any,
    dtype: DTypeLike | None = None,
    casting: Casting = "safe",
    order: str = "K",
    **options: Any,
) -> Tensor:
    """The Einstein sum, computed in `dtype`, in an `order` of memory; `ops.einsum` has the rest.

    Raises TypeError for a conversion that `casting` forbids.
    """
    arguments = [subscripts, *operands]
    lists = not isinstance(subscripts, str)
    places = range(0, len(arguments) // 2 * 2, 2) if lists else range(1, len(arguments))
    arrays = [as_operand(arguments[i]) for i in places]
    for i, array in zip(places, joining.cast_all(arrays, dtype, casting), strict=True):
        arguments[i] = array
    y = linalg.einsum(*arguments, **options)
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"einsum: order={order!r} is none of 'C', 'F', 'A', 'K'")
    return laid_out(y, order, arrays)


# NumPy's function -> the function above that has all its options, and how many leading arguments it
# shares with the primitive.
SHAPE_FULL: dict[Callable[..., Any], tuple[Callable[..., Any], int]] = {
    np.ravel: (ravel, 1),
    np.reshape: (reshape, 2),
    np.copy: (copy, 0),
    np.take: (take, 3),
    np.where: (where, 0),
    **dict.fromkeys(newer_numpy("astype"), (numpy_astype, 0)),
    np.searchsorted: (searchsorted, 3),
    np.concatenate: (concatenate, 2),
    np.einsum: (einsum, 99),
    np.stack: (stack, 2),
    np.clip: (clip, 3),
    np.argpartition: (argpartition, 0),
    np.packbits: (packbits, 1),
    np.unpackbits: (unpackbits, 1),
    np.isin: (isin, 2),
}
