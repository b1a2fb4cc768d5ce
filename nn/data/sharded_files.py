"""Samples in many files, more than memory holds: one global order, of which a rank reads its share.

The order is a function of (seed, epoch) and of the files, not of the number of ranks, and can be
entered at any batch.  It is made of *stretches*, a fixed number: all blocks of all files are
shuffled, the row of blocks is cut into stretches of equal length, and each stretch is shuffled
within windows.  A batch takes as many samples from each stretch; a rank has some of the stretches,
and reads these alone.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tapegrad.devices import collectives
from tapegrad.nn.data.loading import prefetch as read_ahead
from tapegrad.nn.data.tables import as_columns

__all__ = ["OwnShares", "SampleFiles", "SampleShard"]

NO_FILES = "SampleFiles: there are no files"
NO_KIND = (
    "SampleFiles: {path}: files are .npy, .parquet, .arrow and .feather, tuples of .npy files, or "
    "objects with len() and read(start, stop)"
)
LENGTHS = "SampleFiles: {paths} have different numbers of samples: {lengths}"
NO_COLUMNS = "SampleFiles: {path}: a table needs features= and labels=, names of columns"
NOT_DIVISIBLE = (
    "SampleFiles: batch_size {batch_size} does not divide into {stretches} stretches, or these not "
    "among {size} ranks"
)
OTHER_FORM = "SampleFiles: {path} holds samples of {found}, and the first file of {first}"
NO_ARROW = "SampleFiles: {path}: tables need pyarrow: pip install 'tapegrad[frames]'"


@runtime_checkable
class SampleShard(Protocol):
    """One file of samples."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def read(self, start: int, stop: int) -> tuple[Any, ...]:
        """Return the arrays (x, …, target) of samples start to stop - 1."""
        ...


class OwnShares(tuple[Any, ...]):  # noqa: SLOT001  # a tuple's class has no slots of its own
    """What one rank has of a batch (x, …, target), which a Trainer does not cut again.

    shares: the same in the parts that `optim.DataParallel` computes on
    total:  how many samples the batch has on all ranks
    """

    shares: list[tuple[Any, ...]]
    total: int

    @classmethod
    def of(cls, shares: list[tuple[Any, ...]], total: int) -> OwnShares:
        """Join shares to a batch."""
        made = cls(np.concatenate(parts) for parts in zip(*shares, strict=True))
        made.shares, made.total = shares, total
        return made


