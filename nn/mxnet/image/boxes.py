"""Augmenters for detection: steps that change a picture and the boxes of its objects.

Labels are rows (objects, 5 or more) of class, left, top, right, bottom, …; the ends are shares of
the width and height.  Random numbers come from Python's `random`, in MXNet's order.
Source: mx.image.detection.
"""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.image.augmenters import (
    Augmenter,
    CastAug,
    ForceResizeAug,
    HorizontalFlipAug,
    ResizeAug,
    colour_steps,
)
from tapegrad.nn.mxnet.image.functions import copyMakeBorder, fixed_crop

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import Colour, Picture


__all__ = [
    "CreateDetAugmenter",
    "CreateMultiRandCropAugmenter",
    "DetAugmenter",
    "DetBorrowAug",
    "DetHorizontalFlipAug",
    "DetRandomCropAug",
    "DetRandomPadAug",
    "DetRandomSelectAug",
]

Range = tuple[float, float]


class DetAugmenter:
    """A step that gives another picture and other labels.  A subclass defines __call__."""

    def __init__(self, **settings: Any):
        self._kwargs = settings

    def dumps(self) -> str | list[Any]:
        """The text [name, settings] in JSON."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, src: Picture, label: np.ndarray) -> tuple[Picture, np.ndarray]:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(src, label) of its own")


class DetBorrowAug(DetAugmenter):
    """An Augmenter that moves no pixels, or all boxes with them.  Raises TypeError for another."""

    def __init__(self, augmenter: Augmenter):
        if not isinstance(augmenter, Augmenter):
            raise TypeError(f"DetBorrowAug takes an Augmenter, not {type(augmenter).__name__}")
        super().__init__(augmenter=augmenter.dumps())
        self.augmenter = augmenter

    def dumps(self) -> list[Any]:
        """[name, the augmenter's text]."""
        return [type(self).__name__.lower(), self.augmenter.dumps()]

    def __call__(self, src: Picture, label: np.ndarray) -> tuple[Picture, np.ndarray]:
        return self.augmenter(src), label


class DetRandomSelectAug(DetAugmenter):
    """One of several steps, or none with probability skip_prob.

    Raises ValueError for what is no DetAugmenter.
    """

    def __init__(self, aug_list: DetAugmenter | Sequence[DetAugmenter], skip_prob: float = 0):
        super().__init__(skip_prob=skip_prob)
        steps: list[Any] = list(aug_list) if isinstance(aug_list, (list, tuple)) else [aug_list]
        for step in steps:
            if not isinstance(step, DetAugmenter):
                raise ValueError(  # noqa: TRY004  # as MXNet
                    f"aug_list holds DetAugmenters, not {type(step).__name__}"
                )
        self.aug_list, self.skip_prob = steps, skip_prob if steps else 1

    def dumps(self) -> list[Any]:
        """[name, the steps' texts]."""
        return [type(self).__name__.lower(), [step.dumps() for step in self.aug_list]]

    def __call__(self, src: Picture, label: np.ndarray) -> tuple[Picture, np.ndarray]:
        if random.random() < self.skip_prob:
            return src, label
        random.shuffle(self.aug_list)
        return self.aug_list[0](src, label)


class DetHorizontalFlipAug(DetAugmenter):
    """The mirrored picture and boxes with probability p."""

    def __init__(self, p: float):
        super().__init__(p=p)
        self.p = p

    def __call__(self, src: Picture, label: np.ndarray) -> tuple[Picture, np.ndarray]:
        if random.random() >= self.p:
            return src, label
        flipped = label.copy()
        flipped[:, 1], flipped[:, 3] = 1 - label[:, 3], 1 - label[:, 1]
        return HorizontalFlipAug(2)(src), flipped  # a probability above 1: in any case


def _areas(corners: np.ndarray) -> np.ndarray:
    """The areas of boxes (…, 4) of left, top, right, bottom; 0 of an empty one."""
    size = np.maximum(corners[:, 2:4] - corners[:, :2], 0)
    return size[:, 0] * size[:, 1]


def _range(value: Any) -> Range:
    low, high = value if isinstance(value, (tuple, list)) else (value, value)
    return float(low), float(high)


def _heights(ratio: float, area_range: Range, area: int) -> tuple[int, int]:
    """The heights of the least and the largest rectangle with width / height = ratio."""
    least, largest = (round(math.sqrt(share * area / ratio)) for share in area_range)
    return least, largest


class DetRandomCropAug(DetAugmenter):
    """A rectangle at random that covers its objects well; the whole picture where none is found.

    min_object_covered: each object that the rectangle meets is covered by more than this share
    aspect_ratio_range: width / height of the rectangle
    area_range:         its share of the picture
    min_eject_coverage: an object of which less is left is dropped
    max_attempts:       how often a rectangle is drawn
    A range that is empty is warned of, and the step does nothing then.
    """

    def __init__(
        self,
        min_object_covered: float = 0.1,
        aspect_ratio_range: float | Sequence[float] = (0.75, 1.33),
        area_range: float | Sequence[float] = (0.05, 1.0),
        min_eject_coverage: float = 0.3,
        max_attempts: int = 50,
    ):
        ratio, area = _range(aspect_ratio_range), _range(area_range)
        super().__init__(
            min_object_covered=min_object_covered, aspect_ratio_range=ratio, area_range=area,
            min_eject_coverage=min_eject_coverage, max_attempts=max_attempts,
        )  # fmt: skip
        self.min_object_covered, self.min_eject_coverage = min_object_covered, min_eject_coverage
        self.aspect_ratio_range, self.area_range = ratio, area
        self.max_attempts = max_attempts
        self.enabled = _usable(type(self).__name__, ratio, area, 0)

    def __call__(self, src: Picture, label: np.ndarray) -> tuple[Picture, np.ndarray]:
        height, width = src.shape[:2]
        for _ in range(self.max_attempts if self.enabled else 0):
            box = self._drawn(height, width)
            if box is None or not self._covers(label, box, height, width):
                continue
            inside = self._inside(label, box, height, width)
            if len(inside):
                return fixed_crop(src, *box), inside
        return src, label

    def _drawn(self, height: int, width: int) -> tuple[int, int, int, int] | None:
        """(x, y, w, h) of a rectangle in the picture; None for a draw that does not fit."""
        ratio = random.uniform(*self.aspect_ratio_range)
        if ratio <= 0:
            return None
        h, largest = _heights(ratio, self.area_range, height * width)
        if round(largest * ratio) > width:
            largest = int((width + 0.4999999) / ratio)
        largest = min(largest, height)
        h = min(h, largest)
        if h < largest:
            h = random.randint(h, largest)
        least_area, largest_area = (share * height * width for share in self.area_range)
        w = round(h * ratio)
        # rounding may have left the range by a row
        if w * h < least_area:
            h += 1
            w = round(h * ratio)
        if w * h > largest_area:
            h -= 1
            w = round(h * ratio)
        if not (least_area <= w * h <= largest_area and w <= width and 0 <= h <= height):
            return None
        y = random.randint(0, max(0, height - h))
        x = random.randint(0, max(0, width - w))
        return x, y, w, h

    def _covers(
        self, label: np.ndarray, box: tuple[int, int, int, int], height: int, width: int
    ) -> bool:
        """Whether it covers enough of each object that it meets, and meets one."""
        x, y, w, h = box
        if w * h < 2:
            return False
        areas = _areas(label[:, 1:5])
        large = areas * width * height > 2
        corners, areas = label[large, 1:5], areas[large]
        ends = np.array([x / width, y / height, (x + w) / width, (y + h) / height])
        common = np.concatenate(
            [np.maximum(corners[:, :2], ends[:2]), np.minimum(corners[:, 2:], ends[2:])], 1
        )
        covered = _areas(common) / areas
        met = covered[covered > 0]
        return bool(met.size and met.min() > self.min_object_covered)

    def _inside(
        self, label: np.ndarray, box: tuple[int, int, int, int], height: int, width: int
    ) -> np.ndarray:
        """The labels as shares of the rectangle, without those of which little is left."""
        x, y, w, h = box
        start = np.array([x / width, y / height] * 2)
        size = np.array([w / width, h / height] * 2)
        found = label.copy()
        found[:, 1:5] = np.clip((label[:, 1:5] - start) / size, 0, 1)
        with np.errstate(all="ignore"):
            left = _areas(found[:, 1:5]) * size[0] * size[1] / _areas(label[:, 1:5])
        whole = (found[:, 3] > found[:, 1]) & (found[:, 4] > found[:, 2])
        return found[whole & (left > self.min_eject_coverage)]


def _usable(name: str, ratio: Range, area: Range, least: float) -> bool:
    """Whether ranges hold numbers; a warning says which does not."""
    if area[1] <= least or area[0] > area[1]:
        warnings.warn(f"{name} does nothing: area_range is {area}", stacklevel=3)
        return False
    if ratio[0] > ratio[1] or ratio[0] <= 0:
        warnings.warn(f"{name} does nothing: aspect_ratio_range is {ratio}", stacklevel=3)
        return False
    return True


class DetRandomPadAug(DetAugmenter):
    """The picture at a random place of a larger one of a single colour.

    aspect_ratio_range: width / height of the larger one
    area_range:         its area in pictures
    max_attempts:       how often a size is drawn
    pad_val:            the colour, one number or one for each channel
    A range that is empty is warned of, and the step does nothing then.
    """

    def __init__(
        self,
        aspect_ratio_range: float | Sequence[float] = (0.75, 1.33),
        area_range: float | Sequence[float] = (1.0, 3.0),
        max_attempts: int = 50,
        pad_val: float | Sequence[float] = (128, 128, 128),
    ):
        ratio, area = _range(aspect_ratio_range), _range(area_range)
        super().__init__(
            aspect_ratio_range=ratio, area_range=area, max_attempts=max_attempts, pad_val=pad_val
        )
        self.pad_val, self.max_attempts = pad_val, max_attempts
        self.aspect_ratio_range, self.area_range = ratio, area
        self.enabled = _usable(type(self).__name__, ratio, area, 1)

    def __call__(self, src: Picture, label: np.ndarray) -> tuple[Picture, np.ndarray]:
        height, width = src.shape[:2]
        for _ in range(self.max_attempts if self.enabled else 0):
            size = self._drawn(height, width)
            if size is None:
                continue
            w, h = size
            y, x = random.randint(0, h - height), random.randint(0, w - width)
            found = label.copy()
            found[:, 1:5:2] = (label[:, 1:5:2] * width + x) / w
            found[:, 2:5:2] = (label[:, 2:5:2] * height + y) / h
            sides = y, h - y - height, x, w - x - width
            return copyMakeBorder(src, *sides, 0, self.pad_val), found
        return src, label

    def _drawn(self, height: int, width: int) -> tuple[int, int] | None:
        """(width, height) of a larger picture; None for a draw that adds next to nothing."""
        ratio = random.uniform(*self.aspect_ratio_range)
        h, largest = _heights(ratio, self.area_range, height * width)
        if round(h * ratio) < width:
            h = int((width + 0.499999) / ratio)
        h = min(max(h, height), largest)
        if h < largest:
            h = random.randint(h, largest)
        w = round(h * ratio)
        return None if h - height < 2 or w - width < 2 else (w, h)


def CreateMultiRandCropAugmenter(
    min_object_covered: float | list[float] = 0.1,
    aspect_ratio_range: float | Sequence[float] | list[tuple[float, float]] = (0.75, 1.33),
    area_range: float | Sequence[float] | list[tuple[float, float]] = (0.05, 1.0),
    min_eject_coverage: float | list[float] = 0.3,
    max_attempts: int | list[int] = 50,
    skip_prob: float = 0,
) -> DetRandomSelectAug:
    """One of several `DetRandomCropAug`: a list has the setting of each, another value all share.

    Raises ValueError for lists of different lengths.
    """
    given = (min_object_covered, aspect_ratio_range, area_range, min_eject_coverage, max_attempts)
    lists = [one if isinstance(one, list) else [one] for one in given]
    count = max(map(len, lists))
    if any(len(one) not in (1, count) for one in lists):
        raise ValueError(f"lists of settings have one length or 1, not {[*map(len, lists)]}")
    aligned = [one * count if len(one) == 1 else one for one in lists]
    steps = [DetRandomCropAug(*settings) for settings in zip(*aligned, strict=True)]
    return DetRandomSelectAug(steps, skip_prob)


def CreateDetAugmenter(
    data_shape: Sequence[int],
    resize: int = 0,
    rand_crop: float = 0,
    rand_pad: float = 0,
    rand_gray: float = 0,
    rand_mirror: bool = False,
    mean: Colour = None,
    std: Colour = None,
    brightness: float = 0,
    contrast: float = 0,
    saturation: float = 0,
    pca_noise: float = 0,
    hue: float = 0,
    inter_method: int = 2,
    min_object_covered: float | list[float] = 0.1,
    aspect_ratio_range: float | Sequence[float] = (0.75, 1.33),
    area_range: float | Sequence[float] = (0.05, 3.0),
    min_eject_coverage: float | list[float] = 0.3,
    max_attempts: int = 50,
    pad_val: float | Sequence[float] = (127, 127, 127),
) -> list[DetAugmenter]:
    """The usual steps for detection on pictures of data_shape = (channels, height, width).

    rand_crop, rand_pad, rand_gray: probabilities of a crop, of a border, of a gray picture
    area_range: areas of crops, up to the picture's, and from it on of pictures with a border
    The other settings are those of the steps and of `CreateAugmenter`.
    """
    steps: list[DetAugmenter] = []
    if resize > 0:
        steps.append(DetBorrowAug(ResizeAug(resize, inter_method)))
    if rand_crop > 0:
        steps.append(
            CreateMultiRandCropAugmenter(
                min_object_covered, aspect_ratio_range, area_range, min_eject_coverage,
                max_attempts, skip_prob=1 - rand_crop,
            )
        )  # fmt: skip
    if rand_mirror:
        steps.append(DetHorizontalFlipAug(0.5))
    if rand_pad > 0:
        border = DetRandomPadAug(
            aspect_ratio_range, (1.0, _range(area_range)[1]), max_attempts, pad_val
        )
        steps.append(DetRandomSelectAug([border], 1 - rand_pad))
    size = (data_shape[2], data_shape[1])
    plain = [ForceResizeAug(size, inter_method), CastAug()]
    colours = colour_steps(
        brightness, contrast, saturation, hue, pca_noise, rand_gray, mean, std
    )  # fmt: skip
    return steps + [DetBorrowAug(step) for step in (*plain, *colours)]
