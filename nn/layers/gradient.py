"""Layers whose output is their input, and which change or show the gradient on its way back.

The gradient of such a layer is on purpose not the derivative of its output, so each layer calls a
primitive that has a rule of its own: `scale_gradient`, `penalize_l1`, `add_gradient`,
`watch_gradient`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "ActivityRegularization",
    "Echo",
    "GradientReversal",
    "L1Penalty",
    "NegativeEntropyPenalty",
    "PrintSize",
    "ZeroGrad",
]


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


class _Penalty(Module):
    """y = x, with the gradient of a penalty added on the way back; the penalty is in `loss`."""

    keeps: ClassVar[tuple[str, ...]] = ("loss",)
    promotes = True
    loss: Tensor | None = None

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and the loss."""
        self.loss = None
        return super().clearState()


class ActivityRegularization(_Penalty):
    """y = x; the gradient of l1·Σ|x| + l2·Σx² is added to the output's: any shape -> the same.

    After a call `loss` is that sum, 0-d.  Source: BigDL's ActivityRegularization.
    """

    keeps = ("l1", "l2")

    def __init__(self, l1: float = 0, l2: float = 0) -> None:
        self.l1 = l1
        self.l2 = l2
        self.loss = None

    def updateOutput(self, x: Tensor) -> Tensor:
        values = x.detach()
        self.loss = self.l1 * ops.sum(ops.absolute(values)) + self.l2 * ops.sum(ops.square(values))
        return ops.add_gradient(x, self.l1 * ops.sign(x) + 2 * self.l2 * x)


class NegativeEntropyPenalty(_Penalty):
    """y = x; the gradient of beta·Σ x·log x is added to the output's: any shape -> the same.

    x: probabilities.  After a call `loss` is that sum, 0-d; it is smallest where x is even.
    Source: BigDL's NegativeEntropyPenalty; V. Mnih et al., "Asynchronous methods for deep
    reinforcement learning", ICML 2016, section 4.
    """

    keeps = ("beta",)

    def __init__(self, beta: float = 0.01) -> None:
        self.beta = beta
        self.loss = None

    def updateOutput(self, x: Tensor) -> Tensor:
        values = x.detach()
        self.loss = self.beta * ops.sum(values * ops.log(values))
        return ops.add_gradient(x, self.beta * (ops.log(x) + 1))


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


class Echo(Module):
    """y = x; calls feval(module, x), and beval(module, x, gradient) in the reverse sweep.

    Without feval and beval the shapes are printed; functions cannot be written to a file.
    Raises TypeError for what is no function.
    Source: BigDL's Echo.
    """

    keeps = ("feval", "beval")

    def __init__(
        self,
        feval: Callable[[Module, Tensor], None] | None = None,
        beval: Callable[[Module, Tensor, Array], None] | None = None,
    ) -> None:
        self.feval = feval
        self.beval = beval

    def updateOutput(self, x: Tensor) -> Tensor:
        name = type(self).__name__
        for function in (self.feval, self.beval):
            if function is not None and not callable(function):
                raise TypeError(f"{name}: {function!r} is no function of (module, x) or more")
        if self.feval is None:
            _Announcement(f"{name}: input")(x)
        else:
            self.feval(self, x)
        if self.beval is None:
            return ops.watch_gradient(x, watch=_Announcement(f"{name}: gradOutput"))
        return ops.watch_gradient(x, watch=_Watch(self.beval, self, x.detach()))


@dataclass(frozen=True)
class _Watch:
    """Hands a gradient, with the module and its input, to a function."""

    function: Callable[[Module, Tensor, Array], None]
    module: Module
    x: Tensor = field(compare=False)  # another one at each call

    def __call__(self, array: Array) -> None:
        self.function(self.module, self.x, array)
