"""predict, predict_class and evaluate: a model over any data, batch by batch.

A model runs in evaluation mode and without a tape; each part of it is in its own mode again before
the next line of the caller's runs.  What a sample's output is depends a little on the batch that it
is computed in: BLAS adds in another order for another number of rows.  So data is divided at whole
batches, and the batches, and with them all results, are the same bits however many partitions and
workers there are.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.progress import progress_place, with_bar
from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.core.evaluation import evaluation_mode
from tapegrad.nn.core.services import register_service
from tapegrad.nn.data.backends import Job, find_backend
from tapegrad.nn.data.sources import as_source

if TYPE_CHECKING:
    from tapegrad.nn.data.minibatch import MiniBatch, PaddingParam

__all__ = ["DEFAULT_BATCH", "EvaluatePartition", "PredictPartition", "evaluate", "predict",
           "predict_class", "run_batch"]  # fmt: skip

DEFAULT_BATCH = 32
BATCH_SIZE = (
    "{place}: batchSize is a whole number of at least 1, or -1 for {default}, not {found!r}"
)
NOT_OF_SAMPLES = (
    "{place}: the model returned an array of shape {found} for a batch of {size} samples: one row "
    "for each sample is needed"
)
NO_SAMPLES = (
    "{place}: there are no samples in the data. (A generator can be used once: give a list, or "
    "DataSet.function(make))"
)
NOT_ONE_LABEL = (
    "predict_class: the output of a sample is of shape {found}: one score for each class, "
    "(classes,), is needed; use predict for other outputs"
)
NO_METHODS = "evaluate: give at least one validation method, such as optim.Top1Accuracy()"
NOT_A_METHOD = (
    "evaluate takes (data, methods): {found!r:.40} cannot be called with (output, target). Inputs "
    "and targets are one tuple, evaluate((x, y), [Top1Accuracy()])"
)


# (output, target) -> a result, which is added to others with +
ValidationMethod = Callable[[Any, Any], Any]


def _device_of(model: Any) -> Any:
    named = getattr(model, "named_parameters", None)
    parameter = next(named(), None) if callable(named) else None
    return None if parameter is None else parameter[1].device


def run_batch(model: Any, batch: MiniBatch, place: str, *, rows: bool = True) -> Any:
    """The output of a batch as Tensors, in a nest.

    rows: whether it must have one row for each sample

    Torch7's View and Reshape take a batch of one sample for a sample, and drop its axis.  So where
    the output of one sample may lack it, the sample runs as two of the same.
    Raises ValueError for an output that has not one row for each sample.
    """
    device = _device_of(model)

    def to_tensor(array: Any) -> Tensor:
        if device is None or device.kind == "cpu":
            return Tensor(array)
        return Tensor(devices.to_device(array, device))

    output = model(map_leaves(to_tensor, batch.getInput()))
    size = batch.size()
    if size == 1 and any(np.ndim(leaf) < 2 for leaf in leaves(output)):
        twice = map_leaves(lambda array: np.concatenate([array, array]), batch.getInput())
        pair = model(map_leaves(to_tensor, twice))
        if all(np.ndim(leaf) and len(leaf) == 2 for leaf in leaves(pair)):
            output = map_leaves(lambda leaf: leaf[:1], pair)
    for leaf in leaves(output) if rows else ():
        if not np.ndim(leaf) or len(leaf) != size:
            found = tuple(np.shape(leaf))
            raise ValueError(NOT_OF_SAMPLES.format(place=place, found=found, size=size))
    return output


def _numpy(tensor: Any) -> np.ndarray:
    return devices.to_numpy(array_of(tensor.detach() if isinstance(tensor, Tensor) else tensor))


@dataclass(frozen=True)
class PredictPartition:
    """The function from a partition of samples to the outputs of its samples, in order.

    classes: only the number of the largest entry;  share: see `predict`
    """

    model: Any
    batch_size: int
    share: bool = False
    classes: bool = False
    padding: PaddingParam | None = None
    place: str = "predict"

    def __call__(self, samples: Any, buffers: list[np.ndarray] | None = None) -> Iterator[Any]:
        source = as_source(samples, self.place, with_targets=False, padding=self.padding)
        buffers = [] if buffers is None else buffers
        for batch in source.batches(self.batch_size):
            with evaluation_mode(self.model):
                output = run_batch(self.model, batch, self.place)
            if self.classes:
                yield from _classes(output)
                continue
            if self.share:
                arrays = map_leaves(_SharedBuffers(buffers), output)
            else:
                arrays = map_leaves(lambda leaf: np.array(_numpy(leaf)), output)
            yield from _rows(arrays, batch.size())


class _SharedBuffers:
    """Copies the outputs of each batch into the same memory, made for the first."""

    def __init__(self, buffers: list[np.ndarray]) -> None:
        self.buffers, self.at = buffers, 0

    def __call__(self, leaf: Any) -> np.ndarray:
        array = _numpy(leaf)
        index, self.at = self.at, self.at + 1
        if index == len(self.buffers):
            self.buffers.append(np.array(array))
        buffer = self.buffers[index]
        fits = buffer.shape[1:] == array.shape[1:] and buffer.dtype == array.dtype
        if not fits or len(buffer) < len(array):
            buffer = self.buffers[index] = np.array(array)
        found = buffer[: len(array)]
        found[...] = array
        return found


def _rows(arrays: Any, size: int) -> Iterator[Any]:
    if isinstance(arrays, np.ndarray):
        yield from arrays
        return
    for index in range(size):
        yield map_leaves(operator.itemgetter(index), arrays)


def _classes(output: Any) -> list[int]:
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(np.shape(output)[1:]) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(NOT_ONE_LABEL.format(found=shape))
    return [int(label) for label in _numpy(output).argmax(axis=1)]


def checked_batch_size(place: str, batch_size: Any, default: int = DEFAULT_BATCH) -> int:
    """Return a batch size, the default one for -1.  Raises ValueError for other numbers below 1."""
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__"):
        raise TypeError(BATCH_SIZE.format(place=place, default=default, found=batch_size))
    number = operator.index(batch_size)
    if number != -1 and number < 1:
        raise ValueError(BATCH_SIZE.format(place=place, default=default, found=batch_size))
    return default if number == -1 else number


@register_service("predict")
def predict(
    model: Any,
    data: Any,
    batchSize: int = -1,
    shareBuffer: bool = False,
    *,
    progress: bool | None = None,
    featurePaddingParam: PaddingParam | None = None,
    partitions: int | None = None,
    backend: str | None = None,
    workers: int | None = None,
) -> Any:
    """The outputs of all samples of `data`, in order: one array (or nest) for each sample.

    data:        an array (N, …), a memory map, a tuple of arrays for a model of several inputs; a
                 list or generator of Samples or arrays; a pandas frame, an Arrow table; a
                 LocalDataSet; batches
    batchSize:   samples that the model runs on at once; -1 means 32
    shareBuffer: the outputs of all batches are in one memory: each is valid until the next batch is
                 asked for.  False: every output keeps its values
    progress:    a bar with the samples done.  None: where somebody looks on, in a notebook or, with
                 tqdm, in a terminal, after two seconds; True: always; False: never
    featurePaddingParam: how features of different shapes are stacked
    partitions, backend, workers: see `Job`; backend is "local", "threads", "processes" or another
                 registered one.  The results are the same bits for all of them
    Returns a list; an iterator, which computes a batch when its first output is asked for, where
    `data` is an iterator or shareBuffer is True.  So memory is that of one batch.
    The model runs in evaluation mode and is in its own mode afterwards.
    Raises TypeError for what is no data, ValueError for an output that has not one row for each
    sample, ImportError for what is not installed.  (BigDL's predict.)
    """
    size = checked_batch_size("predict", batchSize)
    function = PredictPartition(model, size, share=shareBuffer, padding=featurePaddingParam)
    job = Job(function, "predict", False, size, partitions, workers, featurePaddingParam)
    return _mapped(job, data, backend, progress, lazy=shareBuffer)


def _mapped(job: Job, data: Any, backend: str | None, progress: bool | None, *, lazy: bool) -> Any:
    results = find_backend(backend, data).map(job, data)
    if not isinstance(results, Iterator):
        return results  # a back end's own form, such as an RDD
    lazy = lazy or isinstance(data, Iterator)
    # Of results that are computed when they are asked for, the caller decides what takes long.
    if progress or (not lazy and progress_place(progress) is not None):
        results = with_bar(results, _count(data), "sample", name=job.place, progress=progress)
    return results if lazy else list(results)


def _count(data: Any) -> int | None:
    try:
        return as_source(data, "predict", with_targets=False).length
    except (TypeError, ValueError):
        return None


@register_service("predict_class")
def predict_class(
    model: Any,
    data: Any,
    batchSize: int = -1,
    *,
    progress: bool | None = None,
    featurePaddingParam: PaddingParam | None = None,
    partitions: int | None = None,
    backend: str | None = None,
    workers: int | None = None,
) -> Any:
    """The class of each sample of `data`: the number of its largest output, counted from 0.

    Of equal ones the first.  Arguments as `predict`'s; returns an array of integers (N,), an
    iterator where `data` is one.
    Raises ValueError where the output of a sample is not one score for each class, and what
    `predict` raises.  (BigDL's predictClass, whose classes count from 1.)
    """
    size = checked_batch_size("predict_class", batchSize)
    function = PredictPartition(
        model, size, classes=True, padding=featurePaddingParam, place="predict_class"
    )
    job = Job(function, "predict_class", False, size, partitions, workers, featurePaddingParam)
    found = _mapped(job, data, backend, progress, lazy=False)
    return np.array(found, np.int64) if isinstance(found, list) else found


@dataclass(frozen=True)
class EvaluatePartition:
    """The function from a partition of samples to one list of results, one for each method.

    A partition without samples has no results.
    """

    model: Any
    methods: Sequence[ValidationMethod]
    batch_size: int
    padding: PaddingParam | None = None
    place: str = "evaluate"
    exact: bool = False

    def __call__(self, samples: Any) -> Iterator[list[Any]]:
        source = as_source(samples, self.place, with_targets=True, padding=self.padding)
        batches = source.batches(self.batch_size)
        if self.exact:  # also batches that somebody made
            batches = (batch.slice(i, 1) for batch in batches for i in range(batch.size()))
        total: list[Any] | None = None
        for batch in batches:
            if not batch.size():
                continue
            with evaluation_mode(self.model):
                output = run_batch(self.model, batch, self.place, rows=False)
                found = [method(output, batch.getTarget()) for method in self.methods]
            total = found if total is None else add_results(total, found)
        if total is not None:
            yield total


def add_results(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """The results of two partitions added, method by method."""
    return [a + b for a, b in zip(first, second, strict=True)]


@register_service("evaluate")
def evaluate(
    model: Any,
    data: Any,
    methods: ValidationMethod | Sequence[ValidationMethod],
    batchSize: int | None = None,
    *,
    exact: bool = False,
    progress: bool | None = None,
    featurePaddingParam: PaddingParam | None = None,
    partitions: int | None = None,
    backend: str | None = None,
    workers: int | None = None,
) -> list[tuple[Any, ValidationMethod]]:
    """What each validation method finds on `data`: a list of (result, method).

    data:      samples with labels: (x, target), Samples, MiniBatches, DataSet.frame(…), …
    methods:   one or several, called with (output, target) of a batch; their results are added
    batchSize: samples that the model runs on at once; None or -1 means 32
    exact:     each sample by itself.  Outputs then are the same bits in whatever batch a sample
               would have come, also where another system divides the data; it takes longer
    Other arguments as `predict`'s: partitions and workers change no bit.
    Raises ValueError for data without samples or labels, TypeError for methods that cannot be
    called, and what `predict` raises.  (BigDL's evaluate(dataset, vMethods).)
    """
    listed = [methods] if callable(methods) else list(methods)
    if not listed:
        raise ValueError(NO_METHODS)
    for method in listed:
        if not callable(method) or isinstance(method, type):
            raise TypeError(NOT_A_METHOD.format(found=method))
    size = checked_batch_size("evaluate", -1 if batchSize is None else batchSize)
    size = 1 if exact else size
    function = EvaluatePartition(model, listed, size, featurePaddingParam, exact=exact)
    job = Job(function, "evaluate", True, size, partitions, workers, featurePaddingParam)
    # Each partition would draw a bar of its own.
    is_one = backend in (None, "local") and partitions in (None, 1)
    if progress or (is_one and progress_place(progress) is not None):
        job = replace(job, function=_Shown(function, progress))
    found = find_backend(backend, data).reduce(job, data, add_results)
    if found is None:
        raise ValueError(NO_SAMPLES.format(place="evaluate"))
    return list(zip(found, listed, strict=True))


@dataclass(frozen=True)
class _Shown:
    """An `EvaluatePartition` with a progress bar over its batches."""

    function: EvaluatePartition
    progress: bool | None

    def __call__(self, samples: Any) -> Iterator[list[Any]]:
        source = as_source(samples, "evaluate", with_targets=True, padding=self.function.padding)
        total = None if source.length is None else -(-source.length // self.function.batch_size)
        batches = with_bar(
            source.batches(self.function.batch_size),
            total,
            "batch",
            name="evaluate",
            progress=self.progress,
        )
        return self.function(batches)
