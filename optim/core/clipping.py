"""Limits on gradients, written into the gradients in place; replay repeats them.

`target` is a module, or an iterable of Parameters (whose gradients are meant) or of Tensors that
are gradients themselves.  Parameters without a gradient are left out, and frozen ones; gradients
that share memory count once.  ValueError if none is left, and for a limit that is negative or NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, no_grad, ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.optim.core.groups import HasParameters

__all__ = ["clip_each_grad_norm", "clip_grad_norm", "clip_grad_value"]

Gradients: TypeAlias = HasParameters | Iterable[Parameter | Tensor]


def clip_grad_value(target: Gradients, max_value: float) -> None:
    """Limit each entry of the gradients of `target` to ±max_value."""
    _check_limit("clip_grad_value", "max_value", max_value)
    with no_grad():
        for g in _gradients(target):
            ops.assign(g, ops.clip(g, -max_value, max_value))


def clip_each_grad_norm(target: Gradients, max_norm: float) -> None:
    """Scale each gradient by a factor of its own to a Euclidean norm of at most `max_norm`."""
    _check_limit("clip_each_grad_norm", "max_norm", max_norm)
    with no_grad():
        for g in _gradients(target):
            _scale([g], max_norm)


def clip_grad_norm(target: Gradients, max_norm: float) -> Tensor:
    """Scale all gradients by one factor to a joint norm of at most `max_norm`.

    Returns the norm before.  The factor is min(1, max_norm / (norm + 1e-6)); a norm that is not
    finite makes it 0 or NaN, which shows.  Squares of float16 are added in float32.
    Source: R. Pascanu, T. Mikolov, Y. Bengio, ICML 2013.

    >>> import tapegrad as tg
    >>> w = tg.Parameter(np.array([3.0, 4.0]))
    >>> np.sum(w**2 / 2).backward()
    >>> clip_grad_norm([w], 1.0).item()
    5.0
    >>> np.round(w.grad.numpy(), 4)
    array([0.6, 0.8])
    """
    _check_limit("clip_grad_norm", "max_norm", max_norm)
    with no_grad():
        return _scale(_gradients(target), max_norm)


def _check_limit(name: str, argument: str, limit: float) -> None:
    if not limit >= 0:
        raise ValueError(f"{name}: {argument} must be at least 0, not {limit}")


def _scale(gradients: list[Tensor], max_norm: float) -> Tensor:
    squares = [_sum_of_squares(g) for g in gradients]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    norm = ops.sqrt(total)
    factor = ops.minimum(max_norm / (norm + 1e-6), 1.0)
    for g in gradients:
        ops.assign(g, g * ops.cast(factor, dtype=g.dtype))
    return norm


def _sum_of_squares(g: Tensor) -> Tensor:
    """Σ g², in float32 for half precision, whose squares overflow from 256 on."""
    if g.dtype == np.float16:
        g = ops.cast(g, dtype=np.float32)
    return ops.square(ops.absolute(g)).sum()


def _gradients(target: Gradients) -> list[Tensor]:
    items: Iterable[Parameter | Tensor]
    if isinstance(target, HasParameters):
        named = getattr(target, "named_trainable", target.named_parameters)
        items = [p for _, p in named()]
    else:
        items = [item for item in target if not (isinstance(item, Parameter) and item.frozen)]
    gradients = []
    known = set()
    for item in items:
        g = item.grad if isinstance(item, Parameter) else item
        if g is not None:
            array = array_of(g)
            address = devices.address_of(array)
            memory = id(array) if address is None else (address, array.size, array.dtype)
            if memory not in known or not array.size:
                known.add(memory)
                gradients.append(g.detach())
    if not gradients:
        raise ValueError("there are no gradients to clip: run backward first")
    return gradients
