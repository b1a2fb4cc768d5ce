"""Transformers that move pixels: flips, resizing, expansion.  The boxes of labels go with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.nn.data.images.errors import ImageError
from tapegrad.nn.data.images.resample import CUBIC, LINEAR, MODES, resample, shorter_side
from tapegrad.nn.data.images.roi import Movement
from tapegrad.nn.data.images.transformer import FeatureTransformer

if TYPE_CHECKING:
    from tapegrad.nn.data.images.feature import ImageFeature

__all__ = [
    "AspectScale",
    "Expand",
    "Filler",
    "FixExpand",
    "HFlip",
    "RandomAspectScale",
    "RandomResize",
    "Resize",
    "ScaleResize",
]


class HFlip(FeatureTransformer):
    """The image mirrored left to right.  (BigDL's HFlip; RoiHFlip after it does nothing more.)"""

    def transformMat(self, feature: ImageFeature) -> None:
        """Mirror it."""
        mat = feature.opencvMat()
        size = mat.shape[:2]
        movement = Movement(size, size, ax=-1.0, bx=float(size[1]))
        self.move(feature, np.ascontiguousarray(mat[:, ::-1]), movement, "flip")


class _Resizing(FeatureTransformer):
    """A transformer that gives the image another size: subclasses say which."""

    mode = LINEAR

    def new_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after it."""
        raise NotImplementedError

    def transformMat(self, feature: ImageFeature) -> None:
        """Resize it."""
        mat = feature.opencvMat()
        height, width = self.new_size(*mat.shape[:2])
        self.resize_to(feature, max(height, 1), max(width, 1), self.mode)

    def resize_to(self, feature: ImageFeature, height: int, width: int, mode: int) -> None:
        """Resize the image to (height, width); a mode of -1 is drawn."""
        mat = feature.opencvMat()
        if mode == -1:
            mode = MODES[int(self.draws().integers(0, len(MODES)))]
        h, w = mat.shape[:2]
        movement = Movement((h, w), (height, width), ax=width / w, ay=height / h)
        self.move(feature, resample(mat, height, width, mode), movement, "resize")


class Resize(_Resizing):
    """The image at the size (resizeH, resizeW).

    resizeMode: 0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos; -1 draws one
    useScaleFactor: False means linear, whatever resizeMode is
    Raises ValueError for a size below 1 and another mode.  (BigDL's Resize, by OpenCV's formulas.)
    """

    def __init__(
        self, resizeH: int, resizeW: int, resizeMode: int = LINEAR, useScaleFactor: bool = True
    ) -> None:
        self.resizeH, self.resizeW = resizeH, resizeW
        self.mode = _checked_mode("Resize", resizeMode) if useScaleFactor else LINEAR
        if min(resizeH, resizeW) < 1:
            raise ValueError(f"Resize: a size is at least 1×1, not {resizeH}×{resizeW}")

    def new_size(self, height: int, width: int) -> tuple[int, int]:
        """The size that was given."""
        return self.resizeH, self.resizeW

    def __repr__(self) -> str:
        return f"Resize({self.resizeH}, {self.resizeW})"


def _checked_mode(name: str, mode: int) -> int:
    if mode != -1 and mode not in MODES:
        raise ValueError(f"{name}: resizeMode is 0 to 4, or -1 to draw one, not {mode}")
    return mode


class AspectScale(_Resizing):
    """The shorter side at `minSize`, the longer at most `maxSize`, the ratio kept.

    scaleMultipleOf: sides are cut to multiples of it;  minScale: the factor is at least that, where
    maxSize allows it;  resizeMode, useScaleFactor: see Resize
    (BigDL's AspectScale.)
    """

    def __init__(
        self,
        minSize: int,
        scaleMultipleOf: int = 1,
        maxSize: int = 1000,
        resizeMode: int = LINEAR,
        useScaleFactor: bool = True,
        minScale: float | None = None,
    ) -> None:
        self.minSize, self.maxSize, self.multiple = minSize, maxSize, scaleMultipleOf
        self.mode = _checked_mode("AspectScale", resizeMode) if useScaleFactor else LINEAR
        self.minScale = minScale

    def new_size(self, height: int, width: int) -> tuple[int, int]:
        """The size by its rule."""
        return aspect_size(height, width, self.minSize, self.maxSize, self.multiple, self.minScale)

    def __repr__(self) -> str:
        return f"AspectScale({self.minSize})"


def aspect_size(
    height: int,
    width: int,
    to: int,
    largest: int,
    multiple: int = 1,
    least: float | None = None,
) -> tuple[int, int]:
    """(height, width) scaled so that the shorter side is `to` and the longer at most `largest`."""
    short, long = min(height, width), max(height, width)
    scale = to / short if least is None else max(least, to / short)
    if _rounded(scale * long) > largest:
        scale = largest / long
    if multiple > 1:
        return (
            max(math.floor(height * scale / multiple), 1) * multiple,
            max(math.floor(width * scale / multiple), 1) * multiple,
        )
    return _rounded(height * scale), _rounded(width * scale)


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)


class RandomAspectScale(_Resizing):
    """AspectScale to one of `scales`, drawn.  (BigDL's RandomAspectScale.)

    Raises ValueError without scales.
    """

    def __init__(
        self, scales: Sequence[int], scaleMultipleOf: int = 1, maxSize: int = 1000
    ) -> None:
        if not scales:
            raise ValueError("RandomAspectScale: give at least one scale")
        self.scales, self.multiple, self.maxSize = list(scales), scaleMultipleOf, maxSize

    def new_size(self, height: int, width: int) -> tuple[int, int]:
        """The size for a drawn scale."""
        to = self.scales[int(self.draws().integers(0, len(self.scales)))]
        return aspect_size(height, width, to, self.maxSize, self.multiple)


class ScaleResize(_Resizing):
    """The shorter side at `minSize`, the ratio kept; the longer at most `maxSize`, if it is given.

    resizeROI: BigDL's question whether boxes follow; they always do
    (BigDL's ScaleResize: 375×500 becomes 100×133 for minSize 100, 90×120 with maxSize 120.)
    """

    def __init__(self, minSize: int, maxSize: int = -1, resizeROI: bool = False) -> None:
        self.minSize, self.maxSize, self.resizeROI = minSize, maxSize, resizeROI

    def new_size(self, height: int, width: int) -> tuple[int, int]:
        """The size by its rule, in whole numbers."""
        size, short, long = self.minSize, min(height, width), max(height, width)
        if self.maxSize > 0 and long * size > self.maxSize * short:
            size = self.maxSize * short // long
        if size == short:
            return height, width
        if width < height:
            return size * height // width, size
        return size, size * width // height


class RandomResize(_Resizing):
    """The shorter side at a size drawn from minSize … maxSize, the ratio kept; cubic.

    Raises ValueError for sizes that are none.  (BigDL's RandomResize.)
    """

    mode = CUBIC

    def __init__(self, minSize: int, maxSize: int) -> None:
        if not 1 <= minSize <= maxSize:
            raise ValueError(f"RandomResize: sizes from 1 on, ascending, not {minSize}, {maxSize}")
        self.minSize, self.maxSize = minSize, maxSize

    def new_size(self, height: int, width: int) -> tuple[int, int]:
        """The size for a drawn length of the shorter side."""
        size = int(self.draws().integers(self.minSize, self.maxSize + 1))
        return shorter_side(height, width, size)


def expanded(
    transformer: FeatureTransformer,
    feature: ImageFeature,
    canvas: np.ndarray,
    top: int,
    left: int,
) -> None:
    """Put the image on a canvas at (top, left); boxes and "boundingBox" follow."""
    mat = feature.opencvMat()
    h, w = mat.shape[:2]
    height, width = canvas.shape[:2]
    canvas[top : top + h, left : left + w] = mat
    movement = Movement((h, w), (height, width), bx=float(left), by=float(top))
    transformer.move(feature, canvas, movement, "window")
    feature["boundingBox"] = (-left / w, -top / h, (width - left) / w, (height - top) / h)


class Expand(FeatureTransformer):
    """The image at a random place of a larger one, filled with the means.

    The factor is drawn from U[minExpandRatio, maxExpandRatio].  "boundingBox" is the new image in
    fractions of the old one.  Raises ValueError for factors below 1.  (BigDL's Expand.)
    """

    def __init__(
        self,
        meansR: int = 123,
        meansG: int = 117,
        meansB: int = 104,
        minExpandRatio: float = 1.0,
        maxExpandRatio: float = 4.0,
    ) -> None:
        if not 1 <= minExpandRatio <= maxExpandRatio:
            raise ValueError(
                f"Expand: ratios from 1 on, ascending, not {minExpandRatio}, {maxExpandRatio}"
            )
        self.means = (meansB, meansG, meansR)
        self.minExpandRatio, self.maxExpandRatio = minExpandRatio, maxExpandRatio

    def transformMat(self, feature: ImageFeature) -> None:
        """Draw the factor and the place, and expand it."""
        if abs(self.maxExpandRatio - 1) < 1e-2:
            return
        mat = self.color(feature)
        ratio = self.uniform(self.minExpandRatio, self.maxExpandRatio)
        h, w = mat.shape[:2]
        height, width = int(h * ratio), int(w * ratio)
        top = math.floor(self.uniform(0, height - h))
        left = math.floor(self.uniform(0, width - w))
        canvas = np.empty((height, width, 3), mat.dtype)
        canvas[...] = np.array(self.means, mat.dtype)
        expanded(self, feature, canvas, top, left)


class FixExpand(FeatureTransformer):
    """The image in the middle of a black one of (expandHeight, expandWidth).

    A larger image becomes invalid.  (BigDL's FixExpand.)
    """

    def __init__(self, expandHeight: int, expandWidth: int) -> None:
        self.expandHeight, self.expandWidth = expandHeight, expandWidth

    def transformMat(self, feature: ImageFeature) -> None:
        """Expand it.  Raises ImageError for a larger image."""
        mat = feature.opencvMat()
        h, w, channels = mat.shape
        if h > self.expandHeight or w > self.expandWidth:
            wanted = f"{self.expandHeight}×{self.expandWidth}"
            raise ImageError(f"an image of {h}×{w} does not fit into {wanted}")
        canvas = np.zeros((self.expandHeight, self.expandWidth, channels), mat.dtype)
        expanded(self, feature, canvas, (self.expandHeight - h) // 2, (self.expandWidth - w) // 2)


class Filler(FeatureTransformer):
    """A rectangle of the image filled with `value`; its ends are fractions of width and height.

    Raises ValueError for fractions outside of [0, 1] and an empty rectangle.  (BigDL's Filler.)
    """

    def __init__(
        self, startX: float, startY: float, endX: float, endY: float, value: int = 255
    ) -> None:
        if not (0 <= startX < endX <= 1 and 0 <= startY < endY <= 1):
            raise ValueError(
                "Filler: fractions between 0 and 1, each start below its end, not "
                f"{(startX, startY, endX, endY)}"
            )
        self.box, self.value = (startX, startY, endX, endY), value

    def transformMat(self, feature: ImageFeature) -> None:
        """Fill it."""
        mat = feature.opencvMat().copy()
        h, w = mat.shape[:2]
        x1, y1, x2, y2 = self.box
        mat[math.ceil(y1 * h) : math.ceil(y2 * h), math.ceil(x1 * w) : math.ceil(x2 * w)] = (
            self.value
        )
        feature["mat"] = mat
