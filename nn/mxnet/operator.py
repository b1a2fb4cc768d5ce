"""mx.operator: operators that a script writes in Python: CustomOp, and NumpyOp of before 0.9.

    @mx.operator.register("softmax")
    class SoftmaxProp(mx.operator.CustomOpProp):
        def create_operator(self, ctx, shapes, dtypes):
            return Softmax()

    net = mx.sym.Custom(data, op_type="softmax")

`forward` and `backward` work on NDArrays by hand; both are called again in each replay.  No file
holds the code: a symbol.json with a Custom node is read where the script has registered it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from tapegrad.autograd import Tensor, no_grad
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.mode import Observer, install_observer
from tapegrad.autograd.core.specialize import public_function
from tapegrad.nn.mxnet.attributes import Attributes, Text
from tapegrad.nn.mxnet.context import current_context
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
from tapegrad.nn.mxnet.symbol.inference import known, unify
from tapegrad.nn.mxnet.symbol.symbol import Symbol, from_operator

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.context import Context


__all__ = [
    "CustomOp",
    "CustomOpProp",
    "NDArrayOp",
    "NumpyOp",
    "PythonOp",
    "get_all_registered_operators",
    "register",
]


class CustomOp:
    """What a user's operator computes.  Source: mx.operator.CustomOp."""

    def forward(
        self,
        is_train: bool,
        req: Sequence[str],
        in_data: list[NDArray],
        out_data: list[NDArray],
        aux: list[NDArray],
    ) -> None:
        """Write the outputs into out_data, by `assign`."""

    def backward(
        self,
        req: Sequence[str],
        out_grad: list[NDArray],
        in_data: list[NDArray],
        out_data: list[NDArray],
        in_grad: list[NDArray],
        aux: list[NDArray],
    ) -> None:
        """Write the gradients of the inputs into in_grad, by `assign`."""

    def assign(self, dst: NDArray, req: str, src: Any) -> None:
        """Write src into dst as the request says: "write", "inplace", "add" or "null"."""
        if req in ("write", "inplace"):
            dst[:] = src
        elif req == "add":
            dst[:] = dst + src


class CustomOpProp:
    """What is known of a user's operator beside its numbers.  Source: mx.operator.CustomOpProp.

    need_top_grad: whether the gradient needs that of the outputs; a loss says False
    The attributes of a call reach the constructor as texts.
    """

    def __init__(self, need_top_grad: bool = True) -> None:
        self.need_top_grad_ = need_top_grad

    def list_arguments(self) -> list[str]:
        """The names of the inputs."""
        return ["data"]

    def list_outputs(self) -> list[str]:
        """The names of the outputs."""
        return ["output"]

    def list_auxiliary_states(self) -> list[str]:
        """The names of the states."""
        return []

    def infer_shape(self, in_shape: list[Any]) -> Any:
        """(shapes of inputs, of outputs, of states) from the shapes of inputs, as far as known."""
        return in_shape, [in_shape[0]] * len(self.list_outputs()), []

    def infer_type(self, in_type: list[Any]) -> Any:
        """(types of inputs, of outputs, of states) from the types of inputs."""
        first = in_type[0]
        return (
            in_type,
            [first] * len(self.list_outputs()),
            [first] * len(self.list_auxiliary_states()),
        )

    def declare_backward_dependency(
        self, out_grad: list[int], in_data: list[int], out_data: list[int]
    ) -> list[int]:
        """The numbers of the arrays that backward uses; all of them are kept here."""
        return [*(out_grad if self.need_top_grad_ else ()), *in_data, *out_data]

    def create_operator(
        self, ctx: Context, in_shapes: list[list[int]], in_dtypes: list[type[Any]]
    ) -> CustomOp:
        """The operator itself."""
        return CustomOp()


P = TypeVar("P", bound=type[CustomOpProp])
_registered: dict[str, type[CustomOpProp]] = {}


def register(reg_name: str) -> Callable[[P], P]:
    """Decorator: the class describes the operator ``op_type=reg_name``; a later one replaces it.

    Raises TypeError for what is no CustomOpProp.
    """

    def enter(prop: P) -> P:
        if not (isinstance(prop, type) and issubclass(prop, CustomOpProp)):
            raise TypeError(f"register({reg_name!r}): {prop!r} is no subclass of CustomOpProp")
        _registered[reg_name] = prop
        return prop

    return enter


def get_all_registered_operators() -> list[str]:
    """The names of all registered operators."""
    return sorted(_registered)


# The operator "Custom" ---------------------------------------------------------------------------

