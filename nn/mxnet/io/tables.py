"""CSVIter, LibSVMIter, MNISTIter: batches of the rows of files of numbers.  Source: mx.io."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.core.services import service
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.io.rounding import MXDataIter, part_of, shape_of, true, warn_of

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import PathLike, ShapeOrText


__all__ = ["CSVIter", "LibSVMIter", "MNISTIter"]

_NONE = ("NULL", "", None)


class _TableIter(MXDataIter):
    """Batches of rows that are all in memory."""

    _data: np.ndarray
    _label: np.ndarray

    def _rows(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        return ((i, x, y) for i, (x, y) in enumerate(zip(self._data, self._label, strict=True)))


class CSVIter(_TableIter):
    """Batches of the lines of a file of numbers with commas.

    data_csv, label_csv:     files; without labels they are 0
    data_shape, label_shape: the shape of one row; its size is the number of columns
    round_batch:             as in MXDataIter
    dtype:                   "float32", "int32" or "int64"
    Gives data (N, *data_shape), labels (N,) or (N, *label_shape).
    Raises FormatError for other files, MXNetError for columns that do not fit the shape or fewer
    labels than rows, OSError.
    """

    def __init__(
        self,
        data_csv: PathLike,
        data_shape: ShapeOrText,
        label_csv: PathLike = "NULL",
        label_shape: ShapeOrText = (1,),
        batch_size: int = 1,
        round_batch: bool = True,
        dtype: str = "float32",
        data_name: str = "data",
        label_name: str = "softmax_label",
        **others: Any,
    ):
        warn_of("CSVIter", others)
        super().__init__(batch_size, round_batch, data_name, label_name)
        kind = str(np.dtype(dtype))
        self._data = _shaped(data_csv, shape_of(data_shape), kind)
        count = len(self._data)
        if label_csv in _NONE:
            self._label = np.zeros((count, 1), np.float32)
        else:
            self._label = _shaped(label_csv, shape_of(label_shape), kind)
        self._label = _enough(self._label, count, label_csv)


class LibSVMIter(_TableIter):
    """Batches of the lines "label index:value …" of a file; indices begin at 0.

    data_shape:               (columns,)
    label_libsvm:             a second file, of labels with `label_shape` columns
    num_parts, part_index:    which part of the lines
    Gives data (N, columns), dense, and labels (N,) or (N, *label_shape).
    Raises FormatError for other files, MXNetError for shapes of several axes or fewer labels than
    rows, OSError.
    """

    def __init__(
        self,
        data_libsvm: PathLike,
        data_shape: ShapeOrText,
        label_libsvm: PathLike = "NULL",
        label_shape: ShapeOrText = (1,),
        batch_size: int = 1,
        round_batch: bool = True,
        num_parts: int = 1,
        part_index: int = 0,
        data_name: str = "data",
        label_name: str = "softmax_label",
        **others: Any,
    ):
        warn_of("LibSVMIter", others)
        super().__init__(batch_size, round_batch, data_name, label_name)
        if not self._round:
            raise MXNetError("LibSVMIter takes round_batch=True only")
        columns, width = shape_of(data_shape), shape_of(label_shape)
        if len(columns) != 1 or len(width) != 1:
            raise MXNetError(f"dimension of data_shape is expected to be 1, not {len(columns)}")
        rows, labels = service("mxnet.read_libsvm")(data_libsvm, columns[0])
        if label_libsvm in _NONE:
            if width != (1,):
                raise MXNetError("label_shape is (1,) where label_libsvm is not given")
            labels = labels[:, None]
        else:
            if width == (1,):
                raise MXNetError("label_shape is not (1,) where label_libsvm is given")
            labels, _ = service("mxnet.read_libsvm")(label_libsvm, width[0])
            labels = _enough(labels, len(rows), label_libsvm)
        part = part_of(len(rows), part_index, num_parts)
        self._data, self._label = rows[part.start : part.stop], labels[part.start : part.stop]


class MNISTIter(_TableIter):
    """Batches of MNIST's files; a last batch that is not full is dropped.

    image, label:          idx files, compressed by gzip or not
    flat:                  whether a picture is a vector
    shuffle, seed:         whether the pictures are drawn in another order, once
    num_parts, part_index: which part of the pictures
    Gives data (N, 1, H, W), or (N, H·W) if flat, from 0 to 255/256, and labels (N,).
    Raises FormatError for other files, MXNetError for another number of labels, OSError.
    """

    def __init__(
        self,
        image: PathLike = "./train-images-idx3-ubyte",
        label: PathLike = "./train-labels-idx1-ubyte",
        batch_size: int = 128,
        shuffle: bool = True,
        flat: bool = False,
        seed: int = 0,
        num_parts: int = 1,
        part_index: int = 0,
        data_name: str = "data",
        label_name: str = "softmax_label",
        **others: Any,
    ):
        warn_of("MNISTIter", others)
        super().__init__(batch_size, data_name=data_name, label_name=label_name, drops=True)
        pictures, labels = service("mxnet.read_idx")(image), service("mxnet.read_idx")(label)
        if pictures.ndim != 3 or labels.ndim != 1 or len(pictures) != len(labels):
            raise MXNetError(
                f"MNISTIter needs pictures (N, H, W) and labels (N,), not {pictures.shape} and "
                f"{labels.shape}"
            )
        part = part_of(len(pictures), part_index, num_parts)
        pictures, labels = pictures[part.start : part.stop], labels[part.start : part.stop]
        if true(shuffle):
            order = np.random.RandomState(int(seed)).permutation(len(pictures))
            pictures, labels = pictures[order], labels[order]
        self._data = pictures.astype(np.float32) / np.float32(256)
        _, height, width = pictures.shape
        flat = true(flat)
        self._data = self._data.reshape((-1, height * width) if flat else (-1, 1, height, width))
        self._label = labels.astype(np.float32)[:, None]


def _shaped(path: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    found = service("mxnet.read_csv")(path, dtype)
    if found.shape[1] != math.prod(shape) and len(found):
        raise MXNetError(
            "The data size in CSV do not match size of shape: specified shape="
            f"{shape}, the csv row-length={found.shape[1]}"
        )
    return np.asarray(found).reshape((len(found), *shape))


def _enough(labels: np.ndarray, count: int, path: Any) -> np.ndarray:
    if len(labels) < count:
        raise MXNetError(f"{path} has {len(labels)} labels for {count} rows")
    return labels[:count]
