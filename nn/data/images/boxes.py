"""BigDL's transformers of boxes.  Boxes follow the image by themselves here: these do what is left.

A pipeline of BigDL's, ``HFlip() >> RoiHFlip()``, flips boxes once, as ``HFlip()`` alone does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.nn.data.images.crop import in_window
from tapegrad.nn.data.images.roi import Movement, RoiLabel, clipped, follow
from tapegrad.nn.data.images.transformer import FeatureTransformer

if TYPE_CHECKING:
    from tapegrad.nn.data.images.feature import ImageFeature

__all__ = ["RoiHFlip", "RoiNormalize", "RoiProject", "RoiResize"]

NO_ROI = '{name} needs a RoiLabel under "label", not {found}'


class _Roi(FeatureTransformer):
    """A transformer of the boxes of a label.  Raises TypeError for a label without boxes."""

    def label(self, feature: ImageFeature) -> RoiLabel:
        """A copy of the label."""
        found = feature.getLabel()
        if not isinstance(found, RoiLabel):
            raise TypeError(NO_ROI.format(name=type(self).__name__, found=type(found).__name__))
        return found.copy()


class RoiNormalize(_Roi):
    """The boxes in fractions of the image's width and height.  (BigDL's RoiNormalize.)"""

    def transformMat(self, feature: ImageFeature) -> None:
        """Divide them, unless they are fractions already."""
        label = self.label(feature)
        if not label.normalized:
            height, width, _ = feature.getSize()
            label.bboxes = np.divide(label.bboxes, [width, height, width, height], dtype=np.float32)
            label.normalized = True
            label.done.projected = None
            feature["label"] = label


class RoiHFlip(_Roi):
    """The boxes mirrored, unless HFlip has taken them along.

    normalized: whether the boxes are fractions; a label knows that itself.  (BigDL's RoiHFlip.)
    """

    def __init__(self, normalized: bool = True) -> None:
        self.normalized = normalized

    def transformMat(self, feature: ImageFeature) -> None:
        """Mirror them, or note that they are."""
        label = self.label(feature)
        if label.done.flips:
            label.done.flips -= 1
        else:
            height, width, _ = feature.getSize()
            size = (height, width)
            label = follow(label, Movement(size, size, ax=-1.0, bx=float(width)), "flip")
            label.done.flips = 0
        feature["label"] = label


class RoiResize(_Roi):
    """The boxes scaled from the original size to this one, unless a resize has taken them along.

    normalized: boxes are fractions, and stay as they are.  (BigDL's RoiResize.)
    """

    def __init__(self, normalized: bool = False) -> None:
        self.normalized = normalized

    def transformMat(self, feature: ImageFeature) -> None:
        """Scale them, or note that they are."""
        label = self.label(feature)
        if label.done.resized:
            label.done.resized = False
        elif not self.normalized and not label.normalized:
            height, width, _ = feature.getSize()
            tall, wide, _ = feature.getOriginalSize()
            scale = np.array([width / wide, height / tall] * 2, np.float32)
            label.bboxes = label.bboxes * scale
        feature["label"] = label


class RoiProject(_Roi):
    """The boxes in the part that "boundingBox" says, in fractions of it.

    After a crop or an expansion, which has taken them along, what is left is to drop objects.
    needMeetCenterConstraint: drop those whose middle lies outside of the part; all that do not
    touch it are dropped in any case, and the others clipped
    Raises KeyError without a "boundingBox".  (BigDL's RoiProject.)
    """

    def __init__(self, needMeetCenterConstraint: bool = True) -> None:
        self.centers = needMeetCenterConstraint

    def transformMat(self, feature: ImageFeature) -> None:
        """Project them, or drop what is outside."""
        label = self.label(feature)
        height, width, _ = feature.getSize()
        size = (height, width)
        if label.done.projected is None:
            x1, y1, x2, y2 = feature["boundingBox"]
            part = np.array([x2 - x1, y2 - y1] * 2, np.float32)
            boxes = label.bboxes
            if not label.normalized:
                boxes = np.divide(boxes, [width, height, width, height], dtype=np.float32)
            moved = RoiLabel(
                label.classes,
                (boxes - np.array([x1, y1, x1, y1], np.float32)) / part,
                label.masks,
                normalized=True,
            )
            label.done.projected = moved
        found = in_window(label, size, centers=self.centers)
        found.done.projected = None
        feature["label"] = clipped(found, size)
