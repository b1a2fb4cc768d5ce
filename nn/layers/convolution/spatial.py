"""Convolutions: banks of filters slid over sequences, feature maps and films.

One body serves them all.  A layer says over how many axes it slides and how its weight is shaped;
kernels, strides and paddings are kept under Torch7's names, width before height, time in front, and
read from there in the order of the axes.  Layers with unusual weights (local, depthwise, connection
tables) arrange them for the same primitives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.autograd.ops.indexing import HOLE
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import Lengths, batch_of, like_given, times
from tapegrad.nn.module import Buffer, Module

__all__ = [
    "SpatialConvolution",
    "SpatialConvolutionLocal",
    "SpatialConvolutionMM",
    "SpatialConvolutionMap",
    "SpatialDepthWiseConvolution",
    "SpatialDilatedConvolution",
    "SpatialFullConvolution",
    "SpatialFullConvolutionMap",
    "VolumetricConvolution",
    "VolumetricDilatedConvolution",
    "VolumetricFullConvolution",
]

CONVOLUTIONS = {2: ops.conv2d, 3: ops.conv3d}
TRANSPOSED = {2: ops.conv2d_input_gradient, 3: ops.conv3d_input_gradient}


class _Convolution(Lengths, Module):
    """What convolutions have in common: bias, starting values, shapes, text."""

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # counts and lengths
    nInputPlane: int
    nOutputPlane: int
    weight: Parameter
    bias: Parameter | None

    def _parameters_of(self, weight: tuple[int, ...], bias: tuple[int, ...]) -> None:
        dtype = default_dtype()
        self.weight = Parameter(np.empty(weight, dtype))
        self.bias = Parameter(np.empty(bias, dtype))
        self.reset()

    def noBias(self) -> Self:
        """Drop the bias."""
        self.bias = None
        return self

    def _fan_in(self) -> int:
        return math.prod(self._along("k")) * self.nInputPlane

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(kernel entries · planes), or stdv·√3."""
        s = bound(self._fan_in(), stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def _fits(self, x: Any, dilation: tuple[int, ...] | None = None) -> Any:
        """x as a batch.  Raises ShapeError when it is none, or smaller than the kernel."""
        batch = batch_of(x, self.axes, self.nInputPlane)
        kernel, pad = self._along("k"), self._along("pad")
        sides = tuple(n + 2 * p for n, p in zip(x.shape[-len(kernel) :], pad, strict=True))
        spread = dilation or (1,) * len(kernel)
        spans = tuple(a * (k - 1) + 1 for k, a in zip(kernel, spread, strict=True))
        if any(n < k for n, k in zip(sides, spans, strict=True)):
            raise ShapeError(
                f"the input of shape {x.shape}, padded to {times(sides)}, is smaller than the "
                f"kernel, which spans {times(spans)} ({' x '.join(self.axes.split()[1:])})"
            )
        return batch

    def _finished(self, y: Any, x: Any) -> Any:
        """y plus the bias, a single sample if x is one."""
        if self.bias is not None:
            y = y + self.bias.reshape((-1,) + (1,) * (y.ndim - 2))
        return like_given(y, x, self.axes)

    def _size_text(self) -> str:
        return f"{self.nInputPlane} -> {self.nOutputPlane}, {self._text('k', 'x')}"

    def _tail_text(self) -> str:
        return ""

    def __repr__(self) -> str:
        text = self._size_text()
        padded = any(self._along("pad"))
        if padded or any(d != 1 for d in self._along("d")):
            text += f", {self._text('d')}"
        if padded:
            text += f", {self._text('pad')}"
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({text}{self._tail_text()}){ending}"


class _Plain(_Convolution):
    """Convolution with one weight (nOutputPlane, nInputPlane, kernel) for all places."""

    def _dilation(self) -> tuple[int, ...]:
        return (1,) * (len(self.axes.split()) - 1)

    def _kernels(self) -> Any:
        return self.weight

    def updateOutput(self, x: Any) -> Any:
        dilation = self._dilation()
        y = CONVOLUTIONS[len(dilation)](
            self._fits(x, dilation),
            self._kernels(),
            stride=self._along("d"),
            padding=self._along("pad"),
            dilation=dilation,
        )
        return self._finished(y, x)


class _Images(_Plain):
    """Convolution of images; a class of its own, since Torch7's matrix variant is no subclass."""

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
        self._parameters_of(self._weight_shape(), (nOutputPlane,))

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.nOutputPlane, self.nInputPlane, self.kH, self.kW)


