"""Batches for any Trainer: shuffled, weighted, made by worker threads, and read ahead.

The order is a function of (seed, epoch), and so is what random transformers draw: neither depends
on how many threads there are, and a run can be continued in the middle of an epoch.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from tapegrad import devices
from tapegrad.nn.data.minibatch import MiniBatch, PaddingParam, stack_samples
from tapegrad.nn.data.randomness import current_draws, draw_from, generator_for, weighted_order
from tapegrad.nn.data.sample import Sample, row_array
from tapegrad.nn.data.sources import Columns, Rows, as_source
from tapegrad.nn.data.tables import TableColumns
from tapegrad.nn.data.transformer import DataTransformer, as_transformer

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.nn.data.transformer import TransformerLike

__all__ = ["Loader", "prefetch"]

T = TypeVar("T")
UNCOUNTED = (
    "Loader: samples of an iterator come once, in their order: give a list or arrays, for an order "
    "and for further epochs"
)
SEVERAL = (
    "Loader: the transformer cut a batch into several: leave SampleToMiniBatch out, or give it the "
    "Loader's batch_size"
)


@runtime_checkable
class HasSample(Protocol):
    """What holds a sample among other things, as an ImageFeature does."""

    def to_sample(self) -> Sample:
        """Return the sample."""
        ...


def prefetch(batches: Iterable[T], depth: int = 2) -> Iterator[T]:
    """The same batches, made by a thread that is up to `depth` ahead of who uses them.

    An error in the making is raised where the batch would have come.  The thread ends when the last
    batch is there, or when the iterator is closed or dropped.
    Raises ValueError for a depth below 1.
    """
    if depth < 1:
        raise ValueError(f"prefetch: depth must be at least 1, not {depth}")
    return _prefetched(batches, depth)


def _prefetched(batches: Iterable[T], depth: int) -> Iterator[T]:
    made: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not stopped.is_set():
            try:
                made.put((kind, value), timeout=0.05)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for batch in batches:
                if not put("batch", batch):
                    return
        except BaseException as error:  # noqa: BLE001  # raised again where the batch is asked for
            put("error", error)
        else:
            put("end", None)

    thread = threading.Thread(target=copy_context().run, args=(make,), daemon=True)
    thread.start()
    try:
        while True:
            kind, value = made.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()


class Loader:
    """Batches (input, target) of samples, for any Trainer.

    data:        arrays (x, target), a list of Samples, or anything that `predict` takes
    batch_size:  samples in a batch; the last may be smaller, unless drop_last leaves it out
    shuffle, seed: the order of epoch e depends on (seed, e) alone; a seed of None is drawn from the
                 CPU's generator once
    weights:     one for each sample; an epoch then draws as many samples as there are, with
                 replacement, in proportion to their weights
    transformer: runs on the samples of each batch, before they are stacked; its draws depend on
                 (seed, e, batch) alone
    padding, label_padding: how samples of different lengths are stacked
    workers:     threads that make batches; 0 for none.  Pillow and NumPy let others run while they
                 work, so threads are enough
    depth:       how many batches are made ahead, of each worker
    ``loader.epoch(e, start)`` goes through epoch e from batch `start` on; ``for batch in loader``
    is epoch 0 the first time, then epoch 1, and so on.
    Raises ValueError for a batch size below 1, for weights that are no probabilities, and for an
    iterator that would be shuffled; TypeError for what is no data.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int = 32,
        *,
        shuffle: bool = True,
        seed: int | None = None,
        weights: npt.ArrayLike | None = None,
        drop_last: bool = False,
        transformer: TransformerLike | None = None,
        padding: PaddingParam | None = None,
        label_padding: PaddingParam | None = None,
        workers: int = 0,
        depth: int = 2,
    ) -> None:
        if batch_size < 1 or workers < 0 or depth < 1:
            raise ValueError("Loader: batch_size and depth are at least 1, workers at least 0")
        with_targets = isinstance(data, tuple)
        source = as_source(data, "Loader", with_targets=with_targets)
        if source.length is None and (shuffle or weights is not None):
            raise ValueError(UNCOUNTED)
        self.source, self.batch_size, self.shuffle = source, batch_size, shuffle
        self.seed = int(current_draws().integers(0, 2**31)) if seed is None else seed
        self.drop_last, self.workers, self.depth = drop_last, workers, depth
        self.padding, self.label_padding = padding, label_padding
        self.transformer: DataTransformer | None = (
            None if transformer is None else as_transformer(transformer)
        )
        self.weights = None if weights is None else np.asarray(weights, np.float64)
        if self.weights is not None:
            if self.weights.shape != (source.length,):
                raise ValueError(f"Loader: {self.weights.shape} weights, {source.length} samples")
            weighted_order(self.weights, 1, generator_for(0))  # an error now, not in an epoch
        self._iterations = 0

    def __len__(self) -> int:
        n = self.source.length
        if n is None:
            raise TypeError(UNCOUNTED)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[MiniBatch]:
        number = self._iterations
        self._iterations += 1
        return self.epoch(number)

    def epoch(self, number: int, start: int = 0) -> Iterator[MiniBatch]:
        """Go through the batches of an epoch, from batch `start` on."""
        makers = self._makers(number, start)
        if not self.workers:
            for make in makers:
                yield make()
            return
        waiting: deque[Any] = deque()
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for make in makers:
                    waiting.append(pool.submit(copy_context().run, make))
                    if len(waiting) >= self.workers * self.depth:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for made in waiting:
                    made.cancel()

    def _makers(self, number: int, start: int) -> Iterator[Callable[[], MiniBatch]]:
        """For each batch a function that makes it, in any thread."""
        if self.source.length is None:
            for index, rows in enumerate(self._stream()):
                if index >= start and not (self.drop_last and len(rows) < self.batch_size):
                    yield partial(self._made, rows, number, index)
            return
        order = self.order(number)
        for index in range(start, len(self)):
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            yield partial(self._from_indices, chosen, number, index)

    def _stream(self) -> Iterator[list[Any]]:
        """The samples of each batch of a source that is not counted."""
        if isinstance(self.source, Rows):
            waiting = iter(self.source.rows)
            while rows := list(islice(waiting, self.batch_size)):
                yield rows
        else:
            yield from (batch.toSamples() for batch in self.source.batches(self.batch_size))

    def order(self, number: int) -> np.ndarray:
        """The samples of an epoch, in order."""
        n = self.source.length or 0
        generator = generator_for(self.seed, number)
        if self.weights is not None:
            return weighted_order(self.weights, n, generator)
        if not self.shuffle:
            return np.arange(n)
        return devices.to_numpy(generator.permutation(n))

    def _taken(self, indices: np.ndarray) -> Any:
        if isinstance(self.source, Columns):
            target = self.source.target
            batch = MiniBatch(
                _take_rows(self.source.input, indices),
                None if target is None else _take_rows(target, indices),
            )
            return batch if self.transformer is None else batch.toSamples()
        assert isinstance(self.source, Rows)
        rows: Any = self.source.rows
        return [rows[int(i)] for i in indices]

    def _from_indices(self, indices: np.ndarray, number: int, index: int) -> MiniBatch:
        return self._made(self._taken(indices), number, index)

    def _made(self, rows: Any, number: int, index: int) -> MiniBatch:
        if isinstance(rows, MiniBatch):
            return rows
        if self.transformer is not None:
            with draw_from(generator_for(self.seed, number, index + 1)):
                rows = list(self.transformer.apply(iter(rows)))
        if rows and isinstance(rows[0], MiniBatch):
            if len(rows) > 1:
                raise ValueError(SEVERAL)
            return rows[0]
        samples = [_as_sample(row) for row in rows]
        return stack_samples(samples, self.padding, self.label_padding)


def _as_sample(row: Any) -> Sample:
    if isinstance(row, Sample):
        return row
    if isinstance(row, HasSample):
        return row.to_sample()
    return Sample(*row) if isinstance(row, tuple) else Sample(row)


def _take_rows(nest: Any, indices: np.ndarray) -> Any:
    if isinstance(nest, dict):
        return {key: _take_rows(value, indices) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [_take_rows(value, indices) for value in nest]
    return nest.take(indices) if isinstance(nest, TableColumns) else row_array(nest)[indices]
