"""Upsampling: larger images and films from smaller ones.

Upsampling by nearest neighbours repeats entries.  Linear interpolation is a product with a small
matrix for each axis, whose rows have the two weights, so that the product's rule gives the
gradient.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import (
    batch_of,
    channels_first,
    channels_last,
    checked_format,
    drop_added_batch,
)
from tapegrad.nn.module import Module

__all__ = [
    "PixelShuffle",
    "ResizeBilinear",
    "SpatialUpSamplingBilinear",
    "SpatialUpSamplingNearest",
    "UpSampling",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
]


def _integer_factor(name: str, scale: float) -> int:
    """Return a scale as an int.  Raises ValueError unless it is an integer of at least 1."""
    is_integer = isinstance(scale, (int, float, np.number)) and float(scale).is_integer()
    if not is_integer or scale < 1:
        raise ValueError(f"{name}: the scale must be an integer of at least 1, found {scale!r}")
    return int(scale)


def _output_sizes(name: str, sizes: Mapping[str, int]) -> dict[str, int | None]:
    """Return `odepth`, `oheight` and `owidth` of a dict, None for a missing `odepth`.

    Raises ValueError for other keys, and for sizes that are no integers of at least 1.
    """
    if not {"oheight", "owidth"} <= sizes.keys() <= {"odepth", "oheight", "owidth"}:
        raise ValueError(
            f"{name}: give oheight and owidth (and odepth for films), found {sorted(sizes)}"
        )
    result: dict[str, int | None] = {"odepth": None}
    for key, size in sizes.items():
        result[key] = operator.index(int(size) if float(size).is_integer() else size)
        if result[key] < 1:  # type: ignore[operator]  # just set to an int
            raise ValueError(f"{name}: {key} must be at least 1, found {size}")
    return result


def repeat_nearest(x: Tensor, scale: int) -> Tensor:
    """Repeat every entry of x (N, C, …) `scale` times along each axis behind the channels.

    For height and width the adjoint of summing over windows does this, with its gradient, four
    times faster than one `repeat` for each axis.
    """
    *front, height, width = x.shape
    planes = x.reshape((int(np.prod(front)), 1, height, width))
    shape = (planes.shape[0], 1, height * scale, width * scale)
    y = ops.avg_pool2d_gradient(planes, shape=shape, kernel=scale, stride=scale, divide=False)
    y = y.reshape((*front, *shape[2:]))
    return ops.repeat(y, scale, axis=2) if x.ndim == 5 else y


def interpolate_linearly(
    x: Tensor, sizes: tuple[int, ...], *, align_corners: bool = True
) -> Tensor:
    """Interpolate the last axes to `sizes`; the first and last entries keep their values.

    align_corners False: entry i is that at i·n/size instead, as in TensorFlow's first versions
    """
    for axis, size in zip(range(x.ndim - len(sizes), x.ndim), sizes, strict=True):
        n = x.shape[axis]
        weights = interpolation_matrix(n, size, align_corners)
        matrix = Tensor(weights, dtype=x.dtype, device=x.device)
        if axis == x.ndim - 1:
            x = x @ matrix.T
        else:
            after = x.shape[axis + 1 :]
            flat = matrix @ x.reshape((*x.shape[: axis + 1], int(np.prod(after))))
            x = flat.reshape((*flat.shape[:-1], *after))
    return x


@lru_cache(maxsize=256)
def interpolation_matrix(n: int, size: int, align_corners: bool = True) -> np.ndarray:
    """Return (size, n): row i has the weights of the entries around i·(n - 1) / (size - 1).

    This coordinate is computed in single precision, as in Torch7: its relative error is below 1e-7.
    align_corners False: the entries around i·n / size.
    """
    last = int(align_corners)
    step = np.float32(n - last) / np.float32(size - last) if size > last else np.float32(0)
    coordinates = np.arange(size, dtype=np.float32) * step
    low = np.minimum(coordinates.astype(np.int64), n - 1)
    share = coordinates.astype(np.float64) - low
    matrix = np.zeros((size, n))
    rows = np.arange(size)
    matrix[rows, low] += 1 - share
    matrix[rows, np.minimum(low + 1, n - 1)] += share
    return matrix


class SpatialUpSamplingNearest(Module):
    """Every entry of x repeated `scale` times along height and width.

    x: (C, H, W) or (N, C, H, W) -> (N,) C, scale·H, scale·W.
    Raises ValueError unless scale is an integer of at least 1, ShapeError for other
    shapes.  Source: nn.SpatialUpSamplingNearest.
    """

    keeps = ("scale_factor",)
    promotes = True

    def __init__(self, scale: int) -> None:
        self.scale_factor = _integer_factor(type(self).__name__, scale)

    def updateOutput(self, x: Tensor) -> Tensor:
        return drop_added_batch(repeat_nearest(batch_of(x, "C H W"), self.scale_factor), x, "C H W")

    def __repr__(self) -> str:
        return torch7_name(self)


class _Interpolation(Module):
    """Upsampling by a scale factor, or to the sizes of the output."""

    keeps: ClassVar[tuple[str, ...]] = ("scale_factor", "odepth", "oheight", "owidth")
    promotes = True

    def _set_params(self, params: int | Mapping[str, int]) -> None:
        self.scale_factor: int | None = None
        self.odepth: int | None = None
        self.oheight: int | None = None
        self.owidth: int | None = None
        if isinstance(params, Mapping):
            vars(self).update(_output_sizes(type(self).__name__, params))
        else:
            self.scale_factor = _integer_factor(type(self).__name__, params)

    def _target_sizes(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's sizes along the last two or three axes."""
        if self.scale_factor is not None:
            return tuple(n * self.scale_factor for n in sides)
        sizes = (self.odepth, self.oheight, self.owidth)[3 - len(sides) :]
        if None in sizes:
            raise ShapeError("films need odepth beside oheight and owidth")
        return sizes  # type: ignore[return-value]  # None was ruled out


