"""Reductions along one axis: Min, Max, Sum, Mean.

The reduction of an array with one axis has shape (1,), as in Torch7, which has no arrays without
axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.module import Module

__all__ = ["Max", "Mean", "Min", "Sum"]


class Max(Module):
    """The largest entries of x along `dimension`, which is dropped.

    Of equal entries the first has the gradient.  nInputDims: how many axes a single sample has; in
    an input with one more, a batch, `dimension` counts behind the axis of the batch.  Raises
    ShapeError when there is no such axis, or it is empty.  Source: nn.Max.
    """

    keeps = ("dimension", "nInputDims")
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}
    _position = staticmethod(ops.argmax)

    def __init__(self, dimension: int = 0, nInputDims: int | None = None) -> None:
        self.dimension = dimension
        self.nInputDims = nInputDims

    def updateOutput(self, x: Tensor) -> Tensor:
        axis = axis_of(self.dimension, x.ndim, self.nInputDims)
        if not x.shape[axis]:
            raise ShapeError(f"axis {axis} of {x.shape} is empty")
        position = self._position(x, axis=axis, keepdims=True)
        y = ops.take_along_axis(x, position, axis)
        return y if y.ndim == 1 else ops.squeeze(y, axis)


class Min(Max):
    """The smallest entries of x along `dimension`; otherwise as Max.  Source: nn.Min."""

    _position = staticmethod(ops.argmin)


class Sum(Module):
    """Σ x along `dimension`, or the mean with sizeAverage.

    nInputDims: as in Max.  squeeze False: the axis is kept with length 1.  Raises ShapeError when
    there is no such axis.  Source: nn.Sum.
    """

    keeps = ("dimension", "nInputDims", "sizeAverage", "squeeze")
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(
        self,
        dimension: int = 0,
        nInputDims: int | None = None,
        sizeAverage: bool = False,
        squeeze: bool = True,
    ) -> None:
        self.dimension = dimension
        self.nInputDims = nInputDims
        self.sizeAverage = sizeAverage
        self.squeeze = squeeze

    def updateOutput(self, x: Tensor) -> Tensor:
        axis = axis_of(self.dimension, x.ndim, self.nInputDims)
        reduce = ops.mean if self.sizeAverage else ops.sum
        return reduce(x, axis=axis, keepdims=not self.squeeze or x.ndim == 1)


class Mean(Sum):
    """The mean of x along the axis `dimension`: a Sum with sizeAverage.  Source: nn.Mean."""

    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(self, dimension: int = 0, nInputDims: int | None = None) -> None:
        super().__init__(dimension, nInputDims, sizeAverage=True)
