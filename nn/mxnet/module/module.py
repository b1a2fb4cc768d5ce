"""Module: a symbol with its parameters, executors and optimizer.  Source: mx.module.Module."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet import context as ctx
from tapegrad.nn.mxnet import kvstore as kv
from tapegrad.nn.mxnet import optimizer as opt
from tapegrad.nn.mxnet.checkpoint import load_checkpoint, save_checkpoint
from tapegrad.nn.mxnet.compat import faults_of_1_9_1
from tapegrad.nn.mxnet.initializer import InitDesc
from tapegrad.nn.mxnet.module.base import (
    BIND_FIRST,
    DEFAULT,
    INIT_FIRST,
    OPTIMIZER_FIRST,
    BaseModule,
)
from tapegrad.nn.mxnet.module.checks import check_given, check_names, other_shapes, parse_shapes
from tapegrad.nn.mxnet.module.function_symbol import functions_of, symbol_of
from tapegrad.nn.mxnet.module.group import DataParallelExecutorGroup
from tapegrad.nn.mxnet.module.optimizers import made_optimizer, numbered
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, as_array, zeros

if TYPE_CHECKING:
    from tapegrad.nn.mxnet import types as ty
    from tapegrad.nn.mxnet.io.description import DataDesc
    from tapegrad.nn.mxnet.metric.base import EvalMetric
    from tapegrad.nn.mxnet.monitor import Monitor

__all__ = ["Module"]


class Module(BaseModule):
    """A symbol, or any module or function of Tensors, as a machine to bind, train and ask.

    symbol:            a Symbol; an `nn.Module`, a `gModule`, or a function of Tensors, of which
                       `symbol_of` makes a Symbol
    data_names:        the variables that hold data; label_names: those that hold labels
    context:           a Context, or a list of them, each of which works on a slice of every batch
    work_load_list:    how much of a batch each context gets
    fixed_param_names: parameters that are not trained
    state_names:       variables that are set by set_states
    loss:              the criterion of an `nn.Module` or function, see `symbol_of`
    Raises ValueError for a name that is no variable, with the nearest ones.
    """

    def __init__(
        self,
        symbol: Any,
        data_names: Sequence[str] | None = ("data",),
        label_names: Sequence[str] | None = ("softmax_label",),
        logger: ty.LoggerLike = logging,
        context: ty.ContextLike = None,
        work_load_list: Sequence[float] | None = None,
        fixed_param_names: Sequence[str] | None = None,
        state_names: Sequence[str] | None = None,
        group2ctxs: ty.GroupContexts = None,
        compression_params: Mapping[str, Any] | None = None,
        loss: Any = None,
    ):
        super().__init__(logger=logger)
        context = ctx.current_context() if context is None else context
        self._context = [context] if isinstance(context, ctx.Context) else list(context)
        self._work_load_list = list(work_load_list or [1] * len(self._context))
        self._must(
            len(self._work_load_list) == len(self._context),
            f"work_load_list: {len(self._work_load_list)} entries, {len(self._context)} contexts",
        )
        self._group2ctxs, self._compression_params = group2ctxs, compression_params
        self._symbol = symbol_of(symbol, data_names or (), label_names or (), loss=loss)
        self._functions = functions_of(self._symbol)
        self._data_names, self._label_names = list(data_names or ()), list(label_names or ())
        self._state_names = list(state_names or ())
        self._fixed_param_names = list(fixed_param_names or ())
        self._fixed_param_names += [n for one in self._functions for n in sorted(one.fixed)]
        for names, what, required in (
            (self._data_names, "data", True),
            (self._label_names, "label", False),
            (self._state_names, "state", True),
            (self._fixed_param_names, "fixed_param", True),
        ):
            check_names(self._symbol, names, what, required)
        inputs = {*self._data_names, *self._label_names, *self._state_names}
        self._param_names = [n for n in self._symbol.list_arguments() if n not in inputs]
        self._aux_names = self._symbol.list_auxiliary_states()
        self._output_names = self._symbol.list_outputs()
        self._arg_params: dict[str, NDArray] | None = None
        self._aux_params: dict[str, NDArray] | None = None
        self._params_dirty = False
        self._optimizer: Any = None
        self._kvstore: Any = None
        self._update_on_kvstore: bool | None = None
        self._updater: Any = None
        self._preload_opt_states: Any = None
        self._grad_req: Any = None
        self._exec_group: DataParallelExecutorGroup | None = None
        self._data_shapes: list[DataDesc] | None = None
        self._label_shapes: list[DataDesc] | None = None

    @staticmethod
    def load(prefix: str, epoch: int, load_optimizer_states: bool = False, **kwargs: Any) -> Module:
        """A Module of a checkpoint; bind it, and it has the saved parameters.

        kwargs: arguments of Module.  Raises OSError and MXNetError for files that cannot be read.
        """
        symbol, arg_params, aux_params = load_checkpoint(prefix, epoch)
        module = Module(symbol=symbol, **kwargs)
        module._arg_params, module._aux_params = arg_params, aux_params
        module.params_initialized = True
        if load_optimizer_states:
            module._preload_opt_states = f"{prefix}-{epoch:04d}.states"
        return module

    def save_checkpoint(
        self,
        prefix: str,
        epoch: int,
        save_optimizer_states: bool = False,
        remove_amp_cast: bool = True,
    ) -> None:
        """Write prefix-symbol.json, prefix-0001.params and, if asked for, prefix-0001.states."""
        self._must(self.params_initialized, INIT_FIRST)
        self._must(self.optimizer_initialized or not save_optimizer_states, OPTIMIZER_FIRST)
        arg_params, aux_params = self.get_params()
        save_checkpoint(
            prefix, epoch, self._symbol, arg_params, aux_params, remove_amp_cast=remove_amp_cast
        )
        if save_optimizer_states:
            self.save_optimizer_states(f"{prefix}-{epoch:04d}.states")

    def _reset_bind(self) -> None:
        """Forget the executors; parameters and optimizer stay."""
        self.binded = False
        self._exec_group = None
        self._data_shapes = self._label_shapes = None

    @property
    def _group(self) -> DataParallelExecutorGroup:
        self._must(self.binded, BIND_FIRST)
        assert self._exec_group is not None
        return self._exec_group

    # What it is

    @property
    def data_names(self) -> list[str]:
        """The variables that hold data."""
        return self._data_names

    @property
    def label_names(self) -> list[str]:
        """The variables that hold labels."""
        return self._label_names

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs."""
        return self._output_names

    @property
    def data_shapes(self) -> list[DataDesc] | None:
        """The descriptions of the data.  Raises AssertionError before bind."""
        self._must(self.binded, BIND_FIRST)
        return self._data_shapes

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        """The descriptions of the labels; None without.  Raises AssertionError before bind."""
        self._must(self.binded, BIND_FIRST)
        return self._label_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """(name, shape) of every output.  Raises AssertionError before bind."""
        return self._group.get_output_shapes()

    # Binding

    def bind(
        self,
        data_shapes: ty.DataShapes,
        label_shapes: ty.DataShapes | None = None,
        for_training: bool = True,
        inputs_need_grad: bool = False,
        force_rebind: bool = False,
        shared_module: Module | None = None,
        grad_req: ty.GradReq = "write",
    ) -> None:
        """Make the executors.

        data_shapes, label_shapes: DataDesc, or (name, shape) pairs
        inputs_need_grad:          whether get_input_grads is wanted
        shared_module:             a bound module whose parameters this one uses
        grad_req:                  "write", "add" or "null"; a list or a dict of them by argument
        Raises ValueError for names other than data_names, AssertionError for a shared module that
        is not ready, MXNetError for shapes that cannot be inferred.  A bind that fails leaves the
        module as it was.
        """
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        self._must(for_training or not inputs_need_grad, "inputs_need_grad needs for_training=True")
        data, label = parse_shapes(self.data_names, self.label_names, data_shapes, label_shapes)
        if shared_module is not None:
            self._must(
                isinstance(shared_module, Module)
                and shared_module.binded
                and shared_module.params_initialized,
                "shared_module must be a Module that is bound and has parameters",
            )
        shared_group = None if shared_module is None else shared_module._exec_group
        group = DataParallelExecutorGroup(
            self._symbol, self._context, self._work_load_list, data, label, self._param_names,
            for_training, inputs_need_grad, shared_group, self._fixed_param_names, grad_req,
            self._state_names, self._group2ctxs,
        )  # fmt: skip
        if self.binded and not faults_of_1_9_1():
            self._sync_params_from_devices()
        self.for_training, self.inputs_need_grad = for_training, inputs_need_grad
        self._grad_req, self._exec_group = grad_req, group
        self._data_shapes, self._label_shapes = data, label
        self.binded = True
        if shared_module is not None:
            self.params_initialized = True
            self._arg_params, self._aux_params = (
                shared_module._arg_params,
                shared_module._aux_params,
            )
            if shared_module.optimizer_initialized:
                self.borrow_optimizer(shared_module)
        elif self.params_initialized:
            group.set_params(self._arg_params or {}, self._aux_params or {}, allow_extra=True)
        else:
            self._arg_params = {
                name: zeros(arrays[0].shape, ctx.cpu(), arrays[0].dtype)
                for name, arrays in zip(group.own_params, group.param_arrays, strict=True)
            }
            self._aux_params = {
                name: zeros(arrays[0].shape, ctx.cpu(), arrays[0].dtype)
                for name, arrays in zip(self._aux_names, group.aux_arrays, strict=True)
            }

    def reshape(
        self, data_shapes: ty.DataShapes, label_shapes: ty.DataShapes | None = None
    ) -> None:
        """Fit the executors to other shapes; parameters, gradients and the optimizer stay."""
        group = self._group
        data, label = parse_shapes(self.data_names, self.label_names, data_shapes, label_shapes)
        group.reshape(data, label)
        self._data_shapes, self._label_shapes = data, label

    # Parameters

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """(parameters, states) by name: the module's own arrays, which later calls change."""
        self._must(self.params_initialized, INIT_FIRST)
        if self._params_dirty:
            self._sync_params_from_devices()
        return self._arg_params or {}, self._aux_params or {}

    def init_params(
        self,
        initializer: ty.InitializerLike = DEFAULT,
        arg_params: Mapping[str, Any] | None = None,
        aux_params: Mapping[str, Any] | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = False,
    ) -> None:
        """Give parameters and states their first values.

        arg_params, aux_params: values by name; what is not in them is an error, unless
                                `allow_missing`: then the initializer gives it
        Raises RuntimeError for a missing name, ValueError for a surplus one, AssertionError before
        bind; nothing has changed then.
        """
        if self.params_initialized and not force_init:
            warnings.warn(
                "Parameters already initialized and force_init=False. init_params call ignored.",
                stacklevel=2,
            )
            return
        self._must(self.binded, "call bind before initializing the parameters")
        attrs = self._symbol.attr_dict()
        first = {
            name: x
            for one in self._functions
            for name, x in one.first.items()
            # nobody asked for others: a module's own values stay
            if initializer is DEFAULT or name in one.states
        }
        own_args, own_aux = self._arg_params or {}, self._aux_params or {}
        for given, own, where in (
            (arg_params, own_args, "arguments"), (aux_params, own_aux, "auxiliary states"),
        ):  # fmt: skip
            check_given(given, own, where, allow_missing, allow_extra or faults_of_1_9_1())
        for given, own in ((arg_params, own_args), (aux_params, own_aux)):
            for name in sorted(own):
                if given is not None and name in given:
                    if given[name] is not own[name]:
                        as_array(given[name]).copyto(own[name])
                elif name in first:
                    own[name][:] = first[name]
                elif given is None or initializer is not None:
                    initializer(InitDesc(name, attrs.get(name)), own[name])  # type: ignore[misc]  # None: an error
        self.params_initialized = True
        self._params_dirty = False
        self._group.set_params(own_args, own_aux, allow_extra=allow_extra)

    def set_params(
        self,
        arg_params: Mapping[str, Any],
        aux_params: Mapping[str, Any],
        allow_missing: bool = False,
        force_init: bool = True,
        allow_extra: bool = False,
    ) -> None:
        """Set parameters and states by name; with `allow_missing` the others stay as they are.

        Raises as `init_params`.
        """
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
        self._group.set_params(arg_params, aux_params, allow_extra=allow_extra)
        self._params_dirty = True
        self.params_initialized = True

    def _sync_params_from_devices(self) -> None:
        """Bring the executors' parameters into the module's own arrays."""
        if self._arg_params is None or self._aux_params is None:
            return
        self._group.get_params(self._arg_params, self._aux_params)
        if self._kvstore is not None and self._update_on_kvstore:
            self._kvstore.pull_into(self._arg_params)
        self._params_dirty = False
        for one in self._functions:
            one.receive({**self._arg_params, **self._aux_params})

    # Optimizer

    def init_optimizer(
        self,
        kvstore: ty.KVStoreLike = "local",
        optimizer: ty.OptimizerLike = "sgd",
        optimizer_params: ty.OptimizerSettings = (("learning_rate", 0.01),),
        force_init: bool = False,
    ) -> None:
        """Make the optimizer, whose rescale_grad is 1 / batch size unless it is given.

        Raises AssertionError before init_params, ValueError for an unknown optimizer.
        """
        self._must_be_ready()
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring...")
            return
        if self._params_dirty:
            self._sync_params_from_devices()
        group = self._group
        store, on_store = kv.for_module(kvstore, len(self._context), self._arg_params or {})
        batch_size = group.batch_size
        if store is not None and "dist" in store.type and "_sync" in store.type:
            batch_size *= store.num_workers
        optimizer = made_optimizer(
            optimizer, optimizer_params, self._symbol, 1.0 / batch_size,
            numbered(group.own_params, 1 if on_store else len(self._context)),
        )  # fmt: skip
        self._optimizer, self._kvstore, self._update_on_kvstore = optimizer, store, on_store
        self._updater = None
        if store is not None:
            if self._compression_params:
                store.set_gradient_compression(self._compression_params)
            store.init_parameters(
                group.own_params, group.param_arrays, self._arg_params or {}, on_store
            )
        if on_store:
            assert store is not None
            store.set_optimizer(optimizer)
        else:
            self._updater = opt.get_updater(optimizer)
        self.optimizer_initialized = True
        if self._preload_opt_states is not None:
            self.load_optimizer_states(self._preload_opt_states)
            self._preload_opt_states = None

    def borrow_optimizer(self, shared_module: Module) -> None:
        """Use another module's optimizer, kvstore and updater."""
        self._must(shared_module.optimizer_initialized, OPTIMIZER_FIRST)
        self._optimizer, self._kvstore = shared_module._optimizer, shared_module._kvstore
        self._update_on_kvstore = shared_module._update_on_kvstore
        self._updater = shared_module._updater
        self.optimizer_initialized = True

    # Running

    def forward(self, data_batch: ty.BatchLike, is_train: bool | None = None) -> None:
        """Run the graph on a batch; other shapes than the bound ones reshape the executors.

        Raises AssertionError before init_params.
        """
        self._must_be_ready()
        if not isinstance(data_batch, list):
            shapes = other_shapes(data_batch, self._data_shapes or (), self._label_shapes)
            if shapes is not None:
                self.reshape(*shapes)
        self._group.forward(data_batch, is_train)

    def backward(self, out_grads: ty.NDArrays | None = None) -> None:
        """Fill the gradients; `out_grads` where an output is no loss.

        Raises AssertionError before init_params, or if bound with for_training=False.
        """
        self._must_be_ready()
        self._group.backward(out_grads)

    def update(self) -> None:
        """One step of the optimizer.  Raises AssertionError before init_optimizer."""
        self._must_be_ready()
        self._must(self.optimizer_initialized, OPTIMIZER_FIRST)
        self._params_dirty = True
        group = self._group
        pairs = list(zip(group.param_arrays, group.grad_arrays, strict=True))
        if self._kvstore is not None:
            self._kvstore.step(group.own_params, pairs, self._updater, self._update_on_kvstore)
            return
        count = len(self._context)
        for i, (arrays, gradients) in enumerate(pairs):
            if gradients[0] is None:
                continue
            for k, (weight, g) in enumerate(zip(arrays, gradients, strict=True)):
                self._updater(i * count + k, g, weight)

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The outputs; on several contexts joined, or a list of one for each context."""
        self._must_be_ready()
        return self._group.get_outputs(merge_multi_context)

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients of the data, in the order of data_shapes."""
        self._must_be_ready()
        self._must(self.inputs_need_grad, "bind with inputs_need_grad=True")
        return self._group.get_input_grads(merge_multi_context)

    def get_states(self, merge_multi_context: bool = True) -> list[Any]:
        """For each state its array on each context."""
        self._must_be_ready()
        return self._group.get_states(merge_multi_context)

    def set_states(self, states: Sequence[Any] | None = None, value: float | None = None) -> None:
        """Set the states, from arrays or to one number."""
        self._must_be_ready()
        self._group.set_states(states, value)

    def update_metric(
        self, eval_metric: EvalMetric, labels: Sequence[Any], pre_sliced: bool = False
    ) -> None:
        """Give a metric the last outputs and their labels."""
        if self._exec_group is None:
            raise AttributeError(
                "'NoneType' object has no attribute 'update_metric': call bind first"
            )
        self._exec_group.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon: Monitor) -> None:
        """Let a Monitor watch all outputs."""
        self._group.install_monitor(mon)

    def prepare(self, data_batch: ty.BatchLike, sparse_row_id_fn: ty.RowIds | None = None) -> None:
        """Nothing to fetch: parameters are here.  Raises AssertionError before bind."""
        self._must(self.binded, BIND_FIRST)

    # States of the optimizer

    def save_optimizer_states(self, fname: ty.PathLike) -> None:
        """Write the optimizer's states.  Raises AssertionError before init_optimizer."""
        self._must(self.optimizer_initialized, OPTIMIZER_FIRST)
        owner = self._kvstore if self._update_on_kvstore else self._updater
        owner.save_states(fname)

    def load_optimizer_states(self, fname: ty.PathLike) -> None:
        """Read the optimizer's states.  Raises AssertionError before init_optimizer, MXNetError."""
        self._must(self.optimizer_initialized, OPTIMIZER_FIRST)
        owner = self._kvstore if self._update_on_kvstore else self._updater
        owner.load_states(fname)