class SpatialConvolution(_Images):
    """y[o] = Σᵢ weight[o, i] ⋆ x[i] + bias[o], with ⋆ the cross-correlation of two images.

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> (N,) nOutputPlane, H', W' with
    H' = ⌊(H + 2·padH - kH) / dH⌋ + 1, W' likewise.  Width comes before height in the arguments:
    kernel kW x kH, stride dW x dH, zeros padded on either side padW and padH (padW when omitted).
    weight (nOutputPlane, nInputPlane, kH, kW) and bias (nOutputPlane,) or None start from
    U(-s, s), s = 1/√(kW·kH·nInputPlane).
    Raises ShapeError for other shapes and for images smaller than the kernel.
    Source: nn.SpatialConvolution.
    """


class SpatialConvolutionMM(_Images):
    """SpatialConvolution whose weight is a matrix (nOutputPlane, nInputPlane·kH·kW).

    Shapes, arguments and errors are those of SpatialConvolution.  Source: nn.SpatialConvolutionMM.
    """

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.nOutputPlane, self.nInputPlane * self.kH * self.kW)

    def _kernels(self) -> Any:
        return self.weight.reshape((self.nOutputPlane, self.nInputPlane, self.kH, self.kW))


class SpatialDilatedConvolution(SpatialConvolution):
    """SpatialConvolution with taps dilationW and dilationH apart.

    H' = ⌊(H + 2·padH - dilationH·(kH - 1) - 1) / dH⌋ + 1, W' likewise; everything else as in
    SpatialConvolution.  Source: nn.SpatialDilatedConvolution;
    F. Yu, V. Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016.
    """

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
        dilationW: int = 1,
        dilationH: int = 1,
    ) -> None:
        super().__init__(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH)
        self.dilationW, self.dilationH = dilationW, dilationH

    def _dilation(self) -> tuple[int, ...]:
        return self._along("dilation")

    def _tail_text(self) -> str:
        return f", {self._text('dilation')}"


class SpatialDepthWiseConvolution(_Convolution):
    """Each input plane convolved with nOutputPlane kernels of its own.

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> (N,) nInputPlane·nOutputPlane, H', W' with
    the planes made from one input plane in a row; lengths as in SpatialConvolution.
    weight (nOutputPlane, nInputPlane·kH·kW) and bias (nOutputPlane, nInputPlane), or None, start
    from U(-s, s), s = 1/√(kW·kH·nInputPlane).
    Raises ShapeError as SpatialConvolution does.  Source: nn.SpatialDepthWiseConvolution.
    """

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
        self._parameters_of((nOutputPlane, nInputPlane * kH * kW), (nOutputPlane, nInputPlane))

    def updateOutput(self, x: Any) -> Any:
        planes = self.nInputPlane * self.nOutputPlane
        kernels = self.weight.reshape((self.nOutputPlane, self.nInputPlane, self.kH, self.kW))
        y = ops.conv2d(
            self._fits(x),
            kernels.transpose((1, 0, 2, 3)).reshape((planes, 1, self.kH, self.kW)),
            stride=self._along("d"),
            padding=self._along("pad"),
            groups=self.nInputPlane,
        )
        if self.bias is not None:
            y = y + self.bias.T.reshape((planes, 1, 1))
        return like_given(y, x, self.axes)


