"""ImageIter: batches of pictures from a record file or a list of files.  Source: mx.image."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.image.augmenters import CreateAugmenter
from tapegrad.nn.mxnet.image.functions import imdecode
from tapegrad.nn.mxnet.image.lists import read_list
from tapegrad.nn.mxnet.io.description import DataBatch, DataDesc, DataIter
from tapegrad.nn.mxnet.io.rounding import part_of
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array
from tapegrad.nn.mxnet.recordio import MXIndexedRecordIO, MXRecordIO, unpack

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import NDArrayLike, PathLike


__all__ = ["ImageIter"]


class ImageIter(DataIter):
    """Batches of pictures (N, channels, H, W), and labels (N,) or (N, label_width).

    path_imgrec, path_imgidx: a record file and its index
    path_imglist, imglist:    lines "number labels path" of a file, or lists [label, path];
                              path_root is put before the paths
    aug_list:                 steps; when omitted, CreateAugmenter(data_shape, **settings)
    last_batch_handle:        "pad", "discard" or "roll_over"
    Raises ValueError for a shape that is not (channels, H, W), no source, or shuffled records
    without an index; MXNetError for pictures of another size than data_shape behind the steps.
    """

    def __init__(
        self,
        batch_size: int,
        data_shape: Sequence[int],
        label_width: int = 1,
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
        label_name: str = "softmax_label",
        dtype: str = "float32",
        last_batch_handle: str = "pad",
        **settings: Any,
    ):
        super().__init__(batch_size)
        if len(data_shape) != 3 or data_shape[0] not in (1, 3):
            raise ValueError(f"data_shape is (1 or 3, height, width), not {tuple(data_shape)}")
        if last_batch_handle not in ("pad", "discard", "roll_over"):
            raise ValueError(f"last_batch_handle is no {last_batch_handle!r}")
        self.data_shape, self.label_width = tuple(data_shape), label_width
        self.shuffle, self.last_batch_handle, self.dtype = shuffle, last_batch_handle, dtype
        self.path_root = Path(path_root or "")
        self.auglist = CreateAugmenter(data_shape, **settings) if aug_list is None else aug_list
        self.imglist: dict[Any, tuple[np.ndarray, str]] = {}
        if path_imglist is not None:
            self.imglist = read_list(path_imglist)
        elif imglist is not None:
            for i, (label, path) in enumerate(imglist):
                self.imglist[i] = (np.atleast_1d(np.asarray(label, np.float32)), str(path))
        self.imgrec: MXRecordIO | None = None
        self.seq: list[Any] | None = list(self.imglist) or None
        if path_imgrec is not None and path_imgidx is not None:
            self.imgrec = MXIndexedRecordIO(path_imgidx, path_imgrec, "r")
            self.seq = self.seq or list(self.imgrec.keys)
        elif path_imgrec is not None:
            self.imgrec = MXRecordIO(path_imgrec, "r")
            self.seq = None
            if shuffle or num_parts > 1:
                raise ValueError("shuffle and num_parts need path_imgidx")
        elif self.seq is None:
            raise ValueError("ImageIter needs path_imgrec, path_imglist or imglist")
        if self.seq is not None:
            part = part_of(len(self.seq), part_index, num_parts)
            self.seq = self.seq[part.start : part.stop]
        label = (batch_size,) if label_width == 1 else (batch_size, label_width)
        self.provide_data = [
            DataDesc(data_name, (batch_size, *self.data_shape), np.dtype(dtype).type)
        ]
        self.provide_label = [DataDesc(label_name, label)]
        self.cur = 0
        self._kept: list[tuple[Any, np.ndarray]] = []
        self.hard_reset()

    def hard_reset(self) -> None:
        """Begin anew, and forget rows that would roll over."""
        self._kept = []
        self.reset()

    def reset(self) -> None:
        """Begin anew; rows that roll over come first."""
        if self.shuffle and self.seq is not None:
            random.shuffle(self.seq)
        if self.imgrec is not None and self.seq is None:
            self.imgrec.reset()
        self.cur = 0

    def next_sample(self) -> tuple[Any, bytes]:
        """(label, bytes of the picture) of the next row.  Raises StopIteration at the end."""
        if self.seq is None:
            assert self.imgrec is not None
            record = self.imgrec.read()
            if record is None:
                raise StopIteration
            header, data = unpack(record)
            return header.label, data
        if self.cur >= len(self.seq):
            raise StopIteration
        key = self.seq[self.cur]
        self.cur += 1
        if isinstance(self.imgrec, MXIndexedRecordIO):
            header, data = unpack(self.imgrec.read_idx(key) or b"")
            return (self.imglist[key][0] if key in self.imglist else header.label), data
        label, path = self.imglist[key]
        return label, (self.path_root / path).read_bytes()

    def imdecode(self, s: bytes) -> NDArray:
        """The picture of a file's bytes."""
        return imdecode(s, flag=1 if self.data_shape[0] == 3 else 0)

    def augmentation_transform(self, data: Any) -> Any:
        """The picture behind all steps."""
        for step in self.auglist:
            data = step(data)
        return data

    def postprocess_data(self, datum: NDArrayLike) -> np.ndarray:
        """(channels, H, W) of (H, W, channels)."""
        values = datum.asnumpy() if isinstance(datum, NDArray) else np.asarray(datum)
        return values.transpose(2, 0, 1)

    def _row(self) -> tuple[Any, np.ndarray]:
        label, data = self.next_sample()
        found = self.postprocess_data(self.augmentation_transform(self.imdecode(data)))
        if found.shape != self.data_shape:
            raise MXNetError(f"a picture has the shape {found.shape}, not {self.data_shape}")
        return label, found

    def next(self) -> DataBatch:
        """The next batch.  Raises StopIteration at the end."""
        rows, self._kept = self._kept, []
        try:
            while len(rows) < self.batch_size:
                rows.append(self._row())
        except StopIteration:
            if not rows or self.last_batch_handle == "discard":
                raise StopIteration from None
            if self.last_batch_handle == "roll_over":
                self._kept = rows
                raise StopIteration from None
        pad = self.batch_size - len(rows)
        rows += [rows[i % len(rows)] for i in range(pad)]
        return self._batch(rows, pad)

    def _batch(self, rows: list[tuple[Any, np.ndarray]], pad: int) -> DataBatch:
        """The batch of rows (label, picture), of which the last `pad` only fill it."""
        labels = np.array(
            [np.asarray(label, np.float32).reshape(-1)[: self.label_width] for label, _ in rows]
        )
        if labels.shape[1] != self.label_width:
            raise MXNetError(
                f"labels have {labels.shape[1]} entries, label_width={self.label_width}"
            )
        if self.label_width == 1:
            labels = labels[:, 0]
        data = np.stack([x for _, x in rows])
        return DataBatch([array(data, dtype=self.dtype)], [array(labels)], pad=pad)
