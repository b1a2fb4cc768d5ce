"""Pooling: one number for each window of a feature map, a film or the features themselves.

Windows of one size, and what is wrong with them, are the primitives' business; the layers here name
them in Torch7's order, width before height, time in front, and accept a single sample.  Windows
that differ in size or place (adaptive, fractional) are lists of positions: their maximum is looked
up where it is, so that it has the derivative of a lookup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.containers.container import Sequential
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.trace import as_tensors
from tapegrad.nn.core.windows import Lengths, batch_of, like_given, times
from tapegrad.nn.layers.activation import Power, Sqrt, Square
from tapegrad.nn.layers.pointwise import MulConstant
from tapegrad.nn.module import Module

__all__ = [
    "FeatureLPPooling",
    "SpatialAdaptiveAveragePooling",
    "SpatialAdaptiveMaxPooling",
    "SpatialAveragePooling",
    "SpatialDilatedMaxPooling",
    "SpatialFractionalMaxPooling",
    "SpatialLPPooling",
    "SpatialMaxPooling",
    "SpatialMaxUnpooling",
    "SpatialSubSampling",
    "VolumetricAveragePooling",
    "VolumetricDilatedMaxPooling",
    "VolumetricFractionalMaxPooling",
    "VolumetricMaxPooling",
    "VolumetricMaxUnpooling",
]


# Windows of one size ------------------------------------------------------------------------------


class _Pooling(Lengths, Module):
    """What windows of one size have in common: their sizes, a single sample, complaints, text."""

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # lengths

    def pooled(self, batch: Any) -> Any:
        """The primitive's result on (N, C, …)."""
        raise NotImplementedError

    def updateOutput(self, x: Any) -> Any:
        batch = batch_of(x, self.axes)
        try:
            y = self.pooled(batch)
        except ValueError as error:  # the primitive has looked at the windows
            raise ShapeError(f"the input of shape {x.shape} does not fit: {error}") from error
        return like_given(y, x, self.axes)

    def __repr__(self) -> str:
        text = f"{self._text('k', 'x')}, {self._text('d')}"
        if hasattr(self, "padW") and any(self._along("pad")):
            text += f", {self._text('pad')}"
        if hasattr(self, "dilationW"):
            text += f", {self._text('dilation')}"
        return f"{torch7_name(self)}({text})"


class _Rounded(_Pooling):
    """Windows whose number is rounded down, or up."""

    ceil_mode = False

    def ceil(self) -> Self:
        """Round the number of windows up: a last one may reach beyond the padded input."""
        self.ceil_mode = True
        return self

    def floor(self) -> Self:
        """Round the number of windows down, the default."""
        self.ceil_mode = False
        return self

    def _windows(self) -> dict[str, Any]:
        names = ("kernel", "k"), ("stride", "d"), ("padding", "pad")
        settings: dict[str, Any] = {name: self._along(letter) for name, letter in names}
        if hasattr(self, "dilationW"):
            settings["dilation"] = self._along("dilation")
        return settings | {"ceil_mode": self.ceil_mode}


