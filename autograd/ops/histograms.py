"""Counts of values: `bincount` and `histogram`, which are differentiable in their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, device_array, value_of, wrap_like
from tapegrad.autograd.ops.counting import searchsorted, to_index
from tapegrad.autograd.ops.grids import linspace
from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.autograd.ops.indexing import index_add

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Operand

__all__ = ["bincount", "histogram", "histogram_bin_edges"]


@composite(numpy=np.bincount)
def bincount(x: Operand, weights: Operand | None = None, minlength: int = 0) -> Tensor:
    """Count how often each of 0, 1, 2, … is in x, or add up the weights of its occurrences.

    x: (n,), integers from 0; weights: (n,), real -> (max(x.max() + 1, minlength),), integers, or
    floats with weights, in which it has a derivative.  Raises TypeError for complex weights.
    """
    x = as_operand(x)
    if x.dtype.kind == "b":
        x = x.astype(np.intp)
    if weights is not None and as_operand(weights).dtype.kind == "c":
        raise TypeError("numpy.bincount: the weights are real numbers, NumPy takes no complex ones")
    numbers = value_of(x)
    return _count_each(x, weights, max(int(numbers.max()) + 1 if numbers.size else 0, minlength))


def _count_each(x: Array, weights: Array, n: int) -> Array:
    """Count how often each of 0 … n - 1 is in x, or add up its weights."""
    if weights is None:  # counted as floats, for which every library has an atomic addition
        ones = device_array(np.ones(x.shape), x)
        return to_index(index_add(ones, [x], (HOLE,), (n,)))
    return index_add(as_operand(weights) * 1.0, [x], (HOLE,), (n,))


@composite(numpy=np.histogram_bin_edges)
def histogram_bin_edges(
    a: Operand,
    bins: int | str | Operand = 10,
    range: tuple[float, float] | None = None,
    weights: Operand | None = None,
) -> Tensor:
    """The borders of the bins of `histogram`: (bins + 1,), equally wide over `range`.

    bins: a number, the name of one of NumPy's rules, or the borders themselves
    range: (lowest, highest); the smallest and the largest entry of a without it
    weights: have no influence on the borders
    Raises TypeError for one of NumPy's rules with weights, which it takes no account of.
    """
    a = as_operand(a)
    if isinstance(bins, str) and weights is not None:
        raise TypeError(f"histogram: bins={bins!r} takes no account of weights")
    chosen: Any = bins
    if np.ndim(chosen):  # the borders themselves
        return wrap_like(np.asarray(chosen), a) if isinstance(chosen, (list, tuple)) else chosen
    if isinstance(chosen, str):  # the rule says how many
        chosen = len(np.histogram_bin_edges(value_of(a), chosen, range)) - 1
    if not a.size:
        return wrap_like(np.histogram_bin_edges(value_of(a), chosen, range), a)
    low: Any
    high: Any
    low, high = (r.min(a), r.max(a)) if range is None else (float(x) for x in range)
    kind = a.dtype if a.dtype.kind in "fc" else np.dtype(np.float64)
    low, high = (device_array(np.asarray(x, kind), a) if np.isscalar(x) else x for x in (low, high))
    flat = e.equal(low, high)
    margin = e.cast(flat, dtype=low.dtype) * 0.5
    edges: Any = linspace(low - margin, high + margin, chosen + 1)
    return edges


@composite(numpy=np.histogram)
def histogram(
    a: Operand,
    bins: int | str | Operand = 10,
    range: tuple[float, float] | None = None,
    density: bool = False,
    weights: Operand | None = None,
) -> tuple[Tensor, Tensor]:
    """(entries in each bin, the borders), of shapes (bins,) and (bins + 1,).

    density: divide by the widths and the total, so that the integral is 1
    weights: added up instead of ones, shaped like a; the counts have a derivative in these only
    """
    a = as_operand(a)
    edges = histogram_bin_edges(a, bins, range, weights)
    flat = s.ravel(a)
    n = edges.shape[0] - 1
    number = e.clip(searchsorted(edges, flat, side="right") - 1, 0, n - 1)
    inside = e.logical_and(e.greater_equal(flat, edges[0]), e.less_equal(flat, edges[-1]))
    weight = e.cast(inside, dtype=np.dtype(np.float64))
    if weights is not None:
        weight = weight * s.ravel(as_operand(weights))
    counts = _count_each(number, weight, n)
    if weights is not None and counts.dtype != (kind := as_operand(weights).dtype):
        counts = counts.astype(kind)
    if density:
        return counts / (edges[1:] - edges[:-1]) / r.sum(counts), edges
    return counts if weights is not None else to_index(counts), edges
