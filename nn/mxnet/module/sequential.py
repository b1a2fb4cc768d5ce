"""SequentialModule: modules one behind the other.  Source: mx.module.SequentialModule."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tapegrad.nn.mxnet.io.description import DataDesc
from tapegrad.nn.mxnet.module.base import BIND_FIRST, DEFAULT, OPTIMIZER_FIRST, BaseModule

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.metric.base import EvalMetric
    from tapegrad.nn.mxnet.monitor import Monitor
    from tapegrad.nn.mxnet.types import (
        BatchLike,
        DataShapes,
        GradReq,
        InitializerLike,
        KVStoreLike,
        LoggerLike,
        NDArrays,
        OptimizerLike,
        OptimizerSettings,
        ParamsLike,
    )


__all__ = ["SequentialModule"]


class SequentialModule(BaseModule):
    """Each module's outputs are the next one's data.

    add(module, take_labels=True):  the module gets the labels
    add(module, auto_wiring=True):  its data are called as it calls them
    """

    META_TAKE_LABELS = "take_labels"
    META_AUTO_WIRING = "auto_wiring"
    _META_KEYS: ClassVar[set[str]] = {META_TAKE_LABELS, META_AUTO_WIRING}

    def __init__(self, logger: LoggerLike = logging):
        super().__init__(logger=logger)
        self._modules: list[Any] = []
        self._metas: list[dict[str, Any]] = []
        self._label_shapes: Any = None
        self._data_shapes: Any = None

    def add(self, module: BaseModule, **kwargs: Any) -> Self:
        """Add a module; it has to be bound and given parameters anew.

        Raises AssertionError for an unknown keyword.
        """
        for key in kwargs:
            self._must(key in self._META_KEYS, f'Unknown meta "{key}", a typo?')
        self._modules.append(module)
        self._metas.append(kwargs)
        self.binded = self.params_initialized = self.optimizer_initialized = False
        return self

    @property
    def data_names(self) -> Sequence[str]:
        """The first module's data."""
        return self._modules[0].data_names if self._modules else []

    @property
    def output_names(self) -> list[str]:
        """The last module's outputs."""
        return self._modules[-1].output_names if self._modules else []

    @property
    def data_shapes(self) -> list[DataDesc]:
        """The first module's descriptions of data."""
        self._must(self.binded, BIND_FIRST)
        return self._modules[0].data_shapes

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        """The descriptions of the labels; None if no module takes them."""
        self._must(self.binded, BIND_FIRST)
        return self._label_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """The last module's outputs with their shapes."""
        self._must(self.binded, BIND_FIRST)
        return self._modules[-1].output_shapes

    def get_params(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(parameters, states) of all modules."""
        self._must_be_ready()
        arg_params: dict[str, Any] = {}
        aux_params: dict[str, Any] = {}
        for module in self._modules:
            arg, aux = module.get_params()
            arg_params.update(arg)
            aux_params.update(aux)
        return arg_params, aux_params

    def init_params(
        self,
        initializer: InitializerLike = DEFAULT,
        arg_params: ParamsLike | None = None,
        aux_params: ParamsLike | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = False,
    ) -> None:
        """Give all modules' parameters their first values.

        Raises AssertionError where two modules have a parameter of one name.
        """
        if self.params_initialized and not force_init:
            return
        self._must(self.binded, "call bind before initializing the parameters")
        for module in self._modules:
            module.init_params(
                initializer=initializer, arg_params=arg_params, aux_params=aux_params,
                allow_missing=allow_missing, force_init=force_init, allow_extra=True,
            )  # fmt: skip
        for which in (0, 1):
            seen: dict[str, int] = {}
            for i, module in enumerate(self._modules):
                for name in module.get_params()[which]:
                    self._must(
                        name not in seen,
                        f'Duplicated parameter names: name "{name}" in layer {i} '
                        f"({type(module)}) is already used in layer {seen.get(name)}.",
                    )
                    seen[name] = i
        self.params_initialized = True

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
        """Bind all modules, each for the outputs of the one before."""
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        self._must(for_training or not inputs_need_grad, "inputs_need_grad needs for_training=True")
        self._must(shared_module is None, "Shared module is not supported")
        self._must(bool(self._modules), "Attempting to bind an empty SequentialModule")
        self.for_training, self.inputs_need_grad = for_training, inputs_need_grad
        shapes, takes_labels = data_shapes, False
        for i, (module, meta) in enumerate(zip(self._modules, self._metas, strict=True)):
            labels = label_shapes if meta.get(self.META_TAKE_LABELS) else None
            takes_labels = takes_labels or labels is not None
            if meta.get(self.META_AUTO_WIRING):
                names = module.data_names
                self._must(len(names) == len(shapes), f"module {i} takes {len(names)} inputs")
                shapes = [(name, _shape(one)) for name, one in zip(names, shapes, strict=True)]
            module.bind(
                data_shapes=shapes, label_shapes=labels, for_training=for_training,
                inputs_need_grad=inputs_need_grad if i == 0 else for_training,
                force_rebind=force_rebind, shared_module=None, grad_req=grad_req,
            )  # fmt: skip
            shapes = module.output_shapes
        self._label_shapes = label_shapes if takes_labels else None
        self.binded = True

    def init_optimizer(
        self,
        kvstore: KVStoreLike = "local",
        optimizer: OptimizerLike = "sgd",
        optimizer_params: OptimizerSettings = (("learning_rate", 0.01),),
        force_init: bool = False,
    ) -> None:
        """Make all modules' optimizers."""
        self._must_be_ready()
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring.")
            return
        for module in self._modules:
            module.init_optimizer(
                kvstore=kvstore, optimizer=optimizer, optimizer_params=optimizer_params,
                force_init=force_init,
            )  # fmt: skip
        self.optimizer_initialized = True

    def forward(self, data_batch: BatchLike, is_train: bool | None = None) -> None:
        """Run the modules, one behind the other."""
        self._must_be_ready()
        batch: Any = copy.copy(data_batch)
        for i, module in enumerate(self._modules):
            module.forward(batch, is_train=is_train)
            if i + 1 == len(self._modules):
                return
            batch.data = module.get_outputs()
            if hasattr(batch, "provide_data"):
                names = [name for name, _ in module.output_shapes]
                self._must(len(names) == len(batch.data), "a module has other outputs than it says")
                batch.provide_data = [
                    DataDesc(name, tuple(x.shape))
                    for name, x in zip(names, batch.data, strict=True)
                ]

    def backward(self, out_grads: NDArrays | None = None) -> None:
        """Run the modules' backwards, from the last to the first."""
        self._must_be_ready()
        for i in reversed(range(len(self._modules))):
            self._modules[i].backward(out_grads=out_grads)
            if i == 0:
                return
            out_grads = self._modules[i].get_input_grads()

    def update(self) -> None:
        """One step of all optimizers."""
        self._must_be_ready()
        self._must(self.optimizer_initialized, OPTIMIZER_FIRST)
        for module in self._modules:
            module.update()

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The last module's outputs."""
        self._must_be_ready()
        return self._modules[-1].get_outputs(merge_multi_context=merge_multi_context)

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients of the first module's data."""
        self._must_be_ready()
        self._must(self.inputs_need_grad, "bind with inputs_need_grad=True")
        return self._modules[0].get_input_grads(merge_multi_context=merge_multi_context)

    def update_metric(
        self, eval_metric: EvalMetric, labels: Sequence[Any], pre_sliced: bool = False
    ) -> None:
        """Give a metric the outputs of the modules that take labels."""
        self._must_be_ready()
        for module, meta in zip(self._modules, self._metas, strict=True):
            if meta.get(self.META_TAKE_LABELS):
                module.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon: Monitor) -> None:
        """Let a Monitor watch all modules."""
        self._must(self.binded, BIND_FIRST)
        for module in self._modules:
            module.install_monitor(mon)


def _shape(one: Any) -> tuple[int, ...]:
    return tuple(one.shape) if isinstance(one, DataDesc) else tuple(one[1])
