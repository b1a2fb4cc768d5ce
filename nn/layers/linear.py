"""Linear, the fully connected layer, and its relatives with the same kind of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, no_grad, ops
from tapegrad.nn.core.affine import affine_map
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.indexing import to_indices
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest, Operand

__all__ = ["Bilinear", "Highway", "Linear", "LinearWeightNorm", "PartialLinear"]


class Linear(Module):
    """y = x Wᵀ + b.

    x: (inputSize,) or (…, inputSize) -> (…, outputSize).
    weight (outputSize, inputSize) and bias (outputSize,), or None, start from U(-s, s),
    s = 1/√inputSize.  Raises ShapeError when the last axis of x is not inputSize long.
    Source: nn.Linear, which takes one or two axes only.

    >>> from tapegrad import nn
    >>> nn.Linear(3, 2)(np.ones((5, 3), np.float32)).shape
    (5, 2)
    """

    keeps = ("weight", "bias")
    promotes = True

    def __init__(self, inputSize: int, outputSize: int, bias: bool = True) -> None:
        self.weight = Parameter(np.empty((outputSize, inputSize), default_dtype()))
        self.bias = Parameter(np.empty(outputSize, default_dtype())) if bias else None
        self.reset()

    def noBias(self) -> Self:
        """Drop the bias."""
        self.bias = None
        return self

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√inputSize, or stdv·√3."""
        s = bound(self.weight.shape[1], stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Tensor) -> Tensor:
        n_in = self.weight.shape[1]
        if not x.ndim or x.shape[-1] != n_in:
            found = x.shape[-1] if x.ndim else "missing (a single number)"
            raise ShapeError(f"last axis of the input is {found}, inputSize is {n_in}")
        return x @ self.weight.T if self.bias is None else affine_map(x, self.weight, self.bias)

    def __repr__(self) -> str:
        n_out, n_in = self.weight.shape
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({n_in} -> {n_out}){ending}"


class LinearWeightNorm(Module):
    """y = x Wᵀ + b, each row of W given by its length g and its direction v: W = g · v/‖v‖.

    x: (inputSize,) or (…, inputSize) -> (…, outputSize).
    v (outputSize, inputSize), g (outputSize, 1) and bias (outputSize,), or None; W and bias start
    as in Linear.  eps is added to ‖v‖².
    Raises ShapeError when the last axis of x is not inputSize long.
    Source: nn.LinearWeightNorm; T. Salimans, D. Kingma, "Weight Normalization", 2016.
    """

    keeps = ("inputSize", "outputSize", "eps", "v", "g", "bias")
    promotes = True

    def __init__(
        self, inputSize: int, outputSize: int, bias: bool = True, eps: float = 1e-16
    ) -> None:
        self.inputSize, self.outputSize, self.eps = inputSize, outputSize, eps
        self.v = Parameter(np.empty((outputSize, inputSize), default_dtype()))
        self.g = Parameter(np.empty((outputSize, 1), default_dtype()))
        self.bias = Parameter(np.empty(outputSize, default_dtype())) if bias else None
        self.reset()

    @property
    def weight(self) -> Tensor:
        """W = g · v/‖v‖, row by row."""
        return self.v * (self.g / self._norm())

    def _norm(self) -> Tensor:
        return ops.sqrt(ops.sum(ops.square(self.v), axis=1, keepdims=True) + self.eps)

    def reset(self, stdv: float | None = None) -> None:
        """Draw W, then bias, from U(-s, s): s = 1/√inputSize, or stdv·√3."""
        s = bound(self.inputSize, stdv)
        uniform_(self.v, -s, s)
        uniform_(self.bias, -s, s)
        self.initFromWeight(self.v)

    def initFromWeight(self, weight: Operand) -> Self:
        """Set v and g so that W equals `weight`, (outputSize, inputSize)."""
        with no_grad():
            ops.assign(self.v.detach(), weight.detach() if hasattr(weight, "detach") else weight)
            ops.assign(self.g.detach(), self._norm())
        return self

    @classmethod
    def fromLinear(cls, linear: Linear) -> LinearWeightNorm:
        """Return a new layer that computes the same as `linear`."""
        n_out, n_in = linear.weight.shape
        result = cls(n_in, n_out, linear.bias is not None).type(linear.weight.dtype)
        if linear.bias is not None:
            ops.assign(result.bias.detach(), linear.bias.detach())
        return result.initFromWeight(linear.weight)

    def toLinear(self) -> Linear:
        """Return a new Linear that computes the same as this layer."""
        result = Linear(self.inputSize, self.outputSize, self.bias is not None)
        result.type(self.v.dtype)
        ops.assign(result.weight.detach(), self.weight.detach())
        if self.bias is not None and result.bias is not None:
            ops.assign(result.bias.detach(), self.bias.detach())
        return result

    def updateOutput(self, x: Tensor) -> Tensor:
        if not x.ndim or x.shape[-1] != self.inputSize:
            raise ShapeError(f"the input of shape {x.shape} is not (…, {self.inputSize})")
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def __repr__(self) -> str:
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({self.inputSize} -> {self.outputSize}){ending}"


