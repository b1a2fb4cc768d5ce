"""Pictures of record files, JPEG and PNG, through Pillow.

A picture's size stands in its first bytes, and is compared with a limit before it is unpacked.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np

from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.common.errors import FormatError, LimitError

__all__ = ["decode_image", "encode_image"]

KINDS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
LARGEST = 100_000_000  # entries of a picture
_ENDINGS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("pictures need Pillow: pip install 'tapegrad[images]'") from error
    return Image


@register_service("mxnet.decode_image")  # mx.image and recordio, which stand below
def decode_image(data: bytes, channels: int = 3, largest: int = LARGEST) -> np.ndarray:
    """The entries of a picture, uint8: (height, width, channels), red first.

    channels: 3, 1 (gray), 4 (with opacity), or 0: as many as the picture has
    Raises FormatError for bytes that are no picture, LimitError for more than `largest` entries,
    ImportError without Pillow.
    """
    image = _pillow()
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with image.open(io.BytesIO(data), formats=KINDS) as found:
                size = found.size
                small = size[0] * size[1] * 4 <= largest
                mode = modes.get(channels) or _own_mode(found)
                values = np.asarray(found.convert(mode), np.uint8) if small else None
    except Exception as error:  # Pillow raises whatever its parsers raise
        raise FormatError("a picture", f"{type(error).__name__}: {error!s:.100}") from error
    if values is None:
        raise LimitError(f"a picture of at most {largest} entries", size)
    return values if values.ndim == 3 else values[:, :, None]


def _own_mode(found: Any) -> str:
    if found.mode in ("1", "L", "I", "I;16", "F"):
        return "L"
    has_opacity = found.mode in ("RGBA", "LA", "PA") or "transparency" in found.info
    return "RGBA" if has_opacity else "RGB"


@register_service("mxnet.encode_image")  # mx.image and recordio, which stand below
def encode_image(values: np.ndarray, quality: int = 95, ending: str = ".jpg") -> bytes:
    """The bytes of a picture of (height, width) or (height, width, 1, 3 or 4) entries, red first.

    quality: of JPEG 1 to 100, of PNG how hard it tries, 0 to 9
    Raises ValueError for another shape or ending, ImportError without Pillow.
    """
    kind = _ENDINGS.get(ending.lower())
    if kind is None:
        raise ValueError(f"pictures end in {', '.join(_ENDINGS)}, not {ending!r}")
    values = np.asarray(values)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[2] in (3, 4)):
        raise ValueError(
            f"a picture has the shape (H, W), (H, W, 3) or (H, W, 4), not {values.shape}"
        )
    picture = _pillow().fromarray(np.ascontiguousarray(np.clip(values, 0, 255), np.uint8))
    out = io.BytesIO()
    if kind == "JPEG":
        picture.convert("L" if values.ndim == 2 else "RGB").save(out, kind, quality=quality)
    else:
        picture.save(out, kind, compress_level=min(max(int(quality), 0), 9))
    return out.getvalue()
