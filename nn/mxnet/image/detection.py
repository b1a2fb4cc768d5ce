"""ImageDetIter: pictures with the boxes of their objects.  Source: mx.image.detection."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.image.boxes import (
    CreateDetAugmenter,
    CreateMultiRandCropAugmenter,
    DetAugmenter,
    DetBorrowAug,
    DetHorizontalFlipAug,
    DetRandomCropAug,
    DetRandomPadAug,
    DetRandomSelectAug,
)
from tapegrad.nn.mxnet.image.iterator import ImageIter
from tapegrad.nn.mxnet.io.description import DataBatch, DataDesc
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import PathLike


__all__ = [
    "CreateDetAugmenter",
    "CreateMultiRandCropAugmenter",
    "DetAugmenter",
    "DetBorrowAug",
    "DetHorizontalFlipAug",
    "DetRandomCropAug",
    "DetRandomPadAug",
    "DetRandomSelectAug",
    "ImageDetIter",
]

_log = logging.getLogger(__name__)


class ImageDetIter(ImageIter):
    """Batches of pictures (N, channels, H, W) and of labels (N, objects, k); -1 fills up.

    A picture's label is a list [n, k, …, objects]: n numbers, of which k is the second, and k
    numbers for each object: class, left, top, right, bottom as shares of the width and height, ….
    aug_list: steps; when omitted, CreateDetAugmenter(data_shape, **settings)
    The other arguments are those of ImageIter.  A picture without a label behind the steps is left
    out.  Raises MXNetError for a label of another form, or without a box that has an area.
    """

    def __init__(
        self,
        batch_size: int,
        data_shape: Sequence[int],
        path_imgrec: PathLike | None = None,
        path_imglist: PathLike | None = None,
        path_root: PathLike | None = None,
        path_imgidx: PathLike | None = None,
        shuffle: bool = False,
        part_index: int = 0,
        num_parts: int = 1,
        aug_list: Sequence[Any] | None = None,
        imglist: Sequence[Sequence[Any]] | None = None,
        data_name: str = "data",
        label_name: str = "label",
        last_batch_handle: str = "pad",
        **settings: Any,
    ):
        super().__init__(
            batch_size, data_shape, path_imgrec=path_imgrec, path_imglist=path_imglist,
            path_root=path_root, path_imgidx=path_imgidx, shuffle=shuffle, part_index=part_index,
            num_parts=num_parts, aug_list=[], imglist=imglist, data_name=data_name,
            label_name=label_name, last_batch_handle=last_batch_handle,
        )  # fmt: skip
        self.auglist = CreateDetAugmenter(data_shape, **settings) if aug_list is None else aug_list
        self._set_label_shape(self._largest_label())

    def _set_label_shape(self, shape: tuple[int, int]) -> None:
        name = self.provide_label[0].name
        self.label_shape = shape
        self.provide_label = [DataDesc(name, (self.batch_size, *shape))]

    def _largest_label(self) -> tuple[int, int]:
        """(most objects of a picture, numbers of an object), from all labels."""
        most, width = 0, 0
        self.hard_reset()
        while True:
            try:
                label, _ = self.next_sample()
            except StopIteration:
                break
            objects = self._parse_label(label)
            if width and objects.shape[1] != width:
                raise MXNetError(
                    f"an object has {width} numbers in one label, {objects.shape[1]} in another"
                )
            most, width = max(most, len(objects)), objects.shape[1]
        self.hard_reset()
        if not width:
            raise MXNetError("there are no pictures")
        return most, width

    def _parse_label(self, label: Any) -> np.ndarray:
        """(objects, k), those with an area.  Raises MXNetError for another form, or for none."""
        values = label.asnumpy() if isinstance(label, NDArray) else label
        raw = np.asarray(values, np.float32).ravel()
        if raw.size < 7:
            raise MXNetError(
                f"a label for detection is [n, k, …, objects of k ≥ 5 numbers], not {raw.tolist()}"
            )
        header, width = int(raw[0]), int(raw[1])
        if header < 2 or width < 5 or (raw.size - header) % width:
            raise MXNetError(
                f"a label of {raw.size} numbers is no header of {header} and objects of {width}"
            )
        objects = raw[header:].reshape((-1, width))
        objects = objects[(objects[:, 3] > objects[:, 1]) & (objects[:, 4] > objects[:, 2])]
        if not len(objects):
            raise MXNetError(f"no box of the label {raw.tolist()} has an area")
        return objects

    def reshape(
        self, data_shape: Sequence[int] | None = None, label_shape: Sequence[int] | None = None
    ) -> None:
        """Give batches of another shape from now on.

        Raises ValueError for fewer objects than there are, or objects of another length.
        """
        if label_shape is not None:
            count, width = label_shape
            if count < self.label_shape[0] or width != self.label_shape[1]:
                raise ValueError(
                    f"label_shape {tuple(label_shape)} holds no labels of {self.label_shape}"
                )
            self._set_label_shape((count, width))
        if data_shape is not None:
            old = self.provide_data[0]
            self.data_shape = tuple(data_shape)
            shape = (self.batch_size, *self.data_shape)
            self.provide_data = [DataDesc(old.name, shape, old.dtype)]

    def sync_label_shape(self, it: ImageDetIter, verbose: bool = False) -> ImageDetIter:
        """Give both iterators labels of the larger number of objects; returns the other one.

        verbose: whether to log a change
        Raises ValueError for objects of another length.
        """
        mine, theirs = self.label_shape, it.label_shape
        if mine[1] != theirs[1]:
            raise ValueError(f"objects have {mine[1]} numbers here, {theirs[1]} there")
        shape = (max(mine[0], theirs[0]), mine[1])
        self.reshape(None, shape)
        it.reshape(None, shape)
        if verbose and mine != theirs:
            _log.info("Resized label_shape to (%d, %d).", *shape)
        return it

    def augmentation_transform(self, data: Any, label: Any = None) -> Any:
        """(picture, label) behind all steps."""
        steps: Sequence[Any] = self.auglist
        for step in steps:
            data, label = step(data, label)
        return data, label

    def _row(self) -> tuple[Any, np.ndarray]:
        while True:
            label, data = self.next_sample()
            picture, objects = self.augmentation_transform(
                self.imdecode(data), self._parse_label(label)
            )
            if len(objects) and (objects[:, 0] >= 0).any():
                break
            _log.debug("a picture without an object behind its steps is left out")
        found = self.postprocess_data(picture)
        if found.shape != self.data_shape:
            raise MXNetError(f"a picture has the shape {found.shape}, not {self.data_shape}")
        return objects, found

    def _batch(self, rows: list[tuple[Any, np.ndarray]], pad: int) -> DataBatch:
        labels = np.full((self.batch_size, *self.label_shape), -1, np.float32)
        for i, (objects, _) in enumerate(rows):
            labels[i, : len(objects)] = objects
        data = np.stack([x for _, x in rows])
        return DataBatch([array(data, dtype=self.dtype)], [array(labels)], pad=pad)
