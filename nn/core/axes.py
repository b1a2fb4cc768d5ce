"""Which axis a layer means, when the same layer takes single samples and batches.

Torch7's rule, shared by many of its layers: a dimension counts within a single sample, so it moves
by one where the input has an axis more than a sample (the batch); a negative dimension counts from
the end and is the same in both.
"""

from __future__ import annotations

from tapegrad.nn.core.errors import ShapeError

__all__ = ["axis_of", "position_of"]


def axis_of(dimension: int, ndim: int, sample_axes: int | None = None) -> int:
    """The axis, from 0, that `dimension` means in an array of `ndim` axes.

    sample_axes: how many axes a single sample has; None where inputs are not told apart.
    Raises ShapeError when there is no such axis.
    """
    axis = dimension
    if sample_axes is not None and ndim == sample_axes + 1 and dimension >= 0:
        axis += 1
    if not -ndim <= axis < ndim:
        raise ShapeError(f"the input has {ndim} axes, none is dimension {dimension}")
    return axis % ndim


def position_of(index: int, length: int, what: str) -> int:
    """`index`, negative from the end, as a position from 0.  Raises ShapeError if not there."""
    if not -length <= index < length:
        raise ShapeError(f"index {index} is not in {what} of length {length}")
    return index % length
