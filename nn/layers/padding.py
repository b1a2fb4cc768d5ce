"""Pad images and films with zeros, reflections or repetitions; negative widths crop.

Axis by axis, a slice of the array is joined to each side, so that the tape adds the gradient of a
reflected or repeated entry to that of the entry it was copied from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import batch_of, checked_format, drop_added_batch
from tapegrad.nn.module import Module

__all__ = [
    "Cropping2D",
    "Cropping3D",
    "SpatialReflectionPadding",
    "SpatialReplicationPadding",
    "SpatialZeroPadding",
    "VolumetricReplicationPadding",
]

Widths = tuple[tuple[int, int], ...]


def _slice_axis(x: Tensor, axis: int, start: int, stop: int | None, step: int = 1) -> Tensor:
    return x[(slice(None),) * axis + (slice(start, stop, step),)]


def _reflect(x: Tensor, axis: int, before: int, after: int) -> list[Tensor]:
    n = x.shape[axis]
    if max(before, after) >= n:
        raise ShapeError(
            f"{max(before, after)} entries cannot be reflected from an axis of {n}: "
            f"at most {n - 1} can"
        )
    start, end = n - 2, n - 2 - after
    return [
        _slice_axis(x, axis, before, 0, -1),
        x,
        _slice_axis(x, axis, start, None if end < 0 else end, -1),
    ]


def _replicate(x: Tensor, axis: int, before: int, after: int) -> list[Tensor]:
    n = x.shape[axis]
    parts = []
    for edge, times in (
        (_slice_axis(x, axis, 0, 1), before),
        (_slice_axis(x, axis, n - 1, n), after),
    ):
        shape = (*x.shape[:axis], times, *x.shape[axis + 1 :])
        parts.append(ops.broadcast_to(edge, shape))
    return [parts[0], x, parts[1]]


class _Padding(Module):
    """Padding of the last axes of an array by `_widths`."""

    axes = "C H W"
    edges: ClassVar[Callable[..., list[Tensor]]]  # of (array, axis, before, after)

    def _widths(self) -> Widths:
        """Return (before, after) for each axis behind the channels."""
        raise NotImplementedError

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = batch_of(x, self.axes)
        for axis, (before, after) in enumerate(self._widths(), 2):
            n = batch.shape[axis]
            if n + before + after < 1 or n + min(before, 0) + min(after, 0) < 1:
                raise ShapeError(
                    f"the input of shape {x.shape} is too small: of {n} entries along one axis, "
                    f"{before} before and {after} after leave nothing"
                )
        return drop_added_batch(self._pad(batch), x, self.axes)

    def _pad(self, batch: Tensor) -> Tensor:
        """Return the batch (N, C, …) padded and cropped."""
        for axis, (before, after) in enumerate(self._widths(), 2):
            if before < 0 or after < 0:
                stop = batch.shape[axis] + min(after, 0)
                batch = _slice_axis(batch, axis, max(-before, 0), stop)
            if before > 0 or after > 0:
                parts = type(self).edges(batch, axis, max(before, 0), max(after, 0))
                batch = ops.concatenate(parts, axis=axis)
        return batch


class _SpatialPadding(_Padding):
    """Padding of images by widths for left, right, top and bottom."""

    keeps = ("pad_l", "pad_r", "pad_t", "pad_b")

    def __init__(
        self,
        pad_l: int,
        pad_r: int | None = None,
        pad_t: int | None = None,
        pad_b: int | None = None,
    ) -> None:
        self.pad_l = pad_l
        self.pad_r, self.pad_t, self.pad_b = (
            pad_l if width is None else width for width in (pad_r, pad_t, pad_b)
        )

    def _widths(self) -> Widths:
        return (self.pad_t, self.pad_b), (self.pad_l, self.pad_r)

    def __repr__(self) -> str:
        text = f"l={self.pad_l}, r={self.pad_r}, t={self.pad_t}, b={self.pad_b}"
        return f"{torch7_name(self)}({text})"


class SpatialZeroPadding(_SpatialPadding):
    """Zeros around each image: pad_l on the left, pad_r right, pad_t above, pad_b below.

    x: (C, H, W) or (N, C, H, W) -> (N,) C, H + pad_t + pad_b, W + pad_l + pad_r.  Omitted numbers
    are pad_l; negative ones cut off.  Raises ShapeError for other shapes and when nothing is left.
    Source: nn.SpatialZeroPadding.
    """

    def _pad(self, batch: Tensor) -> Tensor:
        return ops.pad(batch, ((0, 0), (0, 0), *self._widths()))


class SpatialReflectionPadding(_SpatialPadding):
    """The image mirrored at its border entries, which are not repeated.

    Shapes, arguments and negative numbers as in SpatialZeroPadding.  Raises ShapeError for other
    shapes and for more than an axis has beside its border entry.
    Source: nn.SpatialReflectionPadding.
    """

    edges = staticmethod(_reflect)


class SpatialReplicationPadding(_SpatialPadding):
    """The border entries repeated outwards.

    Shapes, arguments, negative numbers and errors as in SpatialZeroPadding.
    Source: nn.SpatialReplicationPadding.
    """

    edges = staticmethod(_replicate)


class VolumetricReplicationPadding(_Padding):
    """The border entries of each film repeated outwards, in time too.

    x: (C, T, H, W) or (N, C, T, H, W) -> (N,) C, T + pfront + pback, H + ptop + pbottom,
    W + pleft + pright.  Omitted numbers are pleft; negative ones cut off.
    Raises ShapeError for other shapes and when nothing is left.
    Source: nn.VolumetricReplicationPadding.
    """

    keeps = ("pleft", "pright", "ptop", "pbottom", "pfront", "pback")
    axes = "C T H W"
    edges = staticmethod(_replicate)

    def __init__(
        self,
        pleft: int,
        pright: int | None = None,
        ptop: int | None = None,
        pbottom: int | None = None,
        pfront: int | None = None,
        pback: int | None = None,
    ) -> None:
        self.pleft = pleft
        self.pright, self.ptop, self.pbottom, self.pfront, self.pback = (
            pleft if width is None else width for width in (pright, ptop, pbottom, pfront, pback)
        )

    def _widths(self) -> Widths:
        return (self.pfront, self.pback), (self.ptop, self.pbottom), (self.pleft, self.pright)

    def __repr__(self) -> str:
        names = ("left", "right", "top", "bottom", "front", "back")
        text = ", ".join(f"{name}={getattr(self, 'p' + name)}" for name in names)
        return f"{torch7_name(self)}({text})"


class _Cropping(Module):
    """x without some entries at both ends of its sides; the sides follow the channels, or not."""

    keeps: ClassVar[tuple[str, ...]] = ("format",)
    format: str
    last = "channels last"

    def _crop(self, x: Tensor, crops: list[tuple[int, int]]) -> Tensor:
        axes = len(crops) + 2
        if x.ndim != axes:
            raise ShapeError(f"the input of shape {x.shape} has {x.ndim} axes, it must have {axes}")
        first = 1 if self.format == self.last else 2
        for axis, (before, after) in enumerate(crops, first):
            if before + after >= x.shape[axis]:
                raise ShapeError(
                    f"axis {axis} of the input of shape {x.shape} has not more than the "
                    f"{before} + {after} entries to crop"
                )
            x = _slice_axis(x, axis, before, x.shape[axis] - after)
        return x


class Cropping2D(_Cropping):
    """x without `heightCrop` rows and `widthCrop` columns, (before, after) each.

    x: (N, C, H, W), or (N, H, W, C) with format "NHWC" -> the same with smaller sides.
    Raises ValueError for another format or negative numbers, ShapeError for other shapes and where
    nothing would be left.  Source: BigDL's Cropping2D.
    """

    keeps = ("heightCrop", "widthCrop")
    last = "NHWC"

    def __init__(
        self,
        heightCrop: Sequence[int] = (0, 0),
        widthCrop: Sequence[int] = (0, 0),
        format: str = "NCHW",
    ) -> None:
        self.heightCrop, self.widthCrop = (
            _pair("heightCrop", heightCrop),
            _pair("widthCrop", widthCrop),
        )
        self.format = checked_format(format)

    def updateOutput(self, x: Tensor) -> Tensor:
        return self._crop(x, [self.heightCrop, self.widthCrop])


class Cropping3D(_Cropping):
    """x without entries at both ends of three axes, (before, after) each.

    x: (N, C, D1, D2, D3), or (N, D1, D2, D3, C) with format "channel_last" -> the same with smaller
    sides.  Raises as Cropping2D does; formats are "channel_first", "channel_last".
    Source: BigDL's Cropping3D.
    """

    keeps = ("dim1Crop", "dim2Crop", "dim3Crop")
    last = "channel_last"

    def __init__(
        self,
        dim1Crop: Sequence[int] = (1, 1),
        dim2Crop: Sequence[int] = (1, 1),
        dim3Crop: Sequence[int] = (1, 1),
        format: str = "channel_first",
    ) -> None:
        self.dim1Crop, self.dim2Crop, self.dim3Crop = (
            _pair(name, crop)
            for name, crop in (
                ("dim1Crop", dim1Crop), ("dim2Crop", dim2Crop), ("dim3Crop", dim3Crop)
            )
        )  # fmt: skip
        self.format = checked_format(format, ("channel_first", "channel_last"))

    def updateOutput(self, x: Tensor) -> Tensor:
        return self._crop(x, [self.dim1Crop, self.dim2Crop, self.dim3Crop])


def _pair(name: str, crop: Sequence[int]) -> tuple[int, int]:
    """(before, after).  Raises ValueError for other sequences and for negative numbers."""
    if len(crop) != 2 or min(crop) < 0:
        raise ValueError(f"{name} is {crop!r}, it must be two numbers of entries to crop")
    before, after = crop
    return int(before), int(after)
