"""Cotangents that are not formed yet: changes to the array in which a cotangent is gathered.

Reading x[i] or writing y[i] concerns a few entries, and yet the cotangent of x or y is an array of
its full size.  A loop over the rows of a matrix would form one for each row.  So on NumPy arrays
the rules of reading and writing return a `Pending` instead, which `reverse/gathering.py` applies to
the array that waits for the node, in place where nothing else holds that array.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Shape
    from tapegrad.autograd.core.views import ViewStep

__all__ = ["FEW", "PartOf", "Pending", "WithoutEntries", "is_small_part"]

# A part is small if the whole has at least this many times its entries, and more than a few.
TIMES, FEW = 4, 256

_BARE = (np.ndarray, np.generic)


class Pending:
    """What the two kinds share: the shape None, which fits no node, so that the sweep looks."""

    __slots__ = ()

    shape = None
    dtype = None


class PartOf(Pending):
    """Zeros with `part` at an index: ints, slices, …, and index arrays in the template's holes."""

    __slots__ = ("indices", "part", "template")

    def __init__(self, part: Array, indices: list[Array], template: tuple[Any, ...]) -> None:
        self.part = part
        self.indices = indices
        self.template = template


class WithoutEntries(Pending):
    """The array in the list `held` with 0 at the entries that a write has replaced."""

    __slots__ = ("held", "indices", "path", "template")

    def __init__(
        self,
        whole: Array,
        indices: list[Array],
        template: tuple[Any, ...],
        path: tuple[ViewStep, ...],
    ) -> None:
        self.held = [whole]
        self.indices = indices
        self.template = template
        self.path = path


def is_small_part(part: Array, shape: Shape) -> bool:
    """Whether `part` is a bare NumPy array much smaller than an array of `shape`."""
    if not isinstance(part, _BARE):
        return False
    size = math.prod(shape)
    return size > FEW and part.size * TIMES <= size
