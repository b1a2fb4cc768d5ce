"""Targets and weights of losses: conversions, checks whose errors name both shapes, means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest, Operand

__all__ = ["sum_or_mean", "target_like", "target_tensor", "weights_buffer", "weights_for"]


def target_tensor(target: Nest, x: Tensor) -> Tensor:
    """The target as a Tensor; numbers and lists go to the device of x.

    Raises TypeError for None and for an empty list: no target.
    """
    if target is None or (isinstance(target, list) and not target):
        raise TypeError("the criterion needs a target")
    if isinstance(target, Tensor):
        return target
    return Tensor(target, device=None if hasattr(target, "dtype") else x.device)


def target_like(x: Tensor, target: Nest) -> Tensor:
    """The target in the shape and dtype of x; entries stay in row order.

    Raises ShapeError when the numbers of entries differ.
    """
    target = target_tensor(target, x)
    if x.size != target.size:
        raise ShapeError(
            f"the input of shape {x.shape} has {x.size} entries, "
            f"the target of shape {target.shape} has {target.size}"
        )
    if target.dtype != x.dtype:
        target = ops.cast(target, dtype=x.dtype)
    return target.reshape(x.shape)


def sum_or_mean(losses: Tensor, criterion: Any, count: int | None = None) -> Tensor:
    """Σ losses; with the criterion's sizeAverage, divided by `count`, or by their number."""
    total: Tensor = ops.sum(losses)
    return total / (losses.size if count is None else count) if criterion.sizeAverage else total


def weights_buffer(weights: Operand | None) -> Buffer | None:
    """Weights as a Buffer of a criterion, in their own dtype; None for None."""
    return None if weights is None else Buffer(weights)


def weights_for(weights: Tensor, x: Tensor) -> Tensor:
    """The weights in the dtype of x.  Raises ShapeError unless they fit the last axes of x."""
    if weights.ndim > x.ndim or weights.shape != x.shape[x.ndim - weights.ndim :]:
        raise ShapeError(
            f"the weights of shape {weights.shape} do not fit the last axes of the input of shape "
            f"{x.shape}"
        )
    converted: Tensor = ops.cast(weights, dtype=x.dtype)
    return converted
