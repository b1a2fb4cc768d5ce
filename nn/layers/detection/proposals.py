"""Layers that make boxes: priors, proposals of a region network, detections of SSD."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, default_dtype, ops, primitive
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.layers.detection.boxes import (
    Anchor,
    Nms,
    chosen_boxes,
    decode_boxes,
    move_boxes,
    refuse_nan,
)
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Nest

__all__ = ["DetectionOutputSSD", "PriorBox", "Proposal"]


class PriorBox(Module):
    """The prior boxes of a feature map, in shares of the image, and their variances.

    x: (N, C, H, W), or a table whose first entry is that -> (1, 2, H·W·P·4), where P is the number
    of priors of a cell: for each of minSizes a square, one of the geometric mean of it and its
    entry of maxSizes, and a box for each ratio of width to height; with isFlip its inverse too.
    isClip: cut off at the image's border.  variances: one or four.  offset: of the centre in a
    cell.  The image is imgH x imgW or imgSize x imgSize, a cell stepH x stepW, step x step, or the
    image's share.  The gradient is 0.
    Raises ValueError for options that make no sense, ShapeError for other inputs.
    Source: BigDL's PriorBox; W. Liu et al., "SSD", ECCV 2016, section 2.2.
    """

    keeps = (
        "minSizes",
        "maxSizes",
        "aspectRatios",
        "isClip",
        "variances",
        "offset",
        "imgH",
        "imgW",
        "stepH",
        "stepW",
    )

    def __init__(
        self,
        minSizes: Sequence[float],
        maxSizes: Sequence[float] | None = None,
        aspectRatios: Sequence[float] | None = None,
        isFlip: bool = True,
        isClip: bool = False,
        variances: Sequence[float] | None = None,
        offset: float = 0.5,
        imgH: int = 0,
        imgW: int = 0,
        imgSize: int = 0,
        stepH: float = 0,
        stepW: float = 0,
        step: float = 0,
    ) -> None:
        self.minSizes = tuple(minSizes)
        self.maxSizes = tuple(maxSizes or ())
        if not self.minSizes or len(self.maxSizes) not in (0, len(self.minSizes)):
            raise ValueError("PriorBox: there must be minSizes, and none or as many maxSizes")
        ratios = [1.0]
        for ratio in aspectRatios or ():
            if all(abs(ratio - known) >= 1e-6 for known in ratios):
                ratios += [ratio, 1 / ratio] if isFlip else [ratio]
        self.aspectRatios = tuple(ratios)
        self.isClip = bool(isClip)
        self.variances = tuple(variances or (0.1,))
        if len(self.variances) not in (1, 4):
            raise ValueError(f"PriorBox: variances are one or four, not {len(self.variances)}")
        self.offset = offset
        self.imgH, self.imgW = imgH or imgSize, imgW or imgSize
        if min(self.imgH, self.imgW) < 1:
            raise ValueError("PriorBox: give the image's size, imgH and imgW or imgSize")
        self.stepH, self.stepW = stepH or step, stepW or step

    def updateOutput(self, x: Nest) -> Tensor:
        maps = x[0] if isinstance(x, (list, tuple)) else x
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            raise ShapeError("the input must be maps (N, C, H, W), or a table that begins so")
        height, width = maps.shape[2:]
        dtype = maps.dtype if maps.dtype.kind == "f" else default_dtype()
        return Tensor(self._priors(height, width), dtype=dtype, device=maps.device)

    def _priors(self, height: int, width: int) -> np.ndarray[Any, Any]:
        """(1, 2, height·width·P·4) of a map of height x width cells."""
        halves = []
        for k, size in enumerate(self.minSizes):
            halves.append((size / 2, size / 2))
            if self.maxSizes:
                mean = math.sqrt(size * self.maxSizes[k]) / 2
                halves.append((mean, mean))
            for ratio in self.aspectRatios[1:]:
                root = math.sqrt(ratio)
                halves.append((size * root / 2, size / root / 2))
        image = np.array([self.imgW, self.imgH])
        cell = image / np.array([max(width, 1), max(height, 1)])
        steps = np.where(np.array([self.stepW, self.stepH]) > 0, [self.stepW, self.stepH], cell)
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
        centres = ((grid + self.offset) * steps).reshape(-1, 1, 2)
        half = np.array(halves)
        boxes = np.concatenate([centres - half, centres + half], axis=-1) / np.tile(image, 2)
        if self.isClip:
            boxes = np.clip(boxes, 0, 1)
        variances = np.broadcast_to(np.array(self.variances), boxes.shape)
        return np.stack([boxes.reshape(-1), variances.reshape(-1)])[None]


@primitive(differentiable=False)
def proposed_regions(
    xp: Namespace,
    scores: Array,
    deltas: Array,
    info: Array,
    *,
    ratios: tuple[float, ...],
    scales: tuple[float, ...],
    limits: tuple[int, ...],
) -> Array:
    """Proposal's regions (K, 5).  limits: how many before and after suppression."""
    anchors = Anchor(ratios, scales)
    host = [np.asarray(devices.to_numpy(a)) for a in (scores, deltas, info)]
    refuse_nan("Proposal", scores=host[0], deltas=host[1], info=host[2])
    count = anchors.anchorNum
    height, width = host[0].shape[2:]
    found = host[0][0, count:].transpose(1, 2, 0).reshape(-1)
    offsets = host[1][0].reshape(count, 4, height, width).transpose(2, 3, 0, 1).reshape(-1, 4)
    boxes = move_boxes(anchors.generateAnchors(width, height), offsets)
    image_height, image_width, scale_height, scale_width = host[2].reshape(-1)[:4]
    limit = np.array([image_width - 1, image_height - 1] * 2)
    boxes = np.clip(boxes, 0, limit)
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    large = (sides >= 16 * np.array([scale_width, scale_height])).all(axis=1)
    order = np.argsort(-found, kind="stable")
    order = order[large[order]][: limits[0]]
    kept = Nms().nms(found[order], boxes[order], 0.7)
    if limits[1] > 0:
        kept = kept[: limits[1]]
    regions = np.zeros((len(kept), 5), host[0].dtype)
    regions[:, 1:] = boxes[order][kept]
    return xp.asarray(regions)