class SpatialConvolutionLocal(_Convolution):
    """Convolution with a weight and bias of its own at every place of the output.

    x: (nInputPlane, iH, iW) or (N, nInputPlane, iH, iW) -> (N,) nOutputPlane, oH, oW; lengths as in
    SpatialConvolution.  weight (oH, oW, nOutputPlane, nInputPlane, kH, kW) and bias
    (nOutputPlane, oH, oW), or None, start from U(-s, s), s = 1/√(kW·kH·nInputPlane).
    Raises ValueError for a kernel larger than the padded image, ShapeError for other inputs.
    Source: nn.SpatialConvolutionLocal.
    """

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        iW: int,
        iH: int,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int | None = None,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.iW, self.iH = iW, iH
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padW if padH is None else padH
        self.oW = (iW + 2 * self.padW - kW) // dW + 1
        self.oH = (iH + 2 * self.padH - kH) // dH + 1
        if self.oW < 1 or self.oH < 1:
            raise ValueError(
                f"SpatialConvolutionLocal: a kernel of {kH} rows and {kW} columns is larger than "
                f"the image of {iH} x {iW}, padded by {self.padH} and {self.padW}"
            )
        self._parameters_of(
            (self.oH, self.oW, nOutputPlane, nInputPlane, kH, kW), (nOutputPlane, self.oH, self.oW)
        )

    def updateOutput(self, x: Any) -> Any:
        images = batch_of(x, self.axes, self.nInputPlane)
        if x.shape[-2:] != (self.iH, self.iW):
            raise ShapeError(
                f"the input of shape {x.shape} has images of {x.shape[-2]} x {x.shape[-1]}, "
                f"iH x iW is {self.iH} x {self.iW}"
            )
        if self.padH or self.padW:
            around = ((0, 0), (0, 0), (self.padH, self.padH), (self.padW, self.padW))
            images = ops.pad(images, around)
        rows = ops.unfold(images, axis=2, size=self.kH, step=self.dH)
        windows = ops.unfold(rows, axis=3, size=self.kW, step=self.dW)
        y = ops.einsum("nchwij,hwocij->nohw", windows, self.weight)
        if self.bias is not None:
            y = y + self.bias
        return like_given(y, x, self.axes)

    def _size_text(self) -> str:
        sizes = f"{self.iW}x{self.iH}, {self.kW}x{self.kH}"
        return f"{self.nInputPlane} -> {self.nOutputPlane}, {sizes}"


class _Full(_Convolution):
    """Transposed convolution with one weight (nInputPlane, nOutputPlane, kernel)."""

    def _check_adjustment(self) -> None:
        if any(a > d - 1 for a, d in zip(self._along("adj"), self._along("d"), strict=True)):
            raise ValueError(
                f"{type(self).__name__}: adj ({self._text('adj')}) must be smaller than the stride "
                f"({self._text('d')}), axis by axis ({', '.join(self.order)})"
            )

    def updateOutput(self, x: Any) -> Any:
        adjustment = self._along("adj")
        if isinstance(x, (list, tuple)):
            if len(x) != 2:
                raise ShapeError(f"a table input holds an image and a reference, not {len(x)}")
            x, reference = x
            sizes = reference.shape[reference.ndim - len(adjustment) :]
            adjustment = tuple(
                (n + 2 * p - k) % d
                for n, p, k, d in zip(
                    sizes, self._along("pad"), self._along("k"), self._along("d"), strict=True
                )
            )
        batch = batch_of(x, self.axes, self.nInputPlane)
        lengths = tuple(
            (n - 1) * d - 2 * p + k + a
            for n, d, p, k, a in zip(
                batch.shape[2:],
                self._along("d"),
                self._along("pad"),
                self._along("k"),
                adjustment,
                strict=True,
            )
        )
        if min(lengths) < 1:
            raise ShapeError(f"the input of shape {x.shape} would give {times(lengths)} places")
        y = TRANSPOSED[len(lengths)](
            batch,
            self.weight,
            (batch.shape[0], self.nOutputPlane, *lengths),
            stride=self._along("d"),
            padding=self._along("pad"),
        )
        return self._finished(y, x)

    def _tail_text(self) -> str:
        return f", {self._text('adj')}" if any(self._along("adj")) else ""


class SpatialFullConvolution(_Full):
    """The adjoint of SpatialConvolution, plus a bias: each entry of x lays down a scaled kernel.

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> (N,) nOutputPlane, H', W' with
    H' = (H - 1)·dH - 2·padH + kH + adjH, W' likewise.  adjW < dW and adjH < dH choose among the
    sizes that a convolution maps to H x W.  For the table [x, reference] they are computed so that
    the result gets the size of `reference` (…, H', W'), whose gradient is 0.
    weight (nInputPlane, nOutputPlane, kH, kW) and bias (nOutputPlane,) or None start from U(-s, s),
    s = 1/√(kW·kH·nInputPlane).  padH is 0 when omitted.
    Raises ValueError for an adj that is too large, ShapeError for other inputs.
    Source: nn.SpatialFullConvolution.
    """

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int = 0,
        adjW: int = 0,
        adjH: int = 0,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padH
        self.adjW, self.adjH = adjW, adjH
        self._check_adjustment()
        self._parameters_of((nInputPlane, nOutputPlane, kH, kW), (nOutputPlane,))


