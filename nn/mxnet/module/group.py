"""DataParallelExecutorGroup: one executor for each context, and a slice of every batch for each.

Source: mx.module.executor_group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.executor import Executor, simple_bind
from tapegrad.nn.mxnet.io.description import DataDesc, described
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array, as_array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.context import Context
    from tapegrad.nn.mxnet.metric.base import EvalMetric
    from tapegrad.nn.mxnet.monitor import Monitor
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import BatchLike, GradReq, GroupContexts, NDArrays

__all__ = ["DataParallelExecutorGroup", "sections"]


def sections(batch_size: int, work: Sequence[float]) -> list[slice]:
    """The rows of each context, in proportion to its work; what rounding leaves goes to the last.

    Raises ValueError where a context would get no row.
    """
    counts = [round(w * batch_size / sum(work)) for w in work]
    if sum(counts) < batch_size:
        counts[-1] += batch_size - sum(counts)
    found, begin = [], 0
    for count in counts:
        begin = min(begin, batch_size)
        end = min(begin + count, batch_size)
        if begin >= end:
            raise ValueError("Too many slices. Some splits are empty.")
        found.append(slice(begin, end))
        begin = end
    return found


class DataParallelExecutorGroup:
    """The executors of a Module on its contexts."""

    def __init__(
        self,
        symbol: Symbol,
        contexts: Sequence[Context],
        workload: Sequence[float],
        data_shapes: Sequence[DataDesc],
        label_shapes: Sequence[DataDesc] | None,
        param_names: Sequence[str],
        for_training: bool,
        inputs_need_grad: bool,
        shared_group: DataParallelExecutorGroup | None = None,
        fixed_param_names: Sequence[str] = (),
        grad_req: GradReq = "write",
        state_names: Sequence[str] = (),
        group2ctxs: GroupContexts = None,
    ):
        self.symbol, self.contexts, self.workload = symbol, list(contexts), list(workload)
        self.group2ctxs = group2ctxs
        self.param_names = list(param_names)
        self.arg_names = symbol.list_arguments()
        self.aux_names = symbol.list_auxiliary_states()
        self.output_names = symbol.list_outputs()
        self.for_training, self.inputs_need_grad = for_training, inputs_need_grad
        self.fixed_param_names, self.state_names = list(fixed_param_names), list(state_names)
        self.shared_group = shared_group
        self.shared_data_arrays: list[dict[str, NDArray]] = (
            shared_group.shared_data_arrays if shared_group else [{} for _ in contexts]
        )
        self.grad_req = self._requests(grad_req, [d.name for d in data_shapes])
        self.execs: list[Executor] = []
        self._first: list[Executor] = []
        self.bind_exec(data_shapes, label_shapes)

    def _requests(self, grad_req: Any, data_names: Sequence[str]) -> dict[str, str]:
        if not self.for_training:
            return dict.fromkeys(self.arg_names, "null")
        if isinstance(grad_req, (list, tuple)):
            if len(grad_req) != len(self.arg_names):
                raise AssertionError(
                    f"grad_req has {len(grad_req)} entries for {len(self.arg_names)} arguments"
                )
            return dict(zip(self.arg_names, grad_req, strict=True))
        if not isinstance(grad_req, (str, dict)):
            raise ValueError("grad_req must be one of str, list, tuple, or dict.")  # noqa: TRY004  # MXNet's type
        request = grad_req if isinstance(grad_req, str) else "write"
        found = {}
        for name in self.arg_names:
            if name in self.param_names:
                found[name] = "null" if name in self.fixed_param_names else request
            elif name in data_names:
                found[name] = request if self.inputs_need_grad else "null"
            else:
                found[name] = "null"
        return found | (grad_req if isinstance(grad_req, dict) else {})

    # Binding

    def bind_exec(
        self,
        data_shapes: Sequence[DataDesc],
        label_shapes: Sequence[DataDesc] | None,
        reshape: bool = False,
    ) -> None:
        """Make the executors, or reshape those that are there.

        Raises AssertionError where data and labels have several batch sizes.
        """
        axes, batch_size = _batch(data_shapes, label_shapes)
        parts = sections(batch_size, self.workload)
        made = []
        for i, context in enumerate(self.contexts):
            shapes = _part_shapes(data_shapes, axes, parts[i])
            shapes |= _part_shapes(label_shapes or (), axes, parts[i])
            if reshape:
                made.append(self._first[i].reshaped(shapes, self._may_change))
            else:
                made.append(self._bind(i, context, shapes, [*data_shapes, *(label_shapes or ())]))
        self.execs = made
        self.batch_size, self.slices, self._axes = batch_size, parts, axes
        self.data_shapes = list(data_shapes)
        self.label_shapes = list(label_shapes) if label_shapes is not None else None
        self.data_names = [d.name for d in data_shapes]
        self.label_names = [d.name for d in label_shapes or ()]
        self.data_layouts = [axes[d.name] for d in data_shapes]
        self.output_layouts = [
            DataDesc.get_batch_axis(out.attr("__layout__")) for out in self.symbol
        ]
        if not reshape:
            self._first = list(made)

    def _may_change(self, name: str) -> bool:
        """Whether reshaping may give the argument another shape: parameters keep theirs."""
        return name not in self.param_names

    def _bind(
        self, i: int, context: Context, shapes: dict[str, tuple[int, ...]], all_: Sequence[DataDesc]
    ) -> Executor:
        named: dict[str, Any] = dict(shapes)
        return simple_bind(
            self.symbol,
            context,
            grad_req=self.grad_req,
            type_dict={d.name: d.dtype for d in all_},
            shared_arg_names=self.param_names,
            shared_exec=None if self.shared_group is None else self.shared_group.execs[i],
            shared_buffer=self.shared_data_arrays[i],
            **named,
        )

    def reshape(self, data_shapes: Sequence[Any], label_shapes: Sequence[Any] | None) -> None:
        """Fit the executors to other shapes; parameters, gradients and states stay."""
        data, label = described(data_shapes) or [], described(label_shapes)
        if data == self.data_shapes and label == self.label_shapes:
            return
        self.bind_exec(data, label, reshape=True)

    # Parameters

    @property
    def param_arrays(self) -> list[list[NDArray]]:
        """For each parameter its array on each context."""
        return [[e.arg_dict[name] for e in self.execs] for name in self.own_params]

    @property
    def grad_arrays(self) -> list[list[NDArray | None]]:
        """For each parameter its gradient on each context; None where none is wanted."""
        if not self.for_training:
            return []
        return [[e.grad_dict.get(name) for e in self.execs] for name in self.own_params]

    @property
    def aux_arrays(self) -> list[list[NDArray]]:
        """For each state its array on each context."""
        return [[e.aux_dict[name] for e in self.execs] for name in self.aux_names]

    @property
    def data_arrays(self) -> list[list[tuple[slice, NDArray]]]:
        """For each input the rows and the array of each context."""
        return [
            [(self.slices[i], e.arg_dict[name]) for i, e in enumerate(self.execs)]
            for name in self.data_names
        ]

    @property
    def input_grad_arrays(self) -> list[list[NDArray | None]]:
        """For each input its gradient on each context."""
        return [[e.grad_dict.get(name) for e in self.execs] for name in self.data_names]

    @property
    def own_params(self) -> list[str]:
        """The names of the parameters, in the order of the arguments."""
        return [name for name in self.arg_names if name in self.param_names]

    def set_params(
        self,
        arg_params: Mapping[str, Any],
        aux_params: Mapping[str, Any],
        allow_extra: bool = False,
    ) -> None:
        """Copy arrays into every executor.  Raises ValueError for a surplus name."""
        for executor in self.execs:
            executor.copy_params_from(arg_params, aux_params, allow_extra_params=allow_extra)

    def get_params(self, arg_params: dict[str, NDArray], aux_params: dict[str, NDArray]) -> None:
        """Write the mean over the contexts of each parameter and state into the given arrays."""
        for name, arrays in zip(self.own_params, self.param_arrays, strict=True):
            arg_params[name][:] = _mean(arrays)
        for name, arrays in zip(self.aux_names, self.aux_arrays, strict=True):
            aux_params[name][:] = _mean(arrays)

    # Running

    def forward(self, batch: BatchLike | list[BatchLike], is_train: bool | None = None) -> None:
        """Copy the batch's slices into the executors and run them."""
        is_train = self.for_training if is_train is None else is_train
        if isinstance(batch, list):  # one batch for each context
            for executor, one in zip(self.execs, batch, strict=True):
                self._load(executor, one, None)
        else:
            for executor, part in zip(self.execs, self.slices, strict=True):
                self._load(executor, batch, part)
        for executor in self.execs:
            executor.begin(is_train)

    def _load(self, executor: Executor, batch: Any, part: slice | None) -> None:
        given = list(zip(self.data_names, batch.data, strict=False))
        if self.label_shapes is not None and getattr(batch, "label", None):
            given += zip(self.label_names, batch.label, strict=False)
        for name, value in given:
            if name in executor.arg_dict:
                executor.arg_dict[name][:] = _cut(as_array(value), self._axes[name], part)

    def backward(self, out_grads: NDArrays | None = None) -> None:
        """Run all backwards.

        Raises AssertionError unless bound for training, MXNetError for another number of gradients.
        """
        if not self.for_training:
            raise AssertionError("re-bind with for_training=True to run backward")
        if out_grads is not None and not isinstance(out_grads, (list, tuple)):
            out_grads = [out_grads]
        if out_grads is not None and len(out_grads) != len(self.output_names):
            raise MXNetError(
                f"backward: {len(out_grads)} gradients for {len(self.output_names)} outputs"
            )
        for executor, part in zip(self.execs, self.slices, strict=True):
            if out_grads is None:
                executor.backward()
                continue
            executor.backward(
                [
                    _cut(as_array(g), axis, part)
                    for g, axis in zip(out_grads, self.output_layouts, strict=True)
                ]
            )

    def get_outputs(
        self, merge_multi_context: bool = True, begin: int = 0, end: int | None = None
    ) -> list[Any]:
        """The outputs, joined along their batch axis, or a list of one for each context."""
        nested = [
            [e.outputs[i] for e in self.execs] for i in range(begin, end or len(self.output_names))
        ]
        return _joined(nested, self.output_layouts[begin:end]) if merge_multi_context else nested

    def get_output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """(name, shape of the joined output) of every output."""
        found = []
        for i, name in enumerate(self.output_names):
            shapes = [_output_shape(e, i) for e in self.execs]
            axis = self.output_layouts[i]
            shape = list(shapes[0])
            if axis >= 0:
                shape[axis] = sum(s[axis] for s in shapes)
            found.append((name, tuple(shape)))
        return found

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients of the data, joined, or a list of one for each context."""
        if not self.inputs_need_grad:
            raise AssertionError("bind with inputs_need_grad=True to read gradients of the data")
        nested = self.input_grad_arrays
        return _joined(nested, self.data_layouts) if merge_multi_context else nested

    def get_states(self, merge_multi_context: bool = True) -> list[Any]:
        """For each state its array on each context."""
        if merge_multi_context:
            raise AssertionError("merge_multi_context=True is not supported for get_states yet.")
        return [[e.arg_dict[name] for e in self.execs] for name in self.state_names]

    def set_states(self, states: Sequence[Any] | None = None, value: float | None = None) -> None:
        """Copy arrays (nested as in get_states(False)), or one number, into the states."""
        if states is not None:
            if value is not None:
                raise AssertionError("Only one of states & value can be specified.")
            for name, arrays in zip(self.state_names, states, strict=True):
                for executor, source in zip(self.execs, arrays, strict=True):
                    executor.arg_dict[name][:] = as_array(source)
            return
        if value is None:
            raise AssertionError("At least one of states & value must be specified.")
        for name in self.state_names:
            for executor in self.execs:
                executor.arg_dict[name][:] = value

    def update_metric(
        self, eval_metric: EvalMetric, labels: Sequence[Any] | None, pre_sliced: bool = False
    ) -> None:
        """Give the metric each context's labels and outputs, by name.

        Raises TypeError where the module is bound without labels.
        """
        if labels is None or self.label_shapes is None:
            raise TypeError("the module is bound without labels: give label_shapes to bind")
        for i, (executor, part) in enumerate(zip(self.execs, self.slices, strict=True)):
            own = labels[i] if pre_sliced else labels
            cut = [
                label if pre_sliced else _cut(as_array(label), axis, part)
                for label, axis in zip(own, self._label_axes(), strict=False)
            ]
            eval_metric.update_dict(
                dict(zip(self.label_names, cut, strict=False)),
                dict(zip(self.output_names, executor.outputs, strict=True)),
            )

    def _label_axes(self) -> list[int]:
        return [self._axes[name] for name in self.label_names]

    def install_monitor(self, monitor: Monitor) -> None:
        """Let a Monitor watch every executor."""
        for executor in self.execs:
            monitor.install(executor)


def _batch(
    data: Sequence[DataDesc], labels: Sequence[DataDesc] | None
) -> tuple[dict[str, int], int]:
    """(name -> batch axis, batch size)."""
    axes, size = {}, None
    for one in (*data, *(labels or ())):
        axis = DataDesc.get_batch_axis(one.layout)
        axes[one.name] = axis
        if axis < 0:
            continue
        if size is None:
            size = one.shape[axis]
        elif one.shape[axis] != size:
            raise AssertionError(
                f"all data must have the same batch size: batch_size = {size}, but {one.name} has "
                f"shape {one.shape}"
            )
    return axes, size or 0


def _part_shapes(
    descriptions: Sequence[DataDesc], axes: Mapping[str, int], part: slice
) -> dict[str, tuple[int, ...]]:
    found = {}
    for one in descriptions:
        shape, axis = list(one.shape), axes[one.name]
        if axis >= 0:
            shape[axis] = part.stop - part.start
        found[one.name] = tuple(shape)
    return found


def _cut(x: NDArray, axis: int, part: slice | None) -> NDArray:
    if part is None or axis < 0 or x.shape[axis] == part.stop - part.start:
        return x
    return x[(slice(None),) * axis + (part,)]


def _mean(arrays: Sequence[NDArray]) -> NDArray | np.ndarray:
    if len(arrays) == 1:
        return arrays[0]
    return np.asarray(sum(x.asnumpy() for x in arrays) / len(arrays))


def _joined(nested: Sequence[Sequence[Any]], axes: Sequence[int]) -> list[Any]:
    found: list[Any] = []
    for arrays, axis in zip(nested, axes, strict=True):
        if len(arrays) == 1 or axis < 0 or arrays[0] is None:
            found.append(arrays[0])
            continue
        whole = np.concatenate([x.asnumpy() for x in arrays], axis=axis)
        found.append(array(whole, arrays[0].context, whole.dtype))
    return found


def _output_shape(executor: Executor, i: int) -> tuple[int, ...]:
    return executor.output_shapes[i]