class Proposal(Module):
    """The regions that a region proposal network finds: the best anchors, moved, without overlaps.

    [scores, deltas, info]: scores (1, 2·A, H, W), those of the background first;  deltas (1, 4·A,
    H, W), offsets of the A anchors;  info (1, 4): the image's height and width, and by what they
    were scaled -> (K, 5), rows of (0, x1, y1, x2, y2).  Boxes thinner than 16 scaled pixels are
    left out; preNmsTopN boxes are kept before suppression at an overlap of 0.7, postNmsTopN after
    it; in training rpnPreNmsTopNTrain and rpnPostNmsTopNTrain.  The gradients are 0.
    Raises ShapeError for other inputs, ValueError for NaN.
    Source: BigDL's Proposal; S. Ren et al., "Faster R-CNN", 2015, section 3.1.
    """

    keeps = (
        "preNmsTopN",
        "postNmsTopN",
        "ratios",
        "scales",
        "rpnPreNmsTopNTrain",
        "rpnPostNmsTopNTrain",
    )
    promotes = True

    def __init__(
        self,
        preNmsTopN: int,
        postNmsTopN: int,
        ratios: Sequence[float],
        scales: Sequence[float],
        rpnPreNmsTopNTrain: int = 12000,
        rpnPostNmsTopNTrain: int = 2000,
    ) -> None:
        self.preNmsTopN, self.postNmsTopN = preNmsTopN, postNmsTopN
        self.ratios, self.scales = tuple(ratios), tuple(scales)
        self.rpnPreNmsTopNTrain = rpnPreNmsTopNTrain
        self.rpnPostNmsTopNTrain = rpnPostNmsTopNTrain

    def updateOutput(self, x: Nest) -> Tensor:
        scores, deltas, info = (part.detach() for part in entries_of(x, 3))
        count = Anchor(self.ratios, self.scales).anchorNum
        wanted = [(1, k * count, *scores.shape[2:]) for k in (2, 4)]
        if scores.ndim != 4 or [scores.shape, deltas.shape] != wanted or info.size < 4:
            raise ShapeError(
                f"scores of shape {scores.shape}, offsets of shape {deltas.shape} and {info.size} "
                f"sizes are not (1, {2 * count}, H, W), (1, {4 * count}, H, W) and 4"
            )
        limits = (
            (self.rpnPreNmsTopNTrain, self.rpnPostNmsTopNTrain)
            if self.train
            else (self.preNmsTopN, self.postNmsTopN)
        )
        return proposed_regions(
            scores, deltas, info, ratios=self.ratios, scales=self.scales, limits=limits
        )


