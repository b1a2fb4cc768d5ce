"""ImageRecordIter: batches of pictures from a record file.  Source: mx.io.ImageRecordIter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.core.services import service
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.image.lists import read_list
from tapegrad.nn.mxnet.io.description import DataDesc
from tapegrad.nn.mxnet.io.rounding import MXDataIter, part_of, shape_of, true, warn_of
from tapegrad.nn.mxnet.ndarray.ndarray import as_array
from tapegrad.nn.mxnet.recordio import unpack
from tapegrad.nn.mxnet.resample import resized

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import PathLike, ShapeOrText


__all__ = ["ImageRecordIter", "ImageRecordUInt8Iter"]

# Changes of MXNet's that are not here, with the value that means "off".
_ABSENT = {
    "max_rotate_angle": 0, "rotate": -1, "max_shear_ratio": 0, "max_random_contrast": 0,
    "max_random_illumination": 0, "random_h": 0, "random_s": 0, "random_l": 0, "brightness": 0,
    "contrast": 0, "saturation": 0, "pca_noise": 0,
}  # fmt: skip


class ImageRecordIter(MXDataIter):
    """Batches of the pictures of a record file, cut to one size.

    data_shape:             (channels, height, width), with 1 or 3 channels
    resize:                 length of the shorter side before the cut; -1: as it is
    rand_crop, rand_mirror: a random place instead of the middle; mirrored in half of the cases
    random_resized_crop:    a rectangle of random area and proportion, resized
    mean_r, …, std_r, …:    of each channel; mean_img: the file of a mean picture, which is made if
                            it is not there
    scale:                  the result is (x - mean) · scale / std, float32
    shuffle, seed:          another order in each epoch
    path_imglist:           a file "number labels path" whose labels replace those of the records
    part_index, num_parts:  which part of the records
    round_batch:            as in MXDataIter
    preprocess_threads:     accepted, and without effect
    Gives data (N, channels, height, width), labels (N,) or (N, label_width).
    Raises MXNetError for pictures that are smaller than data_shape, labels of another width and
    changes that are not here (rotation, colours); FormatError for other files; OSError; ImportError
    without Pillow.
    """

    def __init__(
        self,
        path_imgrec: PathLike,
        data_shape: ShapeOrText,
        batch_size: int,
        path_imglist: PathLike = "",
        path_imgidx: PathLike = "",
        label_width: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        seed_aug: int | None = None,
        part_index: int = 0,
        num_parts: int = 1,
        round_batch: bool = True,
        resize: int = -1,
        rand_crop: bool = False,
        random_resized_crop: bool = False,
        max_random_area: float = 1.0,
        min_random_area: float = 1.0,
        max_aspect_ratio: float = 0.0,
        min_aspect_ratio: float | None = None,
        max_crop_size: int = -1,
        min_crop_size: int = -1,
        rand_mirror: bool = False,
        mirror: bool = False,
        pad: int = 0,
        fill_value: int = 255,
        inter_method: int = 1,
        mean_img: PathLike = "",
        mean_r: float = 0.0,
        mean_g: float = 0.0,
        mean_b: float = 0.0,
        mean_a: float = 0.0,
        std_r: float = 1.0,
        std_g: float = 1.0,
        std_b: float = 1.0,
        std_a: float = 1.0,
        scale: float = 1.0,
        dtype: str = "float32",
        data_name: str = "data",
        label_name: str = "softmax_label",
        **others: Any,
    ):
        for name, off in _ABSENT.items():
            if others.pop(name, off) not in (off, str(off)):
                raise MXNetError(f"{type(self).__name__}: {name} is not here: leave it out")
        warn_of(type(self).__name__, others)
        super().__init__(batch_size, round_batch, data_name, label_name)
        self._shape = shape_of(data_shape)
        if len(self._shape) != 3 or self._shape[0] not in (1, 3):
            raise MXNetError(f"data_shape is (1 or 3, height, width), not {self._shape}")
        self._resize, self._crop, self._resized_crop = (
            resize,
            true(rand_crop),
            true(random_resized_crop),
        )
        self._area = (min_random_area, max_random_area)
        self._aspect = (
            min_aspect_ratio if min_aspect_ratio is not None else 1 - max_aspect_ratio,
            max_aspect_ratio if min_aspect_ratio is not None else 1 + max_aspect_ratio,
        )
        self._square = (min_crop_size, max_crop_size)
        self._rand_mirror, self._mirror = true(rand_mirror), true(mirror)
        self._pad, self._fill, self._method = pad, fill_value, inter_method
        self._width, self._shuffle, self._dtype = int(label_width), true(shuffle), np.dtype(dtype)
        self._order = np.random.RandomState(seed)
        self._draws = np.random.RandomState(seed + 1 if seed_aug is None else seed_aug)
        self._reader = service("mxnet.record_reader")(path_imgrec)
        found = _places(self._reader, path_imgidx)
        part = part_of(len(found), part_index, num_parts)
        self._places = found[part.start : part.stop]
        self._labels = read_list(path_imglist) if path_imglist else None
        shape = () if self._width == 1 else (self._width,)
        self._shapes = (
            DataDesc(data_name, (self.batch_size, *self._shape), self._dtype.type),
            DataDesc(label_name, (self.batch_size, *shape)),
        )
        channels = self._shape[0]
        self._mean: Any = _of_channels((mean_r, mean_g, mean_b, mean_a), channels)
        self._factor: Any = np.float32(scale) / _of_channels((std_r, std_g, std_b, std_a), channels)
        if mean_img:
            self._mean = self._mean_picture(Path(mean_img))

    def _rows(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        order = np.arange(len(self._places))
        if self._shuffle:
            self._order.shuffle(order)
        return (self._row(int(i)) for i in order)

    def _row(self, at: int) -> tuple[int, np.ndarray, np.ndarray]:
        self._reader.seek(self._places[at])
        header, data = unpack(self._reader.read() or b"")
        label = header.label
        if self._labels is not None:
            if header.id not in self._labels:
                raise MXNetError(f"the list has no picture with the number {header.id}")
            label = self._labels[header.id][0]
        label = np.asarray(label, np.float32).reshape(-1)
        if label.shape != (self._width,):
            raise MXNetError(f"picture {header.id} has {label.size} labels, not {self._width}")
        picture = self._cut(service("mxnet.decode_image")(data, self._shape[0]))
        if self._mirror != (self._rand_mirror and self._draws.randint(2) == 1):
            picture = picture[:, ::-1]
        return header.id, self._normal(picture.transpose(2, 0, 1)), label

    def _normal(self, picture: np.ndarray) -> np.ndarray:
        return ((picture.astype(np.float32) - self._mean) * self._factor).astype(self._dtype)

    def _cut(self, picture: np.ndarray) -> np.ndarray:
        """The picture (H, W, channels) resized, and cut to (height, width)."""
        height, width = self._shape[1:]
        if self._resize > 0:
            rows, columns = picture.shape[:2]
            long = self._resize * max(rows, columns) // min(rows, columns)
            size = (self._resize, long) if rows > columns else (long, self._resize)
            picture = resized(picture, size[0], size[1], self._method, self._draws)
        if self._pad:
            around = ((self._pad, self._pad), (self._pad, self._pad), (0, 0))
            picture = np.pad(picture, around, constant_values=self._fill)
        if self._resized_crop:
            return self._some(picture)
        if self._square != (-1, -1):
            least, most = self._square
            side = int(self._draws.randint(max(least, 1), max(most, least) + 1))
            return resized(self._at(picture, side, side), width, height, self._method, self._draws)
        return self._at(picture, height, width)

    def _at(self, picture: np.ndarray, height: int, width: int) -> np.ndarray:
        rows, columns = picture.shape[:2]
        if rows < height or columns < width:
            raise MXNetError(
                f"input image size {(rows, columns)} smaller than input shape {(height, width)}: "
                "give resize=…, or a smaller data_shape"
            )
        y, x = (rows - height) // 2, (columns - width) // 2
        if self._crop:
            y = int(self._draws.randint(rows - height + 1))
            x = int(self._draws.randint(columns - width + 1))
        return picture[y : y + height, x : x + width]

    def _some(self, picture: np.ndarray) -> np.ndarray:
        """A rectangle of random area and proportion; the middle where ten draws do not fit."""
        rows, columns = picture.shape[:2]
        height, width = self._shape[1:]
        for _ in range(10):
            area = self._draws.uniform(*self._area) * rows * columns
            ratio = self._draws.uniform(*self._aspect)
            h, w = round(float(np.sqrt(area / ratio))), round(float(np.sqrt(area * ratio)))
            if 0 < h <= rows and 0 < w <= columns:
                y = int(self._draws.randint(rows - h + 1))
                x = int(self._draws.randint(columns - w + 1))
                found = picture[y : y + h, x : x + w]
                return resized(found, width, height, self._method, self._draws)
        side = min(rows, columns)
        y, x = (rows - side) // 2, (columns - side) // 2
        found = picture[y : y + side, x : x + side]
        return resized(found, width, height, self._method, self._draws)

    def _mean_picture(self, path: Path) -> np.ndarray:
        """The mean picture in a file; of all pictures here where there is no such file."""
        if path.is_file():
            found = service("mxnet.load_arrays")(path)
            mean = next(iter(found.values())) if isinstance(found, dict) else found[0]
            if tuple(mean.shape) != self._shape:
                raise MXNetError(f"{path} has the shape {mean.shape}, not {self._shape}")
            return np.asarray(mean.asnumpy())
        kept = self._mean, self._factor, self._dtype
        self._mean, self._factor, self._dtype = np.float32(0), np.float32(1), np.dtype(np.float32)
        total = np.zeros(self._shape, np.float64)
        for i in range(len(self._places)):
            total += self._row(i)[1]
        mean = (total / max(len(self._places), 1)).astype(np.float32)
        self._mean, self._factor, self._dtype = kept
        service("mxnet.save_arrays")(path, {"mean_img": as_array(mean)})
        return mean


class ImageRecordUInt8Iter(ImageRecordIter):
    """`ImageRecordIter` whose data are the pictures' own bytes, uint8, as they are."""

    def __init__(
        self, path_imgrec: PathLike, data_shape: ShapeOrText, batch_size: int, **settings: Any
    ):
        super().__init__(path_imgrec, data_shape, batch_size, dtype="uint8", **settings)

    def _normal(self, picture: np.ndarray) -> np.ndarray:
        return picture


def _of_channels(values: tuple[float, ...], channels: int) -> np.ndarray:
    return np.array(values[:channels], np.float32).reshape(channels, 1, 1)


def _places(reader: Any, path_imgidx: Any) -> list[int]:
    """The bytes where records begin: from the index, or by reading the file once."""
    if path_imgidx:
        return [at for _, at in service("mxnet.read_record_index")(path_imgidx)]
    found: list[int] = []
    while True:
        at = reader.tell()
        if reader.read() is None:
            return found
        found.append(at)
