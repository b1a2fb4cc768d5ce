"""Executor: a symbol bound to arrays; forward and backward are recorded once and replayed.

A forward in training mode waits: where `backward` follows before anybody reads the outputs, both
run as one recorded step, which computes the outputs once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad, replay, vjp
from tapegrad.nn.core.services import register_service
from tapegrad.nn.mxnet.compat import faults_of_1_9_1
from tapegrad.nn.mxnet.context import Context, current_context
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.fitting import must_fit
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, as_array, from_tensor, zeros
from tapegrad.nn.mxnet.symbol.graph import states_of, takes_head_gradient
from tapegrad.nn.mxnet.symbol.inference import known
from tapegrad.nn.mxnet.symbol.running import RunPlan

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import GradReq, NDArrayLike, NDArrays, ParamsLike

__all__ = ["Executor", "requests", "simple_bind"]

REQUESTS = ("write", "add", "null")


class Executor:
    """A symbol with an array for each variable, and one for each gradient that is wanted.

    arg_dict, grad_dict, aux_dict: name -> NDArray (of a gradient None where its request is "null")
    outputs:                       the results of the last forward
    Source: mx.executor.Executor.
    """

    def __init__(
        self,
        symbol: Symbol,
        context: Context,
        arguments: Mapping[str, NDArray],
        gradients: Mapping[str, NDArray | None],
        grad_req: Mapping[str, str],
        auxiliary: Mapping[str, NDArray],
    ):
        self._symbol, self._context = symbol, context
        self.arg_dict, self.aux_dict = dict(arguments), dict(auxiliary)
        self.grad_dict, self.grad_req = dict(gradients), dict(grad_req)
        self._names = list(self.arg_dict)
        self._wanted = [name for name in self._names if self.grad_req[name] != "null"]
        self._plan = RunPlan(symbol.heads)
        self._filled = self._open_shapes()
        self._open = [takes_head_gradient(head, self._wanted) for head in symbol.heads]
        self._monitor: Callable[[str, NDArray], None] | None = None
        self._monitor_all = False
        self._outputs: list[NDArray] | None = None
        self._pending: bool | None = None  # the mode of a forward that has not run yet
        self._pull: Callable[[list[Tensor]], Any] | None = None
        self._writes: dict[str, Tensor] = {}
        self._steps: dict[tuple[str, bool], Any] = {}
        self._shapes: list[tuple[int, ...]] | None = None

    # What it holds

    @property
    def arg_arrays(self) -> list[NDArray]:
        """The arguments' arrays, in the order of `list_arguments`."""
        return [self.arg_dict[name] for name in self._names]

    @property
    def grad_arrays(self) -> list[NDArray | None]:
        """The gradients' arrays, in the same order."""
        return [self.grad_dict.get(name) for name in self._names]

    @property
    def aux_arrays(self) -> list[NDArray]:
        """The states' arrays."""
        return list(self.aux_dict.values())

    @property
    def outputs(self) -> list[NDArray]:
        """The results of the last forward.  Raises MXNetError if there was none."""
        if self._pending is not None:
            self._run_forward()
        if self._outputs is None:
            raise MXNetError("there are no outputs yet: call forward first")
        return self._outputs

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the outputs, without running."""
        if self._shapes is None:
            given = {name: x.shape for name, x in {**self.arg_dict, **self.aux_dict}.items()}
            found = self._symbol.shapes(given)
            self._shapes = [tuple(found[head] or ()) for head in self._symbol.heads]
        return self._shapes

    @property
    def output_dict(self) -> dict[str, NDArray]:
        """The outputs by name."""
        return dict(zip(self._symbol.list_outputs(), self.outputs, strict=True))

    # Running

    def forward(self, is_train: bool = False, **inputs: Any) -> list[NDArray]:
        """Run the graph; inputs by name are copied into the arguments' arrays first.

        Raises TypeError for an unknown name, ValueError for another shape.
        """
        for name, value in inputs.items():
            if name not in self.arg_dict:
                raise TypeError(f"Unknown argument {name}")
            target = self.arg_dict[name]
            source = as_array(value)
            if source.shape != target.shape:
                raise ValueError(
                    f"Shape not match! Argument {name}, need: {target.shape}, received: "
                    f"{source.shape}"
                )
            target[:] = source
        self.begin(is_train)
        return self.outputs

    def begin(self, is_train: bool) -> None:
        """A forward that runs when its outputs are read, or together with `backward`."""
        self._outputs, self._pull, self._writes = None, None, {}
        self._pending = bool(is_train)
        if self._monitor is not None:
            self._run_forward()

    def backward(self, out_grads: NDArrays | None = None, is_train: bool = True) -> None:
        """Fill the gradients' arrays, as each one's request says: write or add.

        out_grads: the gradients of the outputs; needed where an output is no loss
        Raises MXNetError for a missing or surplus gradient.
        """
        heads = self._heads(out_grads)
        if self._pending and heads is None and self._monitor is None:
            outputs, gradients, writes = self._step("both")(*self._inputs())
            self._pending, self._writes = None, writes
            self._outputs = [from_tensor(y, self._context) for y in outputs]
        else:
            outputs = [y.tensor for y in self.outputs]
            if heads is None:
                heads = [np.ones(y.shape, y.dtype) for y in outputs]
            if self._pull is None:
                self._track()
            assert self._pull is not None
            cotangents = [
                Tensor(h, dtype=y.dtype, device=y.device)
                for h, y in zip(heads, outputs, strict=True)
            ]
            with no_grad():  # nobody asks for a derivative of the gradients
                gradients = self._pull(cotangents)
        for name, g in zip(self._wanted, gradients, strict=True):
            target = self.grad_dict[name]
            if target is None:
                continue
            if self.grad_req[name] == "add":
                target.tensor.data[...] += g.data
            else:
                target.tensor.data[...] = g.data
        self._write()

    def _inputs(self) -> tuple[list[Tensor], list[Tensor]]:
        return (
            [self.arg_dict[name].tensor for name in self._names],
            [x.tensor for x in self.aux_dict.values()],
        )

    def _values(self, arguments: Sequence[Tensor], states: Sequence[Tensor]) -> dict[str, Tensor]:
        return {
            **dict(zip(self._names, arguments, strict=True)),
            **dict(zip(self.aux_dict, states, strict=True)),
        }

    def _step(self, kind: str) -> Any:
        key = kind, faults_of_1_9_1()  # which a recording does not watch
        if key not in self._steps:
            step = {"eval": self._evaluated, "train": self._trained, "both": self._forward_backward}
            self._steps[key] = replay(step[kind])
        return self._steps[key]

    def _evaluated(self, arguments: list[Tensor], states: list[Tensor]) -> Any:
        with no_grad():
            run = self._call(self._values(arguments, states), False)
        return run.outputs, run.writes

    def _trained(self, arguments: list[Tensor], states: list[Tensor]) -> Any:
        with no_grad():
            run = self._call(self._values(arguments, states), True)
        return run.outputs, run.writes

    def _forward_backward(self, arguments: list[Tensor], states: list[Tensor]) -> Any:
        writes: dict[str, Tensor] = {}
        outputs, pull = self._differentiable(arguments, states, writes)
        # a loss takes no head gradient; ones stand for it
        heads = [Tensor(np.ones(y.shape, y.dtype), device=y.device) for y in outputs]
        with no_grad():  # nobody asks for a derivative of the gradients
            return outputs, list(pull(heads)), writes

    def _differentiable(
        self, arguments: list[Tensor], states: list[Tensor], writes: dict[str, Tensor]
    ) -> Any:
        values = self._values(arguments, states)
        if not self._wanted:
            run = self._call(values, True)
            writes.update(run.writes)
            return run.outputs, lambda _: []

        def function(*wanted: Tensor) -> list[Tensor]:
            run = self._call({**values, **dict(zip(self._wanted, wanted, strict=True))}, True)
            writes.update({name: value.detach() for name, value in run.writes.items()})
            return run.outputs

        return vjp(function, tuple(values[name] for name in self._wanted))

    def _call(self, values: dict[str, Tensor], train: bool) -> Any:
        generator = devices.generator(self._context.device)
        return self._plan(
            values, train=train, generator=generator, watch=self._watcher(), filled=self._filled
        )

    def _run_forward(self) -> None:
        train, self._pending = bool(self._pending), None
        if train and self._wanted:
            self._track()
            return
        if self._monitor is not None:
            with no_grad():
                run = self._call(self._values(*self._inputs()), train)
            outputs, self._writes = run.outputs, run.writes
        else:
            outputs, self._writes = self._step("train" if train else "eval")(*self._inputs())
        self._outputs = [from_tensor(y, self._context) for y in outputs]

    def _track(self) -> None:
        """Run forward in training mode on the tape, for a backward with any head gradients."""
        self._writes = {}
        outputs, self._pull = self._differentiable(*self._inputs(), self._writes)
        self._outputs = [
            from_tensor(y.detach() if y.tracked else y, self._context) for y in outputs
        ]

    def _write(self) -> None:
        """Give states their new values, as MXNet does on a CPU: in the backward pass."""
        for name, value in self._writes.items():
            target = self.aux_dict[name] if name in self.aux_dict else self.arg_dict[name]
            target.tensor.data[...] = value.data
        self._writes = {}

    def _heads(self, out_grads: Any) -> list[Any] | None:
        if out_grads is None:
            if any(self._open):
                outputs = zip(self._symbol.list_outputs(), self._open, strict=True)
                names = [name for name, is_open in outputs if is_open]
                raise MXNetError(
                    f"backward: the output {names[0]!r} is no loss: give backward its gradient"
                )
            return None
        if isinstance(out_grads, NDArray) or not isinstance(out_grads, (list, tuple)):
            out_grads = [out_grads]
        if len(out_grads) != len(self._open):
            raise MXNetError(f"backward: {len(out_grads)} gradients for {len(self._open)} outputs")
        return [as_array(g).tensor.data for g in out_grads]

    def _open_shapes(self) -> dict[int, tuple[int, ...]]:
        """The shapes of nodes without inputs whose attribute leaves dimensions open."""
        nodes = [n for n in self._plan.nodes if n.op is not None and not n.inputs]
        opened = [n for n in nodes if not known(getattr(n.read, "shape", (1,)))]
        if not opened:
            return {}
        given = {name: x.shape for name, x in {**self.arg_dict, **self.aux_dict}.items()}
        found = self._symbol.shapes(given)
        return {id(n): tuple(found[n, 0] or ()) for n in opened}

    # Monitoring, parameters, shapes

    def set_monitor_callback(
        self, callback: Callable[[str, NDArray], None] | None, monitor_all: bool = False
    ) -> None:
        """Call `callback(name, array)` for each operator's outputs from now on."""
        self._monitor, self._monitor_all = callback, monitor_all

    def _watcher(self) -> Callable[[str, Tensor], None] | None:
        callback = self._monitor
        if callback is None:
            return None
        return lambda name, value: callback(
            name, from_tensor(value.detach() if value.tracked else value, self._context)
        )

    def copy_params_from(
        self,
        arg_params: Mapping[str, Any],
        aux_params: Mapping[str, Any] | None = None,
        allow_extra_params: bool = False,
    ) -> None:
        """Copy arrays into the arguments and states.

        Raises ValueError for a name that is none of them, unless `allow_extra_params`, MXNetError
        for another shape; nothing has changed then.
        """
        must_fit(arg_params, self.arg_dict, "arguments", allow_extra_params)
        must_fit(aux_params or {}, self.aux_dict, "auxiliary states", allow_extra_params)
        for given, own in ((arg_params, self.arg_dict), (aux_params or {}, self.aux_dict)):
            for name, value in given.items():
                if name in own:
                    as_array(value).copyto(own[name])

    def reshape(
        self, partial_shaping: bool = False, allow_up_sizing: bool = False, **shapes: Sequence[int]
    ) -> Executor:
        """An executor for other shapes of data, on the same parameters, gradients and states.

        Raises MXNetError where a parameter's shape would change, unless `partial_shaping`.
        """
        return self.reshaped(shapes, lambda name: name in shapes or partial_shaping)

    def reshaped(
        self, shapes: Mapping[str, Sequence[int]], may_change: Callable[[str], bool]
    ) -> Executor:
        """As `reshape`; `may_change(name)` says which arguments may get another shape.

        Raises MXNetError where another one would change.
        """
        wanted = dict(zip(self._names, self._symbol.infer_shape(**shapes)[0] or (), strict=False))
        if not wanted:
            raise MXNetError("Insufficient argument shapes provided.")
        arguments: dict[str, NDArray] = {}
        gradients: dict[str, NDArray | None] = {}
        for name, x in self.arg_dict.items():
            g = self.grad_dict.get(name)
            if tuple(wanted[name]) == x.shape:
                arguments[name], gradients[name] = x, g
            elif may_change(name):
                arguments[name] = zeros(wanted[name], self._context, x.dtype)
                gradients[name] = None if g is None else zeros(wanted[name], self._context, g.dtype)
            else:
                raise MXNetError(
                    f"reshape: {name} has the shape {x.shape} and would need {wanted[name]}"
                )
        return Executor(
            self._symbol, self._context, arguments, gradients, self.grad_req, self.aux_dict
        )


