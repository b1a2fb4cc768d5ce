"""Counts of values: `bincount` and `histogram`, which are differentiable in their weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.tensor import Tensor, result_tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, constant, value_of
from tapegrad.autograd.ops.counting import searchsorted, to_index
from tapegrad.autograd.ops.grids import linspace
from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.autograd.ops.indexing import index_add

__all__ = ["bincount", "histogram", "histogram_bin_edges"]


@composite(numpy=np.bincount)
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each of 0, 1, 2, … is in x, or the sum of its weights, in which it derives."""
    x = as_operand(x)
    if weights is not None and as_operand(weights).dtype.kind == "c":
        raise TypeError("numpy.bincount: the weights are real numbers, NumPy takes no complex ones")
    held = value_of(x)
    return _counted(x, weights, max(int(held.max()) + 1 if held.size else 0, minlength))


def _counted(x: Any, weights: Any, n: int) -> Any:
    if weights is None:  # counted as floats, for which every library has an atomic addition
        ones = constant(np.ones(x.shape), x)
        return to_index(index_add(ones, [x], (HOLE,), (n,)))
    return index_add(as_operand(weights) * 1.0, [x], (HOLE,), (n,))


@composite(numpy=np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None) -> Any:
    """The borders of the bins of `histogram`, from the smallest to the largest entry."""
    a = as_operand(a)
    if np.ndim(bins):
        return _beside(np.asarray(bins), a) if isinstance(bins, (list, tuple)) else bins
    if isinstance(bins, str) or not a.size:
        return _beside(np.histogram_bin_edges(value_of(a), bins, range), a)
    low: Any
    high: Any
    low, high = (r.min(a), r.max(a)) if range is None else (float(x) for x in range)
    low, high = (constant(np.asarray(x, a.dtype), a) if np.isscalar(x) else x for x in (low, high))
    flat = e.equal(low, high)
    margin = e.cast(flat, dtype=low.dtype) * 0.5
    return linspace(low - margin, high + margin, bins + 1)


def _beside(array: Any, like: Any) -> Any:
    """A constant where `like` lives, and a Tensor if that is one."""
    return result_tensor(constant(array, like)) if isinstance(like, Tensor) else array


@composite(numpy=np.histogram)
def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> Any:
    """(how many entries fall into each bin, the borders); counts derive in `weights` only."""
    a = as_operand(a)
    edges = histogram_bin_edges(a, bins, range)
    flat = s.ravel(a)
    n = edges.shape[0] - 1
    place = e.clip(searchsorted(edges, flat, side="right") - 1, 0, n - 1)
    inside = e.logical_and(e.greater_equal(flat, edges[0]), e.less_equal(flat, edges[-1]))
    weight = e.cast(inside, dtype=np.dtype(np.float64))
    if weights is not None:
        weight = weight * s.ravel(as_operand(weights))
    counts = _counted(place, weight, n)
    if density:
        return counts / (edges[1:] - edges[:-1]) / r.sum(counts), edges
    return counts if weights is not None else to_index(counts), edges
