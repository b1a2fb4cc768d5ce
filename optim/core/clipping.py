"""Limits on gradients, written into them in place; replay repeats them."""

from __future__ import annotations

from typing import Any

from tapegrad.autograd import Parameter, Tensor, no_grad, ops

__all__ = ["clip_global_norm", "clip_norm", "clip_value"]


def clip_value(target: Any, limit: float) -> None:
    """Limit each entry of the gradients of `target` (a module, Parameters or Tensors) to ±limit."""
    with no_grad():
        for g in _gradients(target):
            ops.assign(g, ops.clip(g, -limit, limit))


def clip_norm(target: Any, limit: float) -> None:
    """Scale each gradient alone to a Euclidean norm of at most `limit`."""
    with no_grad():
        for g in _gradients(target):
            _scale([g], limit)


def clip_global_norm(target: Any, limit: float) -> Tensor:
    """Scale all gradients by one factor to a joint norm of at most `limit`; the norm before it.

    The factor is min(1, limit / (norm + 1e-6)); a norm that is not finite makes it 0 or NaN, which
    shows.  Source: R. Pascanu, T. Mikolov, Y. Bengio, ICML 2013.
    """
    with no_grad():
        return _scale(_gradients(target), limit)


def _scale(gradients: list[Tensor], limit: float) -> Tensor:
    squares = [(g * g).sum() for g in gradients]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    norm = ops.sqrt(total)
    factor = ops.minimum(limit / (norm + 1e-6), 1.0)
    for g in gradients:
        ops.assign(g, g * factor)
    return norm


def _gradients(target: Any) -> list[Tensor]:
    if hasattr(target, "parameters"):
        target = target.parameters()[0]
    found = []
    for item in target:
        g = item.grad if isinstance(item, Parameter) else item
        if g is not None:
            found.append(g.detach())
    if not found:
        raise ValueError("there are no gradients to clip: run backward first")
    return found
