"""Pad images and films with zeros, reflections or repetitions; negative widths crop.

Axis by axis, a slice of the array is joined to each side, so that the tape adds the gradient of a
reflected or repeated entry to that of the entry it was copied from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import batch_of, drop_added_batch
from tapegrad.nn.module import Module

__all__ = [
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