class _NpyShard:
    """Arrays in .npy files that are mapped, one file for each of (x, …, target)."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.arrays = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) != 1:
            raise ValueError(LENGTHS.format(paths=[str(p) for p in paths], lengths=lengths))

    def __len__(self) -> int:
        return len(self.arrays[0])

    def read(self, start: int, stop: int) -> tuple[Any, ...]:
        return tuple(np.array(array[start:stop]) for array in self.arrays)


class _TableShard:
    """Columns of a Parquet or Arrow file; of Parquet the row groups that are asked for are read."""

    def __init__(self, path: Path, features: Any, labels: Any) -> None:
        if features is None or labels is None:
            raise ValueError(NO_COLUMNS.format(path=path))
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise ImportError(NO_ARROW.format(path=path)) from error
        self.features, self.labels = features, labels
        self._file: Any = None
        self._table: Any = None
        if path.suffix == ".parquet":
            self._file = parquet.ParquetFile(path)
            groups = range(self._file.metadata.num_row_groups)
            self._ends = list(accumulate(self._file.metadata.row_group(i).num_rows for i in groups))
            self._last: tuple[int, Any] | None = None
        else:
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            self._ends = [self._table.num_rows]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, start: int, stop: int) -> tuple[Any, ...]:
        parts = []
        if self._file is None:
            parts.append(self._table.slice(start, stop - start))
        else:
            group = bisect_right(self._ends, start)
            while start < stop:
                first = self._ends[group - 1] if group else 0
                end = min(stop, self._ends[group])
                parts.append(self._group(group).slice(start - first, end - start))
                start, group = end, group + 1
        pairs = [(as_columns(p, self.features), as_columns(p, self.labels)) for p in parts]
        return tuple(
            np.concatenate([np.asarray(c) for c in side]) for side in zip(*pairs, strict=True)
        )

    def _group(self, number: int) -> Any:
        if self._last is None or self._last[0] != number:
            self._last = (number, self._file.read_row_group(number))
        return self._last[1]


def _opened(source: Any, features: Any, labels: Any) -> Any:
    """The shard of a path, a tuple of paths, or an object that is one."""
    if isinstance(source, SampleShard) and not isinstance(source, (str, tuple, list)):
        return source
    paths = [Path(p) for p in source] if isinstance(source, (tuple, list)) else [Path(source)]
    suffixes = {path.suffix for path in paths}
    if suffixes == {".npy"}:
        return _NpyShard(paths)
    if len(paths) == 1 and suffixes <= {".parquet", ".arrow", ".feather"}:
        return _TableShard(paths[0], features, labels)
    raise ValueError(NO_KIND.format(path=source))


class SampleFiles:
    """Batches (x, …, target) from many files, in an order that all ranks share.

    files:      paths: (x.npy, t.npy) tuples, .parquet, .arrow; or objects with `len()` and
                `read(start, stop)`, such as `mx.recordio.RecordShard`
    batch_size: of all ranks together; a multiple of `stretches`
    stretches:  how many parts the order has; a multiple of the number of ranks.  A run can go on
                with another number of ranks, and not with another number of stretches
    block:      samples of a file that stay together until the window is shuffled
    window:     samples of a stretch that are in memory and shuffled at a time
    features, labels: names of the columns of tables, one or a list
    drop_last:  leave out a last batch that is smaller
    prefetch:   batches that a thread reads ahead, 0 for none
    group:      the ranks, ``devices.collectives.current()`` when omitted
    ``files.epoch(e, start)`` goes through epoch e from batch `start` on, this rank's shares of each
    batch; a Trainer takes it as data.  `bytes_read` counts what this rank has read.
    Raises ValueError for files of other kinds or lengths and for sizes that do not divide, OSError
    for the files, ImportError where a table's library is missing.
    """

    def __init__(
        self,
        files: Iterable[Any],
        *,
        batch_size: int = 32,
        stretches: int = 8,
        shuffle: bool = True,
        seed: int = 0,
        block: int = 256,
        window: int = 8192,
        features: Sequence[str] | str | None = None,
        labels: Sequence[str] | str | None = None,
        drop_last: bool = False,
        prefetch: int = 2,
        group: collectives.RankGroup | None = None,
    ) -> None:
        self.group = collectives.current() if group is None else group
        if batch_size % stretches or stretches % self.group.size or batch_size < 1:
            raise ValueError(
                NOT_DIVISIBLE.format(
                    batch_size=batch_size, stretches=stretches, size=self.group.size
                )
            )
        names = [os.fspath(f) if isinstance(f, os.PathLike) else f for f in files]
        self.shards = [_opened(name, features, labels) for name in names]
        if not self.shards:
            raise ValueError(NO_FILES)
        self._check_form(names)
        self.batch_size, self.stretches, self.shuffle, self.seed = (
            batch_size, stretches, shuffle, seed,
        )  # fmt: skip
        self.block, self.window, self.drop_last, self.prefetch = block, window, drop_last, prefetch
        self.samples = sum(len(shard) for shard in self.shards)
        self.bytes_read = 0
        self._iterations = 0

    def _check_form(self, names: list[Any]) -> None:
        forms = []
        for shard in self.shards:
            one = shard.read(0, 1) if len(shard) else None
            forms.append(one and [(a.dtype.str, a.shape[1:]) for a in one])
        first = next((form for form in forms if form is not None), None)
        for name, form in zip(names, forms, strict=True):
            if form is not None and form != first:
                raise ValueError(OTHER_FORM.format(path=name, found=form, first=first))

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (bool(rest) and not self.drop_last)

    def __iter__(self) -> Iterator[OwnShares]:
        number = self._iterations
        self._iterations += 1
        return self.epoch(number)

    def epoch(self, number: int, start: int = 0) -> Iterator[OwnShares]:
        """Go through the batches of an epoch, from batch `start` on."""
        made = self._batches(number, start)
        return read_ahead(made, self.prefetch) if self.prefetch else made

    def _batches(self, number: int, start: int) -> Iterator[OwnShares]:
        own = self.stretches // self.group.size
        first = self.group.rank * own
        each = self.batch_size // self.stretches
        order = _Order(self, number)
        readers = [order.samples_of(first + i, start * each) for i in range(own)]
        for index in range(start, len(self)):
            total = min(self.batch_size, self.samples - index * self.batch_size)
            shares = []
            for i, reader in enumerate(readers):
                begin, end = order.bounds(first + i)
                count = max(min(each, end - begin - index * each), 0)
                shares.append(reader.take(count))
            yield OwnShares.of(shares, total)

    def read_part(self, shard: int, start: int, stop: int) -> tuple[Any, ...]:
        """Read samples start to stop - 1 of file number `shard`, and count the bytes."""
        arrays: tuple[Any, ...] = self.shards[shard].read(start, stop)
        self.bytes_read += sum(array.nbytes for array in arrays)
        return arrays


class _Order:
    """The order of one epoch: the row of blocks, and where it is cut."""

    def __init__(self, files: SampleFiles, epoch: int) -> None:
        self.files, self.epoch = files, epoch
        blocks = [
            (number, begin, min(begin + files.block, len(shard)))
            for number, shard in enumerate(files.shards)
            for begin in range(0, len(shard), files.block)
        ]
        if files.shuffle:
            draw = np.random.default_rng([files.seed, epoch])
            blocks = [blocks[i] for i in draw.permutation(len(blocks))]
        self.blocks = blocks
        self.ends = list(accumulate(stop - begin for _, begin, stop in blocks))

    def bounds(self, stretch: int) -> tuple[int, int]:
        """Return where a stretch begins and ends in the row; the first may be one sample longer."""
        each, more = divmod(self.files.samples, self.files.stretches)
        begin = stretch * each + min(stretch, more)
        return begin, begin + each + (stretch < more)

    def samples_of(self, stretch: int, start: int) -> _StretchReader:
        """Return what reads a stretch from its sample `start` on."""
        return _StretchReader(self, stretch, start)

    def read(self, begin: int, end: int) -> tuple[Any, ...]:
        """Return the samples of a part of the row."""
        parts = []
        at = bisect_right(self.ends, begin)
        while begin < end:
            shard, start, stop = self.blocks[at]
            first = self.ends[at] - (stop - start)
            until = min(end, self.ends[at])
            parts.append(self.files.read_part(shard, start + begin - first, start + until - first))
            begin, at = until, at + 1
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


class _StretchReader:
    """Samples of one stretch, window by window."""

    def __init__(self, order: _Order, stretch: int, start: int) -> None:
        self.order, self.stretch = order, stretch
        self.begin, self.end = order.bounds(stretch)
        self.at = self.begin + start
        self._held: tuple[int, tuple[Any, ...]] | None = None  # (number of the window, its arrays)
        self._form: tuple[Any, ...] | None = None

    def take(self, count: int) -> tuple[Any, ...]:
        """Return the next `count` samples."""
        size, parts = self.order.files.window, []
        while count:
            number, offset = divmod(self.at - self.begin, size)
            arrays = self._window(number)
            found = min(count, len(arrays[0]) - offset)
            parts.append(tuple(array[offset : offset + found] for array in arrays))
            self.at, count = self.at + found, count - found
        if not parts:
            return tuple(array[:0] for array in self._empty())
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    def _empty(self) -> tuple[Any, ...]:
        files = self.order.files
        shard = next(shard for shard in files.shards if len(shard))
        empty: tuple[Any, ...] = shard.read(0, 0) if self._held is None else self._held[1]
        return empty

    def _window(self, number: int) -> tuple[Any, ...]:
        if self._held is None or self._held[0] != number:
            files = self.order.files
            begin = self.begin + number * files.window
            arrays = self.order.read(begin, min(begin + files.window, self.end))
            if files.shuffle:
                key = [files.seed, self.order.epoch, self.stretch, number]
                mixed = np.random.default_rng(key).permutation(len(arrays[0]))
                arrays = tuple(array[mixed] for array in arrays)
            self._held = (number, arrays)
        return self._held[1]
