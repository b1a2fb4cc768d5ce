"""Elementwise operators of one array, activations among them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import custom_vjp, ops
from tapegrad.nn.mxnet.attributes import Attributes, Choice, DType, Float
from tapegrad.nn.mxnet.compat import faults_of_1_9_1
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.elementwise import like
from tapegrad.nn.mxnet.operators.shape_rules import all_alike
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["activation", "leaky_relu", "round_away"]


@custom_vjp
def _absolute(x: Any) -> Any:
    return np.abs(x)


_absolute.vjp(x=lambda g, x: g * np.sign(x))


def round_away(x: Tensor) -> Tensor:
    """Halves away from zero."""
    return ops.signum(x) * ops.floor(ops.absolute(x) + 0.5)


def _rint(x: Any) -> Any:
    """Halves down: 0.5 -> 0, 1.5 -> 1, -0.5 -> -1."""
    return ops.ceil(x - 0.5)


def _erf_of(x: Any) -> Any:
    return ops.erf(x)


# name -> (function, formula); those whose result is flat have no gradient by themselves.
UNARY: dict[str, tuple[Callable[[Any], Any], str]] = {
    "abs": (_absolute, "|x|, with the gradient 0 at 0"),
    "sign": (ops.signum, "-1, 0 or 1"),
    "negative": (ops.negative, "-x"),
    "reciprocal": (lambda x: 1 / x, "1 / x"),
    "square": (ops.square, "x²"),
    "sqrt": (ops.sqrt, "√x"),
    "rsqrt": (lambda x: 1 / ops.sqrt(x), "1 / √x"),
    "cbrt": (ops.cbrt, "∛x"),
    "rcbrt": (lambda x: 1 / ops.cbrt(x), "1 / ∛x"),
    "exp": (ops.exp, "eˣ"),
    "expm1": (ops.expm1, "eˣ - 1"),
    "log": (ops.log, "log x"),
    "log10": (ops.log10, "log₁₀ x"),
    "log2": (ops.log2, "log₂ x"),
    "log1p": (ops.log1p, "log(1 + x)"),
    "sin": (ops.sin, "sin x"),
    "cos": (ops.cos, "cos x"),
    "tan": (ops.tan, "tan x"),
    "arcsin": (ops.arcsin, "arcsin x"),
    "arccos": (ops.arccos, "arccos x"),
    "arctan": (ops.arctan, "arctan x"),
    "sinh": (ops.sinh, "sinh x"),
    "cosh": (ops.cosh, "cosh x"),
    "tanh": (ops.tanh, "tanh x"),
    "arcsinh": (ops.arcsinh, "arsinh x"),
    "arccosh": (ops.arccosh, "arcosh x"),
    "arctanh": (ops.arctanh, "artanh x"),
    "degrees": (ops.degrees, "x in degrees"),
    "radians": (ops.radians, "x in radians"),
    "sigmoid": (ops.sigmoid, "1 / (1 + e⁻ˣ)"),
    "relu": (ops.relu, "max(x, 0)"),
    "softsign": (ops.softsign, "x / (1 + |x|)"),
    "erf": (_erf_of, "the error function"),
    "erfinv": (ops.erfinv, "the inverse of the error function"),
    "gamma": (ops.gamma, "Γ(x)"),
    "gammaln": (ops.gammaln, "log |Γ(x)|"),
    "digamma": (ops.digamma, "the derivative of log Γ(x)"),
    "log_sigmoid": (ops.log_expit, "log(1 / (1 + e⁻ˣ))"),
    "mish": (lambda x: x * ops.tanh(ops.logaddexp(x, 0)), "x · tanh(log(1 + eˣ))"),
    "round": (round_away, "the nearest whole number, halves away from 0"),
    "rint": (_rint, "the nearest whole number, halves down"),
    "floor": (ops.floor, "the whole number below"),
    "ceil": (ops.ceil, "the whole number above"),
    "trunc": (ops.trunc, "the whole number towards 0"),
    "fix": (ops.trunc, "the whole number towards 0"),
    "logical_not": (lambda x: like(ops.equal(x, 0), x), "1 where x is 0, else 0"),
}


def _declare() -> None:
    for name, (function, formula) in UNARY.items():

        def body(call: Call, data: Tensor, run: Callable[[Any], Any] = function) -> Any:
            return run(data)

        body.__doc__ = f"{formula}, elementwise."
        operator(name, shapes=all_alike)(body)


_declare()


@operator("hard_sigmoid", alpha=Float(0.2), beta=Float(0.5), shapes=all_alike)
def hard_sigmoid(call: Call, data: Tensor) -> Tensor:
    """αx + β within 0 and 1, elementwise; the gradient is 0 outside."""
    return ops.clip(call.a.alpha * data + call.a.beta, 0, 1)


@operator("_copy", aliases="identity", shapes=all_alike)
def copy(call: Call, data: Tensor) -> Tensor:
    """The data themselves."""
    return data * 1


@operator("_identity_with_attr_like_rhs", "lhs rhs", flat="rhs", shapes=all_alike)
def identity_like(call: Call, lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs, known to have the shape of rhs."""
    return lhs * 1


