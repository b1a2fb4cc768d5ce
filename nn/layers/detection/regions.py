"""Pooling of regions of interest: the same number of entries for a box of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.layers.indexing import to_indices
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["RoiAlign", "RoiPooling"]


def _maps_and_rois(x: Nest, columns: int) -> tuple[Tensor, Tensor]:
    """[maps, rois].  Raises ShapeError unless maps are (N, C, H, W) and rois (R, columns)."""
    maps, rois = entries_of(x, 2)
    if maps.ndim != 4 or rois.ndim != 2 or rois.shape[1] != columns:
        raise ShapeError(
            f"maps of shape {maps.shape} and regions of shape {rois.shape} are not (N, C, H, W) "
            f"and (R, {columns})"
        )
    return maps, ops.cast(rois.detach(), dtype=maps.dtype)


def _numbers(like: Tensor, count: int) -> Tensor:
    """0, 1, … count - 1 in the dtype of `like`."""
    return Tensor(np.arange(count), dtype=like.dtype, device=like.device)


class RoiPooling(Module):
    """The largest entry of each of pooledH x pooledW parts of a region.

    [maps, rois]: maps (N, C, H, W);  rois (R, 5), rows of (number of the map from 0, x1, y1, x2,
    y2), which are multiplied by spatialScale and rounded -> (R, C, pooledH, pooledW), 0 for a part
    without pixels.  Neighbouring parts may share pixels.  Regions have no gradient.
    Raises ShapeError for other shapes and for numbers of no map.  Source: BigDL's RoiPooling;
    R. Girshick, "Fast R-CNN", ICCV 2015, section 2.1.
    """

    keeps = ("pooledW", "pooledH", "spatialScale")
    promotes = True

    def __init__(self, pooledW: int, pooledH: int, spatialScale: float = 1) -> None:
        self.pooledW, self.pooledH, self.spatialScale = pooledW, pooledH, spatialScale

    def updateOutput(self, x: Nest) -> Tensor:
        maps, rois = _maps_and_rois(x, 5)
        chosen = maps[to_indices(rois[:, 0], maps.shape[0])]
        corners = ops.floor(rois[:, 1:] * self.spatialScale + 0.5)
        columns = self._parts(corners[:, 0], corners[:, 2], self.pooledW, maps.shape[3])
        rows = self._parts(corners[:, 1], corners[:, 3], self.pooledH, maps.shape[2])
        of_rows = _largest(chosen, columns)  # (R, C, H, pooledW)
        y = _largest(ops.swapaxes(of_rows, -1, -2), rows)  # (R, C, pooledW, pooledH)
        y = ops.swapaxes(y, -1, -2)
        filled = ops.logical_and(
            ops.expand_dims(ops.any(rows, axis=-1), -1),
            ops.expand_dims(ops.any(columns, axis=-1), 1),
        )
        return ops.where(ops.expand_dims(filled, 1), y, 0)

    def _parts(self, first: Tensor, last: Tensor, parts: int, length: int) -> Tensor:
        """Which entries of an axis belong to each part: booleans (R, parts, length)."""
        size = ops.expand_dims(ops.maximum(last - first + 1, 1) / parts, -1)
        start = ops.expand_dims(first, -1)
        number = _numbers(first, parts)
        low = ops.floor(number * size) + start
        high = ops.ceil((number + 1) * size) + start
        place = _numbers(first, length)
        return ops.logical_and(
            ops.greater_equal(place, ops.expand_dims(low, -1)),
            ops.less(place, ops.expand_dims(high, -1)),
        )


def _largest(maps: Tensor, parts: Tensor) -> Tensor:
    """(R, C, A, n) and which of the n belong to each part, (R, p, n) -> (R, C, A, p)."""
    members = ops.expand_dims(ops.expand_dims(parts, 1), 1)
    return ops.max(ops.where(members, ops.expand_dims(maps, -2), -np.inf), axis=-1)


class RoiAlign(Module):
    """The mean, or the largest, of interpolated entries of pooledH x pooledW parts of a region.

    [maps, rois]: maps (1, C, H, W);  rois (R, 4), rows of (x1, y1, x2, y2), which are multiplied by
    spatialScale -> (R, C, pooledH, pooledW).  In each part samplingRatio² places are interpolated;
    if 0, as many as there are pixels, which no replayed step can do.
    mode: "avg" or "max".  aligned: pixels' centres are at
    halves, and regions may be thinner than a pixel.  Regions have no gradient.
    Raises ValueError for another mode, ShapeError for other shapes.  Source: BigDL's RoiAlign;
    K. He et al., "Mask R-CNN", ICCV 2017, section 3.
    """

    keeps = ("spatialScale", "samplingRatio", "pooledH", "pooledW", "mode", "aligned")
    promotes = True

    def __init__(
        self,
        spatialScale: float,
        samplingRatio: int,
        pooledH: int,
        pooledW: int,
        mode: str = "avg",
        aligned: bool = True,
    ) -> None:
        if mode not in ("avg", "max"):
            raise ValueError(f"RoiAlign: mode is {mode!r}, it must be 'avg' or 'max'")
        self.spatialScale, self.samplingRatio = spatialScale, samplingRatio
        self.pooledH, self.pooledW = pooledH, pooledW
        self.mode = mode
        self.aligned = bool(aligned)

    def updateOutput(self, x: Nest) -> Tensor:
        maps, rois = _maps_and_rois(x, 4)
        if maps.shape[0] != 1:
            raise ShapeError(f"the maps of shape {maps.shape} are those of {maps.shape[0]} images")
        corners = rois * self.spatialScale - (0.5 if self.aligned else 0)
        across, counts_x = self._places(corners[:, 0], corners[:, 2], self.pooledW, maps.shape[3])
        down, counts_y = self._places(corners[:, 1], corners[:, 3], self.pooledH, maps.shape[2])
        image = maps[0]
        if self.mode == "avg":
            down, across = (ops.sum(weights, axis=2) for weights in (down, across))
            count = ops.maximum(counts_y * counts_x, 1).reshape((-1, 1, 1, 1))
            return ops.einsum("rph,chw,rqw->rcpq", down, image, across) / count
        samples = ops.einsum("rpih,chw,rqjw->rcpqij", down, image, across)
        return ops.max(samples, axis=(-2, -1))

    def _places(
        self, first: Tensor, last: Tensor, parts: int, length: int
    ) -> tuple[Tensor, Tensor]:
        """Weights of the entries of an axis at each place, (R, parts, places, length); places (R,).

        A region with fewer places than another one has weights of 0 for the others.
        """
        size = last - first
        if not self.aligned:
            size = ops.maximum(size, 1)
        part = size / parts
        if self.samplingRatio > 0:
            most, count = self.samplingRatio, part * 0 + self.samplingRatio
        else:
            count = ops.ceil(part)
            most = int(np.max(count.numpy(), initial=0))
        number = _numbers(first, most)
        step = (part / ops.maximum(count, 1)).reshape((-1, 1, 1))
        start = first.reshape((-1, 1, 1))
        starts = start + (_numbers(first, parts) * part.reshape((-1, 1))).reshape((-1, parts, 1))
        place = starts + (number + 0.5) * step
        inside = ops.logical_and(ops.greater_equal(place, -1), ops.less_equal(place, length))
        inside = ops.logical_and(inside, ops.less(number, count.reshape((-1, 1, 1))))
        nearest = ops.expand_dims(ops.clip(place, 0, length - 1), -1)
        weights = ops.maximum(1 - ops.absolute(nearest - _numbers(first, length)), 0)
        return weights * ops.cast(ops.expand_dims(inside, -1), dtype=weights.dtype), count
