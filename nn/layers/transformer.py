"""BigDL's transformer: attention of [x, y, bias], feed-forward parts, positions, the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tapegrad.autograd import Tensor, default_dtype, ops
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import normal_
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.layers.attention import MANY
from tapegrad.nn.layers.dropout import Dropout, is_idle
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.lookup import LookupTable
from tapegrad.nn.layers.normalization.sample import LayerNorm
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["Attention", "FeedForwardNetwork", "PaddingMask", "PositionEncode", "Transformer"]


def _far(dtype: np.dtype) -> float:
    """What a softmax turns into 0: -1e9, or what half precision still holds."""
    return max(-1e9, float(np.finfo(dtype).min) / 4)


def _check_features(x: Tensor, size: int) -> None:
    """Raise ShapeError unless x is (N, T, size)."""
    if x.ndim != 3 or x.shape[2] != size:
        raise ShapeError(f"the input of shape {x.shape} is not (N, T, {size}), hiddenSize")


class Attention(Container):
    """y = O·concat of softmax(q kᵀ/√d + bias)·v, over numHeads heads of d features.

    [x, y, bias]: queries q of x (N, T, hiddenSize); keys and values of y (N, S, hiddenSize); bias
    broadcasts to (N, numHeads, T, S), such as -1e9 where x may not look -> (N, T, hiddenSize).
    Many weights are not made where none is dropped, as by MultiHeadAttention.
    The children are four Linears without bias: of q, k, v, and O.
    attentionDropout: the probability of *keeping* a weight, as in BigDL.
    Raises ValueError where numHeads do not divide hiddenSize, ShapeError for other inputs.
    Source: BigDL's Attention; A. Vaswani et al., "Attention is all you need", 2017, section 3.2.
    """

    keeps = ("hiddenSize", "numHeads", "dropout")

    def __init__(self, hiddenSize: int, numHeads: int, attentionDropout: float = 1) -> None:
        if numHeads < 1 or hiddenSize % numHeads:
            raise ValueError(
                f"Attention: {hiddenSize} features do not divide into {numHeads} heads"
            )
        super().__init__(*(Linear(hiddenSize, hiddenSize, False) for _ in range(4)))
        self.hiddenSize, self.numHeads = hiddenSize, numHeads
        self.dropout = Dropout(1 - attentionDropout)

    def updateOutput(self, inputs: Nest) -> Tensor:
        x, y, bias = entries_of(inputs, 3)
        for part in (x, y):
            _check_features(part, self.hiddenSize)
        if x.shape[0] != y.shape[0]:
            raise ShapeError(f"the inputs of shapes {x.shape} and {y.shape} are of other samples")
        queries, keys, values, join = self.modules
        depth = self.hiddenSize // self.numHeads
        q, k, v = (self._heads(part) for part in (queries(x), keys(y), values(y)))
        unseen = x.shape[1] * y.shape[1] >= MANY[0] and is_idle(self.dropout)
        if unseen and bias.dtype == q.dtype:
            mixed = ops.scaled_dot_product_attention(q, k, v, bias, scale=depth**-0.5)
        else:
            scores = (q * depth**-0.5) @ ops.swapaxes(k, -1, -2) + bias
            mixed = self.dropout(ops.softmax(scores, axis=-1)) @ v
        mixed = ops.swapaxes(mixed, 1, 2)
        return join(mixed.reshape((*x.shape[:2], self.hiddenSize)))

    def _heads(self, x: Tensor) -> Tensor:
        """(N, T, hiddenSize) -> (N, numHeads, T, d)."""
        shape = (*x.shape[:2], self.numHeads, self.hiddenSize // self.numHeads)
        return ops.swapaxes(x.reshape(shape), 1, 2)


class FeedForwardNetwork(Container):
    """y = W₂·max(0, W₁ x + b₁) + b₂: (N, T, hiddenSize) -> the same, filterSize features between.

    reluDropout: the probability of *keeping* a feature between, as in BigDL.
    Raises ShapeError for other shapes.  Source: BigDL's FeedForwardNetwork; A. Vaswani et al.,
    "Attention is all you need", 2017, section 3.3.
    """

    keeps = ("hiddenSize", "dropout")

    def __init__(self, hiddenSize: int, filterSize: int, reluDropout: float = 1) -> None:
        super().__init__(Linear(hiddenSize, filterSize), Linear(filterSize, hiddenSize))
        self.hiddenSize = hiddenSize
        self.dropout = Dropout(1 - reluDropout)

    def updateOutput(self, x: Tensor) -> Tensor:
        _check_features(x, self.hiddenSize)
        first, second = self.modules
        return second(self.dropout(ops.relu(first(x))))


class PositionEncode(Module):
    """sin(t·ωᵢ), then cos(t·ωᵢ), of the steps t: x (N, T, n) -> (T, n), whatever x's entries are.

    ωᵢ = 10⁴^(-i / (n/2 - 1)), i from 0 to n/2 - 1; with an odd n the last entry is 0.  The gradient
    is 0.  Raises ShapeError for other shapes.  Source: BigDL's PositionEncode; A. Vaswani et al.,
    "Attention is all you need", 2017, section 3.5.
    """

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ShapeError(f"the input of shape {x.shape} is not (N, T, n)")
        dtype = x.dtype if x.dtype.kind == "f" else default_dtype()
        return Tensor(positions(x.shape[1], x.shape[2]), dtype=dtype, device=x.device)


def positions(steps: int, size: int) -> np.ndarray:
    """PositionEncode's array (steps, size), in float64."""
    half = size // 2
    rates = np.exp(-np.arange(half) * (math.log(1e4) / max(half - 1, 1)))
    angles = np.arange(steps)[:, None] * rates
    return np.concatenate(
        [np.sin(angles), np.cos(angles), np.zeros((steps, size - 2 * half))], axis=1
    )


