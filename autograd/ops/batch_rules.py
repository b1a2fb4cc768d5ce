"""Batching rules that many primitives share, and what other rules are made of.

A rule gets operands whose first axis is the batch (see `BatchRule`).  This file stands below those
that declare primitives, and finds the one that it calls by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.declaration import primitives

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Axes, Shape

__all__ = [
    "elementwise",
    "folded",
    "lifted",
    "native",
    "ndim_of",
    "over_axes",
    "over_axis",
    "shifted",
    "unfolded",
]


def reshape(x: Array, shape: Shape) -> Array:
    """x in another shape, by the primitive of that name."""
    return primitives()["reshape"](x, shape)


def ndim_of(x: Array, batched: bool = False) -> int:
    """np.ndim without the detour through NumPy's protocol; one less for all samples of a batch."""
    return int(x.ndim if hasattr(x, "ndim") else np.ndim(x)) - batched


def lifted(x: Array, ndim: int) -> Array:
    """The whole x with axes of length 1 after the batch, so that a sample has `ndim` axes."""
    missing = ndim + 1 - x.ndim
    if missing <= 0:
        return x
    return reshape(x, (x.shape[0], *(1,) * missing, *x.shape[1:]))


def shifted(axis: Axes, ndim: int) -> Array:
    """`axis` of a sample with `ndim` axes as that of the whole: an int, or a tuple of them.

    None is all axes of the sample.  Raises AxisError outside of the sample.
    """
    if axis is None:
        return tuple(range(1, ndim + 1))
    if isinstance(axis, (tuple, list)):
        return tuple(shifted(a, ndim) for a in axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim + 1


def elementwise(
    function: Callable[..., Array],
    operands: list[Array],
    batched: tuple[bool, ...],
    settings: dict[str, Any],
) -> Array:
    """Entry by entry: the axes of samples are aligned from the right, behind the batch."""
    if len(operands) == 1:
        return function(operands[0], **settings)
    ndim = max(ndim_of(x, b) for x, b in zip(operands, batched, strict=True))
    return function(
        *[lifted(x, ndim) if b else x for x, b in zip(operands, batched, strict=True)], **settings
    )


def native(
    function: Callable[..., Array], operands: list[Array], settings: dict[str, Any]
) -> Array:
    """One operand whose leading axes are a batch by themselves, or for which axes do not matter."""
    return function(*operands, **settings)


def over_axes(
    function: Callable[..., Array], operands: list[Array], settings: dict[str, Any]
) -> Array:
    """One operand, and a setting `axis`, an int, a tuple, or None for all axes."""
    [x] = operands
    return function(x, **{**settings, "axis": shifted(settings["axis"], x.ndim - 1)})


def over_axis(
    function: Callable[..., Array], operands: list[Array], settings: dict[str, Any]
) -> Array:
    """One operand, and a setting `axis`, an int, or None for the flattened sample."""
    [x] = operands
    if settings["axis"] is not None:
        return function(x, **{**settings, "axis": shifted(settings["axis"], x.ndim - 1)})
    flat = reshape(x, (x.shape[0], math.prod(x.shape[1:])))
    y = function(flat, **{**settings, "axis": 1})
    if settings.get("keepdims"):
        y = reshape(y, (x.shape[0], *(1,) * (x.ndim - 1)))
    return y


def folded(x: Array) -> Array:
    """(B, N, …) -> (B·N, …): the samples' own batches as one."""
    return reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def unfolded(y: Array, samples: int, size: int) -> Array:
    """(B·N, …) -> (B, N, …) for B samples of N = `size`."""
    return reshape(y, (samples, size, *y.shape[1:]))
