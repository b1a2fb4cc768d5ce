"""BucketingModule: one module for each length of data, with shared parameters.

Source: mx.module.BucketingModule.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.checkpoint import load_params
from tapegrad.nn.mxnet.module.base import (
    BIND_FIRST,
    DEFAULT,
    INIT_FIRST,
    OPTIMIZER_FIRST,
    BaseModule,
)
from tapegrad.nn.mxnet.module.module import Module
from tapegrad.nn.mxnet.ndarray.files import load as load_arrays
from tapegrad.nn.mxnet.ndarray.files import save as save_arrays
from tapegrad.nn.mxnet.ndarray.ndarray import array
from tapegrad.nn.mxnet.symbol.naming import NameManager
from tapegrad.nn.mxnet.symbol.symbol import load as load_symbol

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.io.description import DataDesc
    from tapegrad.nn.mxnet.metric.base import EvalMetric
    from tapegrad.nn.mxnet.monitor import Monitor
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import (
        BatchLike,
        ContextLike,
        DataShapes,
        GradReq,
        GroupContexts,
        InitializerLike,
        KVStoreLike,
        LoggerLike,
        NDArrays,
        OptimizerLike,
        OptimizerSettings,
        ParamsLike,
        RowIds,
    )


__all__ = ["BucketingModule"]


class BucketingModule(BaseModule):
    """A module whose symbol depends on the bucket of a batch.

    sym_gen:            key -> (symbol, data_names, label_names); automatic names begin anew in it
    default_bucket_key: the largest bucket, whose memory the others use
    Others as of Module.  Raises AssertionError without a default key.
    """

    def __init__(
        self,
        sym_gen: Callable[[Any], tuple[Any, Any, Any]],
        default_bucket_key: Any = None,
        logger: LoggerLike = logging,
        context: ContextLike = None,
        work_load_list: Sequence[float] | None = None,
        fixed_param_names: Sequence[str] | None = None,
        state_names: Sequence[str] | None = None,
        group2ctxs: GroupContexts = None,
        compression_params: Mapping[str, Any] | None = None,
    ):
        super().__init__(logger=logger)
        self._must(default_bucket_key is not None, "give the default_bucket_key")
        self._default_bucket_key, self._sym_gen = default_bucket_key, sym_gen
        self._settings: dict[str, Any] = {
            "logger": logger, "context": context, "work_load_list": work_load_list,
            "fixed_param_names": fixed_param_names, "state_names": state_names,
            "group2ctxs": group2ctxs, "compression_params": compression_params,
        }  # fmt: skip
        self._call_sym_gen(default_bucket_key)
        self._buckets: dict[Any, Module] = {}
        self._curr_module: Any = None
        self._curr_bucket_key: Any = None
        self._params_dirty = False
        self._grad_req: Any = None
        self._monitor: Any = None
        self._loaded: tuple[Any, Any] | None = None  # parameters that bind will use

    def _call_sym_gen(self, key: Any) -> tuple[Any, Any, Any]:
        with NameManager():
            return self._sym_gen(key)

    def _module(self, key: Any) -> Module:
        symbol, data_names, label_names = self._call_sym_gen(key)
        return Module(symbol, data_names, label_names, **self._settings)

    def _reset_bind(self) -> None:
        """Forget all buckets' executors."""
        self.binded = False
        self._buckets = {}
        self._curr_module = None
        self._curr_bucket_key = None

    # What it is

    @property
    def data_names(self) -> Sequence[str]:
        """The current bucket's data."""
        if self.binded:
            return self._curr_module.data_names
        return self._call_sym_gen(self._default_bucket_key)[1]

    @property
    def output_names(self) -> list[str]:
        """The current bucket's outputs."""
        if self.binded:
            return self._curr_module.output_names
        return self._call_sym_gen(self._default_bucket_key)[0].list_outputs()

    @property
    def data_shapes(self) -> list[DataDesc]:
        """The current bucket's descriptions of data."""
        self._must(self.binded, BIND_FIRST)
        return self._curr_module.data_shapes

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        """The current bucket's descriptions of labels."""
        self._must(self.binded, BIND_FIRST)
        return self._curr_module.label_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """The current bucket's outputs with their shapes."""
        self._must(self.binded, BIND_FIRST)
        return self._curr_module.output_shapes

    @property
    def symbol(self) -> Symbol:
        """The current bucket's symbol.  Raises AssertionError before bind."""
        self._must(self.binded, BIND_FIRST)
        return self._curr_module.symbol

    # Parameters

    def get_params(self) -> tuple[Any, Any]:
        """(parameters, states) by name."""
        self._must(self.params_initialized, INIT_FIRST)
        if self._curr_module is None and self._loaded is not None:
            return self._loaded
        self._curr_module._params_dirty = self._params_dirty
        found = self._curr_module.get_params()
        self._params_dirty = False
        return found

    def set_params(
        self,
        arg_params: ParamsLike | None,
        aux_params: ParamsLike | None,
        allow_missing: bool = False,
        force_init: bool = True,
        allow_extra: bool = False,
    ) -> None:
        """Set parameters and states by name; see Module."""
        if not allow_missing:
            self.init_params(
                initializer=None, arg_params=arg_params, aux_params=aux_params,
                allow_missing=allow_missing, force_init=force_init, allow_extra=allow_extra,
            )  # fmt: skip
            return
        if self.params_initialized and not force_init:
            warnings.warn(
                "Parameters already initialized and force_init=False. set_params call ignored.",
                stacklevel=2,
            )
            return
        self._curr_module.set_params(
            arg_params, aux_params, allow_missing=allow_missing, force_init=force_init,
            allow_extra=allow_extra,
        )  # fmt: skip
        self._params_dirty = True
        self.params_initialized = True

    def init_params(
        self,
        initializer: InitializerLike = DEFAULT,
        arg_params: ParamsLike | None = None,
        aux_params: ParamsLike | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = False,
    ) -> None:
        """Give parameters their first values; nothing if they have them, unless `force_init`."""
        if self.params_initialized and not force_init:
            return
        self._must(self.binded, "call bind before initializing the parameters")
        self._curr_module.init_params(
            initializer=initializer, arg_params=arg_params, aux_params=aux_params,
            allow_missing=allow_missing, force_init=force_init, allow_extra=allow_extra,
        )  # fmt: skip
        self._params_dirty = False
        self.params_initialized = True

    def get_states(self, merge_multi_context: bool = True) -> list[Any]:
        """The current bucket's states."""
        self._must_be_ready()
        return self._curr_module.get_states(merge_multi_context)

    def set_states(self, states: Sequence[Any] | None = None, value: float | None = None) -> None:
        """Set the current bucket's states."""
        self._must_be_ready()
        self._curr_module.set_states(states, value)

    # Binding

    def bind(
        self,
        data_shapes: DataShapes,
        label_shapes: DataShapes | None = None,
        for_training: bool = True,
        inputs_need_grad: bool = False,
        force_rebind: bool = False,
        shared_module: BaseModule | None = None,
        grad_req: GradReq = "write",
    ) -> None:
        """Bind the default bucket; others are bound when a batch of theirs comes.

        Raises as Module.bind; a bind that fails leaves the module as it was.
        """
        self._must(shared_module is None, "shared_module for BucketingModule is not supported")
        params = self.get_params() if self.params_initialized else None
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        module = self._module(self._default_bucket_key)
        module.bind(
            data_shapes, label_shapes, for_training, inputs_need_grad, force_rebind=False,
            shared_module=None, grad_req=grad_req,
        )  # fmt: skip
        if self.binded:
            self._loaded = params
            self._reset_bind()
        self.for_training, self.inputs_need_grad = for_training, inputs_need_grad
        self.binded, self._grad_req = True, grad_req
        self._curr_module, self._curr_bucket_key = module, self._default_bucket_key
        self._buckets[self._default_bucket_key] = module
        if params is not None:
            self.set_params(*params)
            self._loaded = None

    def switch_bucket(
        self, bucket_key: Any, data_shapes: DataShapes, label_shapes: DataShapes | None = None
    ) -> None:
        """Go to a bucket; a new one is bound with the default bucket's parameters and memory."""
        self._must(self.binded, "call bind before switching bucket")
        if bucket_key not in self._buckets:
            default = self._buckets[self._default_bucket_key]
            module = self._module(bucket_key)
            module.bind(
                data_shapes, label_shapes, self._curr_module.for_training,
                self._curr_module.inputs_need_grad, force_rebind=False, shared_module=default,
                grad_req=self._grad_req,
            )  # fmt: skip
            if self._monitor is not None:
                module.install_monitor(self._monitor)
            self._buckets[bucket_key] = module
        self._curr_module, self._curr_bucket_key = self._buckets[bucket_key], bucket_key

    def _go_to(self, batch: Any) -> None:
        key = getattr(batch, "bucket_key", None)
        shapes = getattr(batch, "provide_data", None)
        if key is None or shapes is None:
            raise TypeError(
                "a BucketingModule's batch has a bucket_key, provide_data and provide_label; got "
                f"bucket_key={key!r}, provide_data={shapes!r}"
            )
        self.switch_bucket(key, shapes, getattr(batch, "provide_label", None))

    def prepare(self, data_batch: BatchLike, sparse_row_id_fn: RowIds | None = None) -> None:
        """Bind the batch's bucket, and stay in the current one."""
        self._must_be_ready()
        current, key = self._curr_module, self._curr_bucket_key
        self._go_to(data_batch)
        self._curr_module.prepare(data_batch, sparse_row_id_fn=sparse_row_id_fn)
        self._borrow()
        self._curr_module, self._curr_bucket_key = current, key

    def _borrow(self) -> None:
        """Let the current bucket use the optimizer, if there is one by now."""
        if self.optimizer_initialized and not self._curr_module.optimizer_initialized:
            for module in self._buckets.values():
                if module.optimizer_initialized:
                    self._curr_module.borrow_optimizer(module)
                    return

    # Running

    def init_optimizer(
        self,
        kvstore: KVStoreLike = "local",
        optimizer: OptimizerLike = "sgd",
        optimizer_params: OptimizerSettings = (("learning_rate", 0.01),),
        force_init: bool = False,
    ) -> None:
        """Make the optimizer, which all buckets use."""
        self._must_be_ready()
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring.")
            return
        self._curr_module.init_optimizer(
            kvstore, optimizer, optimizer_params, force_init=force_init
        )
        for module in self._buckets.values():
            if module is not self._curr_module:
                module.borrow_optimizer(self._curr_module)
        self.optimizer_initialized = True

    def forward(self, data_batch: BatchLike, is_train: bool | None = None) -> None:
        """Run the batch's bucket."""
        self._must_be_ready()
        self._go_to(data_batch)
        self._borrow()
        self._curr_module.forward(data_batch, is_train=is_train)

    def backward(self, out_grads: NDArrays | None = None) -> None:
        """Fill the gradients."""
        self._must_be_ready()
        self._curr_module.backward(out_grads=out_grads)

    def update(self) -> None:
        """One step of the optimizer."""
        self._must_be_ready()
        self._must(self.optimizer_initialized, OPTIMIZER_FIRST)
        self._params_dirty = True
        self._curr_module.update()

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The current bucket's outputs."""
        self._must_be_ready()
        return self._curr_module.get_outputs(merge_multi_context)

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients of the current bucket's data."""
        self._must_be_ready()
        self._must(self.inputs_need_grad, "bind with inputs_need_grad=True")
        return self._curr_module.get_input_grads(merge_multi_context)

    def update_metric(
        self, eval_metric: EvalMetric, labels: Sequence[Any], pre_sliced: bool = False
    ) -> None:
        """Give a metric the last outputs and their labels."""
        self._must_be_ready()
        self._curr_module.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon: Monitor) -> None:
        """Let a Monitor watch all buckets, those to come too."""
        self._must(self.binded, BIND_FIRST)
        self._monitor = mon
        for module in self._buckets.values():
            module.install_monitor(mon)

    # Files

    def save_checkpoint(self, prefix: str, epoch: int, remove_amp_cast: bool = False) -> None:
        """Write prefix-0001.params, prefix-KEY-symbol.json of each bucket, and prefix.buckets.

        Raises TypeError for keys that are no whole numbers: MXNet can save only those.
        """
        self._must(bool(self._buckets), "Empty BucketingModule cannot be saved")
        wrong = [key for key in self._buckets if not isinstance(key, (int, np.integer))]
        if wrong:
            raise TypeError(f"bucket keys in a file are whole numbers, not {wrong[0]!r}")
        self.save_params(f"{prefix}-{epoch:04d}.params")
        for key in self._buckets:
            symbol = self._sym_gen(key)[0]  # names go on from those of the script, as in MXNet
            symbol.save(f"{prefix}-{key}-symbol.json", remove_amp_cast=remove_amp_cast)
        save_arrays(f"{prefix}.buckets", [array(list(self._buckets), dtype=np.int32)])

    @staticmethod
    def load(
        prefix: str,
        epoch: int,
        sym_gen: Callable[[Any], tuple[Any, Any, Any]] | None = None,
        default_bucket_key: Any = None,
        **kwargs: Any,
    ) -> BucketingModule:
        """The module of a checkpoint: bind it, and every bucket has the saved parameters.

        Raises OSError and MXNetError for files that cannot be read, others as `load_dict`.
        """
        keys = [int(key) for key in load_arrays(f"{prefix}.buckets")[0].asnumpy()]
        symbols = {key: load_symbol(f"{prefix}-{key}-symbol.json") for key in keys}
        arg_params, aux_params = load_params(prefix, epoch)
        return BucketingModule.load_dict(
            symbols, sym_gen, default_bucket_key, arg_params, aux_params, **kwargs
        )

    @staticmethod
    def load_dict(
        sym_dict: Mapping[Any, Any] | None = None,
        sym_gen: Callable[[Any], tuple[Any, Any, Any]] | None = None,
        default_bucket_key: Any = None,
        arg_params: ParamsLike | None = None,
        aux_params: ParamsLike | None = None,
        **kwargs: Any,
    ) -> BucketingModule:
        """The module of symbols by key, with parameters and states by name.

        sym_gen:            gives the buckets that `sym_dict` lacks, and the names of data and
                            labels, which are data and softmax_label without it
        default_bucket_key: the largest key when omitted
        kwargs:             arguments of BucketingModule
        Raises AssertionError without symbols, KeyError for a bucket that nobody gives.
        """
        symbols = dict(sym_dict or {})
        if default_bucket_key is None:
            if not symbols:
                raise AssertionError("give the default_bucket_key, or symbols by key")
            default_bucket_key = max(symbols)

        def generate(key: Any) -> tuple[Any, Any, Any]:
            if sym_gen is None:
                if key not in symbols:
                    raise KeyError(f"bucket {key!r} is in no file: give load a sym_gen")
                return symbols[key], ("data",), ("softmax_label",)
            symbol, data_names, label_names = sym_gen(key)
            return symbols.get(key, symbol), data_names, label_names

        module = BucketingModule(generate, default_bucket_key, **kwargs)
        module._loaded = (dict(arg_params or {}), dict(aux_params or {}))
        module.params_initialized = True
        return module
