"""Augmenters: steps that change a picture, each a callable; and the usual list of them.

Source: mx.image.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tapegrad.nn.mxnet.image.functions import (
    center_crop,
    color_normalize,
    imresize,
    random_crop,
    random_size_crop,
    resize_short,
)
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import Colour, Picture


__all__ = [
    "Augmenter",
    "BrightnessJitterAug",
    "CastAug",
    "CenterCropAug",
    "ColorJitterAug",
    "ColorNormalizeAug",
    "ContrastJitterAug",
    "CreateAugmenter",
    "ForceResizeAug",
    "HorizontalFlipAug",
    "HueJitterAug",
    "LightingAug",
    "RandomCropAug",
    "RandomGrayAug",
    "RandomOrderAug",
    "RandomSizedCropAug",
    "ResizeAug",
    "SaturationJitterAug",
    "SequentialAug",
]

_GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # how much of each colour is brightness
MEAN, STD = (123.68, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's pictures
# How ImageNet's colours differ: by how much, and in which directions (columns).
_SPREAD = np.array([55.46, 4.794, 1.148])
_DIRECTIONS = np.array([
    [-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]
])  # fmt: skip
# Brightness and two differences of colours, in which a turn of the hue is a rotation; and back.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
_RGB = np.array([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.107, 1.705]])


def _listed(value: Any) -> Any:
    """An array as a list, for JSON."""
    value = value.asnumpy() if isinstance(value, NDArray) else value
    return value.tolist() if isinstance(value, np.ndarray) else value


class Augmenter:
    """A step that gives another picture for one.  A subclass defines __call__."""

    def __init__(self, **settings: Any):
        self._kwargs = {k: _listed(v) for k, v in settings.items()}

    def dumps(self) -> str:
        """The text [name, settings] in JSON."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, src: Picture) -> Picture:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(src) of its own")


class SequentialAug(Augmenter):
    """Several steps, one after another."""

    def __init__(self, ts: Sequence[Augmenter]):
        super().__init__()
        self.ts = list(ts)

    def __call__(self, src: Picture) -> Picture:
        for step in self.ts:
            src = step(src)
        return src


class RandomOrderAug(SequentialAug):
    """Several steps in a random order."""

    def __call__(self, src: Picture) -> Picture:
        for step in random.sample(self.ts, len(self.ts)):
            src = step(src)
        return src


class ResizeAug(Augmenter):
    """The shorter side gets the length `size`."""

    def __init__(self, size: int, interp: int = 2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: Picture) -> Picture:
        return resize_short(src, self.size, self.interp)


class ForceResizeAug(Augmenter):
    """The picture gets the size (width, height), whatever its proportion."""

    def __init__(self, size: Sequence[int], interp: int = 2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: Picture) -> Picture:
        return imresize(src, self.size[0], self.size[1], self.interp)


class RandomCropAug(Augmenter):
    """`random_crop`."""

    def __init__(self, size: Sequence[int], interp: int = 2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: Picture) -> Picture:
        return random_crop(src, self.size, self.interp)[0]


class CenterCropAug(Augmenter):
    """`center_crop`."""

    def __init__(self, size: Sequence[int], interp: int = 2):
        super().__init__(size=size, interp=interp)
        self.size, self.interp = size, interp

    def __call__(self, src: Picture) -> Picture:
        return center_crop(src, self.size, self.interp)[0]


class RandomSizedCropAug(Augmenter):
    """`random_size_crop`."""

    def __init__(
        self,
        size: Sequence[int],
        area: float | Sequence[float],
        ratio: Sequence[float],
        interp: int = 2,
    ):
        super().__init__(size=size, area=area, ratio=ratio, interp=interp)
        self.size, self.area, self.ratio, self.interp = size, area, ratio, interp

    def __call__(self, src: Picture) -> Picture:
        return random_size_crop(src, self.size, self.area, self.ratio, self.interp)[0]


class HorizontalFlipAug(Augmenter):
    """The mirrored picture with probability p."""

    def __init__(self, p: float):
        super().__init__(p=p)
        self.p = p

    def __call__(self, src: Picture) -> Picture:
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

    def __call__(self, src: Picture) -> Picture:
        return src.astype(self.typ)


class ColorNormalizeAug(Augmenter):
    """`color_normalize`."""

    def __init__(self, mean: Colour, std: Colour):
        super().__init__(mean=mean, std=std)
        self.mean, self.std = mean, std

    def __call__(self, src: Picture) -> Picture:
        return color_normalize(src, self.mean, self.std)


class BrightnessJitterAug(Augmenter):
    """The picture times a random number from 1 - brightness to 1 + brightness."""

    def __init__(self, brightness: float):
        super().__init__(brightness=brightness)
        self.brightness = brightness

    def __call__(self, src: Picture) -> Picture:
        values: Any = src
        return values * (1.0 + random.uniform(-self.brightness, self.brightness))


class ContrastJitterAug(Augmenter):
    """The picture mixed with its mean brightness."""

    def __init__(self, contrast: float):
        super().__init__(contrast=contrast)
        self.contrast = contrast

    def __call__(self, src: Picture) -> Picture:
        alpha = 1.0 + random.uniform(-self.contrast, self.contrast)
        picture: Any = src
        values = src.asnumpy() if isinstance(src, NDArray) else src
        gray = float((values * _GRAY).sum() / (values.size / 3))
        return picture * alpha + (1.0 - alpha) * gray


