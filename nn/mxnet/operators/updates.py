"""Steps of optimizers as operators, which optimizers of users call: `mx.nd.sgd_mom_update(…)`.

The result is the new weight, which the caller writes with ``out=weight``; states (momentum,
moments) are written in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Float, Int
from tapegrad.nn.mxnet.declaration import Call, operator

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["adam_update", "sgd_mom_update", "sgd_update"]

_COMMON: dict[str, Any] = {
    "lr": Float(),
    "wd": Float(0.0),
    "rescale_grad": Float(1.0),
    "clip_gradient": Float(-1.0),
}


def _clipped(a: Attributes, g: Any) -> Any:
    return ops.clip(g, -a.clip_gradient, a.clip_gradient) if a.clip_gradient >= 0 else g


def _scaled(a: Attributes, grad: Any) -> Any:
    """The gradient, rescaled and then clipped."""
    return _clipped(a, grad * a.rescale_grad)


def _decayed(a: Attributes, weight: Any, grad: Any) -> Any:
    """The gradient, rescaled, with decay, and then clipped."""
    return _clipped(a, grad * a.rescale_grad + a.wd * weight)


def _declare(name: str, inputs: str, **kinds: Any) -> Callable[[Any], Any]:
    return operator(name, inputs, flat=inputs, **_COMMON, **kinds)


@_declare("sgd_update", "weight grad", lazy_update=Bool(True))
def sgd_update(call: Call, weight: Tensor, grad: Tensor) -> Tensor:
    """w - lr · (g + wd · w)."""
    a = call.a
    return weight - a.lr * (_scaled(a, grad) + a.wd * weight)


@_declare("sgd_mom_update", "weight grad mom", momentum=Float(0.0), lazy_update=Bool(True))
def sgd_mom_update(call: Call, weight: Tensor, grad: Tensor, mom: Tensor) -> Tensor:
    """w + m, where m becomes momentum · m - lr · (g + wd · w)."""
    a = call.a
    moved = a.momentum * mom - a.lr * (_scaled(a, grad) + a.wd * weight)
    call.write("mom", moved)
    return weight + moved


@_declare("mp_sgd_update", "weight grad weight32", lazy_update=Bool(True))
def mp_sgd_update(call: Call, weight: Tensor, grad: Tensor, weight32: Tensor) -> Tensor:
    """`sgd_update` of a float32 copy of a float16 weight."""
    a = call.a
    g = _scaled(a, ops.cast(grad, dtype=weight32.dtype))
    new = weight32 - a.lr * (g + a.wd * weight32)
    call.write("weight32", new)
    return ops.cast(new, dtype=weight.dtype)


@_declare("mp_sgd_mom_update", "weight grad mom weight32", momentum=Float(0.0),
          lazy_update=Bool(True))  # fmt: skip
def mp_sgd_mom_update(
    call: Call, weight: Tensor, grad: Tensor, mom: Tensor, weight32: Tensor
) -> Tensor:
    """`sgd_mom_update` of a float32 copy of a float16 weight."""
    a = call.a
    g = _scaled(a, ops.cast(grad, dtype=weight32.dtype))
    moved = a.momentum * mom - a.lr * (g + a.wd * weight32)
    call.write("mom", moved)
    call.write("weight32", weight32 + moved)
    return ops.cast(weight32 + moved, dtype=weight.dtype)


@_declare("nag_mom_update", "weight grad mom", momentum=Float(0.0))
def nag_mom_update(call: Call, weight: Tensor, grad: Tensor, mom: Tensor) -> Tensor:
    """Nesterov's step: m becomes momentum · m - G, w + momentum · m - G; G = lr · (g + wd · w)."""
    a = call.a
    move = a.lr * (_scaled(a, grad) + a.wd * weight)
    moved = a.momentum * mom - move
    call.write("mom", moved)
    return weight + a.momentum * moved - move