class SpatialUpSamplingBilinear(_Interpolation):
    """Bilinear interpolation between the entries; the corners of the image keep their values.

    params: a factor (H' = factor·H, W' = factor·W), or {"oheight": H', "owidth": W'}
    x: (C, H, W) or (N, C, H, W) -> (N,) C, H', W'.  Row i of the result is the
    row i·(H - 1) / (H' - 1) of x, interpolated; columns likewise.
    Raises ValueError for other parameters, ShapeError for other shapes.
    Source: nn.SpatialUpSamplingBilinear.
    """

    def __init__(self, params: int | Mapping[str, int]) -> None:
        self._set_params(params)

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = batch_of(x, "C H W")
        return drop_added_batch(
            interpolate_linearly(batch, self._target_sizes(batch.shape[2:])), x, "C H W"
        )

    def __repr__(self) -> str:
        sizes = f"{self.oheight}, {self.owidth}"
        text = sizes if self.scale_factor is None else f"{self.scale_factor}"
        return f"{torch7_name(self)}({text})"


class UpSampling(_Interpolation):
    """Nearest neighbours, or linear interpolation, of images and films.

    params: a factor, or for linear interpolation {"oheight": H', "owidth": W'}, for films "odepth"
    mode:   "linear", "bilinear" and "trilinear" interpolate as SpatialUpSamplingBilinear does;
            everything else, "nearest" too, repeats entries
    x: (N, C, H, W) or (N, C, T, H, W) -> the same with larger sides; no single samples.
    Raises ValueError for sizes in mode "nearest", ShapeError for other shapes.
    Source: nn.UpSampling.
    """

    keeps = ("mode",)

    def __init__(self, params: int | Mapping[str, int], mode: str = "nearest") -> None:
        self.mode = "linear" if mode in ("linear", "bilinear", "trilinear") else "nearest"
        if self.mode == "nearest" and isinstance(params, Mapping):
            raise ValueError("UpSampling: nearest neighbours need a scale factor, not sizes")
        self._set_params(params)

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim not in (4, 5):
            raise ShapeError(
                f"the input of shape {x.shape} is neither (N, C, H, W) nor (N, C, T, H, W)"
            )
        if self.scale_factor is not None and self.mode == "nearest":
            return repeat_nearest(x, self.scale_factor)
        return interpolate_linearly(x, self._target_sizes(x.shape[2:]))

    def __repr__(self) -> str:
        sizes = (self.odepth, self.oheight, self.owidth)
        known = "x".join(str(size) for size in sizes if size is not None)
        text = known if self.scale_factor is None else f"{self.scale_factor}x"
        return f"{torch7_name(self)}({text}, {self.mode})"


class PixelShuffle(Module):
    """Channels rearranged to pixels: y[c, h·r + i, w·r + j] = x[(c·r + i)·r + j, h, w].

    x: (C·r², H, W) or (N, C·r², H, W) -> (N,) C, r·H, r·W with r = upscaleFactor.
    Raises ShapeError for other shapes.  Source: nn.PixelShuffle; W. Shi et al., "Real-Time Single
    Image and Video Super-Resolution", CVPR 2016.
    """

    keeps = ("upscaleFactor", "upscaleFactorSquared")

    def __init__(self, upscaleFactor: int) -> None:
        self.upscaleFactor = _integer_factor("PixelShuffle", upscaleFactor)
        self.upscaleFactorSquared = self.upscaleFactor**2

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = batch_of(x, "C H W")
        n, channels, height, width = batch.shape
        r = self.upscaleFactor
        if channels % self.upscaleFactorSquared:
            raise ShapeError(
                f"the input of shape {x.shape} has {channels} channels, which is no multiple of "
                f"{self.upscaleFactorSquared}, the square of upscaleFactor {r}"
            )
        planes = channels // self.upscaleFactorSquared
        parts = batch.reshape((n, planes, r, r, height, width)).transpose((0, 1, 4, 2, 5, 3))
        return drop_added_batch(parts.reshape((n, planes, height * r, width * r)), x, "C H W")

    def __repr__(self) -> str:
        return torch7_name(self)


