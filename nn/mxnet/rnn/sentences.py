"""BucketSentenceIter, encode_sentences: data for language models.  Source: mx.rnn.io."""

from __future__ import annotations

import bisect
import random
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.io.description import DataBatch, DataDesc, DataIter
from tapegrad.nn.mxnet.ndarray.ndarray import array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import DTypeLike


__all__ = ["BucketSentenceIter", "encode_sentences"]


def encode_sentences(
    sentences: Iterable[Iterable[Any]],
    vocab: dict[Any, int] | None = None,
    invalid_label: int = -1,
    invalid_key: object = "\n",
    start_label: int = 0,
    unknown_token: object = None,
) -> tuple[list[list[int]], dict[Any, int]]:
    """(sentences as numbers, word -> number).

    vocab:         known words; when omitted, all words are given numbers from start_label on
    invalid_label: the number of `invalid_key`, which no word gets
    unknown_token: the word that stands for words not in `vocab`
    Raises AssertionError for a word that is not in `vocab`, without an unknown_token.
    """
    is_new = vocab is None
    numbers: dict[Any, int] = {invalid_key: invalid_label} if vocab is None else vocab
    following = start_label
    found = []
    for sentence in sentences:
        coded = []
        for word in sentence:
            if word not in numbers:
                if not is_new and unknown_token is None:
                    raise AssertionError(f"Unknown token {word!r}: give unknown_token")
                if following == invalid_label:
                    following += 1
                if unknown_token is not None:
                    word = unknown_token
                if word not in numbers:
                    numbers[word] = following
                    following += 1
            coded.append(numbers[word])
        found.append(coded)
    return found, numbers


class BucketSentenceIter(DataIter):
    """Batches of sentences of about one length; the label of a word is the next one.

    sentences:     lists of numbers
    buckets:       lengths; a sentence is filled up to the next, one that is longer than all is left
                   out; when omitted, each length that fills a batch
    invalid_label: what fills sentences up, and the last label
    layout:        "NT", or "TN" for time first
    Gives batches whose bucket_key is the length.  Order is drawn anew in each epoch, from Python's
    and NumPy's global generators.  Raises ValueError for another layout, or no bucket.
    """

    def __init__(
        self,
        sentences: Sequence[Sequence[int]],
        batch_size: int,
        buckets: Sequence[int] | None = None,
        invalid_label: int = -1,
        data_name: str = "data",
        label_name: str = "softmax_label",
        dtype: DTypeLike = "float32",
        layout: str = "NT",
    ):
        super().__init__(batch_size)
        if layout not in ("NT", "TN"):
            raise ValueError(
                f"Invalid layout {layout}: Must by NT (batch major) or TN (time major)"
            )
        lengths = [len(s) for s in sentences]
        if not buckets:
            counts = np.bincount(lengths) if lengths else np.zeros(0, np.int64)
            buckets = [i for i, count in enumerate(counts) if count >= batch_size]
        if not buckets:
            raise ValueError(f"no length has {batch_size} sentences: give buckets")
        self.buckets = sorted(buckets)
        rows: list[list[np.ndarray]] = [[] for _ in self.buckets]
        for sentence, length in zip(sentences, lengths, strict=True):
            at = bisect.bisect_left(self.buckets, length)
            if at < len(self.buckets):
                row = np.full((self.buckets[at],), invalid_label, dtype)
                row[:length] = sentence
                rows[at].append(row)
        left_out = len(lengths) - sum(map(len, rows))
        if left_out:
            warnings.warn(
                f"discarded {left_out} sentences longer than the largest bucket.", stacklevel=2
            )
        self.data = [
            np.asarray(one, dtype).reshape(-1, width)
            for one, width in zip(rows, self.buckets, strict=True)
        ]
        self.invalid_label, self.dtype, self.layout = invalid_label, dtype, layout
        self.data_name, self.label_name = data_name, label_name
        self.major_axis = layout.find("N")
        self.default_bucket_key = max(self.buckets)
        self.provide_data = [self._described(data_name, self.default_bucket_key)]
        self.provide_label = [self._described(label_name, self.default_bucket_key)]
        self.idx = [
            (i, j)
            for i, one in enumerate(self.data)
            for j in range(0, len(one) - batch_size + 1, batch_size)
        ]
        self.curr_idx = 0
        self.reset()

    def _described(self, name: str, length: int) -> DataDesc:
        shape = (self.batch_size, length) if self.major_axis == 0 else (length, self.batch_size)
        return DataDesc(name, shape, layout=self.layout)

    def reset(self) -> None:
        """Begin anew in another order."""
        self.curr_idx = 0
        random.shuffle(self.idx)
        for one in self.data:
            np.random.shuffle(one)  # noqa: NPY002  # MXNet's users seed this generator

    def next(self) -> DataBatch:
        """The next batch.  Raises StopIteration at the end."""
        if self.curr_idx == len(self.idx):
            raise StopIteration
        i, j = self.idx[self.curr_idx]
        self.curr_idx += 1
        data = self.data[i][j : j + self.batch_size]
        label = np.full_like(data, self.invalid_label)
        label[:, :-1] = data[:, 1:]
        if self.major_axis == 1:
            data, label = data.T, label.T
        length = self.buckets[i]
        return DataBatch(
            [array(data, dtype=self.dtype)], [array(label, dtype=self.dtype)], pad=0,
            bucket_key=length, provide_data=[self._described(self.data_name, length)],
            provide_label=[self._described(self.label_name, length)],
        )  # fmt: skip
