"""Attention, the two layers of the Transformer, and learned positions.

Sequences have the batch first: (N, T, E).  A mask holds booleans, True forbids to attend to a step,
or floats, which are added to the scores.  Masks of the steps of each query (`attn_mask`) and masks
of padded keys (`key_padding_mask`) are told apart by name, never by shape: in a batch of T samples,
(T, S) and (N, S) are the same shape.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.attention_masks import (
    add_mask,
    attention_mask,
    checked_attention_mask,
    fitted_padding,
    joined_mask,
)
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import fill_, normal_, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.activation import GELU
from tapegrad.nn.layers.dropout import Dropout, is_idle
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.normalization.sample import LayerNorm
from tapegrad.nn.layers.rectifiers import ReLU
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest, Operand

    Masks: TypeAlias = tuple[Tensor | None, Tensor | None]

__all__ = [
    "LearnedPositions",
    "MultiHeadAttention",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
]

# Pairs of a query and a key, from which on weights are not made unless asked for.  Below, making
# them is a few per cent faster; a causal mask lets blocks be skipped, so there a quarter is enough.
MANY = [2**18]

NAMELESS_MASK = (
    "a mask of shape {shape} may be one of steps or one of padding: pass it as "
    "setMask(attn_mask=…), (T, S), or setMask(key_padding_mask=…), (N, S)"
)


class MultiHeadAttention(Module):
    """y = concat(head₁, …)·Wₒᵀ + bₒ, headₖ = softmax(QₖKₖᵀ / √d)·Vₖ, d = embed_dim / num_heads.

    x: (N, T, E) or (T, E), which attends to itself -> the same shape, E = embed_dim;
    or a list [query, key, value] of (N, T, E), (N, S, E) and (N, S, E), or of the same without N.
    attn_mask: (T, S), (N, T, S), (N·num_heads, T, S), or (N, num_heads, T, S), whose first three
    axes may have length 1 for all alike: booleans, True where a query's step must not see a key's,
    or floats to add to the scores, such as -inf or a learned bias.  key_padding_mask: (N, S), or
    (S,) for a single sample, booleans, True for keys that are padding, or floats.  Both hold for
    one call, beside those of `setMask`.  Where a step sees no key, y is NaN.
    causal: no step attends to a later one.  dropout: the probability with which an attention weight
    becomes 0 in training.  need_weights: return [y, weights], the weights (N, num_heads, T, S) by
    which V is averaged.
    From 512·512 pairs of steps on, 256·256 if causal, weights are not made where nobody asks for
    them, and memory grows with T and S, not with T·S (`ops.scaled_dot_product_attention`): without
    need_weights, while the child `dropout`, which then is not called, drops nothing and has no
    hook, and with masks of one kind.  Dropout of weights in training needs them.
    in_proj_weight (3·E, E) and in_proj_bias (3·E,) make Q, K and V; out_proj is a Linear.  Weights
    start from Xavier's uniform distribution, biases at 0.
    Raises ValueError unless num_heads divides embed_dim, ShapeError for other shapes, TypeError for
    masks of integers.
    Source: A. Vaswani et al., "Attention is all you need", 2017, section 3.2.

    >>> from tapegrad import nn
    >>> attention = nn.MultiHeadAttention(8, 2, causal=True)
    >>> attention(np.ones((3, 5, 8), np.float32)).shape
    (3, 5, 8)
    """

    keeps = (
        "embed_dim",
        "num_heads",
        "causal",
        "in_proj_weight",
        "in_proj_bias",
        "out_proj",
        "dropout",
        "need_weights",
        "_mask",
        "_key_padding_mask",
    )
    promotes = True
    need_weights = False
    _key_padding_mask: Any = None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        causal: bool = False,
        need_weights: bool = False,
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
        self.need_weights = bool(need_weights)
        self._mask: np.ndarray[Any, Any] | None = None
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw in_proj_weight from U(-s, s), s² = 6/(4·E), or stdv·√3; biases to 0."""
        s = math.sqrt(6 / (4 * self.embed_dim)) if stdv is None else stdv * math.sqrt(3)
        uniform_(self.in_proj_weight, -s, s)
        fill_(self.in_proj_bias, 0.0)
        self.out_proj.reset(stdv)
        fill_(self.out_proj.bias, 0.0)

    def setMask(
        self,
        mask: Operand | None = None,
        *,
        attn_mask: Operand | None = None,
        key_padding_mask: Operand | None = None,
    ) -> MultiHeadAttention:
        """Set the masks of all calls from now on, None for none; returns self.

        mask: an attn_mask that has four axes, and so needs no name
        attn_mask, key_padding_mask: as the class describes them
        Raises TypeError for integers, and for floats that are 0 or 1 throughout; ShapeError for a
        mask without four axes that has no name.
        """
        if mask is not None and np.ndim(mask) != 4:
            raise ShapeError(NAMELESS_MASK.format(shape=np.shape(mask)))
        if mask is not None and attn_mask is not None:
            raise TypeError("MultiHeadAttention.setMask: mask and attn_mask are the same: give one")
        self._mask = attention_mask(mask if attn_mask is None else attn_mask)
        self._key_padding_mask = attention_mask(key_padding_mask)
        return self

    def updateOutput(
        self, x: Nest, attn_mask: Tensor | None = None, key_padding_mask: Tensor | None = None
    ) -> Nest:
        query, key, value = self._inputs(x)
        single = query.ndim == 2
        if single:
            query, key, value = (part.reshape((1, *part.shape)) for part in (query, key, value))
            if key_padding_mask is not None and key_padding_mask.ndim == 1:
                key_padding_mask = key_padding_mask.reshape((1, -1))
        self._check_shapes(query, key, value)
        q, k, v = (
            self._project_heads(part, i) for i, part in enumerate((query, key, value))
        )  # each (N, heads, steps, d)
        pairs = (*q.shape[:-1], k.shape[-2])  # (N, heads, T, S), the shape of the scores
        given = [self._fitted_mask(m, pairs) for m in (attn_mask, self._mask) if m is not None]
        paddings = (key_padding_mask, self._key_padding_mask)
        given += [fitted_padding(mask, pairs) for mask in paddings if mask is not None]
        masks = [checked_attention_mask(mask, q) for mask in given]
        weights = None
        if self._hides_weights(pairs, masks):
            y = ops.scaled_dot_product_attention(q, k, v, joined_mask(masks), causal=self.causal)
        else:
            scores = (q * (1 / math.sqrt(q.shape[-1]))) @ k.transpose((0, 1, 3, 2))
            for mask in masks:
                scores = add_mask(scores, mask)
            if self.causal:
                later = np.triu(np.ones(pairs[-2:], bool), k=1)
                scores = add_mask(scores, checked_attention_mask(later, q))
            weights = self.dropout(ops.softmax(scores, axis=-1))
            y = weights @ v
        y = self.out_proj(y.transpose((0, 2, 1, 3)).reshape(query.shape))
        if single:
            y = y.reshape(y.shape[1:])
            weights = None if weights is None else weights.reshape(weights.shape[1:])
        return [y, weights] if self.need_weights else y

    def _hides_weights(self, pairs: tuple[int, ...], masks: list[Tensor]) -> bool:
        """Whether the weights are so many that they had better not be made, and nobody asks."""
        count = pairs[-2] * pairs[-1] * (4 if self.causal else 1)
        if self.need_weights or count < MANY[0] or not is_idle(self.dropout):
            return False
        return len({mask.dtype == bool for mask in masks}) < 2

    def _inputs(self, x: Nest) -> tuple[Tensor, Tensor, Tensor]:
        if not isinstance(x, (list, tuple)):
            return x, x, x
        if len(x) != 3:
            raise ShapeError(f"the input must be x or [query, key, value], not a list of {len(x)}")
        query, key, value = x
        return query, key, value

    def _project_heads(self, x: Tensor, which: int) -> Tensor:
        rows = slice(which * self.embed_dim, (which + 1) * self.embed_dim)
        y = x @ self.in_proj_weight[rows].T
        if self.in_proj_bias is not None:
            y = y + self.in_proj_bias[rows]
        width = self.embed_dim // self.num_heads
        return y.reshape((*x.shape[:2], self.num_heads, width)).transpose((0, 2, 1, 3))

    def _fitted_mask(self, mask: Any, scores: tuple[int, ...]) -> Any:
        """An attn_mask with the axes (N, heads, T, S), of which all but the last may be 1 long."""
        n, heads, t, s = scores
        if mask.shape == (t, s):
            return mask.reshape((1, 1, t, s))
        if mask.shape == (n * heads, t, s):
            return mask.reshape(scores)
        if mask.shape == (n, t, s):
            return mask.reshape((n, 1, t, s))
        alike = (1, 1, 1, s)  # one mask of keys for all samples, heads and steps of the query
        pairs = zip(mask.shape, alike, scores, strict=True) if mask.ndim == 4 else ()
        if mask.ndim != 4 or any(found not in (one, full) for found, one, full in pairs):
            raise ShapeError(
                f"the attn_mask has shape {mask.shape}; it must be (T, S) = ({t}, {s}), or with "
                f"axes before them for samples and heads: ({n}, {t}, {s}), ({n * heads}, {t}, {s}) "
                f"or {scores}"
            )
        return mask

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

    x: (N, T, embed_dim) or (T, embed_dim) -> the same shape.  src_mask, src_key_padding_mask: the
    attn_mask and the key_padding_mask of MultiHeadAttention.  norm_first: normalize what goes into
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
        nonlinearity = _activation(type(self).__name__, activation)
        self.self_attn = MultiHeadAttention(embed_dim, num_heads, dropout, causal=causal)
        self.linear1 = Linear(embed_dim, feedforward_dim)
        self.linear2 = Linear(feedforward_dim, embed_dim)
        self.norm1 = LayerNorm(embed_dim, eps)
        self.norm2 = LayerNorm(embed_dim, eps)
        self.activation = nonlinearity
        self.dropout = Dropout(dropout)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.norm_first = norm_first

    def updateOutput(
        self,
        x: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        masks = (src_mask, src_key_padding_mask)
        if self.norm_first:
            x = x + self._attend(self.norm1(x), masks)
            return x + self._feed_forward(self.norm2(x))
        x = self.norm1(x + self._attend(x, masks))
        return self.norm2(x + self._feed_forward(x))

    def _attend(self, x: Tensor, masks: Masks) -> Tensor:
        return self.dropout1(_attended(self.self_attn, x, masks))

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.linear1(x)))
        return self.dropout2(self.linear2(hidden))