class _MaxPooling(_Rounded):
    """A pooling that remembers, for a layer that undoes it, what it picked and from where."""

    _remembers = False
    _picked: tuple[Any, tuple[int, ...]] | None = None

    def pooled(self, batch: Any) -> Any:
        if not self._remembers:
            return self._maxima(batch)
        y, indices = self._with_indices(batch)
        self._picked = (indices, tuple(batch.shape[2:]))
        return y

    def _maxima(self, batch: Any) -> Any:
        return ops.max_pool2d(batch, **self._windows())

    def _with_indices(self, batch: Any) -> tuple[Any, Any]:
        return ops.max_pool2d.with_aux(batch, **self._windows())

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and what was picked."""
        self._picked = None
        return super().clearState()


class SpatialMaxPooling(_MaxPooling):
    """The largest entry of each window kW x kH, moved by dW and dH (the kernel when omitted).

    x: (C, H, W) or (N, C, H, W) -> the same with H' = ⌊(H + 2·padH - kH) / dH⌋ + 1, W' likewise;
    rounded up after `ceil()`, where a window must still begin within the image or the padding
    before it.  Padding never wins.  Of equal entries the first in row order gets the gradient.
    Raises ShapeError for other shapes, windows larger than the padded image, and padding of more
    than half a kernel.  Source: nn.SpatialMaxPooling.
    """

    def __init__(
        self,
        kW: int,
        kH: int,
        dW: int | None = None,
        dH: int | None = None,
        padW: int = 0,
        padH: int = 0,
    ) -> None:
        self.kW, self.kH = kW, kH
        self.dW, self.dH = kW if dW is None else dW, kH if dH is None else dH
        self.padW, self.padH = padW, padH
        self.ceil_mode = False


class SpatialDilatedMaxPooling(SpatialMaxPooling):
    """SpatialMaxPooling whose windows have entries dilationW and dilationH apart.

    H' = ⌊(H + 2·padH - dilationH·(kH - 1) - 1) / dH⌋ + 1, W' likewise; everything else as there.
    Source: nn.SpatialDilatedMaxPooling.
    """

    def __init__(
        self,
        kW: int,
        kH: int,
        dW: int | None = None,
        dH: int | None = None,
        padW: int = 0,
        padH: int = 0,
        dilationW: int = 1,
        dilationH: int = 1,
    ) -> None:
        super().__init__(kW, kH, dW, dH, padW, padH)
        self.dilationW, self.dilationH = dilationW, dilationH


class SpatialAveragePooling(_Rounded):
    """The mean of each window kW x kH, moved by dW and dH, which are 1 when omitted.

    x: (C, H, W) or (N, C, H, W) -> as for SpatialMaxPooling.  Padding counts as zeros, unless
    `setCountExcludePad()` was called; what a last window of `ceil()` has beyond it never counts.
    With the field `divide` False the result is the sum where all of a window counts.
    Raises ShapeError as SpatialMaxPooling does.  Source: nn.SpatialAveragePooling.
    """

    def __init__(
        self, kW: int, kH: int, dW: int = 1, dH: int = 1, padW: int = 0, padH: int = 0
    ) -> None:
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padH
        self.ceil_mode = False
        self.count_include_pad = True
        self.divide = True

    def setCountIncludePad(self) -> Self:
        """Count padding as entries of the window, the default."""
        self.count_include_pad = True
        return self

    def setCountExcludePad(self) -> Self:
        """Count only entries of the image."""
        self.count_include_pad = False
        return self

    def pooled(self, batch: Any) -> Any:
        counted = {"count_include_pad": self.count_include_pad, "divide": self.divide}
        return ops.avg_pool2d(batch, **counted, **self._windows())


class SpatialSubSampling(_Pooling):
    """y[c] = weight[c] · Σ of each window kW x kH + bias[c].

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> the same with H' = ⌊(H - kH) / dH⌋ + 1, W'
    likewise.  weight and bias (nInputPlane,) start from U(-s, s), s = 1/√(kW·kH).
    Raises ShapeError for other shapes and windows larger than the image.
    Source: nn.SpatialSubSampling.
    """

    def __init__(self, nInputPlane: int, kW: int, kH: int, dW: int = 1, dH: int = 1) -> None:
        self.nInputPlane = nInputPlane
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.weight = Parameter(np.empty(nInputPlane, default_dtype()))
        self.bias = Parameter(np.empty(nInputPlane, default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(kW·kH), or stdv·√3."""
        s = bound(self.kW * self.kH, stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Any) -> Any:
        batch_of(x, self.axes, self.nInputPlane)
        return super().updateOutput(x)

    def pooled(self, batch: Any) -> Any:
        sums = ops.avg_pool2d(batch, self._along("k"), self._along("d"), divide=False)
        return sums * self.weight.reshape((-1, 1, 1)) + self.bias.reshape((-1, 1, 1))

    def __repr__(self) -> str:
        return torch7_name(self)


