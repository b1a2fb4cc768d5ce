"""What Torch7's convolutions have in common: weight and bias, sizes, padding, text.

A layer declares the axes of its input and the shape of its weight; the forward code here serves all
layers.  The attributes have Torch7's names (kW, kH, …) and are read in the order of the axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import (
    Lengths,
    batch_of,
    cross_text,
    drop_added_batch,
    pad_same,
)
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["CONVOLUTIONS", "TRANSPOSED"]

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {2: ops.conv2d, 3: ops.conv3d}

TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    2: ops.conv2d_input_gradient,
    3: ops.conv3d_input_gradient,
}


class _Convolution(Lengths, Module):
    """What convolutions have in common: bias, starting values, shapes, text."""

    keeps: ClassVar[tuple[str, ...]] = ("weight", "bias")
    promotes = True
    nInputPlane: int
    nOutputPlane: int
    nGroup = 1  # BigDL's option
    weight: Parameter
    bias: Parameter | None

    def _make_parameters(self, weight: tuple[int, ...], bias: tuple[int, ...]) -> None:
        dtype = default_dtype()
        self.weight = Parameter(np.empty(weight, dtype))
        self.bias = Parameter(np.empty(bias, dtype))
        self.reset()

    def noBias(self) -> Self:
        """Drop the bias."""
        self.bias = None
        return self

    def _fan_in(self) -> int:
        return math.prod(self.along("k")) * self.nInputPlane // self.nGroup

    def _set_groups(self, nGroup: int) -> None:
        """Set nGroup, unless it is 1.  Raises ValueError where planes do not divide into groups."""
        if nGroup < 1 or self.nInputPlane % nGroup or self.nOutputPlane % nGroup:
            raise ValueError(
                f"{type(self).__name__}: {self.nInputPlane} and {self.nOutputPlane} planes do not "
                f"divide into {nGroup} groups"
            )
        if nGroup != 1:
            self.nGroup = nGroup

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(kernel entries · planes), or stdv·√3."""
        s = bound(self._fan_in(), stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def _to_batch(self, x: Tensor, dilation: tuple[int, ...] | None = None) -> Tensor:
        """Return x as a batch.

        Raises ShapeError for another number of axes or planes, and when x is smaller than the
        kernel.
        """
        batch = batch_of(x, self.axes, self.nInputPlane)
        kernel, pad = self.along("k"), self.along("pad")
        if self._is_same():
            return pad_same(batch, kernel, self.along("d"))
        sides = tuple(n + 2 * p for n, p in zip(x.shape[-len(kernel) :], pad, strict=True))
        dilation = dilation or (1,) * len(kernel)
        spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
        if any(n < k for n, k in zip(sides, spans, strict=True)):
            raise ShapeError(
                f"the input of shape {x.shape}, padded to {cross_text(sides)}, is smaller than the "
                f"kernel, which spans {cross_text(spans)} ({' x '.join(self.axes.split()[1:])})"
            )
        return batch

    def _is_same(self) -> bool:
        """Whether the padding is -1: as much as gives ⌈side / stride⌉ positions."""
        return min(self.along("pad")) == -1

    def _add_bias(self, y: Tensor, x: Tensor) -> Tensor:
        """Return y plus the bias, as a single sample if x is one."""
        if self.bias is not None:
            y = y + self.bias.reshape((-1,) + (1,) * (y.ndim - 2))
        return drop_added_batch(y, x, self.axes)

    def _size_text(self) -> str:
        return f"{self.nInputPlane} -> {self.nOutputPlane}, {self.lengths_text('k', 'x')}"

    def _tail_text(self) -> str:
        return ""

    def __repr__(self) -> str:
        text = self._size_text()
        padded = any(self.along("pad"))
        if padded or any(d != 1 for d in self.along("d")):
            text += f", {self.lengths_text('d')}"
        if padded:
            text += f", {self.lengths_text('pad')}"
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({text}{self._tail_text()}){ending}"


class _DirectConvolution(_Convolution):
    """Convolution with one weight (nOutputPlane, nInputPlane/nGroup, kernel) for all positions."""

    def _dilation(self) -> tuple[int, ...]:
        return (1,) * (len(self.axes.split()) - 1)

    def _kernels(self) -> Tensor:
        return self.weight

    def updateOutput(self, x: Tensor) -> Tensor:
        dilation = self._dilation()
        y = CONVOLUTIONS[len(dilation)](
            self._to_batch(x, dilation),
            self._kernels(),
            stride=self.along("d"),
            padding=(0,) * len(dilation) if self._is_same() else self.along("pad"),
            dilation=dilation,
            groups=self.nGroup,
        )
        return self._add_bias(y, x)


class _ImageConvolution(_DirectConvolution):
    """What SpatialConvolution and SpatialConvolutionMM share; neither derives from the other."""

    # BigDL's options, of SpatialConvolution alone
    propagateBack = True
    format = "NCHW"

    keeps: ClassVar[tuple[str, ...]] = (
        "nInputPlane",
        "nOutputPlane",
        "kW",
        "kH",
        "dW",
        "dH",
        "padW",
        "padH",
    )

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int | None = None,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padW if padH is None else padH
        self._make_parameters(self._weight_shape(), (nOutputPlane,))

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.nOutputPlane, self.nInputPlane // self.nGroup, self.kH, self.kW)


class _TransposedConvolution(_Convolution):
    """Transposed convolution with one weight (nInputPlane, nOutputPlane, kernel)."""

    def _check_adjustment(self) -> None:
        if any(a > d - 1 for a, d in zip(self.along("adj"), self.along("d"), strict=True)):
            raise ValueError(
                f"{type(self).__name__}: adj ({self.lengths_text('adj')}) must be smaller than the "
                f"stride ({self.lengths_text('d')}), axis by axis ({', '.join(self.order)})"
            )

    def updateOutput(self, x: Nest) -> Tensor:
        adjustment = self.along("adj")
        if isinstance(x, (list, tuple)):
            if len(x) != 2:
                raise ShapeError(f"a table input holds an image and a reference, not {len(x)}")
            x, reference = x
            sizes = reference.shape[reference.ndim - len(adjustment) :]
            adjustment = tuple(
                (n + 2 * p - k) % d
                for n, p, k, d in zip(
                    sizes, self.along("pad"), self.along("k"), self.along("d"), strict=True
                )
            )
        batch = batch_of(x, self.axes, self.nInputPlane)
        lengths = tuple(
            (n - 1) * d - 2 * p + k + a
            for n, d, p, k, a in zip(
                batch.shape[2:],
                self.along("d"),
                self.along("pad"),
                self.along("k"),
                adjustment,
                strict=True,
            )
        )
        if min(lengths) < 1:
            raise ShapeError(
                f"the input of shape {x.shape} would give an output of {cross_text(lengths)}"
            )
        y = TRANSPOSED[len(lengths)](
            batch,
            self.weight,
            (batch.shape[0], self.nOutputPlane, *lengths),
            stride=self.along("d"),
            padding=self.along("pad"),
            groups=self.nGroup,
        )
        return self._add_bias(y, x)

    def _tail_text(self) -> str:
        return f", {self.lengths_text('adj')}" if any(self.along("adj")) else ""
