"""Pillow, imported when an image file is read or written, and the bytes of images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.data.images.errors import ImageError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["decode_image", "encode_png"]

NO_PILLOW = "image files need Pillow, which is not installed: pip install 'tapegrad[images]'"


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(NO_PILLOW) from error
    return Image


def decode_image(data: Any) -> np.ndarray:
    """The image in the bytes of a file: (height, width, 3) uint8, blue, green, red.

    Turned as its EXIF orientation says.  Raises ImageError for bytes that are no image, ImportError
    where Pillow is not installed.
    """
    image = _pillow()
    from PIL import ImageOps

    try:
        with image.open(io.BytesIO(data)) as opened:
            found = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except Exception as error:  # Pillow's readers raise many kinds for broken files
        raise ImageError(f"no image that Pillow reads: {error}") from error
    return np.ascontiguousarray(found[:, :, ::-1])


def encode_png(pixels: np.ndarray) -> bytes:
    """The bytes of a PNG file with these pixels, (height, width, 3) red, green, blue.

    Raises ImportError where Pillow is not installed.
    """
    stream = io.BytesIO()
    _pillow().fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