class VolumetricMaxPooling(_MaxPooling):
    """The largest entry of each window kT x kH x kW of a film.

    x: (C, T, H, W) or (N, C, T, H, W) -> the same with T' = ⌊(T + 2·padT - kT) / dT⌋ + 1, the
    others likewise, rounded up after `ceil()`.  Arguments come in the order time, width, height;
    strides are the kernel when omitted.  Everything else as in SpatialMaxPooling.
    Source: nn.VolumetricMaxPooling.
    """

    order = "TWH"
    axes = "C T H W"

    def __init__(
        self,
        kT: int,
        kW: int,
        kH: int,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padT: int = 0,
        padW: int = 0,
        padH: int = 0,
    ) -> None:
        self.kT, self.kW, self.kH = kT, kW, kH
        self.dT, self.dW, self.dH = (
            k if d is None else d for k, d in ((kT, dT), (kW, dW), (kH, dH))
        )
        self.padT, self.padW, self.padH = padT, padW, padH
        self.ceil_mode = False

    def _maxima(self, batch: Any) -> Any:
        return ops.max_pool3d(batch, **self._windows())

    def _with_indices(self, batch: Any) -> tuple[Any, Any]:
        return ops.max_pool3d(batch, return_indices=True, **self._windows())


class VolumetricDilatedMaxPooling(VolumetricMaxPooling):
    """VolumetricMaxPooling whose windows have entries dilationT, dilationW and dilationH apart.

    Everything else as there.  Source: nn.VolumetricDilatedMaxPooling.
    """

    def __init__(
        self,
        kT: int,
        kW: int,
        kH: int,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padT: int = 0,
        padW: int = 0,
        padH: int = 0,
        dilationT: int = 1,
        dilationW: int = 1,
        dilationH: int = 1,
    ) -> None:
        super().__init__(kT, kW, kH, dT, dW, dH, padT, padW, padH)
        self.dilationT, self.dilationW, self.dilationH = dilationT, dilationW, dilationH


class VolumetricAveragePooling(_Pooling):
    """The mean of each window kT x kH x kW of a film, without padding.

    x: (C, T, H, W) or (N, C, T, H, W) -> the same with T' = ⌊(T - kT) / dT⌋ + 1, the others
    likewise; strides are the kernel when omitted (in SpatialAveragePooling they are 1).
    Raises ShapeError for other shapes and windows larger than the film.
    Source: nn.VolumetricAveragePooling.
    """

    order = "TWH"
    axes = "C T H W"

    def __init__(
        self,
        kT: int,
        kW: int,
        kH: int,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
    ) -> None:
        self.kT, self.kW, self.kH = kT, kW, kH
        self.dT, self.dW, self.dH = (
            k if d is None else d for k, d in ((kT, dT), (kW, dW), (kH, dH))
        )

    def pooled(self, batch: Any) -> Any:
        return ops.avg_pool3d(batch, self._along("k"), self._along("d"))


