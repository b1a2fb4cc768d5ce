"""Soft maxima: positive numbers that add up to 1 over the classes, and their logarithms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.module import Module

__all__ = ["LogSoftMax", "SoftMax", "SoftMin", "SpatialLogSoftMax", "SpatialSoftMax"]


class SoftMax(Module):
    """y = eˣ / Σ eˣ over the classes.

    x: (C,), (N, C), (C, H, W) or (N, C, H, W) -> the same shape; the sum runs over C, or over
    `axis` of an x with any number of axes (-1 is what BigDL's SoftMax does).
    Raises ShapeError for other numbers of axes.  Source: nn.SoftMax.
    """

    keeps = ("axis",)
    promotes = True
    counts: ClassVar[Mapping[str, str]] = {"axis": "dimension"}
    axis: int | None = None

    def __init__(self, axis: int | None = None) -> None:
        if axis is not None:
            self.axis = axis

    def updateOutput(self, x: Tensor) -> Tensor:
        axis = class_axis(x) if self.axis is None else axis_of(self.axis, x.ndim)
        return ops.softmax(x, axis=axis)


class SoftMin(Module):
    """y = e⁻ˣ / Σ e⁻ˣ over the classes: SoftMax of -x.

    x: (C,), (N, C), (C, H, W) or (N, C, H, W) -> the same shape; the sum runs over C.
    Raises ShapeError for other numbers of axes.  Source: nn.SoftMin.
    """

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.softmax(-x, axis=class_axis(x))


class LogSoftMax(Module):
    """y = x - log Σ eˣ over the classes, without overflow.

    x: (C,), (N, C), (C, H, W) or (N, C, H, W) -> the same shape; the sum runs over C.
    Raises ShapeError for other numbers of axes.  Source: nn.LogSoftMax.
    """

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.log_softmax(x, axis=class_axis(x))


class SpatialSoftMax(SoftMax):
    """SoftMax at every pixel of an image: (C, H, W) or (N, C, H, W) -> the same shape.

    Raises ShapeError as SoftMax does, whose code it shares.  Source: nn.SpatialSoftMax.
    """


class SpatialLogSoftMax(LogSoftMax):
    """LogSoftMax at every pixel of an image: (C, H, W) or (N, C, H, W) -> the same shape.

    Raises ShapeError as LogSoftMax does, whose code it shares.  Source: nn.SpatialLogSoftMax.
    """


def class_axis(x: Tensor) -> int:
    """Return the axis of the classes: the first of a single sample, the second of a batch.

    Raises ShapeError for an input of another number of axes.
    """
    if not 1 <= x.ndim <= 4:
        raise ShapeError(
            f"the input of shape {x.shape} is none of (C,), (N, C), (C, H, W), (N, C, H, W)"
        )
    return 0 if x.ndim in (1, 3) else 1
