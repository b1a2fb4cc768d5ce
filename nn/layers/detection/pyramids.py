"""Layers on maps of several levels, each half as large as the one before: FPN, Pooler, regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, ops, primitive
from tapegrad.nn.containers.container import ConcatTable, Sequential
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.init_methods import RandomNormal, Zeros
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.layers.convolution.spatial import SpatialConvolution
from tapegrad.nn.layers.detection.boxes import Anchor, Nms, move_boxes, refuse_nan
from tapegrad.nn.layers.detection.regions import RoiAlign
from tapegrad.nn.layers.rectifiers import ReLU
from tapegrad.nn.layers.upsampling import repeat_nearest
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Nest

__all__ = ["FPN", "Pooler", "RegionProposal"]

Image = np.ndarray[Any, np.dtype[Any]]


class FPN(Module):
    """A feature pyramid: maps of all levels with what the smaller ones know.

    [x₀, x₁, …]: xₖ (N, inChannels[k], Hₖ, Wₖ), each half as high and wide as the one before ->
    [y₀, y₁, …], yₖ (N, outChannels, Hₖ, Wₖ): yₖ = Lₖ(zₖ), zₖ = Iₖ(xₖ) + zₖ₊₁ with each entry
    repeated 2 x 2, where Iₖ is a convolution of 1 x 1 (`innerBlocks`) and Lₖ one of 3 x 3
    (`layerBlocks`).  First levels of 0 channels are left out.
    topBlocks: 0 for no more maps; 1 for every other entry of the last one; 2 for two more, of
    convolutions of 3 x 3 with stride 2 (`topModules`): of outChannelsP6P7 planes, of the last map
    if inChannelsP6P7 is outChannelsP6P7, else of the last input, which has inChannelsP6P7.
    Raises ValueError for options that make no sense, ShapeError for other inputs.
    Source: BigDL's FPN; T.-Y. Lin et al., "Feature pyramid networks", CVPR 2017, section 3.
    """

    keeps = (
        "inChannels",
        "outChannels",
        "topBlocks",
        "inChannelsP6P7",
        "outChannelsP6P7",
        "innerBlocks",
        "layerBlocks",
        "topModules",
    )
    promotes = True

    def __init__(
        self,
        inChannels: Sequence[int],
        outChannels: int,
        topBlocks: int = 0,
        inChannelsP6P7: int = 0,
        outChannelsP6P7: int = 0,
    ) -> None:
        self.inChannels, self.outChannels = tuple(inChannels), outChannels
        self.topBlocks = topBlocks
        self.inChannelsP6P7, self.outChannelsP6P7 = inChannelsP6P7, outChannelsP6P7
        used = self.inChannels[self._skipped() :]
        if not used or min(used) < 1:
            raise ValueError(f"FPN: levels of {list(inChannels)} channels; only the first may be 0")
        if topBlocks not in (0, 1, 2):
            raise ValueError(f"FPN: topBlocks is {topBlocks!r}, it must be 0, 1 or 2")
        source = outChannels if inChannelsP6P7 == outChannelsP6P7 else used[-1]
        if topBlocks == 2 and inChannelsP6P7 != source:
            raise ValueError(
                f"FPN: inChannelsP6P7 is {inChannelsP6P7}, but the map that they read has {source}"
            )
        self.innerBlocks = [SpatialConvolution(n, outChannels, 1, 1) for n in used]
        self.layerBlocks = [
            SpatialConvolution(outChannels, outChannels, 3, 3, 1, 1, 1, 1) for _ in used
        ]
        planes = (inChannelsP6P7, outChannelsP6P7) if topBlocks == 2 else ()
        self.topModules = [SpatialConvolution(n, outChannelsP6P7, 3, 3, 2, 2, 1, 1) for n in planes]

    def _skipped(self) -> int:
        """How many first levels have no channels."""
        return next((k for k, n in enumerate(self.inChannels) if n), len(self.inChannels))

    def updateOutput(self, x: Nest) -> list[Tensor]:
        maps = entries_of(x, len(self.inChannels))[self._skipped() :]
        for planes in maps:
            if planes.ndim != 4:
                raise ShapeError(f"the map of shape {planes.shape} is not (N, C, H, W)")
        z = self.innerBlocks[-1](maps[-1])
        results = [self.layerBlocks[-1](z)]
        levels = zip(maps[:-1], self.innerBlocks[:-1], self.layerBlocks[:-1], strict=True)
        for planes, inner, layer in reversed(list(levels)):
            own, above = inner(planes), repeat_nearest(z, 2)
            if own.shape != above.shape:
                raise ShapeError(
                    f"the map of shape {planes.shape} is not twice as high and wide as the next "
                    f"one, {z.shape[2]} x {z.shape[3]}"
                )
            z = own + above
            results.insert(0, layer(z))
        return results + self._top(maps[-1], results[-1])

    def _top(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """The additional maps, of the last input and the last result."""
        if self.topBlocks == 1:
            return [y[:, :, ::2, ::2]]
        if self.topBlocks == 0:
            return []
        first, second = self.topModules
        p6 = first(y if self.inChannelsP6P7 == self.outChannelsP6P7 else x)
        return [p6, second(ops.relu(p6))]

    def __repr__(self) -> str:
        return f"nn.FPN({list(self.inChannels)} -> {self.outChannels})"


class Pooler(Module):
    """RoiAlign of each region on the level of a pyramid that suits its size.

    [maps, rois]: maps [m₀, m₁, …], mₖ (N, C, Hₖ, Wₖ), of scales[k] of the image's size;  rois, a
    table of N arrays (R, 4), rows of (x1, y1, x2, y2), or one such array for N = 1 -> (ΣR, C,
    resolution, resolution), those of the first image first.
    A region of area a is read from the level ⌊4 + log₂(√a / 224)⌋, or the next that there is, where
    level l has the scale 2⁻ˡ.  samplingRatio: as in RoiAlign.  Regions have no gradient.
    How many regions a level has depends on them, so no step with a Pooler is replayed.
    Raises ValueError unless each scale is half the one before, and for NaN; ShapeError for other
    inputs.
    Source: BigDL's Pooler; T.-Y. Lin et al., "Feature pyramid networks", CVPR 2017, section 4.2.
    """

    keeps = ("resolution", "scales", "samplingRatio", "poolers")
    promotes = True

    def __init__(self, resolution: int, scales: Sequence[float], samplingRatio: int) -> None:
        self.resolution, self.scales = resolution, tuple(float(scale) for scale in scales)
        self.samplingRatio = samplingRatio
        wanted = [self.scales[0] / 2**k for k in range(len(self.scales))] if self.scales else []
        if not wanted or wanted[0] <= 0 or not np.allclose(wanted, self.scales):
            raise ValueError(
                f"Pooler: the scales {list(scales)} are not each half of the one before"
            )
        self.poolers = [
            RoiAlign(scale, samplingRatio, resolution, resolution) for scale in self.scales
        ]

    def updateOutput(self, x: Nest) -> Tensor:
        maps, rois = entries_of(x, 2)
        maps = entries_of(maps, len(self.scales))
        rois = regions_of(rois, len(maps[0]))
        pooled = []
        for n, own in enumerate(rois):
            levels = self._levels(own.detach().numpy())
            parts = [
                pooler([planes[n : n + 1], own[_numbers(levels == k, own)]])
                for k, (planes, pooler) in enumerate(zip(maps, self.poolers, strict=True))
                if k in levels or not (k or levels.size)
            ]
            by_level = np.argsort(levels, kind="stable")
            back = Tensor(np.argsort(by_level), device=own.device)
            pooled.append(ops.concatenate(parts, axis=0)[back])
        result: Tensor = ops.concatenate(pooled, axis=0)
        return result

    def _levels(self, rois: Image) -> Image:
        """The number of the level of each of the regions (R, 4)."""
        refuse_nan("Pooler", rois=rois)
        first = int(-math.log2(self.scales[0]))
        sides = np.maximum(rois[:, 2:] - rois[:, :2] + 1, 0)
        level = np.floor(4 + np.log2(np.sqrt(sides.prod(axis=1)) / 224 + 1e-6))
        return np.clip(level - first, 0, len(self.scales) - 1).astype(np.int64)

    def __repr__(self) -> str:
        return f"nn.Pooler({self.resolution}, {list(self.scales)}, {self.samplingRatio})"


def _numbers(chosen: Image, like: Tensor) -> Tensor:
    """The indices of the true entries of `chosen`, on the device of `like`."""
    return Tensor(np.flatnonzero(chosen), device=like.device)


def regions_of(rois: Nest, images: int) -> Sequence[Tensor]:
    """The regions of each image.  Raises ShapeError unless they are `images` arrays (R, 4)."""
    table = rois if isinstance(rois, (list, tuple)) else [rois]
    if len(table) != images or any(r.ndim != 2 or r.shape[1] != 4 for r in table):
        raise ShapeError(
            f"regions of shapes {[r.shape for r in table]} are not those of {images} images, (R, 4)"
        )
    return table


class RegionProposal(Module):
    """The regions that a region proposal network finds on a pyramid, those of each image.

    [maps, info]: maps [m₀, m₁, …], mₖ (N, inChannels, Hₖ, Wₖ), of cells of anchorStride[k] pixels;
    info, the images' height and width -> N arrays (K, 4), rows of (x1, y1, x2, y2), the best first.
    `head`, of maps, has the scores (N, A, H, W) and offsets (N, 4·A, H, W) of the A anchors of a
    cell, one of the area anchorSizes[k]² for each of aspectRatios, height over width; a loss that
    trains it reads them from there.
    Of each level the preNmsTopNTest best anchors are moved, cut off at the image's border, left
    out if a side is shorter than minSize, and suppressed at an overlap of nmsThread; the
    postNmsTopNTest best of all levels stay.  In training preNmsTopNTrain and postNmsTopNTrain.
    The gradients are 0.
    Raises ValueError for options that make no sense and for NaN, ShapeError for other inputs.
    Source: BigDL's RegionProposal; S. Ren et al., "Faster R-CNN", 2015, section 3.1.
    """

    keeps = (
        "inChannels",
        "anchorSizes",
        "aspectRatios",
        "anchorStride",
        "preNmsTopNTest",
        "postNmsTopNTest",
        "preNmsTopNTrain",
        "postNmsTopNTrain",
        "nmsThread",
        "minSize",
        "head",
    )
    promotes = True

    def __init__(
        self,
        inChannels: int,
        anchorSizes: Sequence[float] = (32, 64, 128, 256, 512),
        aspectRatios: Sequence[float] = (0.5, 1, 2),
        anchorStride: Sequence[float] = (4, 8, 16, 32, 64),
        preNmsTopNTest: int = 1000,
        postNmsTopNTest: int = 1000,
        preNmsTopNTrain: int = 2000,
        postNmsTopNTrain: int = 2000,
        nmsThread: float = 0.7,
        minSize: float = 0,
    ) -> None:
        self.anchorSizes, self.anchorStride = tuple(anchorSizes), tuple(anchorStride)
        self.aspectRatios = tuple(aspectRatios)
        if len(self.anchorSizes) != len(self.anchorStride) or not self.anchorSizes:
            raise ValueError(
                f"RegionProposal: there are {len(self.anchorSizes)} anchorSizes and "
                f"{len(self.anchorStride)} anchorStride, there must be one of each for a level"
            )
        self.inChannels = inChannels
        self.preNmsTopNTest, self.postNmsTopNTest = preNmsTopNTest, postNmsTopNTest
        self.preNmsTopNTrain, self.postNmsTopNTrain = preNmsTopNTrain, postNmsTopNTrain
        self.nmsThread, self.minSize = nmsThread, minSize
        count = len(self.aspectRatios)
        layers = [
            SpatialConvolution(inChannels, inChannels, 3, 3, 1, 1, 1, 1),
            SpatialConvolution(inChannels, count, 1, 1),
            SpatialConvolution(inChannels, 4 * count, 1, 1),
        ]
        for layer in layers:
            layer.setInitMethod(RandomNormal(0.0, 0.01), Zeros())
        self.head = Sequential(layers[0], ReLU(), ConcatTable(*layers[1:]))

    def updateOutput(self, x: Nest) -> list[Tensor]:
        maps, info = entries_of(x, 2)
        maps = entries_of(maps)
        if len(maps) > len(self.anchorSizes) or info.size < 2:
            raise ShapeError(
                f"there are {len(maps)} maps and {info.size} sizes, there must be at most "
                f"{len(self.anchorSizes)} maps, and the images' height and width"
            )
        found = [self.head(planes) for planes in maps]
        sizes = tuple((scores.shape[2], scores.shape[3]) for scores, _ in found)
        scores = ops.concatenate([_by_cell(scores, 1) for scores, _ in found], axis=1)
        offsets = ops.concatenate([_by_cell(offsets, 4) for _, offsets in found], axis=1)
        limits = (
            (self.preNmsTopNTrain, self.postNmsTopNTrain)
            if self.train
            else (self.preNmsTopNTest, self.postNmsTopNTest)
        )
        settings = {
            "sizes": sizes,
            "anchors": (self.anchorSizes, self.anchorStride, self.aspectRatios),
            "limits": (*limits, self.nmsThread, self.minSize),
        }
        return [
            pyramid_regions(own[:, 0].detach(), moves.detach(), info.detach(), **settings)
            for own, moves in zip(scores, offsets, strict=True)
        ]


def _by_cell(x: Tensor, entries: int) -> Tensor:
    """(N, A·entries, H, W) -> (N, H·W·A, entries), in the order of Anchor's boxes."""
    return ops.moveaxis(x, 1, -1).reshape((len(x), -1, entries))


