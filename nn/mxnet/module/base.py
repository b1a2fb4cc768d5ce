"""BaseModule: what every module can do: fit, score, predict.

Source: mx.module.BaseModule.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad.nn.mxnet import initializer, metric
from tapegrad.nn.mxnet.compat import faults_of_1_9_1
from tapegrad.nn.mxnet.io.description import DataBatch, DataIter
from tapegrad.nn.mxnet.ndarray.files import load as load_arrays
from tapegrad.nn.mxnet.ndarray.files import save as save_arrays
from tapegrad.nn.mxnet.ndarray.files import split_params
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array, as_array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.metric.base import EvalMetric
    from tapegrad.nn.mxnet.monitor import Monitor
    from tapegrad.nn.mxnet.types import (
        BatchCallbacks,
        BatchLike,
        EpochCallbacks,
        InitializerLike,
        KVStoreLike,
        LoggerLike,
        MetricLike,
        NDArrayLike,
        NDArrays,
        OptimizerLike,
        OptimizerSettings,
        ParamsLike,
        PathLike,
        RowIds,
    )


__all__ = ["BaseModule", "BatchEndParam"]

BIND_FIRST = "call bind first"
INIT_FIRST = "call bind and init_params first"
OPTIMIZER_FIRST = "call init_optimizer first"


DEFAULT = initializer.Uniform(0.01)


class BatchEndParam(NamedTuple):
    """What callbacks at the end of a batch are given."""

    epoch: int
    nbatch: int
    eval_metric: Any
    locals: Any


def as_list(value: Any) -> list[Any]:
    """A list of the value, or the value itself as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