class TransformerDecoderLayer(Module):
    """x₁ = norm1(x + attention(x));  x₂ = norm2(x₁ + attention(x₁, memory, memory));
    y = norm3(x₂ + W₂·activation(W₁·x₂ + b₁) + b₂).

    [x, memory]: (N, T, embed_dim) and (N, S, embed_dim), the encoder's output, or both without N
    -> the shape of x.  causal: no step of x attends to a later one, which is the rule of a decoder.
    tgt_mask, tgt_key_padding_mask: the attn_mask and key_padding_mask (MultiHeadAttention) of x;
    memory_mask, memory_key_padding_mask: those of the memory.
    norm_first, activation, dropout: as in TransformerEncoderLayer.
    Raises ValueError for another activation and where num_heads does not divide embed_dim,
    ShapeError for other shapes.
    Source: A. Vaswani et al., "Attention is all you need", 2017, section 3.1; the names of its
    parts are those of torch.nn.TransformerDecoderLayer.
    """

    keeps = (
        "self_attn",
        "multihead_attn",
        "linear1",
        "linear2",
        "norm1",
        "norm2",
        "norm3",
        "activation",
        "dropout",
        "dropout1",
        "dropout2",
        "dropout3",
        "norm_first",
    )

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
        causal: bool = True,
    ) -> None:
        nonlinearity = _activation(type(self).__name__, activation)
        self.self_attn = MultiHeadAttention(embed_dim, num_heads, dropout, causal=causal)
        self.multihead_attn = MultiHeadAttention(embed_dim, num_heads, dropout)
        self.linear1 = Linear(embed_dim, feedforward_dim)
        self.linear2 = Linear(feedforward_dim, embed_dim)
        self.norm1 = LayerNorm(embed_dim, eps)
        self.norm2 = LayerNorm(embed_dim, eps)
        self.norm3 = LayerNorm(embed_dim, eps)
        self.activation = nonlinearity
        self.dropout = Dropout(dropout)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.norm_first = norm_first

    def updateOutput(
        self,
        inputs: Nest,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise ShapeError("the input must be a list [x, memory]")
        x, memory = inputs
        own = (tgt_mask, tgt_key_padding_mask)
        other = (memory_mask, memory_key_padding_mask)
        if self.norm_first:
            x = x + self._attend(self.norm1(x), own)
            x = x + self._look_up(self.norm2(x), memory, other)
            return x + self._feed_forward(self.norm3(x))
        x = self.norm1(x + self._attend(x, own))
        x = self.norm2(x + self._look_up(x, memory, other))
        return self.norm3(x + self._feed_forward(x))

    def _attend(self, x: Tensor, masks: Masks) -> Tensor:
        return self.dropout1(_attended(self.self_attn, x, masks))

    def _look_up(self, x: Tensor, memory: Tensor, masks: Masks) -> Tensor:
        return self.dropout2(_attended(self.multihead_attn, [x, memory, memory], masks))

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.linear1(x)))
        return self.dropout3(self.linear2(hidden))