# By the attributes of a node, which each node reads once: what its script made for it.
_props: WeakKeyDictionary[Attributes, CustomOpProp] = WeakKeyDictionary()
_made: WeakKeyDictionary[Attributes, dict[Any, CustomOp]] = WeakKeyDictionary()


def prop_of(a: Attributes) -> CustomOpProp:
    """The description of a node.  Raises MXNetError for an operator that is not registered."""
    if a not in _props:
        cls = _registered.get(a.op_type)
        if cls is None:
            near = get_close_matches(a.op_type, _registered, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise MXNetError(
                f"Custom: op_type={a.op_type!r} is Python code that no file holds, and no script "
                f"has registered it{hint}: import the script with "
                f"@mx.operator.register({a.op_type!r}) first"
            )
        given = {k: v for k, v in vars(a).items() if k != "op_type"}
        _props[a] = cls(**given)
    return _props[a]


def _operator_of(a: Attributes, inputs: Sequence[Any]) -> CustomOp:
    shapes = tuple(tuple(x.shape) for x in inputs)
    dtypes = tuple(np.dtype(x.dtype) for x in inputs)
    made = _made.setdefault(a, {})
    if (shapes, dtypes) not in made:
        made[shapes, dtypes] = prop_of(a).create_operator(
            current_context(), [list(s) for s in shapes], [d.type for d in dtypes]
        )
    return made[shapes, dtypes]


def _inputs(a: Attributes) -> list[str]:
    prop = prop_of(a)
    return [*prop.list_arguments(), *prop.list_auxiliary_states()]


def _shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    if not inputs or not known(inputs[0]):
        return
    prop = prop_of(a)
    count = len(prop.list_arguments())
    found = prop.infer_shape([list(shape or ()) for shape in inputs[:count]])
    parts = [*found, [], []][:3]
    for i, shape in enumerate([*parts[0], *parts[2]]):
        inputs[i] = unify(inputs[i], tuple(shape) or None)
    for i, shape in enumerate(parts[1]):
        outputs[i] = unify(outputs[i], tuple(shape) or None)


@contextmanager
def _by_hand() -> Iterator[None]:
    """What runs inside is one step to the tape and to replay, which call it again as a whole."""
    with no_grad(), install_observer(Observer()):
        yield


def _wrapped(arrays: Sequence[Any]) -> list[NDArray]:
    return [NDArray(Tensor(x)) for x in arrays]


def _body(
    xp: Any, inputs: list[Any], states: list[Any], *, made: CustomOp, train: bool, shapes: Any
) -> list[Any]:
    """The outputs, and the states as `forward` leaves them."""
    out = [xp.zeros(shape, dtype=inputs[0].dtype) for shape in shapes]
    after = [xp.array(x) for x in states]
    with _by_hand():
        made.forward(train, ["write"] * len(out), _wrapped(inputs), _wrapped(out), _wrapped(after))
    return [*out, *after]


def _pull(
    xp: Any,
    heads: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    states: list[Any],
    *,
    made: CustomOp,
) -> list[Any]:
    """The gradients of the inputs as `backward` writes them."""
    gradients = [xp.zeros(x.shape, dtype=x.dtype) for x in inputs]
    with _by_hand():
        made.backward(
            ["write"] * len(inputs), _wrapped(heads), _wrapped(inputs), _wrapped(outputs),
            _wrapped(gradients), _wrapped([xp.array(x) for x in states]),
        )  # fmt: skip
    return gradients


_run = public_function(Primitive(_body, several=True), _body)
_run_back = public_function(Primitive(_pull, several=True, differentiable=False), _pull)


def _rule(g: Any, y: Any, inputs: Any, states: Any, made: CustomOp) -> Any:
    count = len(y) - len(states)
    heads = [out * 0 if one is None else one for one, out in zip(g, y, strict=True)]
    return _run_back(heads[:count], inputs, y[:count], states, made=made)


_run.vjp(inputs=_rule, states=None)


@operator(
    "Custom",
    _inputs,
    auxiliary=lambda a: prop_of(a).list_auxiliary_states(),
    outputs=lambda a: prop_of(a).list_outputs(),
    loss=lambda a: not prop_of(a).need_top_grad_,
    further=True,
    shapes=_shapes,
    op_type=Text(),
)
def custom(call: Call, *arrays: Tensor) -> list[Tensor]:
    """A user's operator, registered under `op_type`; other attributes go to its CustomOpProp."""
    a, prop = call.a, prop_of(call.a)
    count = len(prop.list_arguments())
    inputs, states = list(arrays[:count]), list(arrays[count:])
    made = _operator_of(a, inputs)
    shapes = tuple(tuple(shape) for shape in prop.infer_shape([list(x.shape) for x in inputs])[1])
    found = _run(inputs, states, made=made, train=call.train, shapes=shapes)
    outputs = len(shapes)
    for name, value in zip(prop.list_auxiliary_states(), found[outputs:], strict=True):
        call.write(name, value.detach() if value.tracked else value)
    return found[:outputs]


# Operators as objects, of before CustomOp --------------------------------------------------------


class PythonOp:
    """An operator as an object: calling it gives a symbol.  Source: mx.operator.PythonOp.

    need_top_grad: whether `backward` needs the gradient of the outputs; a loss says False
    A subclass gives `forward` and `backward` on lists of arrays.
    """

    def __init__(self, need_top_grad: bool = True):
        self.need_top_grad_ = need_top_grad
        self._op_type = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Symbol:
        """The symbol of the operator on other symbols; as `get_symbol`."""
        return self.get_symbol(*args, **kwargs)

    def get_symbol(self, *args: Any, **kwargs: Any) -> Symbol:
        """The symbol of the operator on other symbols, by position or by `list_arguments`."""
        if not self._op_type:
            self._op_type = f"{type(self).__name__}_{len(_registered)}"
            _registered[self._op_type] = _prop_of_object(self)
        return from_operator("Custom", "_native", args, {**kwargs, "op_type": self._op_type})

    def forward(self, in_data: list[Any], out_data: list[Any]) -> None:
        """Write the outputs into out_data: the first input, unless a subclass does otherwise."""
        out_data[0][:] = in_data[0]

    def backward(
        self, out_grad: list[Any], in_data: list[Any], out_data: list[Any], in_grad: list[Any]
    ) -> None:
        """Write the gradients of the inputs into in_grad: 1, unless a subclass does otherwise."""
        in_grad[0][:] = 1.0

    def infer_shape(self, in_shape: list[Any]) -> tuple[list[Any], list[Any]]:
        """(shapes of inputs, of outputs) from the shapes of inputs, as far as known."""
        return in_shape, [in_shape[0]]

    def list_outputs(self) -> list[str]:
        """The names of the outputs."""
        return ["output"]

    def list_arguments(self) -> list[str]:
        """The names of the inputs."""
        return ["data"]

    def need_top_grad(self) -> bool:
        """Whether `backward` needs the gradient of the outputs."""
        return self.need_top_grad_

    def arrays_of(self, arrays: Sequence[NDArray]) -> list[Any]:
        """The arrays as `forward` and `backward` take them."""
        return list(arrays)


class NumpyOp(PythonOp):
    """A PythonOp on NumPy arrays."""

    def arrays_of(self, arrays: Sequence[NDArray]) -> list[Any]:
        return [x.asnumpy() for x in arrays]


class NDArrayOp(PythonOp):
    """A PythonOp on NDArrays."""


class _OfObject(CustomOp):
    """Runs a PythonOp: arrays that it writes are copied back."""

    def __init__(self, op: PythonOp):
        self.op = op

    def forward(self, is_train: bool, req: Any, in_data: Any, out_data: Any, aux: Any) -> None:
        outputs = self.op.arrays_of(out_data)
        self.op.forward(in_data=self.op.arrays_of(in_data), out_data=outputs)
        for target, y in zip(out_data, outputs, strict=True):
            target[:] = y

    def backward(
        self, req: Any, out_grad: Any, in_data: Any, out_data: Any, in_grad: Any, aux: Any
    ) -> None:
        of, gradients = self.op.arrays_of, self.op.arrays_of(in_grad)
        self.op.backward(
            out_grad=of(out_grad), in_data=of(in_data), out_data=of(out_data), in_grad=gradients
        )
        for target, g in zip(in_grad, gradients, strict=True):
            target[:] = g


def _prop_of_object(op: PythonOp) -> type[CustomOpProp]:
    class Prop(CustomOpProp):
        def __init__(self) -> None:
            super().__init__(op.need_top_grad())

        def list_arguments(self) -> list[str]:
            return op.list_arguments()

        def list_outputs(self) -> list[str]:
            return op.list_outputs()

        def infer_shape(self, in_shape: list[Any]) -> Any:
            return op.infer_shape(in_shape)

        def create_operator(self, ctx: Any, in_shapes: Any, in_dtypes: Any) -> CustomOp:
            return _OfObject(op)

    return Prop
