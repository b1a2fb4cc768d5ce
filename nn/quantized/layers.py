"""Linear, convolutions and lookup tables with int8 weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.core.tensor import array_of, untracked
from tapegrad.nn.core.by_hand import without_gradient
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.layers.bags import EmbeddingBag
from tapegrad.nn.layers.convolution.by_table import (
    SpatialConvolutionMap,
    SpatialFullConvolutionMap,
)
from tapegrad.nn.layers.convolution.local import LocallyConnected1D, LocallyConnected2D
from tapegrad.nn.layers.convolution.plain import Conv1d, Conv2d, Conv3d
from tapegrad.nn.layers.convolution.spatial import (
    SpatialConvolution,
    SpatialConvolutionLocal,
    SpatialConvolutionMM,
    SpatialDepthWiseConvolution,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
    SpatialSeparableConvolution,
    SpatialShareConvolution,
)
from tapegrad.nn.layers.convolution.volumetric import (
    VolumetricConvolution,
    VolumetricDilatedConvolution,
    VolumetricFullConvolution,
)
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.lookup import LookupTable
from tapegrad.nn.layers.sparse import LookupTableSparse
from tapegrad.nn.layers.temporal import TemporalConvolution, TemporalRowConvolution
from tapegrad.nn.quantized.int8 import NO_GRADIENT, Int8, class_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__: list[str] = []


class _Weight(Int8):
    """Int8 layers whose one weight is called `weight`."""

    weight: Any
    if not TYPE_CHECKING:

        @property
        def weight(self) -> Any:
            """The weight as float32."""
            return self.weight_of("weight")


class _QuantizedLinear(_Weight, Linear):
    """Linear with int8 weights: the product is one of integers, exact, and then scaled.

    x: (inputSize,) or (…, inputSize) -> (…, outputSize).
    Raises ShapeError when the last axis of x is not inputSize long, NotImplementedError for its
    gradient.
    """

    replaces = Linear

    def updateOutput(self, x: Tensor) -> Tensor:
        weight, scale = self.int8["weight"], self.scales["weight"]
        if not x.ndim or x.shape[-1] != weight.shape[1]:
            found = x.shape[-1] if x.ndim else "missing (a single number)"
            raise ShapeError(f"last axis of the input is {found}, inputSize is {weight.shape[1]}")
        q, its_scale = self.steps_of(x)
        total = ops.int8_product(ops.cast(q, dtype=np.int8), weight)
        y = ops.cast(total, dtype=its_scale.dtype) * (its_scale * scale[:, 0])
        y = y if self.bias is None else y + self.bias
        return without_gradient(y, x, NO_GRADIENT.format(name=class_text(self)))


class _Convolving(_Weight):
    """Int8 convolutions: the input of a sample has one scale."""

    def span(self) -> int:
        """How many axes a sample has."""
        layer: Any = self
        return len(layer.axes.split())


class _QuantizedSpatialConvolution(_Convolving, SpatialConvolution):
    """SpatialConvolution with int8 weights."""

    replaces = SpatialConvolution


class _QuantizedSpatialConvolutionMM(_Convolving, SpatialConvolutionMM):
    """SpatialConvolutionMM with int8 weights."""

    replaces = SpatialConvolutionMM


class _QuantizedSpatialDilatedConvolution(_Convolving, SpatialDilatedConvolution):
    """SpatialDilatedConvolution with int8 weights."""

    replaces = SpatialDilatedConvolution


class _QuantizedSpatialDepthWiseConvolution(_Convolving, SpatialDepthWiseConvolution):
    """SpatialDepthWiseConvolution with int8 weights."""

    replaces = SpatialDepthWiseConvolution


class _QuantizedSpatialFullConvolution(_Convolving, SpatialFullConvolution):
    """SpatialFullConvolution with int8 weights."""

    replaces = SpatialFullConvolution
    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": 1}


class _QuantizedSpatialShareConvolution(_Convolving, SpatialShareConvolution):
    """SpatialShareConvolution with int8 weights."""

    replaces = SpatialShareConvolution


class _QuantizedSpatialSeparableConvolution(_Convolving, SpatialSeparableConvolution):
    """SpatialSeparableConvolution with int8 weights; what lies between the two is not rounded."""

    replaces = SpatialSeparableConvolution
    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": 0, "pointWeight": 0}

    pointWeight: Any
    if not TYPE_CHECKING:

        @property
        def pointWeight(self) -> Any:
            """The weight that mixes planes, as float32."""
            return self.weight_of("pointWeight")


class _QuantizedSpatialConvolutionLocal(_Convolving, SpatialConvolutionLocal):
    """SpatialConvolutionLocal with int8 weights, a scale for each output plane and position."""

    replaces = SpatialConvolutionLocal
    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": (0, 1, 2)}


class _QuantizedLocallyConnected1D(_Weight, LocallyConnected1D):
    """LocallyConnected1D with int8 weights, a scale for each output of each frame."""

    replaces = LocallyConnected1D
    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": (0, 1)}

    def span(self) -> int:
        """A sequence has two axes."""
        return 2


class _QuantizedLocallyConnected2D(_Convolving, LocallyConnected2D):
    """LocallyConnected2D with int8 weights, a scale for each output plane and position."""

    replaces = LocallyConnected2D
    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": (0, 1)}


class _QuantizedSpatialConvolutionMap(_Convolving, SpatialConvolutionMap):
    """SpatialConvolutionMap with int8 weights, a scale for each connection."""

    replaces = SpatialConvolutionMap


class _QuantizedSpatialFullConvolutionMap(_Convolving, SpatialFullConvolutionMap):
    """SpatialFullConvolutionMap with int8 weights, a scale for each connection."""

    replaces = SpatialFullConvolutionMap


class _QuantizedVolumetricConvolution(_Convolving, VolumetricConvolution):
    """VolumetricConvolution with int8 weights."""

    replaces = VolumetricConvolution


class _QuantizedVolumetricDilatedConvolution(_Convolving, VolumetricDilatedConvolution):
    """VolumetricDilatedConvolution with int8 weights."""

    replaces = VolumetricDilatedConvolution


class _QuantizedVolumetricFullConvolution(_Convolving, VolumetricFullConvolution):
    """VolumetricFullConvolution with int8 weights."""

    replaces = VolumetricFullConvolution
    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": 1}


class _QuantizedConv1d(_Convolving, Conv1d):
    """Conv1d with int8 weights."""

    replaces = Conv1d


class _QuantizedConv2d(_Convolving, Conv2d):
    """Conv2d with int8 weights."""

    replaces = Conv2d


class _QuantizedConv3d(_Convolving, Conv3d):
    """Conv3d with int8 weights."""

    replaces = Conv3d


class _QuantizedTemporalConvolution(_Weight, TemporalConvolution):
    """TemporalConvolution with int8 weights; a sequence has one scale."""

    replaces = TemporalConvolution

    def span(self) -> int:
        """A sequence has two axes."""
        return 2


class _QuantizedTemporalRowConvolution(_Weight, TemporalRowConvolution):
    """TemporalRowConvolution with int8 weights; a sequence has one scale."""

    replaces = TemporalRowConvolution

    def span(self) -> int:
        """A sequence has two axes."""
        return 2


class _QuantizedLookupTable(_Weight, LookupTable):
    """LookupTable with int8 rows; those longer than maxNorm were shortened once for all."""

    replaces = LookupTable
    rounds = 0

    @classmethod
    def weights_of(cls, layer: Any) -> dict[str, tuple[Tensor, int | tuple[int, ...]]]:
        """The table, with no row longer than maxNorm."""
        weight = layer.weight.detach()
        if layer.maxNorm is not None:
            p = layer.normType
            rows = devices.to_numpy(array_of(weight)).astype(np.float64)
            norms = (np.abs(rows) ** p).sum(axis=1, keepdims=True) ** (1 / p)
            factors = np.where(norms > layer.maxNorm, layer.maxNorm / (norms + 1e-7), 1.0)
            moved = devices.to_device((rows * factors).astype(weight.dtype), weight.device)
            weight = untracked(moved)
        return {"weight": (weight, 0)}

    @classmethod
    def of(cls, layer: Any, memo: dict[int, Any]) -> Any:
        """Return the quantized table of a table, which stays as it is."""
        new = super().of(layer, memo)
        new.maxNorm = None
        return new


class _QuantizedEmbeddingBag(_Weight, EmbeddingBag):
    """EmbeddingBag with int8 rows."""

    replaces = EmbeddingBag
    rounds = 0


class _QuantizedLookupTableSparse(_Weight, LookupTableSparse):
    """LookupTableSparse with int8 rows."""

    replaces = LookupTableSparse
    rounds = 0
