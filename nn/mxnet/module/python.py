"""PythonModule, PythonLossModule: modules of Python code.  Source: mx.module.python_module."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.io.description import DataDesc, described
from tapegrad.nn.mxnet.module.base import BaseModule
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.metric.base import EvalMetric
    from tapegrad.nn.mxnet.monitor import Monitor
    from tapegrad.nn.mxnet.types import BatchLike, DataShapes, LoggerLike, NDArrays


__all__ = ["PythonLossModule", "PythonModule"]


class PythonModule(BaseModule):
    """A module without parameters; a subclass gives forward, backward, get_outputs and more."""

    def __init__(
        self,
        data_names: Sequence[str],
        label_names: Sequence[str] | None,
        output_names: Sequence[str],
        logger: LoggerLike = logging,
    ):
        super().__init__(logger=logger)
        self._data_names = list(data_names)
        self._label_names = list(label_names) if label_names is not None else None
        self._output_names = list(output_names)
        self._data_shapes: Any = None
        self._label_shapes: Any = None
        self._output_shapes: Any = None

    @property
    def data_names(self) -> list[str]:
        """The names of the data."""
        return self._data_names

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs."""
        return self._output_names

    @property
    def data_shapes(self) -> list[DataDesc]:
        """The descriptions of the data."""
        return self._data_shapes

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        """The descriptions of the labels."""
        return self._label_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """(name, shape) of every output."""
        return self._output_shapes

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Two empty dicts."""
        return {}, {}

    def init_params(self, *args: Any, **settings: Any) -> None:
        """Nothing: there are no parameters."""

    def init_optimizer(self, *args: Any, **settings: Any) -> None:
        """Nothing: there are no parameters."""

    def update(self) -> None:
        """Nothing: there are no parameters."""

    def update_metric(
        self, eval_metric: EvalMetric, labels: Sequence[Any], pre_sliced: bool = False
    ) -> None:
        """Give a metric the outputs and labels, if it has labels.

        Raises RuntimeError for labels in slices.
        """
        if self._label_shapes is None:
            return
        if pre_sliced:
            raise RuntimeError("PythonModule does not support presliced labels")
        eval_metric.update(labels, self.get_outputs())

    def bind(
        self,
        data_shapes: DataShapes,
        label_shapes: DataShapes | None = None,
        for_training: bool = True,
        inputs_need_grad: bool = False,
        force_rebind: bool = False,
        shared_module: BaseModule | None = None,
        grad_req: str = "write",
    ) -> None:
        """Note the shapes.

        Raises AssertionError for other names than the module's, in their order, or another
        grad_req than "write".
        """
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        self._must(grad_req == "write", "Python module only support write gradient")
        self.for_training, self.inputs_need_grad = for_training, inputs_need_grad
        data, label = described(data_shapes) or [], described(label_shapes)
        self._must([d.name for d in data] == self._data_names, f"data are {self._data_names}")
        if label is not None:
            self._must(self._label_names is not None, "the module takes no labels")
            names = [d.name for d in label]
            self._must(names == self._label_names, f"labels are {self._label_names}")
        self._data_shapes, self._label_shapes = data, label
        self._output_shapes = self._compute_output_shapes()

    def _compute_output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """(name, shape) of every output, from the shapes of the data."""
        raise NotImplementedError


class PythonLossModule(PythonModule):
    """A loss: its output is the data, its gradient that of a Python function.

    grad_func: (scores, labels) -> the gradient of the scores, an NDArray or a NumPy array
    Raises AssertionError for more than one input or label.
    """

    def __init__(
        self,
        name: str = "pyloss",
        data_names: Sequence[str] = ("data",),
        label_names: Sequence[str] = ("softmax_label",),
        logger: LoggerLike = logging,
        grad_func: Callable[[NDArray, NDArray], Any] | None = None,
    ):
        super().__init__(data_names, label_names, [name + "_output"], logger=logger)
        self._name = name
        self._must(len(data_names) == 1, "a loss takes one input")
        self._must(len(label_names) == 1, "a loss takes one label")
        self._must(grad_func is None or callable(grad_func), "grad_func is a function")
        self._grad_func = grad_func
        self._scores: Any = None
        self._labels: Any = None
        self._scores_grad: Any = None

    def _compute_output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        one: DataDesc = self._data_shapes[0]
        return [(self._name + "_output", one.shape)]

    def forward(self, data_batch: BatchLike, is_train: bool | None = None) -> None:
        """Keep the scores, and the labels in training mode."""
        batch: Any = data_batch
        self._scores = batch.data[0]
        if self.for_training if is_train is None else is_train:
            self._labels = batch.label[0]

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The scores."""
        self._must(merge_multi_context, "a loss has one output")
        return [self._scores]

    def backward(self, out_grads: NDArrays | None = None) -> None:
        """Call the function.

        Raises AssertionError for head gradients, NotImplementedError without a function.
        """
        self._must(out_grads is None, "For a loss module, out_grads should be None")
        self._must(self.for_training, "re-bind with for_training=True to run backward")
        self._backward_impl()

    def _backward_impl(self) -> None:
        """Set the gradient of the scores; for a subclass without `grad_func`."""
        if self._grad_func is None:
            raise NotImplementedError("give a grad_func, or override _backward_impl")
        found = self._grad_func(self._scores, self._labels)
        self._scores_grad = found if isinstance(found, NDArray) else array(np.asarray(found))

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradient of the scores."""
        self._must(merge_multi_context, "a loss has one input")
        return [self._scores_grad]

    def install_monitor(self, mon: Monitor) -> None:
        """Not possible: there is no executor."""
        raise NotImplementedError("a Python loss has no executor to watch")
