"""Augmenters: steps that change a picture, each a callable; and the usual list of them.

Source: mx.image.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.nn.mxnet.image.functions import (
    center_crop,
    color_normalize,
    imresize,
    random_crop,
    random_size_crop,
    resize_short,
)
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array

__all__ = [
    "Augmenter",
    "BrightnessJitterAug",
    "CastAug",
    "CenterCropAug",
    "ColorNormalizeAug",
    "ContrastJitterAug",
    "CreateAugmenter",
    "ForceResizeAug",
    "HorizontalFlipAug",
    "RandomCropAug",
    "RandomOrderAug",
    "RandomSizedCropAug",
    "ResizeAug",
    "SaturationJitterAug",
    "SequentialAug",
]

_GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # how much of each colour is brightness
_MEAN, _STD = (123.68, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's pictures


class Augmenter:
    """A step that gives another picture for one.  A subclass defines __call__."""

    def __init__(self, **settings: Any):
        self._kwargs = {
            k: v.asnumpy().tolist() if isinstance(v, NDArray) else v for k, v in settings.items()
        }

    def dumps(self) -> str:
        """The text [name, settings] in JSON."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, src: Any) -> Any:
        raise NotImplementedError("Must override implementation.")


class SequentialAug(Augmenter):
    """Several steps, one after another."""

    def __init__(self, ts: Sequence[Augmenter]):
        super().__init__()
        self.ts = list(ts)

    def __call__(self, src: Any) -> Any:
        for step in self.ts:
            src = step(src)
        return src


class RandomOrderAug(SequentialAug):
    """Several steps in a random order."""

    def __call__(self, src: Any) -> Any:
        for step in random.sample(self.ts, len(self.ts)):
            src = step(src)
        return src


class ResizeAug(Augmenter):
    """The shorter side gets the length `size`."""

    def __init__(self, size: int, interp: int = 2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: Any) -> Any:
        return resize_short(src, self.size, self.interp)


class ForceResizeAug(Augmenter):
    """The picture gets the size (width, height), whatever its proportion."""

    def __init__(self, size: Sequence[int], interp: int = 2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: Any) -> Any:
        return imresize(src, self.size[0], self.size[1], self.interp)


class RandomCropAug(Augmenter):
    """`random_crop`."""

    def __init__(self, size: Sequence[int], interp: int = 2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: Any) -> Any:
        return random_crop(src, self.size, self.interp)[0]


class CenterCropAug(Augmenter):
    """`center_crop`."""

    def __init__(self, size: Sequence[int], interp: int = 2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: Any) -> Any:
        return center_crop(src, self.size, self.interp)[0]


class RandomSizedCropAug(Augmenter):
    """`random_size_crop`."""

    def __init__(self, size: Sequence[int], area: Any, ratio: Sequence[float], interp: int = 2):
        super().__init__(size=size, area=area, ratio=ratio, interp=interp)
        self.size, self.area, self.ratio, self.interp = size, area, ratio, interp

    def __call__(self, src: Any) -> Any:
        return random_size_crop(src, self.size, self.area, self.ratio, self.interp)[0]


class HorizontalFlipAug(Augmenter):
    """The mirrored picture with probability p."""

    def __init__(self, p: float):
        super().__init__(p=p)
        self.p = p

    def __call__(self, src: Any) -> Any:
        if random.random() >= self.p:
            return src
        if isinstance(src, NDArray):
            return array(src.asnumpy()[:, ::-1], src.context, src.dtype)
        return np.ascontiguousarray(src[:, ::-1])


class CastAug(Augmenter):
    """The picture with another type of entries."""

    def __init__(self, typ: str = "float32"):
        super().__init__(type=typ)
        self.typ = typ

    def __call__(self, src: Any) -> Any:
        return src.astype(self.typ)


class ColorNormalizeAug(Augmenter):
    """`color_normalize`."""

    def __init__(self, mean: Any, std: Any):
        super().__init__(mean=mean, std=std)
        self.mean, self.std = mean, std

    def __call__(self, src: Any) -> Any:
        return color_normalize(src, self.mean, self.std)


class BrightnessJitterAug(Augmenter):
    """The picture times a random number from 1 - brightness to 1 + brightness."""

    def __init__(self, brightness: float):
        super().__init__(brightness=brightness)
        self.brightness = brightness

    def __call__(self, src: Any) -> Any:
        return src * (1.0 + random.uniform(-self.brightness, self.brightness))


class ContrastJitterAug(Augmenter):
    """The picture mixed with its mean brightness."""

    def __init__(self, contrast: float):
        super().__init__(contrast=contrast)
        self.contrast = contrast

    def __call__(self, src: Any) -> Any:
        alpha = 1.0 + random.uniform(-self.contrast, self.contrast)
        values = src.asnumpy() if isinstance(src, NDArray) else src
        gray = float((values * _GRAY).sum() / (values.size / 3))
        return src * alpha + (1.0 - alpha) * gray


class SaturationJitterAug(Augmenter):
    """The picture mixed with its gray twin."""

    def __init__(self, saturation: float):
        super().__init__(saturation=saturation)
        self.saturation = saturation

    def __call__(self, src: Any) -> Any:
        alpha = 1.0 + random.uniform(-self.saturation, self.saturation)
        values = src.asnumpy() if isinstance(src, NDArray) else np.asarray(src)
        gray = (values * _GRAY).sum(axis=2, keepdims=True)
        found = (values * alpha + gray * (1.0 - alpha)).astype(np.float32)
        return array(found, src.context) if isinstance(src, NDArray) else found


def CreateAugmenter(
    data_shape: Sequence[int],
    resize: int = 0,
    rand_crop: bool = False,
    rand_resize: bool = False,
    rand_mirror: bool = False,
    mean: Any = None,
    std: Any = None,
    brightness: float = 0,
    contrast: float = 0,
    saturation: float = 0,
    inter_method: int = 2,
) -> list[Augmenter]:
    """The usual steps for pictures of data_shape = (channels, height, width).

    resize:      length of the shorter side before the crop; 0: as it is
    mean, std:   True for ImageNet's, or one number for each channel
    rand_resize: crops of random size, which need rand_crop
    Raises ValueError for rand_resize without rand_crop.
    """
    if rand_resize and not rand_crop:
        raise ValueError("rand_resize needs rand_crop=True")
    size = (data_shape[2], data_shape[1])
    steps: list[Augmenter] = [ResizeAug(resize, inter_method)] if resize > 0 else []
    if rand_resize:
        steps.append(RandomSizedCropAug(size, 0.08, (3.0 / 4.0, 4.0 / 3.0), inter_method))
    else:
        steps.append((RandomCropAug if rand_crop else CenterCropAug)(size, inter_method))
    if rand_mirror:
        steps.append(HorizontalFlipAug(0.5))
    steps.append(CastAug())
    jitters: list[Augmenter] = []
    if brightness:
        jitters.append(BrightnessJitterAug(brightness))
    if contrast:
        jitters.append(ContrastJitterAug(contrast))
    if saturation:
        jitters.append(SaturationJitterAug(saturation))
    if jitters:
        steps.append(RandomOrderAug(jitters))
    mean = np.array(_MEAN) if mean is True else mean
    std = np.array(_STD) if std is True else std
    if mean is not None or std is not None:
        steps.append(ColorNormalizeAug(mean, std))
    return steps