class SpatialLPPooling(Sequential):
    """(Σ of each window kW x kH of x^pnorm)^(1 / pnorm), as a Sequential of the layers that do it.

    x: (C, H, W) or (N, C, H, W) -> as for SpatialAveragePooling, with strides that are the kernel
    when omitted.  nInputPlane is not used, here as in Torch7.  Odd powers are of use for positive
    entries only.  Raises ShapeError as SpatialAveragePooling does.  Source: nn.SpatialLPPooling;
    P. Sermanet, S. Chintala, Y. LeCun, "Convolutional Neural Networks Applied to House Numbers
    Digit Classification", ICPR 2012, section 2.2.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # counts, lengths and an exponent

    def __init__(
        self,
        nInputPlane: int,
        pnorm: float,
        kW: int,
        kH: int,
        dW: int | None = None,
        dH: int | None = None,
    ) -> None:
        self.kW, self.kH = kW, kH
        self.dW, self.dH = kW if dW is None else dW, kH if dH is None else dH
        super().__init__(
            Square() if pnorm == 2 else Power(pnorm),
            SpatialAveragePooling(kW, kH, self.dW, self.dH),
            MulConstant(kW * kH),
            Sqrt() if pnorm == 2 else Power(1 / pnorm),
        )


# Undoing a max pooling ----------------------------------------------------------------------------


class SpatialMaxUnpooling(Module):
    """Zeros, with each entry of x where the pooling found the maximum of that window.

    poolingModule: a SpatialMaxPooling whose stride is its kernel; it must have run before, on an
                   input whose pooled shape x has
    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W, the sides of what was pooled.
    Raises ValueError for another pooling, ShapeError when x and the picks of the pooling do not
    belong together, or a pick lies outside the output.  Source: nn.SpatialMaxUnpooling.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # a module
    undoes: ClassVar[type[_MaxPooling]] = SpatialMaxPooling

    def __init__(self, poolingModule: Any) -> None:
        wanted = self.undoes.__name__
        if type(poolingModule) is not self.undoes:
            raise ValueError(
                f"{type(self).__name__} undoes a {wanted}, not a {type(poolingModule).__name__}"
            )
        if poolingModule._along("k") != poolingModule._along("d"):
            raise ValueError(
                f"{type(self).__name__}: the pooling's stride {poolingModule._text('d')} must be "
                f"its kernel {poolingModule._text('k')}, so that its windows do not overlap"
            )
        self.pooling = poolingModule
        poolingModule._remembers = True

    def updateOutput(self, x: Any) -> Any:
        axes = self.undoes.axes
        batch = batch_of(x, axes)
        if self.pooling._picked is None:
            raise ShapeError("nothing was pooled yet: run the pooling module before this one")
        indices, sides = self.pooling._picked
        try:
            places = ops.checked_positions(indices, shape=tuple(batch.shape), size=math.prod(sides))
        except ValueError as error:
            raise ShapeError(
                f"the input of shape {x.shape} does not belong to what was pooled: {error}"
            ) from error
        planes = batch.shape[:2]
        y = ops.max_unpool2d(
            batch.reshape((*planes, 1, math.prod(batch.shape[2:]))),
            places.reshape((*planes, 1, math.prod(batch.shape[2:]))),
            (*planes, 1, math.prod(sides)),
        )
        return like_given(y.reshape((*planes, *sides)), x, axes)

    def __repr__(self) -> str:
        return f"{torch7_name(self)} associated to {self.pooling!r}"


class VolumetricMaxUnpooling(SpatialMaxUnpooling):
    """SpatialMaxUnpooling for films: undoes a VolumetricMaxPooling whose stride is its kernel.

    x: (C, T', H', W') or (N, C, T', H', W') -> (N,) C, T, H, W.  Source: nn.VolumetricMaxUnpooling.
    """

    undoes = VolumetricMaxPooling


# Windows that differ ------------------------------------------------------------------------------


def max_at(x: Any, taps: list[Any]) -> Any:
    """The largest entry of each window; windows are given by the positions that they hold.

    x:    (N, C, …sides)
    taps: for each side integers (N or 1, C or 1, windows, entries): which positions along it
    -> (N, C, …windows).  Of equal entries the first gets the gradient.
    """
    sides = len(taps)
    places: Any = 0
    for axis, (tap, length) in enumerate(zip(taps, x.shape[2:], strict=True)):
        shape = [*tap.shape[:2], *([1] * (2 * sides))]
        shape[2 + axis], shape[2 + sides + axis] = tap.shape[2:]
        places = places * length + tap.reshape(tuple(shape))
    windows = tuple(tap.shape[2] for tap in taps)
    entries = math.prod(tap.shape[3] for tap in taps)
    planes = x.shape[:2]
    flat = (math.prod(windows), entries)
    places = places.reshape((*places.shape[:2], *flat))
    places = ops.broadcast_to(places, (*planes, *flat))
    plane = x.reshape((*planes, 1, math.prod(x.shape[2:])))
    values = ops.max_pool2d_gather(plane.detach(), places)
    best = ops.argmax(values, axis=-1, keepdims=True)
    y = ops.max_pool2d_gather(plane, ops.take_along_axis(places, best, axis=-1))
    return y.reshape((*planes, *windows))