@_declare(
    "adam_update", "weight grad mean var", beta1=Float(0.9), beta2=Float(0.999),
    epsilon=Float(1e-8), lazy_update=Bool(True),
)  # fmt: skip
def adam_update(call: Call, weight: Tensor, grad: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """w - lr · m / (√v + ε), without correction of the bias, which the caller puts into lr."""
    a = call.a
    g = _decayed(a, weight, grad)
    m = a.beta1 * mean + (1 - a.beta1) * g
    v = a.beta2 * var + (1 - a.beta2) * ops.square(g)
    call.write("mean", m)
    call.write("var", v)
    return weight - a.lr * m / (ops.sqrt(v) + a.epsilon)


def _bounded(a: Attributes, weight: Any) -> Any:
    return ops.clip(weight, -a.clip_weights, a.clip_weights) if a.clip_weights >= 0 else weight


@_declare("rmsprop_update", "weight grad n", gamma1=Float(0.95), epsilon=Float(1e-8),
          clip_weights=Float(-1.0))  # fmt: skip
def rmsprop_update(call: Call, weight: Tensor, grad: Tensor, n: Tensor) -> Tensor:
    """w - lr · G / √(n + ε), where n is the moving mean of G²."""
    a = call.a
    g = _decayed(a, weight, grad)
    mean = a.gamma1 * n + (1 - a.gamma1) * ops.square(g)
    call.write("n", mean)
    return _bounded(a, weight - a.lr * g / ops.sqrt(mean + a.epsilon))


@_declare(
    "rmspropalex_update", "weight grad n g delta", gamma1=Float(0.95), gamma2=Float(0.9),
    epsilon=Float(1e-8), clip_weights=Float(-1.0),
)  # fmt: skip
def rmspropalex_update(
    call: Call, weight: Tensor, grad: Tensor, n: Tensor, g: Tensor, delta: Tensor
) -> Tensor:
    """w + δ, where δ becomes gamma2 · δ - lr · G / √(mean of G² - (mean of G)² + ε)."""
    a = call.a
    slope = _decayed(a, weight, grad)
    square = a.gamma1 * n + (1 - a.gamma1) * ops.square(slope)
    mean = a.gamma1 * g + (1 - a.gamma1) * slope
    moved = a.gamma2 * delta - a.lr * slope / ops.sqrt(square - ops.square(mean) + a.epsilon)
    for name, value in (("n", square), ("g", mean), ("delta", moved)):
        call.write(name, value)
    return _bounded(a, weight + moved)


@_declare("ftrl_update", "weight grad z n", lamda1=Float(0.01), beta=Float(1.0))
def ftrl_update(call: Call, weight: Tensor, grad: Tensor, z: Tensor, n: Tensor) -> Tensor:
    """The step of "follow the regularized leader"; 0 where |z| <= lamda1."""
    a = call.a
    g = _scaled(a, grad)
    square = n + ops.square(g)
    total = z + g - (ops.sqrt(square) - ops.sqrt(n)) * weight / a.lr
    call.write("z", total)
    call.write("n", square)
    moved = (ops.sign(total) * a.lamda1 - total) / ((a.beta + ops.sqrt(square)) / a.lr + a.wd)
    return ops.where(ops.greater(ops.absolute(total), a.lamda1), moved, 0)


@_declare("signsgd_update", "weight grad")
def signsgd_update(call: Call, weight: Tensor, grad: Tensor) -> Tensor:
    """(1 - lr · wd) · w - lr · sign(g)."""
    a = call.a
    return (1 - a.lr * a.wd) * weight - a.lr * ops.sign(grad)


@_declare("signum_update", "weight grad mom", momentum=Float(0.0), wd_lh=Float(0.0))
def signum_update(call: Call, weight: Tensor, grad: Tensor, mom: Tensor) -> Tensor:
    """(1 - lr · wd_lh) · w + lr · sign(m), where m becomes momentum · m - (1 - momentum) · G."""
    a = call.a
    moved = a.momentum * mom - (1 - a.momentum) * (_scaled(a, grad) + a.wd * weight)
    call.write("mom", moved)
    return (1 - a.lr * a.wd_lh) * weight + a.lr * ops.sign(moved)


@operator(
    "ftml_update", "weight grad d v z", flat="weight grad d v z", lr=Float(), beta1=Float(0.6),
    beta2=Float(0.999), epsilon=Float(1e-8), t=Int(), wd=Float(0.0), rescale_grad=Float(1.0),
    clip_grad=Float(-1.0),
)  # fmt: skip
def ftml_update(
    call: Call, weight: Tensor, grad: Tensor, d: Tensor, v: Tensor, z: Tensor
) -> Tensor:
    """The step of "follow the moving leader", number t."""
    a = call.a
    g = grad * a.rescale_grad + a.wd * weight
    g = ops.clip(g, -a.clip_grad, a.clip_grad) if a.clip_grad >= 0 else g
    square = a.beta2 * v + (1 - a.beta2) * ops.square(g)
    root = ops.sqrt(square / (1 - a.beta2**a.t)) + a.epsilon
    new = (1 - a.beta1**a.t) / a.lr * root
    total = a.beta1 * z + (1 - a.beta1) * g - (new - a.beta1 * d) * weight
    for name, value in (("d", new), ("v", square), ("z", total)):
        call.write(name, value)
    return -total / new
