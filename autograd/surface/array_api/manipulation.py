"""Functions that move entries: shapes, axes, joining and repeating."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.ops import rearranging, repetition
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_axes, namespace_of

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Axes, Operand

__all__ = [
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "concat",
    "expand_dims",
    "flip",
    "moveaxis",
    "permute_dims",
    "repeat",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "tile",
    "unstack",
]

NEEDS_COPY = "reshape: copy=False, but x of shape {own} has no view of shape {shape}"


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """The Tensors, each broadcast to the shape that all have in common."""
    return tuple(rearranging.broadcast_arrays(*arrays))


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which all shapes broadcast.  Raises ValueError if there is none."""
    return np.broadcast_shapes(*shapes)


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """x repeated along axes of length 1, and along new leading ones, to a shape."""
    return s.broadcast_to(x, tuple(shape))


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """The Tensors one after another along `axis`; flattened first when it is None."""
    return s.concatenate(list(arrays), axis)


def expand_dims(x: Tensor, /, axis: int | tuple[int, ...] = 0) -> Tensor:
    """A new axis of length 1 at the place `axis`.  Raises AxisError outside -ndim - 1 … ndim."""
    return s.expand_dims(x, axis)


def flip(x: Tensor, /, *, axis: Axes = None) -> Tensor:
    """The entries in the opposite order along `axis`; along all when None."""
    return s.flip(x, axis)


def moveaxis(
    x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...], /
) -> Tensor:
    """The axes `source` at the places `destination`, the others in their order."""
    return s.moveaxis(x, source, destination)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """The axes in the order `axes`.  Raises ValueError unless each is named once."""
    return s.transpose(x, tuple(axes))


def repeat(x: Tensor, repeats: Operand, /, *, axis: int | None = None) -> Tensor:
    """Each entry along `axis` `repeats` times: a number, or one for every entry.

    Of the flattened x when `axis` is None.
    """
    return repetition.repeat(x, repeats, axis)


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """The entries, row by row, in another shape; one length may be -1.

    copy: True copies, False never does, None where it must
    Raises ValueError for a shape of another size, or with ``copy=False`` where there is no view.
    """
    if copy is False:
        view = s.reshape(x.detach(), tuple(shape))
        shares = namespace_of(x).shares_memory
        if view.size and not shares(array_of(view), array_of(x)):
            raise ValueError(NEEDS_COPY.format(own=x.shape, shape=tuple(shape)))
    y = s.reshape(x, tuple(shape))
    return s.copy(y) if copy else y


def roll(x: Tensor, /, shift: int | tuple[int, ...], *, axis: Axes = None) -> Tensor:
    """The entries moved `shift` places along `axis`, those past the end to the beginning.

    Of the flattened x, in x's shape, when `axis` is None.
    """
    return rearranging.roll(x, shift, axis)


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """x without the axes `axis`.  Raises ValueError unless each has length 1."""
    as_axes(axis, x.ndim)
    return s.squeeze(x, axis)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    return s.stack(list(arrays), axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """x next to itself, as many times along each axis as `repetitions` says."""
    return repetition.tile(x, tuple(repetitions))


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts of x along `axis`, which they do not have.  Raises ValueError for 0-d x."""
    return rearranging.unstack(x, axis)
