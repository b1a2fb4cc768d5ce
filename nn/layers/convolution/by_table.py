"""Convolutions with a table that says which input planes each output plane sees.

Each connection has a kernel of its own.  The kernels are written into a weight for all pairs of
planes, with zeros elsewhere, on which the ordinary primitives work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.convolution.common import _Convolution

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Operand

__all__ = ["SpatialConvolutionMap", "SpatialFullConvolutionMap"]


class _ConvolutionByTable(_Convolution):
    """Convolution by a table of connections, each with a kernel of its own."""

    keeps = (
        "connTable", "nInputPlane", "nOutputPlane", "kW", "kH", "dW", "dH", "padW", "padH"
    )  # fmt: skip
    counts: ClassVar[Mapping[str, str]] = {"connTable": "index"}
    padW = padH = 0

    def __init__(
        self,
        connTable: Operand,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int = 0,
    ) -> None:
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
        if padW or padH:
            self.padW, self.padH = padW, padH
        self._make_parameters((len(table), kH, kW), (self.nOutputPlane,))

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

    def _kernel_bank(self, first: int, second: int, shape: tuple[int, ...]) -> Tensor:
        """Return the kernels as a weight for all pairs of planes, with zeros elsewhere."""
        # Torch7's files have tables of floating point numbers.
        positions = [self.connTable[:, side].astype(np.int64) for side in (first, second)]
        return ops.index_add(self.weight, positions, (HOLE, HOLE), (*shape, self.kH, self.kW))

    def __repr__(self) -> str:
        return torch7_name(self)


class SpatialConvolutionMap(_ConvolutionByTable):
    """SpatialConvolution in which output plane `to` sees only the planes `from` of a table.

    connTable: integers (connections, 2), rows (from, to) counted from 0; see nn.tables
    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> (N,) nOutputPlane, H', W'; both numbers of
    planes follow from the table.  weight (connections, kH, kW) and bias (nOutputPlane,) start from
    U(-s, s), s = 1/√(kW·kH·connections of that output plane).  padW and padH, zeros on either side,
    are BigDL's.
    Raises ShapeError as SpatialConvolution does.  Source: nn.SpatialConvolutionMap.
    """

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = self._to_batch(x)
        kernels = self._kernel_bank(1, 0, (self.nOutputPlane, self.nInputPlane))
        return self._add_bias(
            ops.conv2d(batch, kernels, stride=self.along("d"), padding=self.along("pad")), x
        )


class SpatialFullConvolutionMap(_ConvolutionByTable):
    """SpatialFullConvolution by a table of connections, for one image.

    connTable: integers (connections, 2), rows (from, to) counted from 0.
    x: (nInputPlane, H, W) -> (nOutputPlane, (H - 1)·dH + kH, (W - 1)·dW + kW).  Parameters as in
    SpatialConvolutionMap.  Raises ShapeError for other shapes, batches among them.
    Source: nn.SpatialFullConvolutionMap.
    """

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[0] != self.nInputPlane:
            raise ShapeError(f"the input of shape {x.shape} is not ({self.nInputPlane}, H, W)")
        sides = tuple(
            (n - 1) * d + k
            for n, d, k in zip(x.shape[1:], self.along("d"), self.along("k"), strict=True)
        )
        kernels = self._kernel_bank(0, 1, (self.nInputPlane, self.nOutputPlane))
        shape = (1, self.nOutputPlane, *sides)
        images = x.reshape((1, *x.shape))
        y = ops.conv2d_input_gradient(images, kernels, shape, stride=self.along("d"))
        return self._add_bias(y, x)
