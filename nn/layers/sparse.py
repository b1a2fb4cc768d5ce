"""Sparse arrays of BigDL, as tables [indices, values, shape], and layers that take them.

indices (nnz, axes) are integers from 0, values (nnz,), and shape (axes,) holds the lengths.  How
many entries there are depends on the data, so that a step with these layers cannot be replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import normal_
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.layers.indexing import to_indices
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["DenseToSparse", "LookupTableSparse", "SparseJoinTable"]

COMBINERS = ("sum", "mean", "sqrtn")


def sparse_parts(x: Nest) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """(indices, values, shape) of a sparse table.  Raises ShapeError for what is none."""
    indices, values, shape = entries_of(x, 3)
    lengths = tuple(int(n) for n in shape.numpy())
    if indices.shape != (*values.shape, len(lengths)) or values.ndim != 1:
        raise ShapeError(
            f"indices of shape {indices.shape} and values of shape {values.shape} are no sparse "
            f"array of {len(lengths)} axes: (nnz, {len(lengths)}) and (nnz,)"
        )
    return indices, values, lengths


class DenseToSparse(Module):
    """x -> [indices, values, shape], the entries of x that are not 0, row by row.

    x: at least one axis.  propagateBack False: the gradient of x is 0.
    Raises ShapeError for a single number.  Source: BigDL's DenseToSparse.
    """

    keeps = ("propagateBack",)

    def __init__(self, propagateBack: bool = True) -> None:
        self.propagateBack = bool(propagateBack)

    def updateOutput(self, x: Tensor) -> list[Tensor]:
        if not x.ndim:
            raise ShapeError("the input is a single number")
        if not self.propagateBack:
            x = ops.scale_gradient(x, 0)
        kept = ops.not_equal(x.detach(), 0)
        indices = np.argwhere(kept.numpy())
        shape = Tensor(np.array(x.shape), device=x.device)
        return [Tensor(indices, device=x.device), x[kept], shape]


class SparseJoinTable(Module):
    """Sparse arrays joined along `dimension`, as JoinTable joins dense ones.

    [a, b, …]: sparse tables -> a sparse table, its entries ordered row by row.
    Raises ShapeError when other lengths differ, or there is no such axis.
    Source: BigDL's SparseJoinTable.
    """

    keeps = ("dimension",)
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def updateOutput(self, x: Nest) -> list[Tensor]:
        parts = [sparse_parts(part) for part in entries_of(x)]
        first = parts[0][2]
        axis = axis_of(self.dimension, len(first))
        found = [part[2][:axis] + part[2][axis + 1 :] for part in parts]
        if any(lengths != found[0] for lengths in found):
            raise ShapeError(f"sparse arrays {[part[2] for part in parts]} cannot be joined")
        indices, values, start = [], [], 0
        for own, entries, lengths in parts:
            offset = np.zeros(len(lengths), np.int64)
            offset[axis] = start
            indices.append(own.numpy() + offset)
            values.append(entries)
            start += lengths[axis]
        joined = np.concatenate(indices)
        order = np.lexsort(joined.T[::-1])
        device = values[0].device
        shape = np.array((*first[:axis], start, *first[axis + 1 :]))
        return [
            Tensor(joined[order], device=device),
            ops.concatenate(values, axis=0)[Tensor(order, device=device)],
            Tensor(shape, device=device),
        ]


class LookupTableSparse(Module):
    """y[n] = Σ w·weight[id] over the ids of row n, or a mean of them.

    x: a sparse table (N, K) whose values are ids from 0, or [ids, w], two of them with the same
    indices -> (N, nOutput);  w = 1 if omitted;  weight (nIndex, nOutput), from N(0, 1).
    combiner: "sum", "mean" (divided by Σ w) or "sqrtn" (by √Σ w²).  maxNorm, if positive: vectors
    with a larger 2-norm are shortened to it first.
    Raises ValueError for another combiner, ShapeError for other inputs.
    Source: BigDL's LookupTableSparse, after TensorFlow's embedding_lookup_sparse.
    """

    keeps = ("weight", "combiner", "maxNorm")

    def __init__(
        self, nIndex: int, nOutput: int, combiner: str = "sum", maxNorm: float = -1
    ) -> None:
        if combiner.lower() not in COMBINERS:
            raise ValueError(
                f"LookupTableSparse: combiner is {combiner!r}, it must be one of "
                f"{', '.join(COMBINERS)}"
            )
        self.combiner = combiner.lower()
        self.maxNorm = maxNorm
        self.weight = Parameter(np.empty((nIndex, nOutput), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from N(0, 1), or N(0, stdv²)."""
        normal_(self.weight, 0.0, 1.0 if stdv is None else stdv)

    def updateOutput(self, x: Nest) -> Tensor:
        pair = isinstance(x, (list, tuple)) and len(x) == 2
        tables: Any = x
        indices, ids, shape = sparse_parts(tables[0] if pair else tables)
        if len(shape) != 2:
            raise ShapeError(f"the sparse array has {len(shape)} axes, it must have 2")
        vectors = self.weight[to_indices(ids, self.weight.shape[0])]
        if self.maxNorm > 0:
            squares = ops.sum(ops.square(vectors), axis=1, keepdims=True)
            limit = self.maxNorm**2
            vectors = vectors * ops.sqrt(limit / ops.maximum(squares, limit))
        w = ops.cast(ids.detach() * 0 + 1, dtype=vectors.dtype)
        if pair:
            w = ops.cast(sparse_parts(tables[1])[1], dtype=vectors.dtype)
            if w.shape != ids.shape:
                raise ShapeError(f"there are {ids.shape[0]} ids and {w.shape[0]} weights")
        row = to_indices(indices[:, 0], max(shape[0], 1))
        template = (HOLE,)
        total = ops.index_add(
            vectors * ops.expand_dims(w, 1), [row], template, (shape[0], vectors.shape[1])
        )
        if self.combiner == "sum":
            return total
        powers = ops.index_add(w if self.combiner == "mean" else w * w, [row], template, shape[:1])
        divisor = powers if self.combiner == "mean" else ops.sqrt(powers)
        return total / ops.expand_dims(ops.where(ops.equal(divisor, 0), 1, divisor), 1)