@primitive(differentiable=False)
def pyramid_regions(
    xp: Namespace,
    scores: Array,
    offsets: Array,
    info: Array,
    *,
    sizes: tuple[tuple[int, int], ...],
    anchors: tuple[tuple[float, ...], ...],
    limits: tuple[float, ...],
) -> Array:
    """RegionProposal's regions (K, 4) of an image: scores (M,), offsets (M, 4) of all levels.

    sizes: height and width of each level;  anchors: their sides, strides, and the ratios of all.
    limits: how many before and after suppression, its overlap, the shortest side.
    """
    before, after, thresh, shortest = limits
    host = [np.asarray(devices.to_numpy(a)) for a in (scores, offsets, info)]
    refuse_nan("RegionProposal", scores=host[0], offsets=host[1], sizes=host[2])
    height, width = host[2].reshape(-1)[:2]
    border = np.array([width - 1, height - 1] * 2)
    kept, ranks, start = [], [], 0
    for (rows, columns), side, stride in zip(sizes, anchors[0], anchors[1], strict=False):
        boxes = Anchor(anchors[2], [side / stride]).generateAnchors(columns, rows, stride)
        part = slice(start, start + len(boxes))
        start += len(boxes)
        best = np.argsort(-host[0][part], kind="stable")[: int(before)]
        moved = np.clip(move_boxes(boxes[best], host[1][part][best], 0), 0, border)
        large = (moved[:, 2:] - moved[:, :2] + 1 >= shortest).all(axis=1)
        moved, found = moved[large], host[0][part][best][large]
        stay = Nms().nms(found, moved, thresh)
        kept.append(moved[stay])
        ranks.append(found[stay])
    order = np.argsort(-np.concatenate(ranks), kind="stable")[: int(after)]
    return xp.asarray(np.concatenate(kept)[order].astype(host[0].dtype))