def requests(
    grad_req: str | Sequence[str] | Mapping[str, str], names: Sequence[str]
) -> dict[str, str]:
    """Argument name -> "write", "add" or "null".

    Raises ValueError for another form of `grad_req`, MXNetError for an unknown request.
    """
    if isinstance(grad_req, str):
        found = dict.fromkeys(names, grad_req)
    elif isinstance(grad_req, Mapping):
        found = {name: grad_req.get(name, "null") for name in names}
    elif isinstance(grad_req, (list, tuple)):
        if len(grad_req) != len(names):
            raise ValueError(f"grad_req has {len(grad_req)} entries for {len(names)} arguments")
        found = dict(zip(names, grad_req, strict=True))
    else:
        raise ValueError("grad_req must be one of str, list, tuple, or dict.")  # noqa: TRY004  # MXNet's type
    for name, request in found.items():
        if request not in REQUESTS:
            raise MXNetError(
                f"simple_bind error. Arguments: grad_req of {name} is {request!r}, it is one of "
                f"{', '.join(REQUESTS)}"
            )
    return found


@register_service("mxnet.simple_bind")  # a method of Symbol, which stands below
def simple_bind(
    symbol: Symbol,
    ctx: Context | None = None,
    grad_req: GradReq = "write",
    type_dict: Mapping[str, Any] | None = None,
    stype_dict: Mapping[str, str] | None = None,
    group2ctx: Mapping[str, Context] | None = None,
    shared_arg_names: Sequence[str] | None = None,
    shared_exec: Executor | None = None,
    shared_buffer: dict[str, NDArray] | None = None,
    **shapes: Sequence[int],
) -> Executor:
    """An executor on new arrays of zeros, of the shapes that follow from those given.

    shared_exec:   its arrays of the names in `shared_arg_names` and its states are used again
    shared_buffer: data arrays by name, used again where they fit, and added to
    Raises MXNetError where a shape cannot be inferred, with the variables that lack one.
    """
    context = ctx or current_context()
    found = symbol.shapes(shapes)
    unknown = found.unknown()
    if unknown:
        shown = ", ".join(f"{k}={tuple(v)}" for k, v in shapes.items())
        raise MXNetError(
            f"simple_bind error. Arguments: {shown}. The shape of {', '.join(unknown)} cannot be "
            f"inferred ({found.missing()}): give it, as in simple_bind(ctx, name=(…))"
        )
    states = states_of(found.nodes)
    types = dict(type_dict or {})
    kinds = symbol.types(types)
    variables = [n for n in found.nodes if n.op is None]
    names = [n.name for n in variables if id(n) not in states]
    reqs = requests(grad_req, names)
    arguments, gradients, auxiliary = {}, {}, {}
    for node in variables:
        shape, dtype = tuple(found[node, 0] or ()), kinds[id(node), 0]
        name = node.name
        if id(node) in states:
            shared = shared_exec.aux_dict.get(name) if shared_exec is not None else None
            auxiliary[name] = shared if shared is not None else zeros(shape, context, dtype)
            continue
        is_shared = shared_exec is not None and name in (shared_arg_names or ())
        if is_shared and shared_exec is not None and name in shared_exec.arg_dict:
            arguments[name] = shared_exec.arg_dict[name]
            gradients[name] = shared_exec.grad_dict.get(name)
            if arguments[name].shape != shape:
                raise MXNetError(
                    f"{name} has the shape {arguments[name].shape} where it is shared, {shape} here"
                )
        else:
            arguments[name] = _array(shared_buffer, name, shape, context, dtype)
            gradients[name] = None
        if reqs[name] == "null":
            gradients[name] = None
        elif gradients[name] is None:
            gradients[name] = zeros(shape, context, dtype)
    return Executor(symbol, context, arguments, gradients, reqs, auxiliary)


