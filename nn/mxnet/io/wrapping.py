"""Iterators around iterators: ResizeIter, PrefetchingIter.  Source: mx.io."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tapegrad.nn.mxnet.io.description import DataBatch, DataDesc, DataIter, described

__all__ = ["PrefetchingIter", "ResizeIter"]


class ResizeIter(DataIter):
    """An iterator with another number of batches: it begins anew inside an epoch where it must.

    reset_internal: whether `reset` begins the inner iterator anew, too
    """

    def __init__(self, data_iter: DataIter, size: int, reset_internal: bool = True):
        super().__init__(data_iter.batch_size)
        self.data_iter, self.size, self.reset_internal = data_iter, size, reset_internal
        self.cur = 0
        self.current_batch: Any = None
        self.provide_data = data_iter.provide_data
        self.provide_label = data_iter.provide_label
        if hasattr(data_iter, "default_bucket_key"):
            self.default_bucket_key = data_iter.default_bucket_key

    def reset(self) -> None:
        """Begin anew."""
        self.cur = 0
        if self.reset_internal:
            self.data_iter.reset()

    def iter_next(self) -> bool:
        """Go on; False at the end."""
        if self.cur == self.size:
            return False
        try:
            self.current_batch = self.data_iter.next()
        except StopIteration:
            self.data_iter.reset()
            self.current_batch = self.data_iter.next()
        self.cur += 1
        return True

    def next(self) -> DataBatch:
        """The next batch.  Raises StopIteration at the end."""
        if not self.iter_next():
            raise StopIteration
        return self.current_batch

    def getdata(self) -> list[Any]:
        """The data of the current batch."""
        return self.current_batch.data

    def getlabel(self) -> list[Any]:
        """The labels of the current batch."""
        return self.current_batch.label

    def getindex(self) -> Any:
        """The numbers of the rows of the current batch."""
        return self.current_batch.index

    def getpad(self) -> int | None:
        """The number of rows that only fill the current batch."""
        return self.current_batch.pad


class _Fetcher(threading.Thread):
    """Fetches batches of one iterator ahead; an error arrives where the batch would."""

    def __init__(self, source: Any, depth: int):
        super().__init__(daemon=True)
        self.source = source
        self.found: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
        self.ended = threading.Event()

    def run(self) -> None:
        """Fetch until the end, an error, or `stop`."""
        while not self.ended.is_set():
            try:
                item: tuple[str, Any] = ("batch", self.source.next())
            except StopIteration:
                item = ("end", None)
            except BaseException as error:  # noqa: BLE001  # it is raised where the batch is asked for
                item = ("error", error)
            while not self.ended.is_set():
                try:
                    self.found.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if item[0] != "batch":
                return

    def stop(self) -> None:
        """End the thread."""
        self.ended.set()
        while not self.found.empty():
            self.found.get_nowait()
        self.join()


class PrefetchingIter(DataIter):
    """One or several iterators, fetched ahead by threads; their batches are joined side by side.

    rename_data, rename_label: for each iterator a dict old name -> new name
    An error in a thread is raised where its batch is asked for.
    """

    def __init__(
        self,
        iters: DataIter | Sequence[DataIter],
        rename_data: Sequence[Mapping[str, str]] | None = None,
        rename_label: Sequence[Mapping[str, str]] | None = None,
        depth: int = 1,
    ):
        self.iters: list[Any] = list(iters) if isinstance(iters, (list, tuple)) else [iters]
        if not self.iters:
            raise ValueError("PrefetchingIter needs an iterator")
        self.n_iter = len(self.iters)
        self.rename_data, self.rename_label = rename_data, rename_label
        self._depth = depth
        super().__init__(self.provide_data[0].shape[0])
        self.current_batch: Any = None
        self._fetchers: list[_Fetcher] = []
        self._start()

    def _start(self) -> None:
        self._fetchers = [_Fetcher(one, self._depth) for one in self.iters]
        for fetcher in self._fetchers:
            fetcher.start()

    def __del__(self) -> None:
        for fetcher in getattr(self, "_fetchers", ()):
            fetcher.ended.set()

    @property
    def provide_data(self) -> list[DataDesc]:
        """The descriptions of all data."""
        return self._described("provide_data", self.rename_data)

    @property
    def provide_label(self) -> list[DataDesc]:
        """The descriptions of all labels."""
        return self._described("provide_label", self.rename_label)

    def _described(self, which: str, renames: Any) -> list[DataDesc]:
        found = []
        for i, one in enumerate(self.iters):
            names = renames[i] if renames is not None else {}
            found += [
                DataDesc(names.get(d.name, d.name), d.shape, d.dtype, d.layout)
                for d in described(getattr(one, which)) or ()
            ]
        return found

    def reset(self) -> None:
        """Begin anew."""
        for fetcher in self._fetchers:
            fetcher.stop()
        for one in self.iters:
            one.reset()
        self._start()

    def iter_next(self) -> bool:
        """Go on; False at the end.

        Raises ValueError where the iterators do not end together, and what an iterator raised.
        """
        items = [fetcher.found.get() for fetcher in self._fetchers]
        for fetcher, (kind, value) in zip(self._fetchers, items, strict=True):
            if kind == "error":
                fetcher.found.put((kind, value))
                raise value
        kinds = {kind for kind, _ in items}
        if "end" in kinds:
            for fetcher, item in zip(self._fetchers, items, strict=True):
                if item[0] == "end":
                    fetcher.found.put(item)
            if len(kinds) > 1:
                raise ValueError("Number of entry mismatches between iterators")
            return False
        batches = [value for _, value in items]
        if len({batch.pad for batch in batches}) > 1:
            raise ValueError("Different pad number in the data batches of the iterators")
        self.current_batch = DataBatch(
            [x for batch in batches for x in batch.data],
            [x for batch in batches for x in batch.label or ()],
            batches[0].pad,
            batches[0].index,
            provide_data=self.provide_data,
            provide_label=self.provide_label,
        )
        return True

    def next(self) -> DataBatch:
        """The next batch.  Raises StopIteration at the end."""
        if not self.iter_next():
            raise StopIteration
        return self.current_batch

    def getdata(self) -> list[Any]:
        """The data of the current batch."""
        return self.current_batch.data

    def getlabel(self) -> list[Any]:
        """The labels of the current batch."""
        return self.current_batch.label

    def getindex(self) -> Any:
        """The numbers of the rows of the current batch."""
        return self.current_batch.index

    def getpad(self) -> int | None:
        """The number of rows that only fill the current batch."""
        return self.current_batch.pad
