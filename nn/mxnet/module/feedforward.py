"""FeedForward: MXNet's model of before Module, on a Module.  Source: mx.model.FeedForward."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad.nn.mxnet.callback import LogValidationMetricsCallback
from tapegrad.nn.mxnet.checkpoint import load_checkpoint, save_checkpoint
from tapegrad.nn.mxnet.io.arrays import NDArrayIter
from tapegrad.nn.mxnet.io.description import DataIter
from tapegrad.nn.mxnet.io.wrapping import ResizeIter
from tapegrad.nn.mxnet.module.base import DEFAULT
from tapegrad.nn.mxnet.module.bucketing import BucketingModule
from tapegrad.nn.mxnet.module.module import Module
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
from tapegrad.nn.mxnet.symbol.symbol import Symbol

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.monitor import Monitor
    from tapegrad.nn.mxnet.types import (
        BatchCallbacks,
        ContextLike,
        EpochCallbacks,
        InitializerLike,
        KVStoreLike,
        LoggerLike,
        MetricLike,
        NDArrayLike,
        OptimizerLike,
        ParamsLike,
    )


__all__ = ["FeedForward"]

VALIDATION = LogValidationMetricsCallback()


class FeedForward:
    """A symbol with parameters, to fit, predict and score NumPy arrays or iterators.

    symbol:             a Symbol; or a function from the key of a bucket to one, for iterators whose
                        batches have a bucket_key
    ctx:                a Context or a list of them
    num_epoch:          the epoch to stop at; begin_epoch: the one to begin with
    epoch_size:         batches in an epoch; all of the data's when omitted
    optimizer:          a name or an Optimizer; kwargs are its settings
    numpy_batch_size:   rows in a batch of NumPy arrays
    allow_extra_params: whether parameters may be given that the symbol lacks
    Raises ValueError for a parameter that it lacks, unless they are allowed.
    """

    arg_params: Any
    aux_params: Any

    def __init__(
        self,
        symbol: Symbol | Callable[[Any], Symbol],
        ctx: ContextLike = None,
        num_epoch: int | None = None,
        epoch_size: int | None = None,
        optimizer: OptimizerLike = "sgd",
        initializer: InitializerLike = DEFAULT,
        numpy_batch_size: int = 128,
        arg_params: ParamsLike | None = None,
        aux_params: ParamsLike | None = None,
        allow_extra_params: bool = False,
        begin_epoch: int = 0,
        **kwargs: Any,
    ):
        self.sym_gen = symbol if callable(symbol) and not isinstance(symbol, Symbol) else None
        self.symbol: Any = symbol if self.sym_gen is None else None
        self.ctx = ctx
        self.num_epoch, self.epoch_size, self.begin_epoch = num_epoch, epoch_size, begin_epoch
        self.optimizer, self.initializer, self.kwargs = optimizer, initializer, dict(kwargs)
        self.numpy_batch_size = numpy_batch_size
        self.arg_params, self.aux_params = arg_params, aux_params
        self.allow_extra_params = allow_extra_params
        if self.sym_gen is None:
            self._check_arguments()
        self._pred_exec: Any = None

    def _check_arguments(self) -> None:
        for given, names, what in (
            (self.arg_params, self.symbol.list_arguments(), "argument"),
            (self.aux_params, self.symbol.list_auxiliary_states(), "auxiliary state"),
        ):
            unknown = [name for name in given or {} if name not in names]
            if unknown and not self.allow_extra_params:
                raise ValueError(
                    f"{unknown[0]} is no {what} of the symbol; allow_extra_params=True drops it"
                )

    # Data

    def _rows(self, x: Any, y: NDArrayLike | None, training: bool) -> Any:
        """The iterator of arrays, or the iterator itself.

        Raises ValueError without y for training, or for y of another length, TypeError for
        anything that is neither.
        """
        if isinstance(x, DataIter) or hasattr(x, "provide_data"):
            return x
        if not isinstance(x, (np.ndarray, NDArray)):
            raise TypeError("X must be DataIter, NDArray or numpy.ndarray")
        if y is None:
            if training:
                raise ValueError("y must be specified when X is numpy.ndarray")
            y = np.zeros(x.shape[0])
        y = y.asnumpy() if isinstance(y, NDArray) else np.asarray(y)
        if x.shape[0] != y.shape[0]:
            raise ValueError("The numbers of data points and labels not equal")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y.reshape(-1)
        if y.ndim != 1:
            raise ValueError("Label must be 1D or 2D (with 2nd dimension being 1)")
        size = min(x.shape[0], self.numpy_batch_size)
        how = "roll_over" if training else "pad"
        return NDArrayIter(x, y, size, shuffle=training, last_batch_handle=how)

    def _module(self, data: Any, **settings: Any) -> Module | BucketingModule:
        if self.sym_gen is not None:
            self.symbol = self.sym_gen(data.default_bucket_key)
            self._check_arguments()
        arguments = self.symbol.list_arguments()
        labels = [d[0] for d in data.provide_label or () if d[0] in arguments]
        names, generate = [d[0] for d in data.provide_data], self.sym_gen
        if generate is None:
            return Module(self.symbol, names, labels, context=self.ctx, **settings)
        return BucketingModule(
            lambda key: (generate(key), names, labels), data.default_bucket_key, context=self.ctx,
            **settings,
        )  # fmt: skip

    def _predictor(self, data: Any) -> Module | BucketingModule:
        """A Module bound for these data, with the parameters.

        Raises ValueError before there are parameters.
        """
        if self.arg_params is None:
            raise ValueError("there are no parameters yet: call fit, or give arg_params")
        module = self._module(data)
        arguments = self.symbol.list_arguments()
        labels = [d for d in data.provide_label or () if d[0] in arguments]
        module.bind(data.provide_data, labels or None, for_training=False)
        module.set_params(self.arg_params, self.aux_params or {}, allow_extra=True)
        self._pred_exec = module
        return module

    # What it does

    def fit(
        self,
        X: DataIter | NDArrayLike,
        y: NDArrayLike | None = None,
        eval_data: DataIter | tuple[NDArrayLike, NDArrayLike] | None = None,
        eval_metric: MetricLike = "acc",
        epoch_end_callback: EpochCallbacks = None,
        batch_end_callback: BatchCallbacks = None,
        kvstore: KVStoreLike = "local",
        logger: LoggerLike | None = None,
        work_load_list: Sequence[float] | None = None,
        monitor: Monitor | None = None,
        eval_end_callback: BatchCallbacks = VALIDATION,
        eval_batch_end_callback: BatchCallbacks = None,
    ) -> None:
        """Train; `Module.fit` says what the arguments are.  eval_data: an iterator, or (X, y)."""
        data = self._rows(X, y, training=True)
        if self.epoch_size is not None:
            data = ResizeIter(data, self.epoch_size, reset_internal=False)
        evaluated: Any = eval_data
        if isinstance(eval_data, (tuple, list)) and len(eval_data) == 2:
            evaluated = self._rows(eval_data[0], eval_data[1], training=False)
        module = self._module(data, logger=logger or logging, work_load_list=work_load_list)
        arg_params, aux_params = (
            None if given is None else {k: v for k, v in given.items() if k in names}
            for given, names in (
                (self.arg_params, self.symbol.list_arguments()),
                (self.aux_params, self.symbol.list_auxiliary_states()),
            )
        )
        module.fit(
            data, evaluated, eval_metric, epoch_end_callback, batch_end_callback, kvstore,
            self.optimizer, tuple(self.kwargs.items()), eval_end_callback,
            eval_batch_end_callback, self.initializer, arg_params, aux_params, allow_missing=True,
            begin_epoch=self.begin_epoch, num_epoch=self.num_epoch, monitor=monitor,
        )  # fmt: skip
        self.arg_params, self.aux_params = module.get_params()

    def predict(
        self,
        X: DataIter | NDArrayLike,
        num_batch: int | None = None,
        return_data: bool = False,
        reset: bool = True,
    ) -> Any:
        """The outputs as NumPy arrays; with `return_data` (outputs, data, labels)."""
        data = self._rows(X, None, training=False)
        module = self._predictor(data)
        found: list[list[list[np.ndarray]]] = []
        for outputs, _, batch in module.iter_predict(data, num_batch, reset):
            parts = [outputs]
            if return_data:
                rows = slice(0, batch.data[0].shape[0] - (batch.pad or 0))
                parts += [[x[rows] for x in batch.data], [x[rows] for x in batch.label or ()]]
            found.append([[x.asnumpy() for x in part] for part in parts])
        whole = [
            [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
            for parts in zip(*found, strict=True)
        ]
        bare = [part[0] if len(part) == 1 else part for part in whole]
        return tuple(bare) if return_data else bare[0]

    def score(
        self,
        X: DataIter | NDArrayLike,
        eval_metric: MetricLike = "acc",
        num_batch: int | None = None,
        batch_end_callback: BatchCallbacks = None,
        reset: bool = True,
    ) -> float:
        """The value of a metric on an iterator with labels."""
        data = self._rows(X, None, training=False)
        module = self._predictor(data)
        found = module.score(
            data, eval_metric, num_batch, batch_end_callback=batch_end_callback, reset=reset
        )
        value: float = found[0][1]
        return value

    # Files

    def save(self, prefix: str, epoch: int | None = None, remove_amp_cast: bool = True) -> None:
        """Write a checkpoint, of epoch `num_epoch` when none is given."""
        epoch = self.num_epoch if epoch is None else epoch
        if epoch is None:
            raise AssertionError("give the epoch: the model has no num_epoch")
        save_checkpoint(
            prefix, epoch, self.symbol, self.arg_params or {}, self.aux_params or {},
            remove_amp_cast=remove_amp_cast,
        )  # fmt: skip

    @staticmethod
    def load(prefix: str, epoch: int, ctx: ContextLike = None, **kwargs: Any) -> FeedForward:
        """The model of a checkpoint.  Raises OSError, MXNetError for files that are no such."""
        symbol, arg_params, aux_params = load_checkpoint(prefix, epoch)
        return FeedForward(
            symbol, ctx, arg_params=arg_params, aux_params=aux_params, begin_epoch=epoch, **kwargs
        )

    @classmethod
    def create(
        cls,
        symbol: Symbol | Callable[[Any], Symbol],
        X: DataIter | NDArrayLike,
        y: NDArrayLike | None = None,
        ctx: ContextLike = None,
        num_epoch: int | None = None,
        epoch_size: int | None = None,
        optimizer: OptimizerLike = "sgd",
        initializer: InitializerLike = DEFAULT,
        eval_data: DataIter | tuple[NDArrayLike, NDArrayLike] | None = None,
        eval_metric: MetricLike = "acc",
        epoch_end_callback: EpochCallbacks = None,
        batch_end_callback: BatchCallbacks = None,
        kvstore: KVStoreLike = "local",
        logger: LoggerLike | None = None,
        work_load_list: Sequence[float] | None = None,
        eval_end_callback: BatchCallbacks = VALIDATION,
        eval_batch_end_callback: BatchCallbacks = None,
        **kwargs: Any,
    ) -> Self:
        """A model that has been fitted."""
        model = cls(symbol, ctx, num_epoch, epoch_size, optimizer, initializer, **kwargs)
        model.fit(
            X, y, eval_data, eval_metric, epoch_end_callback, batch_end_callback, kvstore, logger,
            work_load_list, None, eval_end_callback, eval_batch_end_callback,
        )  # fmt: skip
        return model