def _attended(attention: MultiHeadAttention, x: Nest, masks: Masks) -> Tensor:
    """attention(x, *masks); without masks a call with one input, as Torch7's methods expect it."""
    given = any(mask is not None for mask in masks)
    y: Tensor = attention(x, *masks) if given else attention(x)
    return y


def _activation(name: str, activation: str) -> Module:
    if activation not in {"relu", "gelu"}:
        raise ValueError(f'{name}: activation is {activation!r}, it must be "relu" or "gelu"')
    return ReLU() if activation == "relu" else GELU()


class LearnedPositions(Module):
    """y = x + weight[:T]: a learned vector for each position of a sequence.

    x: (N, T, embed_dim) or (T, embed_dim) -> the same shape, T <= num_embeddings.
    weight (num_embeddings, embed_dim), from N(0, 0.02²).
    Raises ShapeError for a longer sequence, and other shapes.
    Source: J. Gehring et al., "Convolutional sequence to sequence learning", 2017, section 3.1.
    """

    keeps = ("weight",)

    def __init__(self, num_embeddings: int, embed_dim: int) -> None:
        self.weight = Parameter(np.empty((num_embeddings, embed_dim), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw the weight from N(0, stdv²), 0.02 when None."""
        normal_(self.weight, 0.0, 0.02 if stdv is None else stdv)

    def updateOutput(self, x: Tensor) -> Tensor:
        rows, size = self.weight.shape
        if x.ndim not in (2, 3) or x.shape[-1] != size or x.shape[-2] > rows:
            raise ShapeError(
                f"the input of shape {x.shape} is not (N, T, {size}) or (T, {size}) with T at most "
                f"{rows}, num_embeddings"
            )
        return x + self.weight[: x.shape[-2]]

    def __repr__(self) -> str:
        rows, size = self.weight.shape
        return f"{torch7_name(self)}({rows}, {size})"