@lru_cache(maxsize=256)
def adaptive_bins(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `count` bins over `length` entries begins, and where it ends.

    ⌊i·length / count⌋ and ⌈(i + 1)·length / count⌉, in single precision as in Torch7.
    """
    i = np.arange(count, dtype=np.float32)
    step = np.float32(length)
    starts = np.floor(i / np.float32(count) * step)
    ends = np.ceil((i + np.float32(1)) / np.float32(count) * step)
    return starts.astype(np.int64), np.minimum(ends, step).astype(np.int64)


class _Adaptive(Module):
    """Pooling to H x W places, whatever the size of the image."""

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # lengths

    def __init__(self, W: int, H: int) -> None:
        if min(W, H) < 1:
            raise ValueError(f"{type(self).__name__}: W and H must be at least 1, found {W}, {H}")
        self.W, self.H = W, H

    def updateOutput(self, x: Any) -> Any:
        batch = batch_of(x, "C H W")
        if min(batch.shape[2:]) < 1:
            raise ShapeError(f"the images of the input of shape {x.shape} are empty")
        return like_given(self.pooled(batch), x, "C H W")

    def pooled(self, batch: Any) -> Any:
        """(N, C, H', W') -> (N, C, H, W)."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return torch7_name(self)


class SpatialAdaptiveMaxPooling(_Adaptive):
    """The largest entry of each of H x W bins, which cover the image and may overlap.

    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W.  Bin i begins at ⌊i·H' / H⌋ and ends before
    ⌈(i + 1)·H' / H⌉.  Of equal entries the first in row order gets the gradient.
    Raises ShapeError for other shapes.  Source: nn.SpatialAdaptiveMaxPooling.
    """

    def pooled(self, batch: Any) -> Any:
        taps = []
        for length, count in zip(batch.shape[2:], (self.H, self.W), strict=True):
            starts, ends = adaptive_bins(length, count)
            # Shorter bins name their last entry again, which changes no maximum.
            tap = starts[:, None] + np.arange(np.max(ends - starts))
            tap = np.minimum(tap, ends[:, None] - 1)
            taps.append(Tensor(tap[None, None], device=batch.device))
        return max_at(batch, taps)


class SpatialAdaptiveAveragePooling(_Adaptive):
    """The mean of each of H x W bins, which cover the image and may overlap.

    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W; bins as in SpatialAdaptiveMaxPooling.
    Raises ShapeError for other shapes.  Source: nn.SpatialAdaptiveAveragePooling.
    """

    def pooled(self, batch: Any) -> Any:
        rows, columns = (
            Tensor(_averages(length, count), dtype=batch.dtype, device=batch.device)
            for length, count in zip(batch.shape[2:], (self.H, self.W), strict=True)
        )
        return rows @ (batch @ columns.T)


@lru_cache(maxsize=256)
def _averages(length: int, count: int) -> np.ndarray:
    """(count, length): the matrix that takes the mean of each bin."""
    starts, ends = adaptive_bins(length, count)
    at = np.arange(length)
    inside = (at >= starts[:, None]) & (at < ends[:, None])
    return inside / (ends - starts)[:, None]


class _Fractional(Lengths, Module):
    """Max pooling over windows at random places whose distances are nearly equal."""

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # lengths, or shares of lengths

    def _exact(self, pools: tuple[int, ...], targets: tuple[float, ...]) -> bool:
        """Whether `targets` are lengths, not ratios.  Raises ValueError when they are neither."""
        name = type(self).__name__
        if min(pools) < 2:
            raise ValueError(
                f"{name}: windows hold at least 2 entries along each axis, got {pools}"
            )
        exact = min(targets) >= 1
        if not exact and not all(0 < target < 1 for target in targets):
            raise ValueError(
                f"{name}: give sizes of the output (at least 1) or ratios between 0 and 1, for "
                f"all axes, found {targets}"
            )
        self.newRandomPool = False
        self.randomSamples: Any = None
        return exact

    def fixPoolingRegions(self, val: bool = True) -> Self:
        """Keep the windows of the last call from now on; with False, draw them at each call."""
        self.newRandomPool = val
        return self

    def _targets(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """The output's lengths.  Raises ShapeError when the windows do not fit."""
        exact = self._along("out")
        lengths = tuple(
            math.floor(n * ratio) if out is None else int(out)
            for n, ratio, out in zip(sides, self._along("ratio"), exact, strict=True)
        )
        for n, length, pool in zip(sides, lengths, self._along("poolSize"), strict=True):
            if length < 1 or length + pool - 1 > n:
                raise ShapeError(
                    f"an axis of {n} entries holds no {length} windows of {pool} entries that "
                    f"begin at different places ({times(sides)} to {times(lengths)})"
                )
        return lengths

    def _samples(self, batch: Any) -> Any:
        """One number of U[0, 1) for each plane and axis, in Torch7's order of axes."""
        shape = (*batch.shape[:2], len(self.order))
        kept = self.randomSamples
        if not self.newRandomPool or kept is None or kept.shape != shape:
            stream = self.random_stream(batch)
            # In double precision whatever the input is, so that its windows are the same.
            double = np.dtype(np.float64)
            kept = as_tensors(ops.uniform(generator=stream, shape=shape, dtype=double))
            if type(kept) is Tensor:  # and not one for each sample of a batch, which vmap draws
                self.randomSamples = kept
        return kept

    def updateOutput(self, x: Any) -> Any:
        batch = batch_of(x, self.axes)
        lengths = self._targets(tuple(batch.shape[2:]))
        samples = self._samples(batch)
        taps = []
        for letter, n, length, pool in zip(
            self.axes.split()[1:], batch.shape[2:], lengths, self._along("poolSize"), strict=True
        ):
            place = self.order.index(letter)
            starts = _starts(samples[:, :, place : place + 1], n, length, pool)
            entries = Tensor(np.arange(pool), device=batch.device)
            taps.append(starts.reshape((*starts.shape, 1)) + entries)
        return like_given(max_at(batch, taps), x, self.axes)

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and the windows."""
        self.randomSamples = None
        return super().clearState()

    def __repr__(self) -> str:
        target = "out" if getattr(self, f"out{self.order[0]}") is not None else "ratio"
        return f"{torch7_name(self)}({self._text(target, 'x')}, {self._text('poolSize')})"


def _starts(sample: Any, length: int, count: int, pool: int) -> Any:
    """Where each of `count` windows begins: (N, C, 1) numbers of U[0, 1) -> int64 (N, C, count).

    ⌊(i + u)·α⌋ - ⌊u·α⌋ with α = (length - pool) / (count - 1), but the last one ends at the end.
    """
    room = length - pool
    last = Tensor(np.full((*sample.shape[:2], 1), room), device=sample.device)
    if count == 1:
        return last
    step = room / (count - 1)
    i = Tensor(np.arange(count - 1), dtype=sample.dtype, device=sample.device)
    starts = ops.floor((sample + i) * step) - ops.floor(sample * step)
    return ops.concatenate([starts.astype(np.int64), last], axis=2)


class SpatialFractionalMaxPooling(_Fractional):
    """The largest entry of windows poolSizeW x poolSizeH whose places are drawn anew at each call.

    arg1, arg2: width and height of the output, or the ratios (0 … 1) of them to the input's
    x: (C, H, W) or (N, C, H, W) -> the same with that height and width.  Along an axis of n entries
    window i begins at ⌊(i + u)·α⌋ - ⌊u·α⌋ with α = (n - pool) / (out - 1) and u from U[0, 1), drawn
    for each plane; the last one ends where the axis does.  `randomSamples` (N, C, 2) holds the last
    u's, width first; `fixPoolingRegions()` keeps them.
    Raises ValueError for sizes that make no sense, ShapeError for inputs that are too small.
    Source: nn.SpatialFractionalMaxPooling; B. Graham, "Fractional Max-Pooling", arXiv:1412.6071.
    """

    def __init__(self, poolSizeW: int, poolSizeH: int, arg1: float, arg2: float) -> None:
        exact = self._exact((poolSizeW, poolSizeH), (arg1, arg2))
        self.poolSizeW, self.poolSizeH = poolSizeW, poolSizeH
        self.outW, self.outH = (arg1, arg2) if exact else (None, None)
        self.ratioW, self.ratioH = (None, None) if exact else (arg1, arg2)


class VolumetricFractionalMaxPooling(_Fractional):
    """SpatialFractionalMaxPooling over three axes, the last of which is time.

    x: (C, H, W, T) or (N, C, H, W, T), time last, unlike in the other volumetric layers: so it is
    in Torch7.  Arguments come in the order time, width, height; `randomSamples` is (N, C, 3) in
    that order.  Everything else as there.  Source: nn.VolumetricFractionalMaxPooling.
    """

    order = "TWH"
    axes = "C H W T"

    def __init__(
        self,
        poolSizeT: int,
        poolSizeW: int,
        poolSizeH: int,
        arg1: float,
        arg2: float,
        arg3: float,
    ) -> None:
        targets, nothing = (arg1, arg2, arg3), (None, None, None)
        exact = self._exact((poolSizeT, poolSizeW, poolSizeH), targets)
        self.poolSizeT, self.poolSizeW, self.poolSizeH = poolSizeT, poolSizeW, poolSizeH
        self.outT, self.outW, self.outH = targets if exact else nothing
        self.ratioT, self.ratioW, self.ratioH = nothing if exact else targets


class FeatureLPPooling(Module):
    """y[o] = (Σₖ x[o·stride + k]^power)^(1 / power), k < width, along the axis of features.

    x: (F,), (F, A) or (F, A, B); with batch_mode an axis of samples in front of them
    -> the same with ⌊(F - width) / stride⌋ + 1 features.  Where a sum is 0 the gradient is 0; odd
    powers are of use for positive entries only.
    Raises ValueError unless 2 <= width <= 16 and 1 <= stride <= 4, ShapeError for other shapes.
    Source: nn.FeatureLPPooling.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # lengths, an exponent, a flag

    def __init__(self, width: int, stride: int, power: float, batch_mode: bool = False) -> None:
        if not 2 <= width <= 16 or not 1 <= stride <= 4:
            raise ValueError(
                f"FeatureLPPooling: width must be 2 … 16 and stride 1 … 4, found {width}, {stride}"
            )
        self.width, self.stride, self.power = width, stride, power
        self.batch_mode = bool(batch_mode)

    def updateOutput(self, x: Any) -> Any:
        axis = int(self.batch_mode)
        if not 1 <= x.ndim - axis <= 3:
            raise ShapeError(
                f"the input of shape {x.shape} has {x.ndim} axes, it must have {axis + 1} to "
                f"{axis + 3}"
            )
        if x.shape[axis] < self.width:
            raise ShapeError(
                f"the input of shape {x.shape} has {x.shape[axis]} features, a window {self.width}"
            )
        powers = ops.square(x) if self.power == 2 else x**self.power
        windows = ops.unfold(powers, axis=axis, size=self.width, step=self.stride)
        return root(ops.sum(windows, axis=-1), self.power)

    def __repr__(self) -> str:
        text = f"w{self.width} s{self.stride} power {self.power} batch {int(self.batch_mode)}"
        return f"{torch7_name(self)}({text})"


def root(x: Any, power: float) -> Any:
    """x^(1 / power); where x is 0, so is its derivative."""
    nothing = ops.equal(x, 0)
    base = ops.where(nothing, 1, x)
    y = ops.sqrt(base) if power == 2 else base ** (1 / power)
    return ops.where(nothing, 0, y)
