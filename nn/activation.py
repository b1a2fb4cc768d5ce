"""Transfer functions: Identity, ReLU, Tanh, Sigmoid, and the two softmaxes.

All but the softmaxes act entry by entry.  Each is one primitive, whose stable form and derivative
live with the primitive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tapegrad.autograd import ops
from tapegrad.nn.module import Module, ShapeError

__all__ = ["Identity", "LogSoftMax", "ReLU", "Sigmoid", "SoftMax", "Tanh"]


class Identity(Module):
    """y = x, whatever x is: an array, or nested lists of arrays.  Source: nn.Identity."""

    def updateOutput(self, x: Any) -> Any:
        return x


class ReLU(Module):
    """y = max(x, 0), elementwise: any shape -> the same shape.

    The derivative at 0 is 0, and NaN stays NaN (in Torch7 it became 0).  `inplace` is accepted and
    kept, and saves no memory here: the caller's arrays are never overwritten.
    Source: nn.ReLU, a Threshold with threshold 0 and replacement value 0.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # one flag
    threshold = 0
    val = 0

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = bool(inplace)

    def updateOutput(self, x: Any) -> Any:
        return ops.relu(x)


class Tanh(Module):
    """y = tanh x, elementwise: any shape -> the same shape.  Source: nn.Tanh."""

    def updateOutput(self, x: Any) -> Any:
        return ops.tanh(x)


class Sigmoid(Module):
    """y = 1 / (1 + e⁻ˣ), elementwise: any shape -> the same shape.  Source: nn.Sigmoid."""

    def updateOutput(self, x: Any) -> Any:
        return ops.sigmoid(x)


class SoftMax(Module):
    """y = eˣ / Σ eˣ over the classes.

    x: (C,), (N, C), (C, H, W) or (N, C, H, W) -> the same shape; the sum runs over C.
    Raises ShapeError for other numbers of axes.  Source: nn.SoftMax.
    """

    def updateOutput(self, x: Any) -> Any:
        return ops.softmax(x, axis=class_axis(x))


class LogSoftMax(Module):
    """y = x - log Σ eˣ over the classes, without overflow.

    x: (C,), (N, C), (C, H, W) or (N, C, H, W) -> the same shape; the sum runs over C.
    Raises ShapeError for other numbers of axes.  Source: nn.LogSoftMax.
    """

    def updateOutput(self, x: Any) -> Any:
        return ops.log_softmax(x, axis=class_axis(x))


def class_axis(x: Any) -> int:
    """The axis of the classes: the first of a single sample, the second of a batch."""
    if not 1 <= x.ndim <= 4:
        raise ShapeError(
            f"the input of shape {x.shape} is none of (C,), (N, C), (C, H, W), (N, C, H, W)"
        )
    return 0 if x.ndim in (1, 3) else 1