class BaseModule:
    """A machine: bind, init_params, init_optimizer, then forward, backward and update.

    Raises AssertionError, with what to call first, for a call in the wrong state.
    """

    def __init__(self, logger: LoggerLike = logging):
        self.logger = logger
        self.binded = False
        self.for_training = False
        self.inputs_need_grad = False
        self.params_initialized = False
        self.optimizer_initialized = False
        self._symbol: Any = None
        self._total_exec_bytes = 0

    def _must(self, holds: bool, text: str) -> None:
        if not holds:
            raise AssertionError(text)

    def _must_be_ready(self) -> None:
        self._must(self.binded and self.params_initialized, INIT_FIRST)

    # What a subclass gives

    data_names: Any
    output_names: Any
    data_shapes: Any
    label_shapes: Any
    output_shapes: Any

    def bind(self, *args: Any, **settings: Any) -> None:
        """Make the executors for shapes of data and labels."""
        raise NotImplementedError

    def init_params(self, *args: Any, **settings: Any) -> None:
        """Give parameters their first values."""
        raise NotImplementedError

    def init_optimizer(self, *args: Any, **settings: Any) -> None:
        """Make the optimizer."""
        raise NotImplementedError

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """(parameters, states) by name."""
        raise NotImplementedError

    def forward(self, data_batch: BatchLike, is_train: bool | None = None) -> None:
        """Run the graph on a batch."""
        raise NotImplementedError

    def backward(self, out_grads: NDArrays | None = None) -> None:
        """Fill the gradients."""
        raise NotImplementedError

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The outputs of the last forward."""
        raise NotImplementedError

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients of the data."""
        raise NotImplementedError

    def update(self) -> None:
        """One step of the optimizer."""
        raise NotImplementedError

    def update_metric(
        self, eval_metric: EvalMetric, labels: Sequence[Any], pre_sliced: bool = False
    ) -> None:
        """Give a metric the last outputs and their labels."""
        raise NotImplementedError

    def install_monitor(self, mon: Monitor) -> None:
        """Let a Monitor watch all outputs."""
        raise NotImplementedError

    def prepare(self, data_batch: BatchLike, sparse_row_id_fn: RowIds | None = None) -> None:
        """Get ready for a batch that comes next."""

    @property
    def symbol(self) -> Any:
        """The symbol."""
        return self._symbol

    # What follows

    def forward_backward(self, data_batch: BatchLike) -> None:
        """forward in training mode, then backward."""
        self.forward(data_batch, is_train=True)
        self.backward()

    def score(
        self,
        eval_data: DataIter,
        eval_metric: MetricLike,
        num_batch: int | None = None,
        batch_end_callback: BatchCallbacks = None,
        score_end_callback: BatchCallbacks = None,
        reset: bool = True,
        epoch: int = 0,
        sparse_row_id_fn: RowIds | None = None,
    ) -> list[tuple[str, float]]:
        """[(name, value)] of a metric over an iterator; rows that only fill a batch do not count.

        num_batch: at most so many batches
        """
        self._must_be_ready()
        if reset:
            eval_data.reset()
        eval_metric = metric.as_metric(eval_metric)
        eval_metric.reset()
        count = 0
        for nbatch, batch in _limited(eval_data, num_batch):
            self.prepare(batch, sparse_row_id_fn=sparse_row_id_fn)
            self.forward(batch, is_train=False)
            self._score_batch(eval_metric, batch)
            for callback in as_list(batch_end_callback):
                callback(BatchEndParam(epoch, nbatch, eval_metric, locals()))
            count = nbatch + 1
        for callback in as_list(score_end_callback):
            callback(BatchEndParam(epoch, count, eval_metric, locals()))
        return list(eval_metric.get_name_value())

    def _score_batch(self, eval_metric: EvalMetric, batch: Any) -> None:
        if isinstance(batch, list):
            self.update_metric(eval_metric, [one.label for one in batch], pre_sliced=True)
            return
        pad = getattr(batch, "pad", None)
        if pad and not faults_of_1_9_1():
            labels = [as_array(x) for x in batch.label or ()]
            kept = [x[: x.shape[0] - pad] for x in labels]
            outputs = [y[: y.shape[0] - pad] for y in self.get_outputs()]
            names = [d.name for d in self.label_shapes or ()]
            eval_metric.update_dict(
                dict(zip(names, kept, strict=False)),
                dict(zip(self.output_names, outputs, strict=True)),
            )
            return
        self.update_metric(eval_metric, batch.label)

    def iter_predict(
        self,
        eval_data: DataIter,
        num_batch: int | None = None,
        reset: bool = True,
        sparse_row_id_fn: RowIds | None = None,
    ) -> Iterator[tuple[list[Any], int, Any]]:
        """(outputs without the rows that fill the batch, number, batch) for each batch."""
        self._must_be_ready()
        if reset:
            eval_data.reset()
        for nbatch, batch in _limited(eval_data, num_batch):
            self.prepare(batch, sparse_row_id_fn=sparse_row_id_fn)
            self.forward(batch, is_train=False)
            pad = batch.pad or 0
            yield [y[: y.shape[0] - pad] for y in self.get_outputs()], nbatch, batch

    def predict(
        self,
        eval_data: DataIter | NDArrayLike,
        num_batch: int | None = None,
        merge_batches: bool = True,
        reset: bool = True,
        always_output_list: bool = False,
        sparse_row_id_fn: RowIds | None = None,
    ) -> Any:
        """The outputs for an iterator, joined along axis 0; or of one array.

        merge_batches:      else a list for each batch
        always_output_list: a list even of a single output
        Raises ValueError for other data, AssertionError where batches have several numbers of
        outputs.
        """
        self._must_be_ready()
        if isinstance(eval_data, (NDArray, np.ndarray)):
            data = as_array(eval_data) if isinstance(eval_data, NDArray) else array(eval_data)
            mode = None if faults_of_1_9_1() else False
            self.forward(DataBatch([data]), is_train=mode)
            return self.get_outputs()[0]
        if not isinstance(eval_data, DataIter) and not hasattr(eval_data, "reset"):
            raise ValueError("eval_data must be of type NDArray or DataIter")
        found = [
            [y.copy() for y in outputs]
            for outputs, _, _ in self.iter_predict(eval_data, num_batch, reset, sparse_row_id_fn)
        ]
        if not found or not merge_batches:
            return found
        count = len(found[0])
        if any(len(outputs) != count for outputs in found):
            raise AssertionError(
                "Cannot merge batches, as num of outputs is not the same in mini-batches. Maybe "
                "bucketing is used?"
            )
        merged = []
        for parts in zip(*found, strict=True):
            whole = np.concatenate([y.asnumpy() for y in parts])
            merged.append(array(whole, parts[0].context, whole.dtype))
        return merged[0] if count == 1 and not always_output_list else merged

    def fit(
        self,
        train_data: DataIter,
        eval_data: DataIter | None = None,
        eval_metric: MetricLike = "acc",
        epoch_end_callback: EpochCallbacks = None,
        batch_end_callback: BatchCallbacks = None,
        kvstore: KVStoreLike = "local",
        optimizer: OptimizerLike = "sgd",
        optimizer_params: OptimizerSettings = (("learning_rate", 0.01),),
        eval_end_callback: BatchCallbacks = None,
        eval_batch_end_callback: BatchCallbacks = None,
        initializer: InitializerLike = DEFAULT,
        arg_params: ParamsLike | None = None,
        aux_params: ParamsLike | None = None,
        allow_missing: bool = False,
        force_rebind: bool = False,
        force_init: bool = False,
        begin_epoch: int = 0,
        num_epoch: int | None = None,
        validation_metric: MetricLike | None = None,
        monitor: Monitor | None = None,
        sparse_row_id_fn: RowIds | None = None,
    ) -> None:
        """Train from epoch `begin_epoch` up to `num_epoch`, which is the end and not a count.

        Binds, gives parameters first values and makes the optimizer where that is still to do.
        Callbacks of an epoch are called with (epoch, symbol, arg_params, aux_params), those of a
        batch with a BatchEndParam.
        Raises AssertionError without `num_epoch`.
        """
        self._must(num_epoch is not None, "please specify number of epochs")
        assert num_epoch is not None
        self.bind(
            data_shapes=train_data.provide_data, label_shapes=train_data.provide_label,
            for_training=True, force_rebind=force_rebind,
        )  # fmt: skip
        if monitor is not None:
            self.install_monitor(monitor)
        self.init_params(
            initializer=initializer, arg_params=arg_params, aux_params=aux_params,
            allow_missing=allow_missing, force_init=force_init,
        )  # fmt: skip
        self.init_optimizer(kvstore=kvstore, optimizer=optimizer, optimizer_params=optimizer_params)
        if validation_metric is None:
            validation_metric = eval_metric
        eval_metric = metric.as_metric(eval_metric)
        for epoch in range(begin_epoch, num_epoch):
            begun = time.time()
            values = self._train_epoch(
                epoch, train_data, eval_metric, batch_end_callback, monitor, sparse_row_id_fn
            )
            for name, value in values:
                self.logger.info("Epoch[%d] Train-%s=%f", epoch, name, value)
            self.logger.info("Epoch[%d] Time cost=%.3f", epoch, time.time() - begun)
            arg_params, aux_params = self.get_params()
            self.set_params(arg_params, aux_params)
            for callback in as_list(epoch_end_callback):
                callback(epoch, self.symbol, arg_params, aux_params)
            if eval_data:
                found = self.score(
                    eval_data, validation_metric, score_end_callback=eval_end_callback,
                    batch_end_callback=eval_batch_end_callback, epoch=epoch,
                )  # fmt: skip
                for name, value in found:
                    self.logger.info("Epoch[%d] Validation-%s=%f", epoch, name, value)
            train_data.reset()

    def _train_epoch(
        self,
        epoch: int,
        train_data: DataIter,
        eval_metric: EvalMetric,
        batch_end_callback: BatchCallbacks,
        monitor: Monitor | None,
        sparse_row_id_fn: RowIds | None,
    ) -> list[tuple[str, float]]:
        """One epoch; the metric's values over all of it."""
        eval_metric.reset()
        nbatch = 0
        batches = iter(train_data)
        try:
            batch = next(batches)
        except StopIteration:
            raise StopIteration("fit: the training data are empty") from None
        values: list[tuple[str, float]] = []
        end_of_batch = False
        while not end_of_batch:
            data_batch = batch
            if monitor is not None:
                monitor.tic()
            self.forward_backward(data_batch)
            self.update()
            if isinstance(data_batch, list):
                labels = [one.label for one in data_batch]
                self.update_metric(eval_metric, labels, pre_sliced=True)
            else:
                self.update_metric(eval_metric, data_batch.label)
            try:
                batch = next(batches)  # one batch ahead, so that `prepare` may fetch for it
                self.prepare(batch, sparse_row_id_fn=sparse_row_id_fn)
            except StopIteration:
                end_of_batch = True
            if monitor is not None:
                monitor.toc_print()
            if end_of_batch:
                values = list(eval_metric.get_global_name_value())
            for callback in as_list(batch_end_callback):
                callback(BatchEndParam(epoch, nbatch, eval_metric, locals()))
            nbatch += 1
        return values

    # Parameters

    def set_params(
        self,
        arg_params: ParamsLike,
        aux_params: ParamsLike,
        allow_missing: bool = False,
        force_init: bool = True,
        allow_extra: bool = False,
    ) -> None:
        """Give all parameters and states the given values; see `init_params`."""
        self.init_params(
            initializer=None, arg_params=arg_params, aux_params=aux_params,
            allow_missing=allow_missing, force_init=force_init, allow_extra=allow_extra,
        )  # fmt: skip

    def save_params(self, fname: PathLike) -> None:
        """Write parameters and states to a .params file."""
        arg_params, aux_params = self.get_params()
        found = {f"arg:{name}": x for name, x in arg_params.items()}
        found |= {f"aux:{name}": x for name, x in aux_params.items()}
        save_arrays(fname, found)

    def load_params(self, fname: PathLike) -> None:
        """Read parameters and states from a .params file.

        Raises ValueError for a name that begins with neither arg: nor aux:.
        """
        arg_params, aux_params = split_params(load_arrays(fname), fname)
        self.set_params(arg_params, aux_params)

    def get_states(self, merge_multi_context: bool = True) -> list[Any]:
        """The states: none by default."""
        self._must_be_ready()
        self._must(
            not merge_multi_context, "merge_multi_context=True is not supported for get_states yet."
        )
        return []

    def set_states(self, states: Sequence[Any] | None = None, value: float | None = None) -> None:
        """Set the states: none by default."""
        self._must_be_ready()
        self._must(not states and not value, "this module has no states")


def _limited(batches: Any, count: int | None) -> Iterator[tuple[int, Any]]:
    """(number, batch), at most `count`; as 1.9.1, which fetches one batch more, if asked for."""
    for nbatch, batch in enumerate(batches):
        if count is not None and nbatch == count:
            return
        yield nbatch, batch
        if count is not None and nbatch + 1 == count and not faults_of_1_9_1():
            return
