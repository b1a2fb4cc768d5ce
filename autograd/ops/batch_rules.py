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
    "elementwise_rule",
    "merge_samples",
    "align_samples",
    "leading_axes_rule",
    "ndim_of",
    "axes_rule",
    "axis_rule",
    "axis_in_batch",
    "split_samples",
]


def _call_reshape(x: Array, shape: Shape) -> Array:
    """x in another shape, by the primitive of that name."""
    return primitives()["reshape"](x, shape)


def ndim_of(x: Array, batched: bool = False) -> int:
    """np.ndim without the detour through NumPy's protocol; one less for all samples of a batch."""
    return int(x.ndim if hasattr(x, "ndim") else np.ndim(x)) - batched


def align_samples(x: Array, ndim: int) -> Array:
    """The whole x with axes of length 1 after the batch, so that a sample has `ndim` axes."""
    missing = ndim + 1 - x.ndim
    if missing <= 0:
        return x
    return _call_reshape(x, (x.shape[0], *(1,) * missing, *x.shape[1:]))


def axis_in_batch(axis: Axes, ndim: int) -> Array:
    """`axis` of a sample with `ndim` axes as that of the whole: an int, or a tuple of them.

    None is all axes of the sample.  Raises AxisError outside of the sample.
    """
    if axis is None:
        return tuple(range(1, ndim + 1))
    if isinstance(axis, (tuple, list)):
        return tuple(axis_in_batch(a, ndim) for a in axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim + 1


def elementwise_rule(
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
        *[align_samples(x, ndim) if b else x for x, b in zip(operands, batched, strict=True)],
        **settings,
    )


def leading_axes_rule(
    function: Callable[..., Array], operands: list[Array], settings: dict[str, Any]
) -> Array:
    """One operand whose leading axes are a batch by themselves, or for which axes do not matter."""
    return function(*operands, **settings)


def axes_rule(
    function: Callable[..., Array], operands: list[Array], settings: dict[str, Any]
) -> Array:
    """One operand, and a setting `axis`, an int, a tuple, or None for all axes."""
    [x] = operands
    return function(x, **{**settings, "axis": axis_in_batch(settings["axis"], x.ndim - 1)})


def axis_rule(
    function: Callable[..., Array], operands: list[Array], settings: dict[str, Any]
) -> Array:
    """One operand, and a setting `axis`, an int, or None for the flattened sample."""
    [x] = operands
    if settings["axis"] is not None:
        return function(x, **{**settings, "axis": axis_in_batch(settings["axis"], x.ndim - 1)})
    flat = _call_reshape(x, (x.shape[0], math.prod(x.shape[1:])))
    y = function(flat, **{**settings, "axis": 1})
    if settings.get("keepdims"):
        y = _call_reshape(y, (x.shape[0], *(1,) * (x.ndim - 1)))
    return y


def merge_samples(x: Array) -> Array:
    """(B, N, …) -> (B·N, …): the samples' own batches as one."""
    return _call_reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def split_samples(y: Array, samples: int, size: int) -> Array:
    """(B·N, …) -> (B, N, …) for B samples of N = `size`."""
    return _call_reshape(y, (samples, size, *y.shape[1:]))
