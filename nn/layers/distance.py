"""Distances, similarities and norms, with learned centres or between two inputs.

The gradients of Euclidean distances divide by (norm + small), as in Torch7, so that the gradient at
distance 0 is 0 and not NaN.  Elsewhere it is smaller than the derivative, by small/norm of itself.
The primitive `guarded_norm` has this rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.half import in_single
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest, Operand

__all__ = [
    "Cosine",
    "CosineDistance",
    "DotProduct",
    "Euclidean",
    "Kmeans",
    "Normalize",
    "PairwiseDistance",
    "WeightedEuclidean",
]


class Euclidean(Module):
    """yⱼ = ‖x - wⱼ‖: distances to learned centres, the columns of weight.

    x: (inputSize,) or (N, inputSize) -> (outputSize,) or (N, outputSize);  weight (inputSize,
    outputSize), from U(-s, s), s = 1/√inputSize.  Gradients divide by distance + 10⁻⁷.
    Raises ShapeError for other shapes.  Source: nn.Euclidean.
    """

    keeps: ClassVar[tuple[str, ...]] = ("weight", "small")
    promotes = True
    small = 1e-7  # with a smaller number the gradient is nearer to the derivative

    def __init__(self, inputSize: int, outputSize: int) -> None:
        self.weight = Parameter(np.empty((inputSize, outputSize), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from U(-s, s): s = 1/√inputSize, or stdv·√3."""
        s = bound(self.weight.shape[0], stdv)
        uniform_(self.weight, -s, s)

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        return self._norm(self._differences(x))

    def _differences(self, x: Tensor) -> Tensor:
        check_features(x, self.weight.shape[0])
        return ops.expand_dims(x, -1) - self.weight

    def _norm(self, differences: Tensor) -> Tensor:
        y = ops.guarded_norm(differences, axis=-2, small=self.small)
        return ops.squeeze(y, -2)


class WeightedEuclidean(Euclidean):
    """yⱼ = ‖cⱼ · (x - wⱼ)‖, entry by entry: distances to learned centres, on learned scales.

    Shapes, errors and gradients as in Euclidean;  diagCov, the cⱼ, has the shape of weight and
    starts at 1.  Source: nn.WeightedEuclidean.
    """

    keeps = ("diagCov",)

    def __init__(self, inputSize: int, outputSize: int) -> None:
        super().__init__(inputSize, outputSize)
        self.diagCov = Parameter(np.ones((inputSize, outputSize), default_dtype()))

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        return self._norm(self.diagCov * self._differences(x))