class _Map(_Convolution):
    """Convolution by a table of connections, each with a kernel of its own."""

    torch7_arguments: ClassVar[Mapping[str, str]] = {"connTable": "index"}
    padW = padH = 0

    def __init__(self, connTable: Any, kW: int, kH: int, dW: int = 1, dH: int = 1) -> None:
        table = np.asarray(connTable.numpy() if hasattr(connTable, "numpy") else connTable)
        if table.ndim != 2 or table.shape[1] != 2 or not len(table):
            raise ValueError(
                f"{type(self).__name__}: the connection table has shape {table.shape}, it must be "
                "(connections, 2), rows of (from, to)"
            )
        table = table.astype(np.int64)
        if table.min() < 0:
            raise ValueError(
                f"{type(self).__name__}: planes are numbered from 0, found {table.min()}"
            )
        self.connTable = Buffer(table)
        self.nInputPlane, self.nOutputPlane = (int(n) + 1 for n in table.max(axis=0))
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self._parameters_of((len(table), kH, kW), (self.nOutputPlane,))

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(kW·kH·planes into it), or stdv·√3."""
        planes = self.connTable.numpy()[:, 1].astype(np.int64)
        counts = np.maximum(np.bincount(planes, minlength=self.nOutputPlane), 1)
        spread = np.array([bound(self.kW * self.kH * int(c), stdv) for c in counts])
        for parameter, s in ((self.weight, spread[planes][:, None, None]), (self.bias, spread)):
            if parameter is not None:
                uniform_(parameter, -1.0, 1.0)
                own = Tensor(s, dtype=parameter.dtype, device=parameter.device)
                ops.assign(parameter.detach(), parameter.detach() * own)

    def _dense(self, first: int, second: int, shape: tuple[int, ...]) -> Any:
        """The kernels at their places among all pairs of planes, zeros elsewhere."""
        # A table read from a file holds floating point numbers, as all tensors do there.
        places = [self.connTable[:, side].astype(np.int64) for side in (first, second)]
        return ops.index_add(self.weight, places, (HOLE, HOLE), (*shape, self.kH, self.kW))

    def __repr__(self) -> str:
        return torch7_name(self)


class SpatialConvolutionMap(_Map):
    """SpatialConvolution in which output plane `to` sees only the planes `from` of a table.

    connTable: integers (connections, 2), rows (from, to) counted from 0; see nn.tables
    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> (N,) nOutputPlane, H', W'; both numbers are
    those the table names.  weight (connections, kH, kW) and bias (nOutputPlane,) start from
    U(-s, s), s = 1/√(kW·kH·connections of that output plane).
    Raises ShapeError as SpatialConvolution does.  Source: nn.SpatialConvolutionMap.
    """

    def updateOutput(self, x: Any) -> Any:
        batch = self._fits(x)
        kernels = self._dense(1, 0, (self.nOutputPlane, self.nInputPlane))
        return self._finished(ops.conv2d(batch, kernels, stride=self._along("d")), x)


class SpatialFullConvolutionMap(_Map):
    """SpatialFullConvolution by a table of connections, for one image.

    connTable: integers (connections, 2), rows (from, to) counted from 0.
    x: (nInputPlane, H, W) -> (nOutputPlane, (H - 1)·dH + kH, (W - 1)·dW + kW).  Parameters as in
    SpatialConvolutionMap.  Raises ShapeError for other shapes, batches among them.
    Source: nn.SpatialFullConvolutionMap.
    """

    def updateOutput(self, x: Any) -> Any:
        if x.ndim != 3 or x.shape[0] != self.nInputPlane:
            raise ShapeError(f"the input of shape {x.shape} is not ({self.nInputPlane}, H, W)")
        sides = tuple(
            (n - 1) * d + k
            for n, d, k in zip(x.shape[1:], self._along("d"), self._along("k"), strict=True)
        )
        kernels = self._dense(0, 1, (self.nInputPlane, self.nOutputPlane))
        shape = (1, self.nOutputPlane, *sides)
        images = x.reshape((1, *x.shape))
        y = ops.conv2d_input_gradient(images, kernels, shape, stride=self._along("d"))
        return self._finished(y, x)


class VolumetricConvolution(_Plain):
    """SpatialConvolution with an axis of time in front: films, or volumes.

    x: (nInputPlane, T, H, W) or (N, nInputPlane, T, H, W) -> (N,) nOutputPlane, T', H', W' with
    T' = ⌊(T + 2·padT - kT) / dT⌋ + 1, the others likewise.  Arguments come in the order time,
    width, height; padW and padH are padT when omitted.
    weight (nOutputPlane, nInputPlane, kT, kH, kW) and bias (nOutputPlane,) or None start from
    U(-s, s), s = 1/√(kT·kW·kH·nInputPlane).
    Raises ShapeError for other shapes and for films smaller than the kernel.
    Source: nn.VolumetricConvolution.
    """

    order = "TWH"
    axes = "C T H W"

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kT: int,
        kW: int,
        kH: int,
        dT: int = 1,
        dW: int = 1,
        dH: int = 1,
        padT: int = 0,
        padW: int | None = None,
        padH: int | None = None,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.kT, self.kW, self.kH = kT, kW, kH
        self.dT, self.dW, self.dH = dT, dW, dH
        self.padT = padT
        self.padW, self.padH = (padT if pad is None else pad for pad in (padW, padH))
        self._parameters_of((nOutputPlane, nInputPlane, kT, kH, kW), (nOutputPlane,))


class VolumetricDilatedConvolution(VolumetricConvolution):
    """VolumetricConvolution with taps dilationT, dilationW and dilationH apart.

    Everything else as there.  Source: nn.VolumetricDilatedConvolution.
    """

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kT: int,
        kW: int,
        kH: int,
        dT: int = 1,
        dW: int = 1,
        dH: int = 1,
        padT: int = 0,
        padW: int | None = None,
        padH: int | None = None,
        dilationT: int = 1,
        dilationW: int = 1,
        dilationH: int = 1,
    ) -> None:
        super().__init__(nInputPlane, nOutputPlane, kT, kW, kH, dT, dW, dH, padT, padW, padH)
        self.dilationT, self.dilationW, self.dilationH = dilationT, dilationW, dilationH

    def _dilation(self) -> tuple[int, ...]:
        return self._along("dilation")

    def _tail_text(self) -> str:
        return f", {self._text('dilation')}"


class VolumetricFullConvolution(_Full):
    """The adjoint of VolumetricConvolution, plus a bias.

    x: (nInputPlane, T, H, W) or (N, nInputPlane, T, H, W) -> (N,) nOutputPlane, T', H', W' with
    T' = (T - 1)·dT - 2·padT + kT + adjT, the others likewise; also the table [x, reference], as in
    SpatialFullConvolution.  weight (nInputPlane, nOutputPlane, kT, kH, kW) and bias (nOutputPlane,)
    or None start from U(-s, s), s = 1/√(kT·kW·kH·nInputPlane).
    Raises ValueError for an adj that is too large, ShapeError for other inputs.
    Source: nn.VolumetricFullConvolution.
    """

    order = "TWH"
    axes = "C T H W"

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kT: int,
        kW: int,
        kH: int,
        dT: int = 1,
        dW: int = 1,
        dH: int = 1,
        padT: int = 0,
        padW: int = 0,
        padH: int = 0,
        adjT: int = 0,
        adjW: int = 0,
        adjH: int = 0,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.kT, self.kW, self.kH = kT, kW, kH
        self.dT, self.dW, self.dH = dT, dW, dH
        self.padT, self.padW, self.padH = padT, padW, padH
        self.adjT, self.adjW, self.adjH = adjT, adjW, adjH
        self._check_adjustment()
        self._parameters_of((nInputPlane, nOutputPlane, kT, kH, kW), (nOutputPlane,))
