"""Axes and indices of layers that take single samples as well as batches.

Torch7 counts a dimension within a single sample.  For an input with one axis more than a sample,
the batch axis, the dimension moves by one.  A negative dimension counts from the end and means the
same in both.
"""

from __future__ import annotations

from tapegrad.nn.core.errors import ShapeError

__all__ = ["axis_of", "position_of"]


def axis_of(dimension: int, ndim: int, sample_axes: int | None = None) -> int:
    """The axis, counted from 0, that `dimension` means in an array of `ndim` axes.

    sample_axes: how many axes a single sample has; None for a layer that knows no samples
    Raises ShapeError when there is no such axis.
    """
    axis = dimension
    if sample_axes is not None and ndim == sample_axes + 1 and dimension >= 0:
        axis += 1
    if not -ndim <= axis < ndim:
        raise ShapeError(f"the input has {ndim} axes, none is dimension {dimension}")
    return axis % ndim


def position_of(index: int, length: int, what: str) -> int:
    """`index` counted from 0; a negative one counts from the end.

    Raises ShapeError for an index beyond `length`, and names `what` has that length.
    """
    if not -length <= index < length:
        raise ShapeError(f"index {index} is not in {what} of length {length}")
    return index % length