class DetectionOutputSSD(Module):
    """The detections of SSD: offsets decoded, classes taken apart, overlaps suppressed.

    [offsets, scores, priors]: offsets (N, P·4), or (N, P·nClasses·4) without shareLocation;  scores
    (N, P·nClasses), which SoftMax turns into probabilities with confPostProcess;  priors (1, 2,
    P·4), PriorBox's -> (N, 1 + 6·D): the number of detections of a sample, and for each (class,
    probability, x1, y1, x2, y2), 0 beyond; D is the largest number.  In training y = x.
    bgLabel: the class of the background, from 0.  Boxes of a class with a probability above
    confThresh, nmsTopk of them, are suppressed at an overlap of nmsThresh; the keepTopK best of a
    sample stay, all if negative.  varianceEncodedInTarget: offsets are not in units of variances.
    The gradients are 0 in evaluate().  Raises ShapeError for other inputs, ValueError for NaN.
    Source: BigDL's DetectionOutputSSD; W. Liu et al., "SSD", ECCV 2016.
    """

    keeps = (
        "nClasses",
        "shareLocation",
        "bgLabel",
        "nmsThresh",
        "nmsTopk",
        "keepTopK",
        "confThresh",
        "varianceEncodedInTarget",
        "confPostProcess",
    )
    promotes = True

    def __init__(
        self,
        nClasses: int = 21,
        shareLocation: bool = True,
        bgLabel: int = 0,
        nmsThresh: float = 0.45,
        nmsTopk: int = 400,
        keepTopK: int = 200,
        confThresh: float = 0.01,
        varianceEncodedInTarget: bool = False,
        confPostProcess: bool = True,
    ) -> None:
        self.nClasses, self.bgLabel = nClasses, bgLabel
        self.shareLocation = bool(shareLocation)
        self.nmsThresh, self.nmsTopk, self.keepTopK = nmsThresh, nmsTopk, keepTopK
        self.confThresh = confThresh
        self.varianceEncodedInTarget = bool(varianceEncodedInTarget)
        self.confPostProcess = bool(confPostProcess)

    def updateOutput(self, x: Nest) -> Nest:
        offsets, scores, priors = entries_of(x, 3)
        count = priors.shape[-1] // 4 if priors.ndim == 3 else 0
        groups = 1 if self.shareLocation else self.nClasses
        shapes = [(len(offsets), count * groups * 4), (len(offsets), count * self.nClasses)]
        if priors.shape != (1, 2, count * 4) or [offsets.shape, scores.shape] != shapes:
            raise ShapeError(
                f"offsets {offsets.shape}, scores {scores.shape} and priors {priors.shape} do not "
                f"go together for {self.nClasses} classes"
            )
        if self.train:
            return [offsets, scores, priors]
        shares = scores.detach().reshape((len(offsets), count, self.nClasses))
        if self.confPostProcess:
            shares = ops.softmax(shares, axis=-1)
        settings = (
            self.bgLabel, self.nmsThresh, self.nmsTopk, self.keepTopK, self.confThresh,
            self.varianceEncodedInTarget,
        )  # fmt: skip
        boxes = offsets.detach().reshape((len(offsets), count, groups, 4))
        return detections(boxes, shares, priors.detach(), settings=settings)


@primitive(differentiable=False)
def detections(
    xp: Namespace, offsets: Array, shares: Array, priors: Array, *, settings: tuple[Any, ...]
) -> Array:
    """DetectionOutputSSD's rows.  offsets (N, P, groups, 4), shares (N, P, classes)."""
    background, thresh, topk, keep, least, encoded = settings
    host = [np.asarray(devices.to_numpy(a)) for a in (offsets, shares, priors)]
    refuse_nan("DetectionOutputSSD", offsets=host[0], scores=host[1], priors=host[2])
    boxes, variances = host[2].reshape(2, -1, 4)
    samples = []
    for own, probabilities in zip(host[0], host[1], strict=True):

        def decoded(label: int, own: np.ndarray[Any, Any] = own) -> np.ndarray[Any, Any]:
            group = own[:, label if own.shape[1] > 1 else 0]
            return decode_boxes(boxes, variances, group, encoded)

        rows = chosen_boxes(
            decoded, probabilities, background=background, thresh=thresh, least=least, topk=topk,
            keep=keep, normalized=True,
        )  # fmt: skip
        samples.append(rows)
    most = max((len(rows) for rows in samples), default=0)
    result = np.zeros((len(samples), 1 + 6 * most), host[1].dtype)
    for n, rows in enumerate(samples):
        result[n, 0] = len(rows)
        result[n, 1 : 1 + 6 * len(rows)] = rows.reshape(-1)
    return xp.asarray(result)
