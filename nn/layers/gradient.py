"""Layers whose output is their input, and which change or show the gradient on its way back.

The gradient of such a layer is on purpose not the derivative of its output, so each layer calls a
primitive that has a rule of its own: `scale_gradient`, `penalize_l1`, `watch_gradient`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = ["GradientReversal", "L1Penalty", "PrintSize", "ZeroGrad"]


class GradientReversal(Module):
    """y = x; the gradient is multiplied by -λ: any shape -> the same.

    Source: nn.GradientReversal; Y. Ganin, V. Lempitsky, "Unsupervised Domain Adaptation by
    Backpropagation", ICML 2015.
    """

    keeps = ("lambda",)

    def __init__(self, lambda_: float = 1) -> None:
        self.setLambda(lambda_)

    def setLambda(self, lambda_: float) -> Self:
        """Set the factor λ by which the gradient is multiplied and reversed."""
        vars(self)["lambda"] = lambda_  # its name in Torch7, a reserved word here
        return self

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.scale_gradient(x, -vars(self)["lambda"])


class ZeroGrad(Module):
    """y = x; the gradient is 0: any shape -> the same.  Source: nn.ZeroGrad."""

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.scale_gradient(x, 0)


class L1Penalty(Module):
    """y = x; the gradient of λ·Σ|x| is added to the output's, as if the sum were in the loss.

    λ is l1weight, divided by the number of entries with sizeAverage.  After a call `loss` is
    λ·Σ|x|, 0-d.  provideOutput False: the gradient is the penalty's alone.
    Source: nn.L1Penalty.
    """

    keeps = ("l1weight", "sizeAverage", "provideOutput", "loss")
    promotes = True

    def __init__(
        self, l1weight: float, sizeAverage: bool = False, provideOutput: bool = True
    ) -> None:
        self.l1weight = l1weight
        self.sizeAverage = bool(sizeAverage)
        self.provideOutput = bool(provideOutput)
        self.loss: Tensor | None = None

    def updateOutput(self, x: Tensor) -> Tensor:
        weight = self.l1weight / (max(x.size, 1) if self.sizeAverage else 1)
        self.loss = ops.sum(ops.absolute(x.detach())) * weight
        return ops.penalize_l1(x, weight=weight, passing=self.provideOutput)

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and the loss."""
        self.loss = None
        return super().clearState()


@dataclass(frozen=True)
class _Announcement:
    """Writes a line with a shape to standard output."""

    text: str

    def __call__(self, array: Array) -> None:
        sys.stdout.write(f"{self.text} {tuple(array.shape)}\n")


class PrintSize(Module):
    """y = x; prints the shape of x and, in the reverse sweep, that of the gradient, after `prefix`.

    Source: nn.PrintSize.
    """

    keeps = ("prefix",)

    def __init__(self, prefix: str = "PrintSize") -> None:
        self.prefix = prefix

    def updateOutput(self, x: Tensor) -> Tensor:
        _Announcement(f"{self.prefix}: input")(x)
        return ops.watch_gradient(x, watch=_Announcement(f"{self.prefix}: gradOutput"))
