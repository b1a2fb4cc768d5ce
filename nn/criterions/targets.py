"""What losses do with targets: put them beside the prediction, weigh, average.

Errors name both shapes.
"""

from __future__ import annotations

from typing import Any

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError

__all__ = ["sum_or_mean", "target_tensor", "target_like", "weights_for", "weights_buffer"]


def target_tensor(target: Any, x: Any) -> Any:
    """The target as a Tensor: numbers and lists go to the device of x.

    Raises TypeError when there is none.
    """
    if target is None or (isinstance(target, list) and not target):
        raise TypeError("the criterion needs a target")
    if isinstance(target, Tensor):
        return target
    return Tensor(target, device=None if hasattr(target, "dtype") else x.device)


def target_like(x: Any, target: Any) -> Any:
    """The target in the shape and dtype of x, entries paired in row order.

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


def sum_or_mean(losses: Any, criterion: Any, count: int | None = None) -> Any:
    """Σ losses, divided by `count`, or their number, if the criterion's sizeAverage is set."""
    total = ops.sum(losses)
    return total / (losses.size if count is None else count) if criterion.sizeAverage else total


def weights_buffer(weights: Any) -> Buffer | None:
    """Weights as state of a criterion, in the precision in which they were given."""
    return None if weights is None else Buffer(weights)


def weights_for(weights: Any, x: Any) -> Any:
    """Weights of the last axes of x, in the dtype of x.  Raises ShapeError if they do not fit."""
    if weights.ndim > x.ndim or weights.shape != x.shape[x.ndim - weights.ndim :]:
        raise ShapeError(
            f"the weights of shape {weights.shape} do not fit the last axes of the input of shape "
            f"{x.shape}"
        )
    return ops.cast(weights, dtype=x.dtype)
