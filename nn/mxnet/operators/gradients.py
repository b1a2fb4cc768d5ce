"""Operators that change a gradient, and others of small use: straight-through, penalties, flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import custom_vjp, ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Float, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.shape_rules import all_alike
from tapegrad.nn.mxnet.operators.unary import round_away
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["gradient_multiplier", "moments"]


@custom_vjp
def _straight(x: Any, *, kind: str) -> Any:
    return round_away(x) if kind == "round" else ops.sign(x)


_straight.vjp(x=lambda g: g)


@operator("_contrib_round_ste", hint="round_ste", shapes=all_alike)
def round_ste(call: Call, data: Tensor) -> Tensor:
    """round(x), whose gradient passes as if nothing had been rounded."""
    return _straight(data, kind="round")


@operator("_contrib_sign_ste", hint="sign_ste", shapes=all_alike)
def sign_ste(call: Call, data: Tensor) -> Tensor:
    """sign(x), whose gradient passes as if it were x."""
    return _straight(data, kind="sign")


@custom_vjp
def _multiplied(x: Any, *, factor: float) -> Any:
    return x * 1


_multiplied.vjp(x=lambda g, factor: g * factor)


@operator("_contrib_gradientmultiplier", hint="gradientmultiplier", shapes=all_alike,
          scalar=Float(1.0), is_int=Bool(True))  # fmt: skip
def gradient_multiplier(call: Call, data: Tensor) -> Tensor:
    """The data; the gradient is multiplied by the scalar (-1 reverses it)."""
    return _multiplied(data, factor=call.a.scalar)


@operator("_contrib_quadratic", hint="quadratic", shapes=all_alike, a=Float(0.0), b=Float(0.0),
          c=Float(0.0))  # fmt: skip
def quadratic(call: Call, data: Tensor) -> Tensor:
    """a·x² + b·x + c, elementwise."""
    return call.a.a * ops.square(data) + call.a.b * data + call.a.c


@custom_vjp
def _sparse_activation(x: Any, mean: Any, *, target: float, penalty: float) -> Any:
    return x * 1


def _with_penalty(g: Any, mean: Any, target: float, penalty: float) -> Any:
    slope = penalty * ((1 - target) / (1 - mean) - target / mean)
    return g + ops.broadcast_to(slope.reshape((1, -1) + (1,) * (g.ndim - 2)), tuple(g.shape))


_sparse_activation.vjp(x=_with_penalty, mean=lambda g, mean: mean * 0)


def _penalty_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    data = inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
    if data is not None:
        inputs[1] = unify(inputs[1], data[1:2])


@operator(
    "IdentityAttachKLSparseReg", "data moving_avg", auxiliary="moving_avg",
    shapes=_penalty_shapes, sparseness_target=Float(0.1), penalty=Float(0.001),
    momentum=Float(0.9),
)  # fmt: skip
def identity_kl_sparse(call: Call, data: Tensor, moving_avg: Tensor) -> Tensor:
    """The data; the gradient of KL(target ‖ mean activation) · penalty is added to theirs.

    The mean of each unit over the batch is a moving one, in training mode.
    """
    a = call.a
    mean: Any = moving_avg
    if call.train:
        others = tuple(i for i in range(data.ndim) if i != 1)
        now = ops.mean(data.detach(), axis=others)
        mean = a.momentum * moving_avg + (1 - a.momentum) * now
        call.write("moving_avg", mean)
    return _sparse_activation(data, mean, target=a.sparseness_target, penalty=a.penalty)


@operator("moments", outputs="output0 output1", axes=Shape(None, none=True), keepdims=Bool(False))
def moments(call: Call, data: Tensor) -> list[Tensor]:
    """The mean and the variance over axes."""
    axes = call.a.axes or tuple(range(data.ndim))
    mean = ops.mean(data, axis=axes, keepdims=True)
    var = ops.mean(ops.square(data - mean), axis=axes, keepdims=True)
    if call.a.keepdims:
        return [mean, var]
    found = [ops.squeeze(y, axes) for y in (mean, var)]
    return [y if y.shape else y.reshape((1,)) for y in found]


@operator("_contrib_allclose", "a b", hint="allclose", flat="a b", rtol=Float(1e-5),
          atol=Float(1e-8), equal_nan=Bool(True))  # fmt: skip
def allclose(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """1 if all entries agree within rtol · |b| + atol, else 0; (1,)."""
    gap = ops.absolute(a - b)
    near = ops.less_equal(gap, call.a.rtol * ops.absolute(b) + call.a.atol)
    same = ops.logical_or(near, ops.equal(a, b))
    if call.a.equal_nan:
        same = ops.logical_or(same, ops.logical_and(ops.isnan(a), ops.isnan(b)))
    return ops.cast(ops.all(same), dtype=np.dtype(a.dtype)).reshape((1,))


@operator("all_finite", flat="data", init_output=Bool(True))
def all_finite(call: Call, data: Tensor) -> Tensor:
    """1 if no entry is infinite or NaN, else 0; (1,)."""
    return ops.cast(ops.all(ops.isfinite(data)), dtype=np.dtype(data.dtype)).reshape((1,))


@operator("multi_all_finite", "args", variadic="num_arrays", num_arrays=Int(1),
          init_output=Bool(True))  # fmt: skip
def multi_all_finite(call: Call, *args: Tensor) -> Tensor:
    """1 if no entry of any array is infinite or NaN, else 0; (1,)."""
    found = ops.stack([ops.all(ops.isfinite(x)) for x in args])
    return ops.cast(ops.all(found), dtype=np.dtype(args[0].dtype)).reshape((1,))


@operator("multi_sum_sq", "args", variadic="num_arrays", num_arrays=Int())
def multi_sum_sq(call: Call, *args: Tensor) -> Tensor:
    """The sum of squares of each array, (number of arrays,)."""
    return ops.stack([ops.sum(ops.square(x)) for x in args])
