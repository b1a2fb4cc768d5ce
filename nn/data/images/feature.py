"""ImageFeature: one image and all that is known of it, under keys.

A `mat` is an array (height, width, channels) of uint8 or float32, with OpenCV's order of the
channels: blue, green, red.  Arrays under keys are replaced and never written into, so that a clone
may share them.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad.nn.data.images.pillow import encode_png
from tapegrad.nn.data.images.roi import RoiLabel
from tapegrad.nn.data.sample import Sample, row_array

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ImageFeature"]

ABSENT = "the image {name} has nothing under {key!r}; it has {keys}.{fix}"
FIXES = {
    "mat": " BytesToMat() decodes its bytes",
    "floats": " MatToFloats() makes them of its mat",
    "sample": " ImageFrameToSample() makes one",
    "imageTensor": " MatToTensor() makes it of its mat",
    "predict": " predict_image puts it there",
}
NO_MAT = "an image is (height, width) or (height, width, channels), not {found}"


class ImageFeature:
    """An image: ``feature["mat"]``, ``feature["label"]``, … and whether it is valid.

    image: the bytes of an image file, or an array (height, width) or (height, width, channels), in
           the order blue, green, red;  label: a number, an array, or a RoiLabel;  uri: where it is
           from
    isValid: False once it could not be decoded or transformed; then `error` says why.  Invalid
           images pass through pipelines and predictions as they are.
    Raises ValueError for an array that is no image.  (BigDL's ImageFeature.)
    """

    # The keys, by BigDL's names.
    bytes: ClassVar[str] = "bytes"
    mat: ClassVar[str] = "mat"
    floats: ClassVar[str] = "floats"
    label: ClassVar[str] = "label"
    uri: ClassVar[str] = "uri"
    sample: ClassVar[str] = "sample"
    predict: ClassVar[str] = "predict"
    boundingBox: ClassVar[str] = "boundingBox"
    originalSize: ClassVar[str] = "originalSize"
    size: ClassVar[str] = "size"
    imInfo: ClassVar[str] = "imInfo"
    imageTensor: ClassVar[str] = "imageTensor"

    isValid: bool

    def __init__(self, image: Any = None, label: Any = None, uri: str | None = None) -> None:
        self.isValid, self.error = True, ""
        self._state: dict[str, Any] = {}
        if isinstance(image, (bytes, bytearray, memoryview)):
            self._state["bytes"] = memoryview(image).tobytes()
        elif image is not None:
            self._state["mat"] = as_mat(image)
            self._state["originalSize"] = self._state["mat"].shape
        if label is not None:
            self._state["label"] = label
        if uri is not None:
            self._state["uri"] = uri

    # Keys -----------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        """What is under a key; "size", "imInfo" follow from the mat.  Raises KeyError otherwise."""
        if key in self._state:
            return self._state[key]
        if key == "size" and "mat" in self._state:
            return self._state["mat"].shape
        if key == "imInfo" and (self.contains("mat") or self.contains("size")):
            return self.getImInfo()
        name, fix = self._state.get("uri", ""), FIXES.get(key, "")
        raise KeyError(ABSENT.format(name=name, key=key, keys=sorted(self._state), fix=fix))

    def __setitem__(self, key: str, value: Any) -> None:
        self._state[key] = as_mat(value) if key == "mat" else value
        if key == "mat":
            self._state.pop("size", None)
            self._state.setdefault("originalSize", self._state["mat"].shape)

    def __delitem__(self, key: str) -> None:
        del self._state[key]

    def __contains__(self, key: str) -> bool:
        return key in self._state

    def contains(self, key: str) -> bool:
        """Whether there is something under the key."""
        return key in self._state

    def get(self, key: str, default: Any = None) -> Any:
        """What is under a key, or `default`."""
        return self._state.get(key, default)

    def update(self, key: str, value: Any) -> None:
        """Put `value` under the key, as ``feature[key] = value`` does."""
        self[key] = value

    def keys(self) -> KeysView[str]:
        """The keys."""
        return self._state.keys()

    def clear(self) -> None:
        """Remove everything; the feature is valid again."""
        self._state.clear()
        self.isValid, self.error = True, ""

    def clone(self) -> ImageFeature:
        """A feature with the same values under the same keys; what is set in one stays there."""
        other = ImageFeature()
        other._state = dict(self._state)
        other.isValid, other.error = self.isValid, self.error
        return other

    def invalidate(self, error: str) -> None:
        """Make the feature invalid, for the reason `error`."""
        self.isValid, self.error = False, error

    # Size -----------------------------------------------------------------------------------------

    def opencvMat(self) -> np.ndarray:
        """The image (height, width, channels).  Raises KeyError where it has not been decoded."""
        found: np.ndarray = self["mat"]
        return found

    def getSize(self) -> tuple[int, int, int]:
        """(height, width, channels) now; of the original where there is neither mat nor size."""
        found = self["mat"].shape if "mat" in self else self.get("size", self.get("originalSize"))
        return found or (-1, -1, -1)

    def getHeight(self) -> int:
        """The height now."""
        return self.getSize()[0]

    def getWidth(self) -> int:
        """The width now."""
        return self.getSize()[1]

    def getChannel(self) -> int:
        """How many channels there are."""
        return self.getSize()[2]

    def getOriginalSize(self) -> tuple[int, int, int]:
        """(height, width, channels) when it was decoded; -1 for each where nobody knows."""
        return self.get("originalSize", (-1, -1, -1))

    def getOriginalHeight(self) -> int:
        """The height when it was decoded."""
        return self.getOriginalSize()[0]

    def getOriginalWidth(self) -> int:
        """The width when it was decoded."""
        return self.getOriginalSize()[1]

    def getOriginalChannel(self) -> int:
        """How many channels there were when it was decoded."""
        return self.getOriginalSize()[2]

    def getImInfo(self) -> np.ndarray:
        """(height, width, height / original height, width / original width), float32."""
        height, width, _ = self.getSize()
        tall, wide, _ = self.getOriginalSize()
        return np.array([height, width, height / tall, width / wide], np.float32)

    # Contents -------------------------------------------------------------------------------------

    def hasLabel(self) -> bool:
        """Whether there is a label."""
        return "label" in self

    def getLabel(self) -> Any:
        """The label, None where there is none."""
        return self.get("label")

    def setLabel(self, labels: Mapping[str, Any]) -> None:
        """Take the label of this image's uri from a mapping, if it is there."""
        if self.get("uri") in labels:
            self["label"] = labels[self["uri"]]

    def toTensor(self, floatKey: str = "floats", toChw: bool = True) -> np.ndarray:
        """The image as floats, (channels, height, width) or (height, width, channels).

        Of what is under floatKey, else of the mat.
        """
        found = np.asarray(self.get(floatKey) if floatKey in self else self["mat"], np.float32)
        found = found.reshape(self.getSize()) if found.ndim == 1 else found
        return np.ascontiguousarray(found.transpose(2, 0, 1)) if toChw else found

    def copyTo(
        self, storage: np.ndarray, offset: int = 0, floatKey: str = "floats", toRGB: bool = True
    ) -> None:
        """Write the floats into a flat array from `offset` on, channel after channel.

        toRGB: red, green, blue instead of blue, green, red
        Raises ValueError where the array is too short.
        """
        image = self.toTensor(floatKey)
        image = image[::-1] if toRGB and len(image) == 3 else image
        if offset + image.size > storage.size:
            raise ValueError(f"copyTo: {image.size} floats from {offset} on, in {storage.size}")
        storage.reshape(-1)[offset : offset + image.size] = image.reshape(-1)

    def to_sample(self) -> Sample:
        """What is under "sample", or the floats or mat (channels, height, width) with the label.

        Raises ValueError for an invalid image.
        """
        if not self.isValid:
            raise ValueError(f"the image {self.get('uri', '')} is invalid: {self.error}")
        if "sample" in self:
            found: Sample = self["sample"]
            return found
        image = self["imageTensor"] if "imageTensor" in self else self.toTensor()
        return Sample(image, label_arrays(self.get("label")))

    def get_image(self, float_key: str = "floats", to_chw: bool = True) -> np.ndarray:
        """`toTensor`: the name of BigDL's Python interface."""
        return self.toTensor(float_key, to_chw)

    def get_label(self) -> Any:
        """`getLabel`: the name of BigDL's Python interface."""
        return self.getLabel()

    def __repr__(self) -> str:
        name = f"{self['uri']}, " if "uri" in self else ""
        size = "×".join(map(str, self.getSize())) if self.getSize()[0] >= 0 else "not decoded"
        state = "" if self.isValid else f", invalid: {self.error}"
        return f"ImageFeature({name}{size}{state})"

    def _repr_png_(self) -> Any:
        """The image with its boxes, for notebooks."""
        return None if "mat" not in self else encode_png(picture_of(self))


def as_mat(image: npt.ArrayLike) -> np.ndarray:
    """An image as an array (height, width, channels) of uint8 or float32.

    Raises ValueError for other shapes.
    """
    found = row_array(image)
    if found.ndim == 2:
        found = found[:, :, None]
    if found.ndim != 3 or not found.size:
        raise ValueError(NO_MAT.format(found=found.shape))
    return found if found.dtype == np.uint8 else found.astype(np.float32, copy=False)


def label_arrays(label: Any) -> Any:
    """A label as the labels of a Sample: arrays; those of a RoiLabel are classes and boxes."""
    if label is None:
        return ()
    return label.arrays() if isinstance(label, RoiLabel) else label


def picture_of(feature: ImageFeature) -> np.ndarray:
    """The image as red, green, blue bytes, with its boxes drawn."""
    mat = feature["mat"].astype(np.float32)
    low, high = float(mat.min()), float(mat.max())
    if low < 0 or high > 255 or (high <= 1 and feature["mat"].dtype != np.uint8):
        mat = (mat - low) / max(high - low, 1e-12) * 255  # normalized pixels: show their range
    shown = mat[:, :, ::-1] if mat.shape[2] == 3 else np.repeat(mat[:, :, :1], 3, axis=2)
    found = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    label = feature.get("label")
    if isinstance(label, RoiLabel):
        height, width = found.shape[:2]
        for x1, y1, x2, y2 in label.pixels(height, width):
            left, right = int(max(x1, 0)), int(min(np.ceil(x2), width)) - 1
            top, bottom = int(max(y1, 0)), int(min(np.ceil(y2), height)) - 1
            found[top : bottom + 1, [left, right]] = (255, 40, 40)
            found[[top, bottom], left : right + 1] = (255, 40, 40)
    return found
