"""Functions on pictures: read, resize, crop, normalize.  Source: mx.image.

A picture is an array (H, W, channels), red first.  What takes an NDArray gives one; a NumPy array
gives a NumPy array.  Random places come from Python's `random`, which MXNet's users seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.core.services import service
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array
from tapegrad.nn.mxnet.resample import resized

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import Colour, NDArrayLike, PathLike, Picture


__all__ = [
    "center_crop",
    "color_normalize",
    "copyMakeBorder",
    "fixed_crop",
    "imdecode",
    "imread",
    "imresize",
    "random_crop",
    "random_size_crop",
    "resize_short",
    "scale_down",
]

Box = tuple[int, int, int, int]


def imdecode(
    buf: bytes | bytearray | memoryview | NDArrayLike, flag: int = 1, to_rgb: bool = True
) -> NDArray:
    """The picture (H, W, channels) of a file's bytes, uint8.

    flag:   1: three channels, 0: gray, -1: as the picture has
    to_rgb: red first, else blue
    Raises FormatError for other bytes, ValueError for none, ImportError without Pillow.
    """
    data = buf.asnumpy().tobytes() if isinstance(buf, NDArray) else bytes(buf)
    if not data:
        raise ValueError("imdecode: there are no bytes")
    found = service("mxnet.decode_image")(data, {1: 3, 0: 1}.get(flag, 0))
    if not to_rgb and found.shape[2] == 3:
        found = found[:, :, ::-1]
    return array(found, dtype=np.uint8)


def imread(filename: PathLike, flag: int = 1, to_rgb: bool = True) -> NDArray:
    """The picture in a file; as `imdecode`.  Raises OSError for the file itself."""
    return imdecode(Path(filename).read_bytes(), flag, to_rgb)


def _of(src: Any) -> np.ndarray:
    return src.asnumpy() if isinstance(src, NDArray) else np.asarray(src)


def _like(found: np.ndarray, src: Picture) -> Picture:
    return array(found, src.context, found.dtype) if isinstance(src, NDArray) else found


def imresize(src: Picture, w: int, h: int, interp: int = 1) -> Picture:
    """The picture as (h, w, channels).  Raises ValueError for another method than `resized` has."""
    return _like(resized(_of(src), w, h, interp), src)


# OpenCV's numbers of borders -> NumPy's words; 16 is 0 of a picture by itself.
_BORDERS: dict[int, Any] = {
    0: "constant",
    1: "edge",
    2: "symmetric",
    3: "wrap",
    4: "reflect",
    16: "constant",
}


def copyMakeBorder(
    src: Picture,
    top: int,
    bot: int,
    left: int,
    right: int,
    type: int = 0,
    values: float | Sequence[float] = 0,
) -> Picture:
    """The picture with a border of so many rows and columns, of one colour with type 0.

    type: 0 the colour `values`, 1 the edge again and again, 2 and 4 a mirror image with and without
          the edge, 3 the opposite side
    Raises ValueError for another type.
    """
    if type not in _BORDERS:
        raise ValueError(f"type is one of {', '.join(map(str, _BORDERS))}, not {type}")
    image = _of(src)
    found = np.pad(image, [(top, bot), (left, right), (0, 0)], _BORDERS[type])
    if _BORDERS[type] == "constant":
        inside = np.zeros(found.shape[:2], bool)
        inside[top : top + image.shape[0], left : left + image.shape[1]] = True
        found[~inside] = np.asarray(values, image.dtype)
    return _like(found, src)


def resize_short(src: Picture, size: int, interp: int = 2) -> Picture:
    """The picture with its shorter side of length `size`, its sides in the same proportion."""
    h, w = src.shape[:2]
    new_w, new_h = (size, size * h // w) if h > w else (size * w // h, size)
    return imresize(src, new_w, new_h, interp)


def scale_down(src_size: Sequence[int], size: Sequence[int]) -> tuple[int, int]:
    """(width, height) of a crop, made smaller in proportion until it fits into the picture."""
    w, h = (float(n) for n in size)
    sw, sh = src_size
    if sh < h:
        w, h = w * sh / h, sh
    if sw < w:
        w, h = sw, h * sw / w
    return int(w), int(h)


def fixed_crop(
    src: Picture,
    x0: int,
    y0: int,
    w: int,
    h: int,
    size: Sequence[int] | None = None,
    interp: int = 2,
) -> Picture:
    """The rectangle (h, w) of a picture at column x0 and row y0, resized to size = (width, height).

    Raises ValueError for a rectangle that is not inside.
    """
    rows, columns = src.shape[:2]
    if not (x0 >= 0 and y0 >= 0 and 0 < w <= columns - x0 and 0 < h <= rows - y0):
        raise ValueError(f"{w} x {h} at ({x0}, {y0}) is not inside a picture {columns} x {rows}")
    found = _of(src)[y0 : y0 + h, x0 : x0 + w]
    if size is not None and (w, h) != tuple(size):
        found = resized(found, size[0], size[1], interp)
    return _like(found, src)


def random_crop(src: Picture, size: Sequence[int], interp: int = 2) -> tuple[Picture, Box]:
    """(crop, (x0, y0, w, h)): a rectangle at a random place, resized to size = (width, height)."""
    h, w = src.shape[:2]
    new_w, new_h = scale_down((w, h), size)
    x0, y0 = random.randint(0, w - new_w), random.randint(0, h - new_h)
    return fixed_crop(src, x0, y0, new_w, new_h, size, interp), (x0, y0, new_w, new_h)


def center_crop(src: Picture, size: Sequence[int], interp: int = 2) -> tuple[Picture, Box]:
    """(crop, (x0, y0, w, h)): the rectangle in the middle, resized to size = (width, height)."""
    h, w = src.shape[:2]
    new_w, new_h = scale_down((w, h), size)
    x0, y0 = (w - new_w) // 2, (h - new_h) // 2
    return fixed_crop(src, x0, y0, new_w, new_h, size, interp), (x0, y0, new_w, new_h)


def random_size_crop(
    src: Picture,
    size: Sequence[int],
    area: float | Sequence[float],
    ratio: Sequence[float],
    interp: int = 2,
) -> tuple[Picture, Box]:
    """(crop, (x0, y0, w, h)): a rectangle of random area, proportion and place, resized to size.

    area:  the least part of the picture, or (least, largest)
    ratio: (least, largest) width / height
    Where ten draws do not fit, the crop is the middle.
    """
    h, w = src.shape[:2]
    least, largest = (area, 1.0) if isinstance(area, (int, float)) else area
    for _ in range(10):
        target = random.uniform(least, largest) * h * w
        proportion = np.exp(random.uniform(np.log(ratio[0]), np.log(ratio[1])))
        new_w, new_h = (
            round(float(np.sqrt(target * proportion))),
            round(float(np.sqrt(target / proportion))),
        )
        if 0 < new_w <= w and 0 < new_h <= h:
            x0, y0 = random.randint(0, w - new_w), random.randint(0, h - new_h)
            return fixed_crop(src, x0, y0, new_w, new_h, size, interp), (x0, y0, new_w, new_h)
    return center_crop(src, size, interp)


def color_normalize(src: Picture, mean: Colour, std: Colour = None) -> Picture:
    """(x - mean) / std, float32, a number or one for each channel."""
    found: Any = _of(src).astype(np.float32)
    if mean is not None:
        found = found - _of(mean).astype(np.float32)
    if std is not None:
        found = found / _of(std).astype(np.float32)
    return _like(found, src)
