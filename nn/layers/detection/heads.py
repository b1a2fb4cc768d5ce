"""Layers that read regions: classes and boxes, masks, detections of Faster R-CNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, ops, primitive
from tapegrad.nn.containers.container import Sequential
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.init_methods import MsraFiller, RandomNormal, Xavier, Zeros
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.layers.convolution.spatial import SpatialConvolution, SpatialFullConvolution
from tapegrad.nn.layers.detection.boxes import chosen_boxes, move_boxes, refuse_nan
from tapegrad.nn.layers.detection.pyramids import Pooler, regions_of
from tapegrad.nn.layers.indexing import to_indices
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.rectifiers import ReLU
from tapegrad.nn.layers.shape import Flatten
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Nest

__all__ = ["BoxHead", "DetectionOutputFrcnn", "MaskHead"]

SCALES = (0.25, 0.125, 0.0625, 0.03125)


class BoxHead(Module):
    """The classes and boxes of regions: features of each, and the detections that are chosen.

    [maps, proposals, info]: maps and proposals as in Pooler; info, the images' height and width ->
    [features (ΣR, outputSize), found].  `featureExtractor` pools regions to resolution x
    resolution, and has two Linears with ReLUs; of its features `clsPredictor` makes scores of
    numClasses classes, 0 the background, and `bboxPredictor` four offsets for each.
    In evaluate() found is [labels (D,), boxes, probabilities (D,)], boxes a table of an array
    (Dₙ, 4) for each image, cut off at its border: of each class those with a probability above
    scoreThresh, without overlaps above nmsThresh, and of all maxPerImage at most (all if 0).  They
    have no gradient.  In training found is [scores (ΣR, numClasses), offsets (ΣR, 4·numClasses),
    proposals, info].
    Raises ShapeError for other inputs, ValueError for NaN.
    Source: BigDL's BoxHead; K. He et al., "Mask R-CNN", ICCV 2017, section 3.
    """

    keeps = (
        "inChannels",
        "resolution",
        "scoreThresh",
        "nmsThresh",
        "maxPerImage",
        "outputSize",
        "numClasses",
        "featureExtractor",
        "clsPredictor",
        "bboxPredictor",
    )
    promotes = True

    def __init__(
        self,
        inChannels: int,
        resolution: int = 7,
        scales: Sequence[float] = SCALES,
        samplingRatio: int = 2,
        scoreThresh: float = 0.05,
        nmsThresh: float = 0.5,
        maxPerImage: int = 100,
        outputSize: int = 1024,
        numClasses: int = 81,
    ) -> None:
        self.inChannels, self.resolution = inChannels, resolution
        self.scoreThresh, self.nmsThresh, self.maxPerImage = scoreThresh, nmsThresh, maxPerImage
        self.outputSize, self.numClasses = outputSize, numClasses
        first = Linear(inChannels * resolution**2, outputSize).setInitMethod(Xavier(), Zeros())
        second = Linear(outputSize, outputSize).setInitMethod(Xavier(), Zeros())
        self.featureExtractor = Sequential(
            Pooler(resolution, scales, samplingRatio), Flatten(), first, ReLU(), second, ReLU()
        )
        self.clsPredictor = Linear(outputSize, numClasses)
        self.clsPredictor.setInitMethod(RandomNormal(0.0, 0.01), Zeros())
        self.bboxPredictor = Linear(outputSize, 4 * numClasses)
        self.bboxPredictor.setInitMethod(RandomNormal(0.0, 0.001), Zeros())

    def updateOutput(self, x: Nest) -> list[Any]:
        maps, proposals, info = entries_of(x, 3)
        if info.size < 2:
            raise ShapeError(f"there are {info.size} sizes, there must be the height and width")
        features = self.featureExtractor([maps, proposals])
        scores, offsets = self.clsPredictor(features), self.bboxPredictor(features)
        if self.train:
            return [features, [scores, offsets, proposals, info]]
        settings = (self.scoreThresh, self.nmsThresh, self.maxPerImage)
        shares, moves = ops.softmax(scores.detach(), axis=-1), offsets.detach()
        rows, start = [], 0
        for regions in regions_of(proposals, len(entries_of(maps)[0])):
            part = slice(start, start + len(regions))
            start += len(regions)
            rows.append(
                detected_rows(
                    shares[part], moves[part], regions.detach(), info.detach(), settings=settings
                )
            )
        together = ops.concatenate(rows, axis=0)
        boxes = [own[:, 2:] for own in rows]
        return [features, [together[:, 0], boxes, together[:, 1]]]


@primitive(differentiable=False)
def detected_rows(
    xp: Namespace,
    shares: Array,
    offsets: Array,
    regions: Array,
    info: Array,
    *,
    settings: tuple[Any, ...],
) -> Array:
    """BoxHead's rows of (class, probability, box) of an image: shares (R, classes), regions (R, 4).

    Offsets are in units of a tenth of the sides, and a fifth of their logarithms.
    """
    least, thresh, most = settings
    host = [np.asarray(devices.to_numpy(a)) for a in (shares, offsets, regions, info)]
    refuse_nan("BoxHead", scores=host[0], offsets=host[1], proposals=host[2], sizes=host[3])
    height, width = host[3].reshape(-1)[:2]
    units = np.array([0.1, 0.1, 0.2, 0.2])

    def boxes_of(label: int) -> np.ndarray[Any, Any]:
        deltas = np.minimum(host[1][:, 4 * label : 4 * label + 4] * units, 62.5)  # exp stays finite
        boxes = move_boxes(host[2], deltas) - np.array([0, 0, 1, 1])
        return np.clip(boxes, 0, np.array([width - 1, height - 1] * 2))

    rows = chosen_boxes(
        boxes_of, host[0], thresh=thresh, least=least, keep=most if most > 0 else -1
    )
    return xp.asarray(rows)


class MaskHead(Module):
    """The masks of regions: features of each, and the share of its object in each of its parts.

    [maps, proposals, labels]: maps and proposals as in Pooler; labels (ΣR,), the class of each
    region, from 0 -> [features (ΣR, layers[-1], resolution, resolution), masks (ΣR, 1,
    2·resolution, 2·resolution)], probabilities.  `featureExtractor` pools regions to resolution x
    resolution and has a convolution of 3 x 3 and a ReLU for each of `layers`, the numbers of their
    planes, without bias if useGn; `predictor` doubles the sides, and has a mask for each of
    numClasses classes, of which that of the label is taken.
    dilation: 1, as in BigDL.  Raises ValueError for another, ShapeError for other inputs.
    Source: BigDL's MaskHead; K. He et al., "Mask R-CNN", ICCV 2017, section 3.
    """

    keeps = ("inChannels", "resolution", "numClasses", "useGn", "featureExtractor", "predictor")
    counts: ClassVar[Mapping[str, Any]] = {"input": (None, None, "index")}
    promotes = True

    def __init__(
        self,
        inChannels: int,
        resolution: int = 14,
        scales: Sequence[float] = SCALES,
        samplingRatio: int = 2,
        layers: Sequence[int] = (256, 256, 256, 256),
        dilation: int = 1,
        numClasses: int = 81,
        useGn: bool = False,
    ) -> None:
        if dilation != 1:
            raise ValueError(f"MaskHead: dilation is {dilation}, it must be 1")
        if not layers:
            raise ValueError("MaskHead: layers is empty, it must have the planes of a convolution")
        self.inChannels, self.resolution, self.numClasses = inChannels, resolution, numClasses
        self.useGn = bool(useGn)
        start = (MsraFiller(False), Zeros())
        self.featureExtractor = Sequential(Pooler(resolution, scales, samplingRatio))
        planes = [inChannels, *layers]
        for k, (before, after) in enumerate(pairwise(planes), 1):
            layer = SpatialConvolution(before, after, 3, 3, 1, 1, 1, 1, withBias=not useGn)
            self.featureExtractor.add(layer.setInitMethod(*start).setName(f"mask_fcn{k}"))
            self.featureExtractor.add(ReLU())
        doubled = SpatialFullConvolution(planes[-1], planes[-1], 2, 2, 2, 2)
        masks = SpatialConvolution(planes[-1], numClasses, 1, 1)
        self.predictor = Sequential(
            doubled.setInitMethod(*start), ReLU(), masks.setInitMethod(*start)
        )

    def updateOutput(self, x: Nest) -> list[Tensor]:
        maps, proposals, labels = entries_of(x, 3)
        features = self.featureExtractor([maps, proposals])
        if labels.shape != (len(features),):
            raise ShapeError(
                f"labels of shape {labels.shape} are not one for each of {len(features)} regions"
            )
        shares = ops.sigmoid(self.predictor(features))
        of_label = to_indices(labels, self.numClasses).reshape((-1, 1, 1, 1))
        return [features, ops.take_along_axis(shares, of_label, axis=1)]


class DetectionOutputFrcnn(Module):
    """The detections of Faster R-CNN: regions moved, classes taken apart, overlaps suppressed.

    [info, rois, offsets, scores]: info (1, 4), as in Proposal;  rois (R, 5), Proposal's, or a table
    that begins so;  offsets (R, 4·nClasses);  scores (R, nClasses), probabilities, class 0 the
    background -> (1, 1 + 6·D): the number of detections, and for each (class, probability, x1, y1,
    x2, y2), in the image before it was scaled.  In training y = x.
    Of each class those with a probability above thresh, without overlaps above nmsThresh, and of
    all maxPerImage at most, all if 0.  bboxVote: a box that stays becomes the mean of its class's
    boxes that overlap it by half or more, weighted by their probabilities.
    The gradients are 0 in evaluate().  Raises ShapeError for other inputs, ValueError for NaN.
    Source: BigDL's DetectionOutputFrcnn; S. Ren et al., "Faster R-CNN", 2015.
    """

    keeps = ("nmsThresh", "nClasses", "bboxVote", "maxPerImage", "thresh")
    promotes = True

    def __init__(
        self,
        nmsThresh: float = 0.3,
        nClasses: int = 21,
        bboxVote: bool = False,
        maxPerImage: int = 100,
        thresh: float = 0.05,
    ) -> None:
        self.nmsThresh, self.nClasses, self.bboxVote = nmsThresh, nClasses, bool(bboxVote)
        self.maxPerImage, self.thresh = maxPerImage, thresh

    def updateOutput(self, x: Nest) -> Nest:
        info, rois, offsets, scores = entries_of(x, 4)
        regions = rois[0] if isinstance(rois, (list, tuple)) else rois
        shapes = [(len(regions), n) for n in (5, 4 * self.nClasses, self.nClasses)]
        found = [part.shape for part in (regions, offsets, scores)]
        if info.shape != (1, 4) or found != shapes:
            raise ShapeError(
                f"sizes {info.shape}, regions {found[0]}, offsets {found[1]} and scores {found[2]} "
                f"are not (1, 4), (R, 5), (R, {4 * self.nClasses}) and (R, {self.nClasses})"
            )
        if self.train:
            return [info, rois, offsets, scores]
        settings = (self.thresh, self.nmsThresh, self.maxPerImage, self.bboxVote)
        parts = (part.detach() for part in (info, regions, offsets, scores))
        return frcnn_detections(*parts, settings=settings)


@primitive(differentiable=False)
def frcnn_detections(
    xp: Namespace,
    info: Array,
    rois: Array,
    offsets: Array,
    scores: Array,
    *,
    settings: tuple[Any, ...],
) -> Array:
    """DetectionOutputFrcnn's row."""
    least, thresh, most, vote = settings
    host = [np.asarray(devices.to_numpy(a)) for a in (info, rois, offsets, scores)]
    refuse_nan("DetectionOutputFrcnn", sizes=host[0], rois=host[1], offsets=host[2], scores=host[3])
    height, width, scale_height, scale_width = host[0][0]
    scale = np.array([scale_width, scale_height] * 2)
    border = np.array([width, height] * 2) / scale - 1
    regions = host[1][:, 1:] / scale

    def boxes_of(label: int) -> np.ndarray[Any, Any]:
        moved = move_boxes(regions, host[2][:, 4 * label : 4 * label + 4])
        return np.clip(moved, 0, border)

    rows = chosen_boxes(
        boxes_of, host[3], thresh=thresh, least=least, keep=most if most > 0 else -1, vote=vote
    )
    count = np.array([len(rows)], rows.dtype)
    return xp.asarray(np.concatenate([count, rows.reshape(-1)])[None])