class SaturationJitterAug(Augmenter):
    """The picture mixed with its gray twin."""

    def __init__(self, saturation: float):
        super().__init__(saturation=saturation)
        self.saturation = saturation

    def __call__(self, src: Picture) -> Picture:
        alpha = 1.0 + random.uniform(-self.saturation, self.saturation)
        values = src.asnumpy() if isinstance(src, NDArray) else np.asarray(src)
        gray = (values * _GRAY).sum(axis=2, keepdims=True)
        found = (values * alpha + gray * (1.0 - alpha)).astype(np.float32)
        return array(found, src.context) if isinstance(src, NDArray) else found


class ColorJitterAug(RandomOrderAug):
    """BrightnessJitterAug, ContrastJitterAug and SaturationJitterAug in a random order."""

    def __init__(self, brightness: float, contrast: float, saturation: float):
        steps = [
            (BrightnessJitterAug, brightness),
            (ContrastJitterAug, contrast),
            (SaturationJitterAug, saturation),
        ]
        super().__init__([kind(amount) for kind, amount in steps if amount > 0])


def _with_matrix(src: Any, matrix: np.ndarray) -> Any:
    """The colours of each pixel times a matrix."""
    values = src.asnumpy() if isinstance(src, NDArray) else np.asarray(src)
    found = (values @ matrix).astype(np.float32)
    return array(found, src.context) if isinstance(src, NDArray) else found


class HueJitterAug(Augmenter):
    """The hue turned by a random share of half a turn, from -hue to hue."""

    def __init__(self, hue: float):
        super().__init__(hue=hue)
        self.hue = hue

    def __call__(self, src: Picture) -> Picture:
        angle = random.uniform(-self.hue, self.hue) * np.pi
        u, w = np.cos(angle), np.sin(angle)
        turn = np.array([[1.0, 0.0, 0.0], [0.0, u, -w], [0.0, w, u]])
        return _with_matrix(src, (_RGB @ turn @ _YIQ).T)


class LightingAug(Augmenter):
    """Random multiples of directions of colours are added.

    alphastd: standard deviation of the multiples
    eigval, eigvec: the sizes (3,) of the directions, which are columns (3, 3)
    """

    def __init__(self, alphastd: float, eigval: npt.ArrayLike, eigvec: npt.ArrayLike):
        self.alphastd, self.eigval, self.eigvec = alphastd, np.array(eigval), np.array(eigvec)
        super().__init__(alphastd=alphastd, eigval=self.eigval, eigvec=self.eigvec)

    def __call__(self, src: Picture) -> Picture:
        alpha = np.random.normal(0, self.alphastd, 3)  # noqa: NPY002  # MXNet draws from it
        light = (self.eigvec * alpha) @ self.eigval
        if isinstance(src, NDArray):
            return array(src.asnumpy() + light, src.context)
        return (np.asarray(src) + light).astype(np.float32)


class RandomGrayAug(Augmenter):
    """The gray twin of the picture, in three channels, with probability p."""

    def __init__(self, p: float):
        super().__init__(p=p)
        self.p = p

    def __call__(self, src: Picture) -> Picture:
        if random.random() >= self.p:
            return src
        return _with_matrix(src, np.array([[0.21], [0.72], [0.07]]) * np.ones(3))


def colour_steps(
    brightness: float, contrast: float, saturation: float, hue: float, pca_noise: float,
    rand_gray: float, mean: Colour, std: Colour,
) -> list[Augmenter]:  # fmt: skip
    """The steps on colours behind the cast, in MXNet's order.

    mean, std: True for ImageNet's, or one number for each channel
    """
    steps: list[Augmenter] = []
    if brightness or contrast or saturation:
        steps.append(ColorJitterAug(brightness, contrast, saturation))
    if hue:
        steps.append(HueJitterAug(hue))
    if pca_noise > 0:
        steps.append(LightingAug(pca_noise, _SPREAD, _DIRECTIONS))
    if rand_gray > 0:
        steps.append(RandomGrayAug(rand_gray))
    mean = np.array(MEAN) if mean is True else mean
    std = np.array(STD) if std is True else std
    if mean is not None or std is not None:
        steps.append(ColorNormalizeAug(mean, std))
    return steps


def CreateAugmenter(
    data_shape: Sequence[int],
    resize: int = 0,
    rand_crop: bool = False,
    rand_resize: bool = False,
    rand_mirror: bool = False,
    mean: Colour = None,
    std: Colour = None,
    brightness: float = 0,
    contrast: float = 0,
    saturation: float = 0,
    hue: float = 0,
    pca_noise: float = 0,
    rand_gray: float = 0,
    inter_method: int = 2,
) -> list[Augmenter]:
    """The usual steps for pictures of data_shape = (channels, height, width).

    resize:      length of the shorter side before the crop; 0: as it is
    mean, std:   True for ImageNet's, or one number for each channel
    rand_resize: crops of random size, which need rand_crop
    pca_noise:   standard deviation of `LightingAug`
    rand_gray:   probability of a gray picture
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
    colours = colour_steps(
        brightness, contrast, saturation, hue, pca_noise, rand_gray, mean, std
    )  # fmt: skip
    return steps + colours