def _array(
    pool: dict[str, NDArray] | None, name: str, shape: tuple[int, ...], context: Context, dtype: Any
) -> NDArray:
    """A data array: the beginning of a larger one of the pool where it fits."""
    if pool is None:
        return zeros(shape, context, dtype)
    size = int(np.prod(shape, dtype=np.int64))
    old = pool.get(name)
    if old is not None and old.size >= size and np.dtype(old.dtype) == np.dtype(dtype):
        return old.reshape((-1,))[:size].reshape(shape)
    pool[name] = zeros(shape, context, dtype)
    return pool[name]


@register_service("mxnet.bind")  # a method of Symbol, which stands below
def bind(
    symbol: Symbol,
    ctx: Context | None = None,
    args: ParamsLike | Sequence[NDArrayLike] | None = None,
    args_grad: ParamsLike | Sequence[NDArrayLike] | None = None,
    grad_req: GradReq = "write",
    aux_states: ParamsLike | Sequence[NDArrayLike] | None = None,
    group2ctx: Mapping[str, Context] | None = None,
    shared_exec: Executor | None = None,
) -> Executor:
    """An executor on given arrays, by name or in order.

    Raises ValueError for a missing array or another number of arrays.
    """
    context = ctx or current_context()
    names = symbol.list_arguments()
    arguments = _by_name(args, names, "args", required=True)
    gradients = _by_name(args_grad, names, "args_grad", required=False)
    auxiliary = _by_name(aux_states, symbol.list_auxiliary_states(), "aux_states", required=True)
    reqs = requests(grad_req, names)
    for name in names:
        if gradients.get(name) is None:
            reqs[name] = "null"
    arrays = {name: as_array(x) for name, x in arguments.items()}
    return Executor(
        symbol, context, arrays, gradients, reqs, {k: as_array(v) for k, v in auxiliary.items()}
    )


def _by_name(given: Any, names: Sequence[str], what: str, required: bool) -> dict[str, Any]:
    if given is None:
        given = {}
    if isinstance(given, Mapping):
        missing = [name for name in names if name not in given]
        if missing and required:
            raise ValueError(f"key `{missing[0]}` is missing in `{what}`")
        return {name: given.get(name) for name in names}
    if len(given) != len(names):
        raise ValueError(f"Length of {what} does not match the number of arguments")
    return dict(zip(names, given, strict=True))


@register_service("mxnet.eval")  # a method of Symbol, which stands below
def evaluate(symbol: Symbol, ctx: Context | None = None, **arrays: Any) -> list[NDArray]:
    """The outputs for arrays by name."""
    return bind(symbol, ctx, arrays, grad_req="null").forward()
