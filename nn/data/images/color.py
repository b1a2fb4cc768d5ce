"""Transformers of colour, by OpenCV's formulas: the boxes of labels stay where they are.

uint8 stays uint8, with results rounded and clipped; float32 stays float32 and is not clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from tapegrad import devices
from tapegrad.nn.data.images.errors import ImageError
from tapegrad.nn.data.images.resample import saturate
from tapegrad.nn.data.images.transformer import FeatureTransformer, RandomTransformer

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.nn.data.images.feature import ImageFeature

__all__ = [
    "Brightness",
    "ChannelNormalize",
    "ChannelOrder",
    "ChannelScaledNormalizer",
    "ColorJitter",
    "Contrast",
    "Hue",
    "PixelNormalizer",
    "Saturation",
    "bgr_to_hsv",
    "hsv_to_bgr",
]


def scaled(mat: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """alpha · mat + beta in the dtype of mat.  (OpenCV's convertTo.)"""
    if mat.dtype == np.uint8:
        return saturate(np.arange(256) * alpha + beta, mat.dtype)[mat]
    return (mat * np.float32(alpha) + np.float32(beta)).astype(mat.dtype, copy=False)


def bgr_to_hsv(mat: np.ndarray) -> np.ndarray:
    """Hue, saturation, value of an image (h, w, 3) in blue, green, red.

    uint8: hue in 0 … 179 (half degrees), saturation and value in 0 … 255.  float32: hue in degrees
    0 … 360, saturation in 0 … 1, value as the image's.  (OpenCV's COLOR_BGR2HSV.)
    """
    x = mat.astype(np.float32)
    b, g, r = x[..., 0], x[..., 1], x[..., 2]
    v, low = x.max(axis=-1), x.min(axis=-1)
    diff = v - low
    safe = np.where(diff > 0, diff, 1)
    sector = np.where(
        v == r, (g - b) / safe, np.where(v == g, (b - r) / safe + 2, (r - g) / safe + 4)
    )
    hue = np.where(diff > 0, sector * 60, 0)
    hue = np.where(hue < 0, hue + 360, hue)
    s = np.where(v > 0, diff / np.where(v > 0, v, 1), 0)
    if mat.dtype != np.uint8:
        return np.stack([hue, s, v], axis=-1).astype(np.float32)
    half = np.floor(hue / 2 + 0.5)
    half = np.where(half >= 180, half - 180, half)
    return np.stack([half, np.floor(s * 255 + 0.5), v], axis=-1).astype(np.uint8)


def hsv_to_bgr(hsv: np.ndarray) -> np.ndarray:
    """The image (h, w, 3) in blue, green, red; hues beyond the circle go round it.

    Ranges as in `bgr_to_hsv`.  (OpenCV's COLOR_HSV2BGR.)
    """
    x = hsv.astype(np.float32)
    is_bytes = hsv.dtype == np.uint8
    sector = x[..., 0] / (30 if is_bytes else 60) % 6
    s, v = (x[..., 1] / 255, x[..., 2] / 255) if is_bytes else (x[..., 1], x[..., 2])
    which = np.floor(sector).astype(np.int64) % 6
    part = sector - np.floor(sector)
    p, q, t = v * (1 - s), v * (1 - s * part), v * (1 - s * (1 - part))
    # blue, green, red in each of the six sectors
    b = np.choose(which, [p, p, t, v, v, q])
    g = np.choose(which, [t, v, v, q, p, p])
    r = np.choose(which, [v, q, p, p, t, v])
    found = np.stack([b, g, r], axis=-1)
    return saturate(found * 255, hsv.dtype) if is_bytes else found.astype(np.float32)


class _Drawn(FeatureTransformer):
    """A transformer of one number that is drawn from U[deltaLow, deltaHigh]."""

    def __init__(self, deltaLow: float, deltaHigh: float) -> None:
        if not deltaLow <= deltaHigh:
            raise ValueError(f"{type(self).__name__}: deltaLow {deltaLow} > deltaHigh {deltaHigh}")
        self.deltaLow, self.deltaHigh = deltaLow, deltaHigh

    def transformMat(self, feature: ImageFeature) -> None:
        """Draw the number and change the colours."""
        feature["mat"] = self.changed(feature, self.uniform(self.deltaLow, self.deltaHigh))

    def changed(self, feature: ImageFeature, delta: float) -> np.ndarray:
        """The image changed by `delta`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.deltaLow}, {self.deltaHigh})"


class Brightness(_Drawn):
    """x + delta, delta drawn from U[deltaLow, deltaHigh], in the units of the pixels.

    Raises ValueError where deltaLow > deltaHigh, as the others.  (BigDL's Brightness.)
    """

    def changed(self, feature: ImageFeature, delta: float) -> np.ndarray:
        """The image plus delta."""
        return scaled(feature.opencvMat(), 1, delta)


class Contrast(_Drawn):
    """delta · x, delta drawn from U[deltaLow, deltaHigh], at least 0.  (BigDL's Contrast.)"""

    def __init__(self, deltaLow: float, deltaHigh: float) -> None:
        super().__init__(deltaLow, deltaHigh)
        if deltaLow < 0:
            raise ValueError(f"{type(self).__name__}: deltaLow is at least 0, not {deltaLow}")

    def changed(self, feature: ImageFeature, delta: float) -> np.ndarray:
        """The image times delta."""
        return scaled(feature.opencvMat(), delta, 0)


class Saturation(Contrast):
    """The saturation times delta, drawn from U[deltaLow, deltaHigh].  (BigDL's Saturation.)"""

    def changed(self, feature: ImageFeature, delta: float) -> np.ndarray:
        """The image with delta times its saturation."""
        hsv = bgr_to_hsv(self.color(feature))
        hsv[..., 1] = scaled(hsv[..., 1], delta, 0)
        return hsv_to_bgr(hsv)


class Hue(_Drawn):
    """The hue plus delta, drawn from U[deltaLow, deltaHigh]: half degrees of bytes, else degrees.

    Of bytes the sum is clipped to 0 … 255 before it goes round the circle of 180, as in BigDL.
    """

    def changed(self, feature: ImageFeature, delta: float) -> np.ndarray:
        """The image with its hue moved by delta."""
        hsv = bgr_to_hsv(self.color(feature))
        hsv[..., 0] = scaled(hsv[..., 0], 1, delta)
        return hsv_to_bgr(hsv)


class ChannelOrder(FeatureTransformer):
    """The channels in a random order.  (BigDL's ChannelOrder.)"""

    def transformMat(self, feature: ImageFeature) -> None:
        """Draw an order of the channels."""
        mat = feature.opencvMat()
        order = devices.to_numpy(self.draws().permutation(mat.shape[2]))
        feature["mat"] = np.ascontiguousarray(mat[:, :, order])


class ColorJitter(FeatureTransformer):
    """Brightness, contrast, saturation and hue, each with its probability, in one of two orders.

    The orders are brightness, contrast, saturation, hue and brightness, saturation, hue, contrast;
    a random order of channels comes last.  shuffle: any order of all five
    Raises ValueError for what is no probability.  (BigDL's ColorJitter.)
    """

    def __init__(
        self,
        brightnessProb: float = 0.5,
        brightnessDelta: float = 32.0,
        contrastProb: float = 0.5,
        contrastLower: float = 0.5,
        contrastUpper: float = 1.5,
        hueProb: float = 0.5,
        hueDelta: float = 18.0,
        saturationProb: float = 0.5,
        saturationLower: float = 0.5,
        saturationUpper: float = 1.5,
        randomOrderProb: float = 0.0,
        shuffle: bool = False,
    ) -> None:
        self.shuffle = shuffle
        self.steps = [
            RandomTransformer(Brightness(-brightnessDelta, brightnessDelta), brightnessProb),
            RandomTransformer(Contrast(contrastLower, contrastUpper), contrastProb),
            RandomTransformer(Saturation(saturationLower, saturationUpper), saturationProb),
            RandomTransformer(Hue(-hueDelta, hueDelta), hueProb),
            RandomTransformer(ChannelOrder(), randomOrderProb),
        ]

    def transformMat(self, feature: ImageFeature) -> None:
        """Draw an order, and run the steps in it."""
        order: Sequence[int] = (0, 1, 2, 3, 4)
        if self.shuffle:
            order = [int(i) for i in devices.to_numpy(self.draws().permutation(5))]
        elif self.uniform(0, 1) <= 0.5:
            order = (0, 2, 3, 1, 4)
        for index in order:
            self.steps[index].transformMat(feature)

    def seed(self, seed: int) -> Self:
        """Give it and its steps generators of their own; returns self."""
        for index, step in enumerate(self.steps):
            step.seed(seed + 7919 * (index + 1))
        return super().seed(seed)


class ChannelNormalize(FeatureTransformer):
    """(x − mean) / std for each channel, float32.

    Numbers are given in the order red, green, blue, whatever the image's own is.
    Raises ValueError for a std of 0.  (BigDL's ChannelNormalize.)
    """

    def __init__(
        self,
        meanR: float,
        meanG: float,
        meanB: float,
        stdR: float = 1.0,
        stdG: float = 1.0,
        stdB: float = 1.0,
    ) -> None:
        self.mean = np.array([meanB, meanG, meanR], np.float32)
        self.std = np.array([stdB, stdG, stdR], np.float32)
        if not self.std.all():
            raise ValueError("ChannelNormalize: a std of 0 would divide by zero")

    def transformMat(self, feature: ImageFeature) -> None:
        """Normalize the channels."""
        feature["mat"] = (self.color(feature) - self.mean) / self.std


class ChannelScaledNormalizer(FeatureTransformer):
    """(x − mean) · scale for each channel, float32; means in the order red, green, blue.

    (BigDL's, which takes the three means for three thirds of the pixels.)
    """

    def __init__(self, meanR: float, meanG: float, meanB: float, scale: float) -> None:
        self.mean, self.scale = np.array([meanB, meanG, meanR], np.float32), np.float32(scale)

    def transformMat(self, feature: ImageFeature) -> None:
        """Normalize the channels."""
        feature["mat"] = (self.color(feature) - self.mean) * self.scale


class PixelNormalizer(FeatureTransformer):
    """x − means, pixel by pixel, float32.

    means: as many numbers, in the order (height, width, channel)
    An image of another size becomes invalid.  (BigDL's PixelNormalizer.)
    """

    def __init__(self, means: npt.ArrayLike) -> None:
        self.means = np.asarray(means, np.float32)

    def transformMat(self, feature: ImageFeature) -> None:
        """Subtract the means.  Raises ImageError for an image of another size."""
        mat = feature.opencvMat()
        if self.means.size != mat.size:
            raise ImageError(f"{self.means.size} means, and the image has {mat.size} numbers")
        feature["mat"] = mat.astype(np.float32) - self.means.reshape(mat.shape)