class Cosine(Module):
    """yⱼ = x·wⱼ / (‖x‖ ‖wⱼ‖): cosines between x and the rows of weight.

    x: (inputSize,) or (N, inputSize) -> (outputSize,) or (N, outputSize);  weight (outputSize,
    inputSize), from U(-s, s), s = 1/√inputSize.  10⁻¹² is added to both norms.
    Raises ShapeError for other shapes.  Source: nn.Cosine.
    """

    keeps = ("weight",)
    promotes = True

    def __init__(self, inputSize: int, outputSize: int) -> None:
        self.weight = Parameter(np.empty((outputSize, inputSize), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from U(-s, s): s = 1/√inputSize, or stdv·√3."""
        s = bound(self.weight.shape[1], stdv)
        uniform_(self.weight, -s, s)

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        check_features(x, self.weight.shape[1])
        return _to_unit_length(x) @ _to_unit_length(self.weight).T


def _to_unit_length(x: Tensor) -> Tensor:
    small = 1e-12
    return x / (ops.guarded_norm(x, small=small) + small)


class PairwiseDistance(Module):
    """y = (Σ |a - b|ᵖ)^(1/p): the distance between two inputs.

    [a, b]: (n,) and (n,), or (N, n) and (N, n) -> (1,) or (N,).  Where a and b are equal the
    gradient is 0; gradients for p > 1 divide by distance + 10⁻⁶.
    Raises ValueError for p < 1, ShapeError for other shapes.  Source: nn.PairwiseDistance.
    """

    keeps = ("norm", "small")
    promotes = True
    small = 1e-6  # with a smaller number the gradient is nearer to the derivative

    def __init__(self, p: float = 2) -> None:
        if p < 1:
            raise ValueError(f"PairwiseDistance: p is {p}, it must be at least 1")
        self.norm = p

    @in_single
    def updateOutput(self, x: Nest) -> Tensor:
        a, b = vector_pair(x)
        return ops.squeeze(ops.guarded_norm(a - b, p=self.norm, small=self.small), -1).reshape(
            (-1,)
        )


class CosineDistance(Module):
    """y = a·b / (‖a‖ ‖b‖), the cosine (not one minus it).

    [a, b]: (n,) and (n,), or (N, n) and (N, n) -> (1,) or (N,).  10⁻¹² is added to both squared
    norms.  Raises ShapeError for other shapes.  Source: nn.CosineDistance.
    """

    promotes = True

    @in_single
    def updateOutput(self, x: Nest) -> Tensor:
        a, b = vector_pair(x)
        small = 1e-12
        squares = [ops.sum(ops.square(v), axis=-1) + small for v in (a, b)]
        y = ops.sum(a * b, axis=-1) / (ops.sqrt(squares[0]) * ops.sqrt(squares[1]))
        return y.reshape((-1,)) if y.ndim == 0 else y


class DotProduct(Module):
    """y = a·b.

    [a, b]: (n,) and (n,), or (N, n) and (N, n) -> (1,) or (N,).  Raises ShapeError for other
    shapes.  Source: nn.DotProduct.
    """

    promotes = True

    @in_single
    def updateOutput(self, x: Nest) -> Tensor:
        a, b = vector_pair(x)
        return ops.sum(a * b, axis=-1, keepdims=a.ndim == 1)


class Normalize(Module):
    """y = x / (Σ |x|ᵖ + eps)^(1/p), over the features; for p = inf, x / (the largest |x| + eps).

    x: (n,), (N, n), or as in BigDL (N, n, H, W) -> the same shape; the sum runs over n.  Of equal
    largest entries the first has the gradient.
    Raises ValueError unless p > 0, ShapeError for other shapes.  Source: nn.Normalize.
    """

    keeps = ("p", "eps")
    promotes = True

    def __init__(self, p: float, eps: float = 1e-10) -> None:
        if not p > 0:
            raise ValueError(f"Normalize: p is {p}, it must be positive (there is no 0-norm)")
        self.p = p
        self.eps = eps

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return ops.moveaxis(self._normalize(ops.moveaxis(x, 1, -1)), -1, 1)
        if x.ndim not in (1, 2):
            raise ShapeError(f"the input of shape {x.shape} is none of (n,), (N, n), (N, n, H, W)")
        return self._normalize(x)

    def _normalize(self, x: Tensor) -> Tensor:
        """Normalize over the last axis."""
        # Where |x|ᵖ has a kink or a pole at 0, its derivative is guarded by eps, as in Torch7.
        power = 1 if self.p == math.inf else self.p
        powers = ops.guarded_power(x, p=power, small=self.eps if power < 2 else 0)
        if self.p == math.inf:
            position = ops.argmax(powers, axis=-1, keepdims=True)
            return x / (ops.take_along_axis(powers, position, -1) + self.eps)
        total = ops.sum(powers, axis=-1, keepdims=True) + self.eps
        return x / total ** (1 / self.p)

    def __repr__(self) -> str:
        is_integer = self.p == math.inf or self.p % 1 == 0
        return f"{torch7_name(self)}({self.p if is_integer else f'{self.p:f}'})"


# Clustering ---------------------------------------------------------------------------------------


class Kmeans(Module):
    """y[n] = the number of the centroid that is nearest to row n of x, from 0.

    x: (N, dim) -> (N,) in x's dtype.  The centroids are the rows of weight (k, dim), which starts
    from U(-s, s), s = 1/√dim.  The gradient of a centroid is scale times (the centroid minus the
    mean of the rows that are nearest to it), whatever gradOutput is: with learning rate 1 an update
    is Lloyd's step.  The gradient of x is 0.  After a call `loss` is Σ ‖x - centroid‖², 0-d, and
    clusterSampleCount has the number of rows of each centroid.  Raises ShapeError for other shapes.
    Source: nn.Kmeans; S. Lloyd, "Least Squares Quantization in PCM", 1982.
    """

    keeps = ("k", "dim", "scale", "loss", "clusterSampleCount", "weight")
    promotes = True
    counts: ClassVar[Mapping[str, str]] = {"output": "index"}

    def __init__(self, k: int, dim: int, scale: float | None = None) -> None:
        if k < 1 or dim < 1:
            raise ValueError(f"Kmeans: k is {k} and dim {dim}, both must be positive")
        self.k = k
        self.dim = dim
        self.scale = scale
        self.loss: Tensor | int = 0
        self.clusterSampleCount: Tensor | None = None
        self.weight = Parameter(np.empty((k, dim), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from U(-s, s): s = 1/√dim, or stdv·√3."""
        s = bound(self.dim, stdv)
        uniform_(self.weight, -s, s)

    def initRandom(self, x: Operand) -> None:
        """Set the centroids to k different rows of x, drawn at random.

        Raises ShapeError when x has fewer.
        """
        rows = self._rows(x)
        if len(rows) < self.k:
            raise ShapeError(f"Kmeans: {len(rows)} rows are too few for {self.k} centroids")
        draws = devices.generator("cpu").uniform((len(rows),), np.float64)
        self._set_centroids(rows[np.argsort(draws)[: self.k]])

    def initKmeansPlus(self, x: Operand, p: float = 0.95) -> None:
        """Set the centroids to rows of x that are far from one another, as k-means++ does.

        p: each further centroid is drawn from the share 1 - p of the rows that are farthest from
        the centroids so far.
        Source: D. Arthur, S. Vassilvitskii, "k-means++", 2007.
        """
        rows = self._rows(x)
        generator = devices.generator("cpu")
        first, *draws = generator.uniform((self.k,), np.float64)
        chosen = [rows[int(first * len(rows))]]
        for draw in draws:
            far = np.min([((rows - c) ** 2).sum(axis=1) for c in chosen], axis=0)
            position = int((p + (1 - p) * draw) * len(rows))
            chosen.append(rows[np.argsort(far)[min(position, len(rows) - 1)]])
        self._set_centroids(np.stack(chosen))

    def _rows(self, x: Operand) -> np.ndarray[Any, Any]:
        rows = x.numpy() if isinstance(x, Tensor) else np.asarray(x)
        if rows.ndim != 2 or rows.shape[1] != self.dim or not len(rows):
            raise ShapeError(f"Kmeans: {rows.shape} is not (N, {self.dim}) with N > 0")
        return rows

    def _set_centroids(self, rows: np.ndarray[Any, Any]) -> None:
        weight = self.weight.detach()
        ops.assign(weight, devices.to_device(rows.astype(weight.dtype), weight.device))

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        check_features(x, self.dim)
        if x.ndim != 2:
            raise ShapeError(f"the input of shape {x.shape} is not (N, {self.dim})")
        constant, weight = x.detach(), self.weight.detach()
        squares = ops.sum(ops.square(ops.expand_dims(constant, 1) - weight), axis=-1)
        self.loss = ops.sum(ops.min(squares, axis=-1))
        y = ops.nearest_centroid(x, self.weight if self.scale is None else self._scaled())
        numbers = ops.cumsum(weight[:, 0] * 0 + 1) - 1
        self.clusterSampleCount = ops.sum(ops.expand_dims(y.detach(), -1) == numbers, axis=0)
        return y

    def _scaled(self) -> Tensor:
        return ops.scale_gradient(self.weight, self.scale)

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, the loss and the counts."""
        self.loss, self.clusterSampleCount = 0, None
        return super().clearState()


# Shapes -------------------------------------------------------------------------------------------


def check_features(x: Tensor, length: int) -> None:
    """Raise ShapeError unless x is (length,) or (N, length)."""
    if x.ndim not in (1, 2) or x.shape[-1] != length:
        raise ShapeError(f"the input of shape {x.shape} is neither ({length},) nor (N, {length})")


def vector_pair(x: Nest) -> tuple[Tensor, Tensor]:
    """Return the two arrays of a table: (n,) and (n,), or (N, n) and (N, n).

    Raises ShapeError for other shapes.
    """
    a, b = entries_of(x, 2)
    if a.shape != b.shape or a.ndim not in (1, 2):
        raise ShapeError(f"shapes {a.shape} and {b.shape} are no pair of (n,) or (N, n)")
    return a, b