class Bilinear(Module):
    """yₖ = aᵀ Wₖ b + biasₖ: a form in two inputs.

    [a, b]: (N, inputSize1) and (N, inputSize2) -> (N, outputSize).
    weight (outputSize, inputSize1, inputSize2) and bias (outputSize,), or None, start from
    U(-s, s), s = 1/√inputSize1.  Raises ShapeError for other shapes.
    Source: nn.Bilinear.
    """

    keeps = ("weight", "bias")
    promotes = True

    def __init__(
        self, inputSize1: int, inputSize2: int, outputSize: int, bias: bool = True
    ) -> None:
        self.weight = Parameter(np.empty((outputSize, inputSize1, inputSize2), default_dtype()))
        self.bias = Parameter(np.empty(outputSize, default_dtype())) if bias else None
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√inputSize1, or stdv·√3."""
        s = bound(self.weight.shape[1], stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Nest) -> Tensor:
        a, b = entries_of(x, 2)
        _, n_in1, n_in2 = self.weight.shape
        batch = a.shape[:1]
        if a.ndim != 2 or (a.shape, b.shape) != ((*batch, n_in1), (*batch, n_in2)):
            raise ShapeError(
                f"shapes {a.shape} and {b.shape} are not (N, {n_in1}) and (N, {n_in2})"
            )
        y = ops.einsum("ni,kij,nj->nk", a, self.weight, b)
        return y if self.bias is None else y + self.bias

    def __repr__(self) -> str:
        n_out, n_in1, n_in2 = self.weight.shape
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({n_in1}x{n_in2} -> {n_out}) {ending}"


class PartialLinear(Module):
    """y = x Wₛᵀ + bₛ: a Linear of which only some outputs s are computed.

    x: (N, inputsize) -> (N, outputs in the partition).  `setPartition` chooses the outputs;
    `resetPartition` chooses all.  weight (outputsize, inputsize) and bias (1, outputsize), or None,
    start from U(-s, s), s = 1/√inputsize.  Raises ShapeError for other shapes.
    Source: nn.PartialLinear.
    """

    keeps = ("inputsize", "outputsize", "weight", "bias", "partition")
    promotes = True
    counts: ClassVar[Mapping[str, str]] = {"setPartition.indices": "index"}

    def __init__(self, inputsize: int, outputsize: int, bias: bool = True) -> None:
        self.inputsize, self.outputsize = inputsize, outputsize
        self.weight = Parameter(np.empty((outputsize, inputsize), default_dtype()))
        self.bias = Parameter(np.empty((1, outputsize), default_dtype())) if bias else None
        self.resetPartition()
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√inputsize, or stdv·√3."""
        s = bound(self.inputsize, stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def setPartition(self, indices: Operand) -> None:
        """Compute only the outputs with these numbers, from 0, in their order.

        Raises ShapeError for a number that is no output's.
        """
        partition = Buffer(np.asarray(indices).reshape(-1).astype(np.int64))
        to_indices(partition, self.outputsize)
        self.partition: Buffer | None = partition

    def resetPartition(self) -> None:
        """Compute all outputs."""
        self.partition = None

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim != 2 or x.shape[1] != self.inputsize:
            raise ShapeError(f"the input of shape {x.shape} is not (N, {self.inputsize})")
        if self.partition is None:
            y = x @ self.weight.T
            return y if self.bias is None else y + self.bias
        y = x @ self.weight[self.partition].T
        return y if self.bias is None else y + self.bias[:, self.partition]

    def __repr__(self) -> str:
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({self.inputsize} -> {self.outputsize}){ending}"


class Highway(Module):
    """y = g·activation(W x + b) + (1 - g)·x, with the gate g = σ(V x + c).

    x: (size,) or (…, size) -> the same shape.  The gate's Linear comes first in `modules`; without
    withBias neither has a bias; activation: a module, the identity if omitted.
    Raises ShapeError when the last axis of x is not `size` long.
    Source: BigDL's Highway; R. Srivastava et al., "Highway networks", 2015, equation 3.
    """

    keeps = ("modules", "activation")

    def __init__(self, size: int, withBias: bool = True, activation: Module | None = None) -> None:
        self.modules = [Linear(size, size, withBias), Linear(size, size, withBias)]
        self.activation = activation

    def updateOutput(self, x: Tensor) -> Tensor:
        gate, candidate = self.modules
        g, y = ops.sigmoid(gate(x)), candidate(x)
        if self.activation is not None:
            y = self.activation(y)
        return g * y + (1 - g) * x