class PaddingMask(Module):
    """-1e9 where x is paddingValue, else 0: (N, T) -> (N, 1, 1, T), a bias of Attention.

    Raises ShapeError for other shapes.  Source: BigDL's PaddingMask.
    """

    keeps = ("paddingValue",)

    def __init__(self, paddingValue: float = 0) -> None:
        self.paddingValue = paddingValue

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            raise ShapeError(f"the input of shape {x.shape} is not (N, T)")
        dtype = x.dtype if x.dtype.kind == "f" else default_dtype()
        padding = ops.equal(x.detach(), self.paddingValue)
        return ops.cast(padding, dtype=dtype).reshape((x.shape[0], 1, 1, x.shape[1])) * _far(dtype)


class _Block(Container):
    """x + dropout(part(norm x)) for each part: self-attention, attention of y, feed-forward."""

    keeps = ("dropout",)

    def __init__(
        self, size: int, heads: int, width: int, keep: tuple[float, float, float], *, crossed: bool
    ) -> None:
        parts: list[Module] = [LayerNorm(size, 1e-6), Attention(size, heads, keep[1])]
        if crossed:
            parts += [LayerNorm(size, 1e-6), Attention(size, heads, keep[1])]
        parts += [LayerNorm(size, 1e-6), FeedForwardNetwork(size, width, keep[2])]
        super().__init__(*parts)
        self.dropout = Dropout(1 - keep[0])

    def run(self, x: Tensor, bias: Tensor, y: Tensor | None, y_bias: Tensor | None) -> Tensor:
        """The block on x, with the bias of its own attention, and that of y."""
        own = self.modules
        z = own[0](x)
        x = x + self.dropout(own[1]([z, z, bias]))
        if y is not None:
            x = x + self.dropout(own[3]([own[2](x), y, y_bias]))
        return x + self.dropout(own[-1](own[-2](x)))


