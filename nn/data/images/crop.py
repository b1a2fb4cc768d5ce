"""Crops: the image becomes a part of itself, and the boxes of the label go with it.

Boxes are clipped to the part, and those outside of it are dropped.  "boundingBox" is the part in
fractions of the image before it, as (x1, y1, x2, y2).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.data.images.errors import ImageError
from tapegrad.nn.data.images.geometry import HFlip
from tapegrad.nn.data.images.resample import AREA, CUBIC, LANCZOS4, LINEAR, NEAREST, resample
from tapegrad.nn.data.images.roi import Movement, RoiLabel, clipped
from tapegrad.nn.data.images.transformer import FeatureTransformer
from tapegrad.nn.data.sample import row_array

if TYPE_CHECKING:
    from tapegrad.nn.data.images.feature import ImageFeature

__all__ = [
    "CenterCrop",
    "DetectionCrop",
    "FixedCrop",
    "RandomAlterAspect",
    "RandomCrop",
    "RandomCropper",
    "RandomSampler",
]

OUTSIDE = "the part {part} is not inside of an image of {size}"
EMPTY = "the part {part} of an image of {size} is empty"
NO_METHOD = 'RandomCropper: cropperMethod is "Random" or "Center", not {found!r}'
INTERPOLATIONS = {
    "NEAREST": NEAREST,
    "LINEAR": LINEAR,
    "CUBIC": CUBIC,
    "AREA": AREA,
    "LANCZOS4": LANCZOS4,
}
# SSD's samplers: the least overlap with an object that a part must have.
OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)


class _Crop(FeatureTransformer):
    """A transformer that cuts out a part: subclasses say which, as (x1, y1, x2, y2)."""

    normalized = False
    isClip = True

    def part(self, feature: ImageFeature) -> tuple[float, float, float, float]:
        """The part, in pixels or, where `normalized`, in fractions."""
        raise NotImplementedError

    def transformMat(self, feature: ImageFeature) -> None:
        """Cut it out."""
        height, width = feature.opencvMat().shape[:2]
        x1, y1, x2, y2 = self.part(feature)
        if self.normalized:
            x1, y1, x2, y2 = x1 * width, y1 * height, x2 * width, y2 * height
        if self.isClip:
            x1, x2 = (min(max(x, 0.0), width) for x in (x1, x2))
            y1, y2 = (min(max(y, 0.0), height) for y in (y1, y2))
        # fractions such as 0.29 · 100 lie a little below the whole number that they mean
        left, top = math.floor(x1 + 1e-4), math.floor(y1 + 1e-4)
        cut(self, feature, left, top, int(x2 - x1 + 1e-4), int(y2 - y1 + 1e-4))


def cut(
    transformer: FeatureTransformer,
    feature: ImageFeature,
    left: int,
    top: int,
    width: int,
    height: int,
) -> None:
    """Replace the image by its part; boxes and "boundingBox" follow.

    Raises ImageError for a part that is empty or not inside of the image.
    """
    mat = feature.opencvMat()
    h, w = mat.shape[:2]
    part = (left, top, left + width, top + height)
    if width < 1 or height < 1:
        raise ImageError(EMPTY.format(part=part, size=f"{h}×{w}"))
    if left < 0 or top < 0 or left + width > w or top + height > h:
        raise ImageError(OUTSIDE.format(part=part, size=f"{h}×{w}"))
    movement = Movement((h, w), (height, width), bx=-float(left), by=-float(top))
    cut_out = np.ascontiguousarray(mat[top : top + height, left : left + width])
    transformer.move(feature, cut_out, movement, "window")
    feature["boundingBox"] = (left / w, top / h, (left + width) / w, (top + height) / h)


class CenterCrop(_Crop):
    """The middle of the image, (cropHeight, cropWidth).

    isClip: take what there is of a smaller image; otherwise it becomes invalid
    (BigDL's CenterCrop.)
    """

    def __init__(self, cropWidth: int, cropHeight: int, isClip: bool = True) -> None:
        self.cropWidth, self.cropHeight, self.isClip = cropWidth, cropHeight, isClip

    def part(self, feature: ImageFeature) -> tuple[float, float, float, float]:
        """The middle."""
        height, width, _ = feature.getSize()
        left, top = (width - self.cropWidth) / 2, (height - self.cropHeight) / 2
        left, top = math.floor(left), math.floor(top)
        return left, top, left + self.cropWidth, top + self.cropHeight

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cropWidth}, {self.cropHeight})"


class RandomCrop(CenterCrop):
    """A part at a random place, (cropHeight, cropWidth); all places are equally likely.

    isClip: see CenterCrop.  (BigDL's RandomCrop, which seldom cuts at the left and upper edge.)
    """

    def part(self, feature: ImageFeature) -> tuple[float, float, float, float]:
        """A part at a drawn place."""
        height, width, _ = feature.getSize()
        left = int(self.draws().integers(0, max(width - self.cropWidth, 0) + 1))
        top = int(self.draws().integers(0, max(height - self.cropHeight, 0) + 1))
        return left, top, left + self.cropWidth, top + self.cropHeight


class FixedCrop(_Crop):
    """The part from (wStart, hStart) to (wEnd, hEnd).

    normalized: these are fractions of width and height;  isClip: see CenterCrop
    (BigDL's FixedCrop.)
    """

    def __init__(
        self,
        wStart: float,
        hStart: float,
        wEnd: float,
        hEnd: float,
        normalized: bool = True,
        isClip: bool = True,
    ) -> None:
        self.box = (wStart, hStart, wEnd, hEnd)
        self.normalized, self.isClip = normalized, isClip

    def part(self, feature: ImageFeature) -> tuple[float, float, float, float]:
        """The part that was given."""
        return self.box


class DetectionCrop(_Crop):
    """The part that a detector found: the first row of what is under `roiKey`.

    roiKey:     a key of the feature with rows (class, score, x1, y1, x2, y2), or a flat array of
                their number and their entries;  normalized: boxes are fractions
    Without a row the image stays as it is.  (BigDL's DetectionCrop.)
    """

    def __init__(self, roiKey: str, normalized: bool = True) -> None:
        self.roiKey, self.normalized = roiKey, normalized

    def part(self, feature: ImageFeature) -> tuple[float, float, float, float]:
        """The box of the first row."""
        rows = row_array(feature[self.roiKey])
        if rows.ndim == 1:
            rows = rows[1:].reshape(-1, 6)
        if rows.ndim != 2 or not len(rows) or rows.shape[1] < 6:
            height, width, _ = feature.getSize()
            return (0, 0, 1, 1) if self.normalized else (0, 0, width, height)
        x1, y1, x2, y2 = (float(value) for value in rows[0, 2:6])
        return x1, y1, x2, y2


class RandomCropper(FeatureTransformer):
    """A part (cropHeight, cropWidth) as float32, mirrored by a coin if `mirror`.

    cropperMethod: "Random" or "Center".  A smaller image becomes invalid.  Raises ValueError for
    another method.  (BigDL's RandomCropper.)
    """

    def __init__(
        self,
        cropWidth: int,
        cropHeight: int,
        mirror: bool,
        cropperMethod: str = "Random",
        channels: int = 3,
    ) -> None:
        if cropperMethod.capitalize() not in {"Random", "Center"}:
            raise ValueError(NO_METHOD.format(found=cropperMethod))
        self.cropWidth, self.cropHeight, self.mirror = cropWidth, cropHeight, mirror
        self.random, self.channels = cropperMethod.capitalize() == "Random", channels

    def transformMat(self, feature: ImageFeature) -> None:
        """Draw the part and the side, and cut it out.  Raises ImageError where it does not fit."""
        mat = feature.opencvMat()
        height, width, channels = mat.shape
        if channels != self.channels:
            raise ImageError(f"the image has {channels} channels, not {self.channels}")
        down, right = height - self.cropHeight, width - self.cropWidth
        if self.random and down >= 0 and right >= 0:
            left = int(self.draws().integers(0, right + 1))
            top = int(self.draws().integers(0, down + 1))
        else:
            left, top = right // 2, down // 2
        cut(self, feature, left, top, self.cropWidth, self.cropHeight)
        if self.mirror and self.uniform(0, 1) < 0.5:
            HFlip().transformMat(feature)
        feature["mat"] = feature.opencvMat().astype(np.float32)


class RandomAlterAspect(FeatureTransformer):
    """A part of random area and aspect ratio, at the size cropLength × cropLength.

    The area is a fraction from U[minAreaRatio, maxAreaRatio] of the image's, the height √area · c
    and the width √area / c with c from U[r, 1/r], r = minAspectRatioChange, exchanged by a coin.
    After ten that do not fit, the whole image is resized.
    interpMode: "CUBIC", "LINEAR", "NEAREST", "AREA" or "LANCZOS4"
    Raises ValueError for ratios that are none.  (BigDL's RandomAlterAspect.)
    """

    def __init__(
        self,
        minAreaRatio: float = 0.08,
        maxAreaRatio: float = 1.0,
        minAspectRatioChange: float = 0.75,
        interpMode: str = "CUBIC",
        cropLength: int = 224,
    ) -> None:
        if not 0 < minAreaRatio <= maxAreaRatio <= 1 or not 0 < minAspectRatioChange <= 1:
            raise ValueError("RandomAlterAspect: ratios are above 0 and at most 1, ascending")
        if interpMode not in INTERPOLATIONS:
            raise ValueError(f"RandomAlterAspect: interpMode is one of {', '.join(INTERPOLATIONS)}")
        self.areas, self.change = (minAreaRatio, maxAreaRatio), minAspectRatioChange
        self.mode, self.cropLength = INTERPOLATIONS[interpMode], cropLength

    def transformMat(self, feature: ImageFeature) -> None:
        """Draw the part, cut it out and resize it."""
        h, w = feature.opencvMat().shape[:2]
        for _ in range(10):
            side = math.sqrt(self.uniform(*self.areas) * h * w)
            change = self.uniform(self.change, 1 / self.change)
            height, width = int(side * change), int(side / change)
            if self.uniform(0, 1) < 0.5:
                height, width = width, height
            if 1 <= height <= h and 1 <= width <= w:
                top = int(self.draws().integers(0, h - height + 1))
                left = int(self.draws().integers(0, w - width + 1))
                cut(self, feature, left, top, width, height)
                break
        mat, length = feature.opencvMat(), self.cropLength
        h, w = mat.shape[:2]
        movement = Movement((h, w), (length, length), ax=length / w, ay=length / h)
        self.move(feature, resample(mat, length, length, self.mode), movement, "resize")


class RandomSampler(_Crop):
    """A random part for SSD: the whole image, or one that overlaps an object enough.

    Of parts with overlap (intersection over union) of at least 0.1, 0.3, 0.5, 0.7, 0.9 with some
    object, one of any overlap and the whole image, one is drawn.  Objects whose middle lies outside
    are dropped.  An image without a RoiLabel is an error.
    Raises TypeError for it.  (BigDL's RandomSampler; Liu et al., SSD, 2016, section 2.2.)
    """

    normalized = True

    def part(self, feature: ImageFeature) -> tuple[float, float, float, float]:
        """One of the parts that were found."""
        label = feature.getLabel()
        if not isinstance(label, RoiLabel):
            raise TypeError(f"RandomSampler needs a RoiLabel, not {type(label).__name__}")
        height, width, _ = feature.getSize()
        scale = np.array([width, height, width, height], np.float32)
        boxes = label.pixels(height, width) / scale
        parts = [(0.0, 0.0, 1.0, 1.0)]
        for least in OVERLAPS:
            found = self._sampled(boxes, least)
            parts += [] if found is None else [found]
        return parts[int(self.draws().integers(0, len(parts)))]

    def _sampled(self, boxes: np.ndarray, least: float) -> Any:
        for _ in range(50):
            size = self.uniform(0.3, 1)
            ratio = self.uniform(max(0.5, size**2), min(2, 1 / size**2))
            w, h = size * math.sqrt(ratio), size / math.sqrt(ratio)
            x, y = self.uniform(0, 1 - w), self.uniform(0, 1 - h)
            part = (x, y, x + w, y + h)
            if len(boxes) and shared_areas(np.array(part), boxes).max() >= least:
                return part
        return None

    def transformMat(self, feature: ImageFeature) -> None:
        """Draw a part, cut it out, and drop the objects whose middle is outside."""
        super().transformMat(feature)
        feature["label"] = in_window(feature["label"], feature.getSize()[:2], centers=True)


def shared_areas(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with boxes (N, 4): (N,)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return common / np.maximum(areas - common, 1e-12)


def in_window(label: RoiLabel, size: tuple[int, int], *, centers: bool) -> RoiLabel:
    """The objects of a label after a crop or an expansion.

    centers: without those whose middle was outside of the part
    """
    before = label.done.projected
    if before is None:
        return label
    height, width = size
    found = before
    if centers:
        boxes = before.pixels(height, width)
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        found = before.taken(((middle >= 0) & (middle <= [width, height])).all(axis=1))
    result = clipped(found, size)
    result.done.flips, result.done.resized = label.done.flips, label.done.resized
    return result