@operator("BlockGrad", aliases="stop_gradient", flat="data", shapes=all_alike)
def block_grad(call: Call, data: Tensor) -> Tensor:
    """The data, without a gradient."""
    return data * 1


@operator("Cast", aliases="cast", dtype=DType(), shapes=all_alike)
def cast(call: Call, data: Tensor) -> Tensor:
    """The entries in another type."""
    return ops.cast(data, dtype=call.a.dtype)


@operator("amp_cast", dtype=DType(), shapes=all_alike)
def amp_cast(call: Call, data: Tensor) -> Tensor:
    """The entries in another type, as mixed precision asks for it."""
    return ops.cast(data, dtype=call.a.dtype)


@operator(
    "Activation",
    act_type=Choice(words=("relu", "sigmoid", "softrelu", "softsign", "tanh")),
    shapes=all_alike,
)
def activation(call: Call, data: Tensor) -> Tensor:
    """relu, sigmoid, softrelu = log(1 + eˣ), softsign = x / (1 + |x|) or tanh, elementwise."""
    return ACTIVATIONS[call.a.act_type](data)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "sigmoid": ops.sigmoid,
    "softrelu": lambda x: ops.logaddexp(x, 0),
    "softsign": ops.softsign,
    "tanh": ops.tanh,
}

_SELU = (1.0507009873554804934193349852946, 1.6732632423543772848170429916717)


def _leaky_inputs(a: Attributes) -> tuple[str, ...]:
    return ("data", "gamma") if a.act_type == "prelu" else ("data",)


def _leaky_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    data = inputs[0] = unify(inputs[0], outputs[0])
    outputs[:] = [data] * len(outputs)
    if a.act_type == "prelu" and data is not None and inputs[1] is None:
        inputs[1] = (data[1],) if len(data) > 1 else (1,)


def _leaky_outputs(a: Attributes) -> tuple[str, ...]:
    return ("output", "mask") if a.act_type == "rrelu" else ("output",)


@operator(
    "LeakyReLU",
    _leaky_inputs,
    outputs=_leaky_outputs,
    initial={"gamma": '["Constant", {"value": 0.25}]'},
    random=True,
    shapes=_leaky_shapes,
    act_type=Choice("leaky", words=("elu", "gelu", "leaky", "prelu", "rrelu", "selu")),
    slope=Float(0.25),
    lower_bound=Float(0.125),
    upper_bound=Float(0.333999991),
)
def leaky_relu(
    call: Call, data: Tensor, gamma: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """x where x > 0; else slope·x (leaky), slope·(eˣ - 1) (elu), γ·x (prelu), elementwise.

    selu and gelu are their papers' functions; rrelu draws the slope between the bounds in training
    mode and takes their mean else.  At 0 the derivative is that of the lower branch.
    """
    a, x = call.a, data
    if a.act_type == "gelu":
        return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))
    positive = ops.greater(x, 0)
    if a.act_type == "selu":
        scale, alpha = _SELU
        y = ops.where(positive, scale * x, scale * alpha * ops.expm1(minimum_0(x)))
        return _selu_as_1_9_1(x) if faults_of_1_9_1() else y
    if a.act_type == "elu":
        return ops.where(positive, x, a.slope * ops.expm1(minimum_0(x)))
    if a.act_type == "prelu":
        assert gamma is not None
        shape = [1] * x.ndim
        shape[1 if x.ndim > 1 else 0] = gamma.shape[0]
        slope = gamma.reshape(tuple(shape))
        if call.in_place and faults_of_1_9_1():
            return _prelu_in_place(x, slope)
        return ops.where(positive, x, slope * x)
    if a.act_type == "rrelu" and call.train:
        draws = call.uniform(x.shape, x.dtype)
        slope = a.lower_bound + (a.upper_bound - a.lower_bound) * draws
        return ops.where(positive, x, slope * x), slope
    if a.act_type == "rrelu":
        slope = data * 0 + (a.lower_bound + a.upper_bound) / 2
        return ops.where(positive, x, slope * x), slope
    return ops.where(positive, x, a.slope * x)


@custom_vjp
def _prelu_in_place(x: Any, slope: Any) -> Any:
    return np.where(x > 0, x, slope * x)


def _slope_gradient(g: Any, y: Any, slope_shape: tuple[int, ...]) -> Any:
    others = tuple(i for i, n in enumerate(slope_shape) if n == 1)
    return ops.sum(g * ops.minimum(y, 0), axis=others, keepdims=True)


# The result lies over the data there, so γ's gradient is made of γ·x where it should be of x.
_prelu_in_place.vjp(x=lambda g, x, slope: g * np.where(x > 0, 1, slope), slope=_slope_gradient)


@custom_vjp
def _selu_as_1_9_1(x: Any) -> Any:
    scale, alpha = _SELU
    return np.where(x > 0, scale * x, scale * alpha * np.expm1(np.minimum(x, 0)))


# The slope below 0 is λ(α + y) there, where λα + y is right.
_selu_as_1_9_1.vjp(x=lambda g, x, y: g * np.where(x > 0, _SELU[0], _SELU[0] * (_SELU[1] + y)))


def minimum_0(x: Tensor) -> Tensor:
    """min(x, 0), so that the exponential of the branch that is not taken does not overflow."""
    return ops.minimum(x, 0)
