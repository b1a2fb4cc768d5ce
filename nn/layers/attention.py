"""Attention, and the encoder layer of the Transformer.

Sequences have the batch first: (N, T, E).  A mask is a constant array of booleans; True forbids to
attend to a step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import fill_, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.activation import GELU
from tapegrad.nn.layers.dropout import Dropout
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.normalization.sample import LayerNorm
from tapegrad.nn.layers.rectifiers import ReLU
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest, Operand

__all__ = ["MultiHeadAttention", "TransformerEncoderLayer"]


class MultiHeadAttention(Module):
    """y = concat(head₁, …)·Wₒᵀ + bₒ, headₖ = softmax(QₖKₖᵀ / √d)·Vₖ, d = embed_dim / num_heads.

    x: (N, T, E) or (T, E), which attends to itself -> the same shape, E = embed_dim;
    or a list [query, key, value] of (N, T, E), (N, S, E) and (N, S, E) -> (N, T, E).
    in_proj_weight (3·E, E) and in_proj_bias (3·E,) make Q, K and V; out_proj is a Linear.
    causal: no step attends to a later one.  dropout: the probability with which an attention weight
    becomes 0 in training.  Weights start from Xavier's uniform distribution, biases at 0.
    Raises ValueError unless num_heads divides embed_dim, ShapeError for other shapes.
    Source: A. Vaswani et al., "Attention is all you need", 2017, section 3.2.
    """

    keeps = (
        "embed_dim",
        "num_heads",
        "causal",
        "in_proj_weight",
        "in_proj_bias",
        "out_proj",
        "dropout",
        "_mask",
    )
    promotes = True

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        causal: bool = False,
    ) -> None:
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
                f"MultiHeadAttention: num_heads {num_heads} does not divide embed_dim {embed_dim}"
            )
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.causal = causal
        dtype = default_dtype()
        self.in_proj_weight = Parameter(np.empty((3 * embed_dim, embed_dim), dtype))
        self.in_proj_bias = Parameter(np.empty(3 * embed_dim, dtype)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        self.dropout = Dropout(dropout)
        self._mask: np.ndarray[Any, Any] | None = None
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw in_proj_weight from U(-s, s), s² = 6/(4·E), or stdv·√3; biases to 0."""
        s = math.sqrt(6 / (4 * self.embed_dim)) if stdv is None else stdv * math.sqrt(3)
        uniform_(self.in_proj_weight, -s, s)
        fill_(self.in_proj_bias, 0.0)
        self.out_proj.reset(stdv)
        fill_(self.out_proj.bias, 0.0)

    def setMask(self, mask: Operand | None) -> MultiHeadAttention:
        """Forbid attention where `mask` is True; returns self.

        mask: booleans that broadcast to (N, heads, T, S), or None for no mask.  Where all of a row
        is True, the output is NaN.
        """
        self._mask = None if mask is None else np.array(mask, bool)
        return self

    def updateOutput(self, x: Nest) -> Tensor:
        query, key, value = x if isinstance(x, (list, tuple)) else (x, x, x)
        single = query.ndim == 2
        if single:
            query, key, value = (part.reshape((1, *part.shape)) for part in (query, key, value))
        self._check_shapes(query, key, value)
        q, k, v = (
            self._project_heads(part, i) for i, part in enumerate((query, key, value))
        )  # each (N, heads, steps, d)
        scores = (q * (1 / math.sqrt(q.shape[-1]))) @ k.transpose((0, 1, 3, 2))
        mask = self._joint_mask(scores)
        if mask is not None:
            scores = ops.where(mask, -math.inf, scores)
        mixed = self.dropout(ops.softmax(scores, axis=-1)) @ v
        y = self.out_proj(mixed.transpose((0, 2, 1, 3)).reshape(query.shape))
        return y.reshape(y.shape[1:]) if single else y

    def _project_heads(self, x: Tensor, which: int) -> Tensor:
        rows = slice(which * self.embed_dim, (which + 1) * self.embed_dim)
        y = x @ self.in_proj_weight[rows].T
        if self.in_proj_bias is not None:
            y = y + self.in_proj_bias[rows]
        width = self.embed_dim // self.num_heads
        return y.reshape((*x.shape[:2], self.num_heads, width)).transpose((0, 2, 1, 3))

    def _joint_mask(self, scores: Tensor) -> Tensor | None:
        t, s = scores.shape[-2:]
        mask = self._mask
        if self.causal:
            later = np.triu(np.ones((t, s), bool), k=1)
            mask = later if mask is None else mask | later
        return None if mask is None else Tensor(mask, device=scores.device)

    def _check_shapes(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        for name, part in (("query", query), ("key", key), ("value", value)):
            if part.ndim != 3 or part.shape[-1] != self.embed_dim:
                raise ShapeError(
                    f"the {name} of shape {part.shape} is not (N, steps, E) with E = "
                    f"{self.embed_dim}, embed_dim"
                )
        if key.shape != value.shape or key.shape[0] != query.shape[0]:
            raise ShapeError(
                f"query {query.shape}, key {key.shape} and value {value.shape} do not fit: key and "
                "value have one shape, and all the same batch"
            )

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.embed_dim}, {self.num_heads} heads)"


class TransformerEncoderLayer(Module):
    """x' = norm1(x + attention(x));  y = norm2(x' + W₂·activation(W₁·x' + b₁) + b₂).

    x: (N, T, embed_dim) or (T, embed_dim) -> the same shape.  norm_first: normalize what goes into
    attention and into the feed-forward layer, instead of the sums.
    activation: "relu" or "gelu".  Dropout with probability `dropout` in training: of attention
    weights, of the hidden layer, and of what is added to x.
    Raises ValueError for another activation and where num_heads does not divide embed_dim,
    ShapeError for other shapes.
    Source: A. Vaswani et al., "Attention is all you need", 2017, section 3.1.
    """

    keeps = (
        "self_attn",
        "linear1",
        "linear2",
        "norm1",
        "norm2",
        "activation",
        "dropout",
        "dropout1",
        "dropout2",
        "norm_first",
    )
    promotes = True

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        feedforward_dim: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        eps: float = 1e-5,
        *,
        norm_first: bool = False,
        causal: bool = False,
    ) -> None:
        if activation not in {"relu", "gelu"}:
            raise ValueError(
                f'TransformerEncoderLayer: activation is {activation!r}, it must be "relu" or '
                '"gelu"'
            )
        self.self_attn = MultiHeadAttention(embed_dim, num_heads, dropout, causal=causal)
        self.linear1 = Linear(embed_dim, feedforward_dim)
        self.linear2 = Linear(feedforward_dim, embed_dim)
        self.norm1 = LayerNorm(embed_dim, eps)
        self.norm2 = LayerNorm(embed_dim, eps)
        self.activation = ReLU() if activation == "relu" else GELU()
        self.dropout = Dropout(dropout)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.norm_first = norm_first

    def updateOutput(self, x: Tensor) -> Tensor:
        if self.norm_first:
            x = x + self._attend(self.norm1(x))
            return x + self._feed_forward(self.norm2(x))
        x = self.norm1(x + self._attend(x))
        return self.norm2(x + self._feed_forward(x))

    def _attend(self, x: Tensor) -> Tensor:
        return self.dropout1(self.self_attn(x))

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.linear1(x)))
        return self.dropout2(self.linear2(hidden))