class Transformer(Module):
    """A transformer of words: of one sequence that predicts its next word, or of two.

    transformerType "LanguageModel": x (N, T), numbers of words from 0 -> (N, T, hiddenSize), where
    step t knows the words before t only.  "Translation": [source, target], (N, S) and (N, T) ->
    (N, T, hiddenSize), of the whole source and the target's words before t.
    withShareWeightsLinear: scores of all words, (N, T, vocabSize), by the table of vectors.
    Vectors are multiplied by √hiddenSize, and added to positions; those of paddingValue, the number
    of a word, are 0, and steps of the source with it are not looked at.  Blocks normalize first;
    a LayerNorm follows the last of them.
    embeddingDropout, attentionDropout, ffnDropout: probabilities of *keeping*, as in BigDL.
    Raises ValueError for another type, ShapeError for other inputs.
    Source: BigDL's Transformer; A. Vaswani et al., "Attention is all you need", 2017.
    """

    keeps = (
        "hiddenSize",
        "paddingValue",
        "transformerType",
        "withShareWeightsLinear",
        "embedding",
        "encoder",
        "decoder",
        "norms",
        "dropout",
    )
    counts: ClassVar[Mapping[str, str]] = {"input": "index", "paddingValue": "index"}

    def __init__(
        self,
        vocabSize: int,
        hiddenSize: int,
        numHeads: int,
        filterSize: int,
        numHiddenlayers: int,
        embeddingDropout: float = 1,
        attentionDropout: float = 1,
        ffnDropout: float = 1,
        paddingValue: int = -1,
        withShareWeightsLinear: bool = False,
        transformerType: str = "LanguageModel",
    ) -> None:
        if transformerType not in ("LanguageModel", "Translation"):
            raise ValueError(
                f"Transformer: transformerType is {transformerType!r}, it must be 'LanguageModel' "
                "or 'Translation'"
            )
        self.hiddenSize, self.paddingValue = hiddenSize, paddingValue
        self.transformerType = transformerType
        self.withShareWeightsLinear = bool(withShareWeightsLinear)
        self.embedding = LookupTable(vocabSize, hiddenSize, paddingValue, maskZero=True)
        normal_(self.embedding.weight, 0.0, hiddenSize**-0.5)
        keep = (embeddingDropout, attentionDropout, ffnDropout)
        sizes = (hiddenSize, numHeads, filterSize)
        two = transformerType == "Translation"
        count = range(numHiddenlayers)
        self.encoder = [_Block(*sizes, keep, crossed=False) for _ in count] if two else []
        self.decoder = [_Block(*sizes, keep, crossed=two) for _ in count]
        self.norms = [LayerNorm(hiddenSize, 1e-6) for _ in range(1 + two)]
        self.dropout = Dropout(1 - embeddingDropout)

    def updateOutput(self, x: Nest) -> Tensor:
        source = None
        if self.transformerType == "Translation":
            source, x = entries_of(x, 2)
        for words in (source, x):
            if words is not None and (not isinstance(words, Tensor) or words.ndim != 2):
                raise ShapeError("the input must be numbers of words (N, T), or two such arrays")
        y = bias = None
        if source is not None:
            y, bias = self._vectors(source), self._padding_bias(source)
            y = self._placed(y)
            for block in self.encoder:
                y = block.run(y, bias, None, None)
            y = self.norms[1](y)
        vectors = self._vectors(x)
        z = self._placed(ops.pad(vectors[:, :-1], ((0, 0), (1, 0), (0, 0))))
        steps = x.shape[1]
        far = _far(np.dtype(z.dtype))
        later = Tensor(np.triu(np.full((steps, steps), far), 1), dtype=z.dtype, device=z.device)
        for block in self.decoder:
            z = block.run(z, later, y, bias)
        z = self.norms[0](z)
        return z @ self.embedding.weight.T if self.withShareWeightsLinear else z

    def _vectors(self, words: Tensor) -> Tensor:
        return self.embedding(words) * math.sqrt(self.hiddenSize)

    def _padding_bias(self, words: Tensor) -> Tensor:
        padding = ops.equal(words.detach(), self.paddingValue)
        kind = self.embedding.weight.dtype
        bias = ops.cast(padding, dtype=kind) * _far(np.dtype(kind))
        return bias.reshape((words.shape[0], 1, 1, words.shape[1]))

    def _placed(self, x: Tensor) -> Tensor:
        places = positions(x.shape[1], x.shape[2])
        return self.dropout(x + Tensor(places, dtype=x.dtype, device=x.device))
