"""Batching rules that many primitives share, and helpers for writing others.

A batching rule gets operands whose first axis is the batch (see `BatchRule`).  The files that
declare primitives import this one, so it looks up `reshape`, the one primitive it calls, by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tapegrad.autograd.core.declaration import primitives

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Axes, Shape

__all__ = [
    "align_samples",
    "axes_rule",
    "axis_in_batch",
    "axis_rule",
    "elementwise_rule",
    "leading_axes_rule",
    "merge_samples",
    "ndim_of",
    "split_samples",
]


def _call_reshape(x: Array, shape: Shape) -> Array:
    """x in another shape, by the primitive of that name."""
    return primitives()["reshape"](x, shape)


def ndim_of(x: Array, batched: bool = False) -> int:
    """The number of axes of x, or of one sample of it if x is `batched`."""
    # np.ndim would go through NumPy's protocol, which costs more than the rest of a rule
    return int(x.ndim if hasattr(x, "ndim") else np.ndim(x)) - batched


def align_samples(x: Array, ndim: int) -> Array:
    """The batched x with axes of length 1 after the batch, so that each sample has `ndim` axes."""
    missing = ndim + 1 - x.ndim
    if missing <= 0:
        return x
    return _call_reshape(x, (x.shape[0], *(1,) * missing, *x.shape[1:]))


@overload
def axis_in_batch(axis: int, ndim: int) -> int: ...


@overload
def axis_in_batch(axis: tuple[int, ...] | None, ndim: int) -> tuple[int, ...]: ...


def axis_in_batch(axis: Axes, ndim: int) -> int | tuple[int, ...]:
    """The axis of a batched array that is `axis` of its samples, which have `ndim` axes.

    A tuple of axes gives a tuple, None gives all axes of the sample.  Raises AxisError for an axis
    that samples do not have.
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
    """Run an elementwise primitive, with the axes of samples aligned from the right."""
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
    """Run a primitive that takes leading axes of its one operand for a batch, or ignores axes."""
    return function(*operands, **settings)


def axes_rule(
    function: Callable[..., Array], operands: list[Array], settings: dict[str, Any]
) -> Array:
    """Run a primitive of one operand whose `axis` is an int, a tuple, or None for all axes."""
    [x] = operands
    return function(x, **{**settings, "axis": axis_in_batch(settings["axis"], x.ndim - 1)})


def axis_rule(
    function: Callable[..., Array], operands: list[Array], settings: dict[str, Any]
) -> Array:
    """Run a primitive of one operand whose `axis` is an int, or None for the flattened sample."""
    [x] = operands
    if settings["axis"] is not None:
        return function(x, **{**settings, "axis": axis_in_batch(settings["axis"], x.ndim - 1)})
    flat = _call_reshape(x, (x.shape[0], math.prod(x.shape[1:])))
    y = function(flat, **{**settings, "axis": 1})
    if settings.get("keepdims"):
        y = _call_reshape(y, (x.shape[0], *(1,) * (x.ndim - 1)))
    return y


def merge_samples(x: Array) -> Array:
    """(B, N, …) -> (B·N, …): the samples' own batches of N as one batch."""
    return _call_reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def split_samples(y: Array, samples: int, size: int) -> Array:
    """(B·N, …) -> (B, N, …) for B samples of N = `size`."""
    return _call_reshape(y, (samples, size, *y.shape[1:]))
