"""EmbeddingBag: sums, means or maxima of the vectors of several indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import normal_
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.layers.indexing import to_indices
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["EmbeddingBag"]

MODES = ("mean", "sum", "max")


class EmbeddingBag(Module):
    """y[n] = the mean, sum or largest entries of the vectors weight[x[n, s]] over s.

    x: indices (N, S), or [indices, weights] of one shape, with a factor for each vector, for mode
    "sum" only -> (N, embed_dim);  weight (num_embeddings, embed_dim), from N(0, 1).
    padding_idx: an index that fills up bags of fewer than S entries, and takes no part; a bag of
    nothing else gives 0.
    Raises ShapeError for other shapes and indices, ValueError for another mode, or weights in it.
    """

    keeps = ("mode", "padding_idx", "weight")
    counts: ClassVar[Mapping[str, str]] = {"input": "index"}

    def __init__(
        self,
        num_embeddings: int,
        embed_dim: int,
        mode: str = "mean",
        padding_idx: int | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"EmbeddingBag: mode is {mode!r}, it must be one of {MODES}")
        if padding_idx is not None and not 0 <= padding_idx < num_embeddings:
            raise ValueError(
                f"EmbeddingBag: padding_idx is {padding_idx}, there are {num_embeddings} rows"
            )
        self.mode = mode
        self.padding_idx = padding_idx
        self.weight = Parameter(np.empty((num_embeddings, embed_dim), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from N(0, 1), or N(0, stdv²)."""
        normal_(self.weight, 0.0, 1.0 if stdv is None else stdv)

    def updateOutput(self, x: Nest) -> Tensor:
        factors = None
        if isinstance(x, (list, tuple)):
            x, factors = entries_of(x, 2)
            if self.mode != "sum" or factors.shape != x.shape:
                raise ShapeError(
                    f"weights of shape {factors.shape} for indices {x.shape} in mode {self.mode}: "
                    "they must have one shape, and mode must be 'sum'"
                )
        if x.ndim != 2:
            raise ShapeError(f"the indices of shape {x.shape} are not (N, S)")
        indices = to_indices(x, self.weight.shape[0])
        rows = self.weight[indices]
        taken = ops.ones_like(indices)
        if self.padding_idx is not None:
            taken = ops.not_equal(indices, self.padding_idx)
        share = ops.cast(ops.expand_dims(taken, -1), dtype=rows.dtype)
        if self.mode == "max":
            # A maximum of no vectors would be -∞, of which neither value nor gradient is of use.
            some = ops.sum(share, axis=1) > 0
            low = ops.where(share > 0, rows, -np.inf) if x.shape[1] else ops.zeros_like(rows)
            if not x.shape[1]:
                return ops.sum(low, axis=1)
            return ops.where(some, ops.max(ops.where(some[:, None], low, 0), axis=1), 0)
        if factors is not None:
            share = share * ops.cast(ops.expand_dims(factors, -1), dtype=rows.dtype)
        total = ops.sum(rows * share, axis=1)
        return total / ops.maximum(ops.sum(share, axis=1), 1) if self.mode == "mean" else total
