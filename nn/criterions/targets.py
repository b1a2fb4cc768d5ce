"""Targets and weights of losses: conversions, checks whose errors name both shapes, means.

A target fits where its shape is that of the prediction, axes of length 1 apart.  Torch7 compares
numbers of entries only, so that a transposed target gives a loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd import Tensor, ops, primitive
from tapegrad.autograd.ops.arrays import refuse_complex
from tapegrad.autograd.ops.batch_rules import elementwise_rule
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest, Operand
    from tapegrad.devices import Array, Namespace, Shape

__all__ = [
    "check_reduction",
    "in_shape",
    "is_mean",
    "longer_axes",
    "outside_unit_interval",
    "require_number",
    "set_reduction",
    "sum_or_mean",
    "target_like",
    "target_of_shape",
    "target_tensor",
    "weights_buffer",
    "weights_for",
]

REDUCTIONS = ("mean", "sum", "none")
NO_REDUCTION = "{name}: reduction is {found!r}, it must be 'mean', 'sum' or 'none'"
NOT_OF_SHAPE = (
    "the target of shape {found} does not fit {wanted}, that of {what}: the shapes must agree, "
    "axes of length 1 apart (reshape or transpose the target)"
)
NOT_A_NUMBER = (
    "{name} adds up numbers, and a criterion with reduction='none' gave losses of shape {shape}"
)
NO_PROBABILITY = (
    "the prediction holds {value}, which is no probability: entries are from 0 to 1 (for scores "
    "without a Sigmoid take nn.BCEWithLogitsCriterion)"
)


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
    """The target in the shape and dtype of x.

    Raises ShapeError unless the shapes agree, axes of length 1 apart.
    """
    target = target_of_shape(target_tensor(target, x), x.shape, "the input")
    return target if target.dtype == x.dtype else ops.cast(target, dtype=x.dtype)


def target_of_shape(target: Tensor, shape: Shape, what: str) -> Tensor:
    """The target in a shape.  Raises ShapeError unless they agree, axes of length 1 apart."""
    if target.shape == shape:
        return target
    if longer_axes(target.shape) != longer_axes(shape):
        raise ShapeError(NOT_OF_SHAPE.format(found=target.shape, wanted=shape, what=what))
    return target.reshape(shape)


def in_shape(x: Tensor, shape: Shape) -> Tensor:
    """x, or a view of it where its shape is another."""
    return x if x.shape == shape else x.reshape(shape)


def longer_axes(shape: Shape) -> Shape:
    """A shape without its axes of length 1."""
    return tuple(length for length in shape if length != 1)


def set_reduction(criterion: Any, reduction: str | None) -> None:
    """Set `reduction`, if one is given.  Raises ValueError for a word that is none."""
    if reduction is not None:
        check_reduction(criterion, reduction)
        criterion.reduction = reduction


def check_reduction(criterion: Any, reduction: object) -> None:
    """Raise ValueError unless a reduction is "mean", "sum" or "none"."""
    if reduction not in REDUCTIONS:
        raise ValueError(NO_REDUCTION.format(name=type(criterion).__name__, found=reduction))


def sum_or_mean(losses: Tensor, criterion: Any, count: Any = None) -> Tensor:
    """What a criterion returns of its losses: them, their sum, or their mean.

    The criterion's `reduction` decides, and without one its sizeAverage.  The mean divides by
    `count`, or by the number of losses.
    """
    if criterion.reduction is not None:
        check_reduction(criterion, criterion.reduction)
    if criterion.reduction == "none":
        return losses
    total: Tensor = ops.sum(losses)
    if not is_mean(criterion):
        return total
    return total / (losses.size if count is None else count)


def is_mean(criterion: Any) -> bool:
    """Whether a criterion averages its losses, or leaves that to others (reduction "none")."""
    if criterion.reduction is None:
        return bool(criterion.sizeAverage)
    return bool(criterion.reduction != "sum")


def require_number(loss: Tensor, criterion: Any) -> Tensor:
    """The loss of an inner criterion.  Raises ShapeError for losses, which would be mixed up."""
    if loss.ndim:
        raise ShapeError(NOT_A_NUMBER.format(name=type(criterion).__name__, shape=loss.shape))
    return loss


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


@primitive(differentiable=False)
def outside_unit_interval(xp: Namespace, x: Array) -> Array:
    """Zeros like x.  Raises ValueError if an entry is below 0 or above 1; NaN is neither.

    It is a primitive, whose result a loss adds, so that a replayed step checks its values too.
    """
    refuse_complex(x, "a loss of probabilities")
    outside = (x < 0) | (x > 1)
    if bool(outside.any()):
        raise ValueError(NO_PROBABILITY.format(value=x[outside][0].item()))
    return xp.zeros_like(x)


outside_unit_interval.batch(elementwise_rule)
