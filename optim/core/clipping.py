"""Limits on gradients, written into the gradients in place; replay repeats them.

`target` is a module, or an iterable of Parameters (whose gradients are meant) or of Tensors that
are gradients themselves.  Parameters without a gradient are left out; ValueError if none has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from tapegrad.autograd import Parameter, Tensor, no_grad, ops
from tapegrad.optim.core.groups import HasParameters

__all__ = ["clip_each_grad_norm", "clip_grad_norm", "clip_grad_value"]

Gradients: TypeAlias = HasParameters | Iterable[Parameter | Tensor]


def clip_grad_value(target: Gradients, max_value: float) -> None:
    """Limit each entry of the gradients of `target` to ±max_value."""
    with no_grad():
        for g in _gradients(target):
            ops.assign(g, ops.clip(g, -max_value, max_value))


def clip_each_grad_norm(target: Gradients, max_norm: float) -> None:
    """Scale each gradient by a factor of its own to a Euclidean norm of at most `max_norm`."""
    with no_grad():
        for g in _gradients(target):
            _scale([g], max_norm)


def clip_grad_norm(target: Gradients, max_norm: float) -> Tensor:
    """Scale all gradients by one factor to a joint norm of at most `max_norm`.

    Returns the norm before.  The factor is min(1, max_norm / (norm + 1e-6)); a norm that is not
    finite makes it 0 or NaN, which shows.  Squares of float16 are added in float32.
    Source: R. Pascanu, T. Mikolov, Y. Bengio, ICML 2013.
    """
    with no_grad():
        return _scale(_gradients(target), max_norm)


def _scale(gradients: list[Tensor], max_norm: float) -> Tensor:
    squares = [ops.sum(ops.square(ops.widen_half(g))) for g in gradients]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    norm = ops.sqrt(total)
    factor = ops.minimum(max_norm / (norm + 1e-6), 1.0)
    for g in gradients:
        ops.assign(g, g * factor)
    return norm


def _gradients(target: Gradients) -> list[Tensor]:
    items: Iterable[Parameter | Tensor]
    if isinstance(target, HasParameters):
        items = [p for _, p in target.named_parameters()]
    else:
        items = target
    gradients = []
    for item in items:
        g = item.grad if isinstance(item, Parameter) else item
        if g is not None:
            gradients.append(g.detach())
    if not gradients:
        raise ValueError("there are no gradients to clip: run backward first")
    return gradients
