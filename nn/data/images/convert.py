"""Transformers between forms: bytes to pixels, pixels to floats, features to samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.data.images.errors import ImageError
from tapegrad.nn.data.images.feature import label_arrays
from tapegrad.nn.data.images.pillow import decode_image
from tapegrad.nn.data.images.transformer import FeatureTransformer
from tapegrad.nn.data.sample import Sample, row_array

if TYPE_CHECKING:
    from tapegrad.nn.data.images.feature import ImageFeature

__all__ = ["BytesToMat", "ImageFrameToSample", "MatToFloats", "MatToTensor", "PixelBytesToMat"]


class BytesToMat(FeatureTransformer):
    """Decode an image file: "mat" (height, width, 3) uint8 of what is under byteKey, by Pillow.

    Bytes that are no image make the feature invalid.  (BigDL's BytesToMat.)
    """

    def __init__(self, byteKey: str = "bytes") -> None:
        self.byteKey = byteKey

    def transformMat(self, feature: ImageFeature) -> None:
        """Decode it."""
        mat = decode_image(feature[self.byteKey])
        feature["originalSize"] = mat.shape
        feature["mat"] = mat


class PixelBytesToMat(FeatureTransformer):
    """Read raw pixels: "mat" of the bytes under byteKey, in the shape of "originalSize".

    Bytes of another number make the feature invalid.  (BigDL's PixelBytesToMat.)
    """

    def __init__(self, byteKey: str = "bytes") -> None:
        self.byteKey = byteKey

    def transformMat(self, feature: ImageFeature) -> None:
        """Read them.  Raises ImageError for another number of bytes."""
        shape = tuple(feature["originalSize"])
        pixels = np.frombuffer(feature[self.byteKey], np.uint8)
        if pixels.size != int(np.prod(shape)):
            raise ImageError(f"{pixels.size} bytes, and the image of {shape} has {np.prod(shape)}")
        feature["mat"] = pixels.reshape(shape).copy()


class MatToFloats(FeatureTransformer):
    """The pixels as float32 (height, width, channels) under outKey; "mat" is removed, "size" stays.

    validHeight, validWidth, validChannels: the shape of zeros that an invalid image gets, so that
                 it can stand in a batch; it stays invalid
    shareBuffer: images of one size share memory: each is valid until the next one is transformed
    (BigDL's MatToFloats, which shares unless told not to.)
    """

    def __init__(
        self,
        validHeight: int = 300,
        validWidth: int = 300,
        validChannels: int = 3,
        outKey: str = "floats",
        shareBuffer: bool = False,
    ) -> None:
        self.shape, self.outKey = (validHeight, validWidth, validChannels), outKey
        self.shareBuffer, self.buffer = shareBuffer, np.empty(0, np.float32)

    def transform(self, feature: ImageFeature) -> ImageFeature:
        """As the others', and zeros for an invalid one."""
        super().transform(feature)
        if not feature.isValid:
            feature[self.outKey], feature["size"] = np.zeros(self.shape, np.float32), self.shape
            if "mat" in feature:
                del feature["mat"]
        return feature

    def transformMat(self, feature: ImageFeature) -> None:
        """Convert them."""
        mat = feature.opencvMat()
        if self.shareBuffer:
            if self.buffer.shape != mat.shape:
                self.buffer = np.empty(mat.shape, np.float32)
            self.buffer[...] = mat
            feature[self.outKey] = self.buffer
        else:
            feature[self.outKey] = mat.astype(np.float32)
        del feature["mat"]
        feature["size"] = mat.shape


class MatToTensor(FeatureTransformer):
    """The pixels as float32 (channels, height, width) under tensorKey.

    toRGB: red, green, blue instead of blue, green, red;  greyToRGB: one channel becomes three
    shareBuffer: see MatToFloats
    (BigDL's MatToTensor.)
    """

    def __init__(
        self,
        toRGB: bool = False,
        tensorKey: str = "imageTensor",
        shareBuffer: bool = False,
        greyToRGB: bool = False,
    ) -> None:
        self.toRGB, self.tensorKey, self.greyToRGB = toRGB, tensorKey, greyToRGB
        self.shareBuffer, self.buffer = shareBuffer, np.empty(0, np.float32)

    def transformMat(self, feature: ImageFeature) -> None:
        """Convert them."""
        planes = feature.opencvMat().transpose(2, 0, 1)
        if self.toRGB and len(planes) == 3:
            planes = planes[::-1]
        if self.greyToRGB and len(planes) == 1:
            planes = np.repeat(planes, 3, axis=0)
        if not self.shareBuffer:
            feature[self.tensorKey] = np.array(planes, np.float32, order="C")
            return
        if self.buffer.shape != planes.shape:
            self.buffer = np.empty(planes.shape, np.float32)
        self.buffer[...] = planes
        feature[self.tensorKey] = self.buffer


class ImageFrameToSample(FeatureTransformer):
    """A Sample of what is under inputKeys and targetKeys, under sampleKey.

    Raises KeyError where there is nothing under a key.  (BigDL's ImageFrameToSample.)
    """

    def __init__(
        self,
        inputKeys: Sequence[str] = ("imageTensor",),
        targetKeys: Sequence[str] | None = None,
        sampleKey: str = "sample",
    ) -> None:
        self.inputKeys, self.targetKeys = tuple(inputKeys), tuple(targetKeys or ())
        self.sampleKey = sampleKey

    def transformMat(self, feature: ImageFeature) -> None:
        """Make it."""
        inputs = [row_array(feature[key]) for key in self.inputKeys]
        targets: list[Any] = []
        for key in self.targetKeys:
            found = label_arrays(feature[key])
            targets += found if isinstance(found, list) else [row_array(found)]
        feature[self.sampleKey] = Sample(inputs, targets)