class ResizeBilinear(Module):
    """Bilinear interpolation of images to outputHeight x outputWidth.

    x: (N, C, H, W), or (N, H, W, C) with format "NHWC" -> the same with the new sides.  Row i of
    the result is the row i·H / outputHeight of x, interpolated, or i·(H - 1) / (outputHeight - 1)
    with alignCorners; columns likewise; beyond the last row it is the last.
    Raises ValueError for other formats and for sides below 1, ShapeError for other shapes.
    Source: BigDL's ResizeBilinear.
    """

    keeps = ("outputHeight", "outputWidth", "alignCorners", "format")
    promotes = True

    def __init__(
        self,
        outputHeight: int,
        outputWidth: int,
        alignCorners: bool = False,
        format: str = "NCHW",
    ) -> None:
        if min(outputHeight, outputWidth) < 1:
            raise ValueError(f"ResizeBilinear: {outputHeight} x {outputWidth} is no size of images")
        self.outputHeight, self.outputWidth = outputHeight, outputWidth
        self.alignCorners = bool(alignCorners)
        self.format = checked_format(format)

    def updateOutput(self, x: Tensor) -> Tensor:
        images = _batch_of_images(x, self.format)
        sizes = (self.outputHeight, self.outputWidth)
        y = interpolate_linearly(images, sizes, align_corners=self.alignCorners)
        return channels_last(y, self.format)


def _batch_of_images(x: Tensor, format: str) -> Tensor:
    """x as (N, C, H, W).  Raises ShapeError for another number of axes."""
    if x.ndim != 4:
        wanted = ", ".join(format)
        raise ShapeError(f"the input of shape {x.shape} has {x.ndim} axes, it must be ({wanted})")
    return channels_first(x, format)


class UpSampling1D(Module):
    """Every step of a sequence repeated `length` times: (N, T, C) -> (N, length·T, C).

    Raises ValueError unless length is an integer of at least 1, ShapeError for other shapes.
    Source: BigDL's UpSampling1D.
    """

    keeps = ("length",)

    def __init__(self, length: int) -> None:
        self.length = _integer_factor("UpSampling1D", length)

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ShapeError(f"the input of shape {x.shape} is not (N, T, C)")
        return ops.repeat(x, self.length, axis=1)


class UpSampling2D(Module):
    """Every row and column of an image repeated, `size` = (rows, columns) times.

    x: (N, C, H, W), or (N, H, W, C) with format "NHWC" -> the same with the new sides.
    Raises ValueError for other formats and for sizes below 1, ShapeError for other shapes.
    Source: BigDL's UpSampling2D.
    """

    keeps = ("size", "format")

    def __init__(self, size: Sequence[int], format: str = "NCHW") -> None:
        self.size = _factors("UpSampling2D", size, 2)
        self.format = checked_format(format)

    def updateOutput(self, x: Tensor) -> Tensor:
        y = _batch_of_images(x, self.format)
        for axis, times in enumerate(self.size, 2):
            y = ops.repeat(y, times, axis=axis)
        return channels_last(y, self.format)


class UpSampling3D(Module):
    """Every entry of a volume repeated along its three sides, `size` times along each.

    x: (N, C, D1, D2, D3) -> the same with the new sides.
    Raises ValueError for sizes below 1, ShapeError for other shapes.  Source: BigDL's UpSampling3D.
    """

    keeps = ("size",)

    def __init__(self, size: Sequence[int]) -> None:
        self.size = _factors("UpSampling3D", size, 3)

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim != 5:
            raise ShapeError(f"the input of shape {x.shape} is not (N, C, D1, D2, D3)")
        for axis, times in enumerate(self.size, 2):
            x = ops.repeat(x, times, axis=axis)
        return x


def _factors(name: str, size: Sequence[int], axes: int) -> tuple[int, ...]:
    """The factors as ints.  Raises ValueError for another number of them, or one below 1."""
    if len(size) != axes:
        raise ValueError(f"{name}: size is {size!r}, it must have {axes} factors")
    return tuple(_integer_factor(name, factor) for factor in size)
