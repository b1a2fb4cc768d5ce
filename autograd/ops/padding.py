"""np.pad with all its modes: one axis after the other, as NumPy pads.

Modes that repeat entries take them by index; odd reflections add what the slope of a straight line
through the edge adds; the others join new entries to the axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_operand,
    device_array,
    is_fortran,
    normalize_axis,
    wrap_like,
)
from tapegrad.autograd.ops.counting import round as round_entries
from tapegrad.autograd.ops.grids import linspace
from tapegrad.autograd.ops.indexing import take
from tapegrad.autograd.ops.quantiles import median

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Operand

__all__ = ["numpy_pad"]

FOREIGN_OPTION = "pad: mode={mode!r} has no option {options}; it has {known}"
UNKNOWN_MODE = "pad: the mode is {mode!r}, none of {known}"
NO_ENTRIES = "pad: axis {axis} is empty, so mode={mode!r} has nothing to repeat"
NO_STATISTIC = "pad: stat_length=0 leaves mode={mode!r} no entries"

_STATISTICS: dict[str, Callable[..., Tensor]] = {
    "maximum": r.max,
    "mean": r.mean,
    "median": median,
    "minimum": r.min,
}
_BY_INDEX = ("edge", "reflect", "symmetric", "wrap")
_OPTIONS = {
    "constant": ("constant_values",),
    "linear_ramp": ("end_values",),
    **dict.fromkeys(_STATISTICS, ("stat_length",)),
    **dict.fromkeys(("reflect", "symmetric"), ("reflect_type",)),
    **dict.fromkeys(("edge", "wrap", "empty"), ()),
}


@composite(numpy=np.pad)
def numpy_pad(
    array: Operand,
    pad_width: int | Sequence[Any] | dict[int, Any],
    mode: str | Callable[..., Any] = "constant",
    *,
    constant_values: Any = None,
    end_values: Any = None,
    stat_length: Any = None,
    reflect_type: str | None = None,
) -> Tensor:
    """NumPy's pad, in each of its named modes.

    constant_values, end_values: one value, (before, after), or that for each axis; numbers or
                                 Tensors, in which it is differentiable
    stat_length:                 how many entries at an edge the statistic is of, in the same forms
    reflect_type:                "even", or "odd" for 2 · edge - reflected
    "empty" pads with zeros.  Raises TypeError for a function as mode, ValueError for options that
    the mode lacks.
    """
    if not isinstance(mode, str):
        raise TypeError("numpy.pad on a Tensor: a function as mode is not supported; it writes")
    if mode not in _OPTIONS:
        raise ValueError(UNKNOWN_MODE.format(mode=mode, known=", ".join(sorted(_OPTIONS))))
    given = {
        "constant_values": constant_values,
        "end_values": end_values,
        "stat_length": stat_length,
        "reflect_type": reflect_type,
    }
    options = {name: value for name, value in given.items() if value is not None}
    foreign = sorted(set(options) - set(_OPTIONS[mode]))
    if foreign:
        known = ", ".join(_OPTIONS[mode]) or "none"
        raise ValueError(FOREIGN_OPTION.format(mode=mode, options=foreign, known=known))
    x = as_operand(array)
    pairs = _widths(pad_width, x.ndim)
    odd = options.pop("reflect_type", "even") == "odd"
    values = {name: pairs_of(value, x.ndim) for name, value in options.items()}
    if x.ndim < 2 or not is_fortran(x):
        return _pad(x, pairs, mode, values, odd)
    if mode in _BY_INDEX or (mode == "constant" and not values):  # in any order of axes
        return s.transpose(_pad(s.transpose(x), pairs[::-1], mode, values, odd))
    return s.lie_as(_pad(x, pairs, mode, values, odd), fortran=True)  # as NumPy lays it out


def _widths(pad_width: Any, ndim: int) -> tuple[tuple[int, int], ...]:
    """How many entries go before and after each axis.  Raises ValueError for a negative number."""
    if isinstance(pad_width, dict):
        by_axis = {normalize_axis(a, ndim): w for a, w in pad_width.items()}
        pad_width = [by_axis.get(i, (0, 0)) for i in range(ndim)]
        pad_width = [(w, w) if isinstance(w, int) else w for w in pad_width]
    widths = np.broadcast_to(np.asarray(pad_width), (ndim, 2))
    if widths.size and widths.min() < 0:
        raise ValueError("pad: a width is negative")
    return tuple((int(before), int(after)) for before, after in widths)


def pairs_of(values: Any, ndim: int) -> list[tuple[Any, Any]]:
    """One value, (before, after) or that for each axis, as a pair for each of `ndim` axes."""
    if isinstance(values, (list, tuple)):
        rows = [v if isinstance(v, (list, tuple)) else None for v in values]
        if any(row is None for row in rows):
            return [(values[0], values[-1])] * ndim
        pairs = [(row[0], row[-1]) for row in rows if row]
        return pairs * ndim if len(pairs) == 1 else pairs
    if np.ndim(values):
        wide = s.broadcast_to(as_operand(values), (ndim, 2))
        return [(wide[i, 0], wide[i, 1]) for i in range(ndim)]
    return [(values, values)] * ndim


def _pad(
    x: Tensor,
    pairs: tuple[tuple[int, int], ...],
    mode: str,
    values: dict[str, list[tuple[Any, Any]]],
    odd: bool,
) -> Tensor:
    if mode in ("constant", "empty"):
        constants = values.get("constant_values", [(0, 0)] * x.ndim)
        only = {v for pair in constants for v in pair if not hasattr(v, "dtype")}
        if len(only) <= 1 and not any(hasattr(v, "dtype") for pair in constants for v in pair):
            return s.pad(x, pairs, only.pop() if only else 0)
    padded = x
    for axis, (before, after) in enumerate(pairs):
        if not before and not after:
            continue
        n = padded.shape[axis]
        if not n and mode != "constant":
            raise ValueError(NO_ENTRIES.format(axis=axis, mode=mode))
        if mode in _BY_INDEX:
            padded = _by_index(padded, axis, before, after, mode, odd)
            continue
        if mode == "constant":
            low, high = values["constant_values"][axis]
            ends = [_slab(padded, axis, width, v) for width, v in ((before, low), (after, high))]
        elif mode == "linear_ramp":
            low, high = values.get("end_values", [(0, 0)] * x.ndim)[axis]
            ends = [
                _ramp(padded, axis, before, low, first=True),
                _ramp(padded, axis, after, high, first=False),
            ]
        else:
            lengths = values.get("stat_length", [(None, None)] * x.ndim)[axis]
            ends = [
                _statistic(padded, axis, width, length, mode, first)
                for width, length, first in ((before, lengths[0], True), (after, lengths[1], False))
            ]
        padded = s.concatenate([ends[0], padded, ends[1]], axis)
    return s.copy(padded) if padded is x else padded


def _slab(x: Tensor, axis: int, width: int, value: Any) -> Tensor:
    """`width` slices along `axis` that hold one value."""
    shape = tuple(width if i == axis else n for i, n in enumerate(x.shape))
    if not hasattr(value, "dtype"):
        value = wrap_like(np.asarray(value).astype(x.dtype), x)
    elif value.dtype != x.dtype:
        value = value.astype(x.dtype)
    return s.broadcast_to(value, shape)


def _edge(x: Tensor, axis: int, length: int, first: bool) -> Tensor:
    n = x.shape[axis]
    part = slice(0, length) if first else slice(n - length, n)
    return x[(slice(None),) * axis + (part,)]


def _ramp(x: Tensor, axis: int, width: int, end: Any, *, first: bool) -> Tensor:
    """`width` slices from `end` to the edge of x, which is not among them."""
    edge = _edge(x, axis, 1, first)
    if not hasattr(end, "dtype"):
        end = np.asarray(end)
    edge = s.squeeze(edge, axis)
    line: Any = linspace(end, edge, width, endpoint=False, dtype=x.dtype, axis=axis)
    return line if first else s.flip(line, axis)


def _statistic(x: Tensor, axis: int, width: int, length: Any, mode: str, first: bool) -> Tensor:
    """`width` slices of a statistic of `length` slices at the edge of x, or of all when None."""
    n = x.shape[axis]
    count = n if length is None else min(int(length), n)
    if not count:
        raise ValueError(NO_STATISTIC.format(mode=mode))
    y = _STATISTICS[mode](_edge(x, axis, count, first), axis=axis, keepdims=True)
    if y.dtype != x.dtype:
        y = (round_entries(y) if x.dtype.kind in "iu" else y).astype(x.dtype)
    shape = tuple(width if i == axis else m for i, m in enumerate(x.shape))
    return s.broadcast_to(y, shape)


def _by_index(x: Tensor, axis: int, before: int, after: int, mode: str, odd: bool) -> Tensor:
    n = x.shape[axis]
    order = np.pad(np.arange(n), (before, after), mode=mode)  # type: ignore[call-overload]  # one of four modes
    y = take(x, device_array(order, x), axis)
    if not odd or (n == 1 and mode == "reflect"):
        return y
    # The odd reflection continues the array by its own image, turned about the edge: in position p
    # stands ± the entry that the even reflection puts there, plus whole numbers of the edges.
    period = n - 1 if mode == "reflect" else n
    mirrored, _rest = np.divmod(np.arange(-before, n + after), period)
    if mode == "reflect":  # the last entry belongs to the array itself
        whole = np.arange(-before, n + after) == n - 1
        mirrored = np.where(whole, 0, mirrored)
    turned = mirrored % 2 == 1
    lasts, firsts = mirrored + turned, mirrored - turned
    shape = tuple(-1 if i == axis else 1 for i in range(x.ndim))

    def numbers(values: Array) -> Array:
        return device_array(values.astype(x.dtype).reshape(shape), x)

    sign = numbers(np.where(turned, -1, 1))
    return (
        y * sign
        + _edge(x, axis, 1, first=False) * numbers(lasts)
        - _edge(x, axis, 1, first=True) * numbers(firsts)
    )
