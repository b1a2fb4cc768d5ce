"""Cotangents that are not formed yet: changes to the array in which a cotangent is gathered.

Reading x[i] or writing y[i] concerns a few entries, and yet the cotangent of x or y is an array of
its full size.  A loop over the rows of a matrix would form one for each row.  So on NumPy arrays
the rules of reading and writing return a `Pending` instead, which `reverse/gathering.py` applies to
the array that waits for the node, in place where nothing else holds that array.  For rows of large
tables they do so on a GPU, too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core import zeros
from tapegrad.autograd.core.node import Leaf
from tapegrad.autograd.kernels.scattering import scatter_add
from tapegrad.autograd.ops.index_template import HOLE

if TYPE_CHECKING:
    from tapegrad.autograd.core.node import Node
    from tapegrad.autograd.core.types import Array, Shape
    from tapegrad.autograd.core.views import ViewStep

__all__ = ["FEW", "PartOf", "Pending", "RowsOf", "WithoutEntries", "is_small_part", "rows_of"]

# A part is small if the whole has at least this many times its entries, and more than a few.
TIMES, FEW = 2, 256

_BARE = (np.ndarray, np.generic)


class Pending:
    """What the two kinds share: the shape None, which fits no node, so that the sweep looks."""

    __slots__ = ()

    shape = None
    dtype = None


class PartOf(Pending):
    """Zeros with `part` at an index of ints, slices, None and Ellipsis.

    Of index arrays there is none: they may name an entry twice, and adding one by one rounds
    differently from adding a sum; see `RowsOf`.
    """

    __slots__ = ("index", "part")

    def __init__(self, part: Array, index: tuple[Any, ...]) -> None:
        self.part = part
        self.index = index


class RowsOf(Pending):
    """Zeros of a shape, to which `values` are added at the rows that an array of integers names.

    It is formed unless it goes to the gradient of a leaf, where `sums` are added to a few rows.
    """

    __slots__ = ("index", "values", "whole_shape")

    def __init__(self, values: Array, index: Array, shape: Shape) -> None:
        self.values = values
        self.index = index
        self.whole_shape = shape

    def form(self) -> Array:
        """The array that it stands for."""
        xp = devices.namespace(self.values)
        whole = xp.zeros(self.whole_shape, self.values.dtype)
        scatter_add(xp, whole, (self.index,), self.values)
        return whole

    def fits(self, node: Node) -> bool:
        """Whether it may go to the gradient of `node` as it is."""
        return isinstance(node, Leaf) and node.dtype == self.values.dtype

    def __add__(self, other: Array) -> Any:
        return self.form() + other

    def sums(self) -> tuple[Array, Array]:
        """The rows that are named, each once, and the sums of what is added to them."""
        rows, places = np.unique(self.index % self.whole_shape[0], return_inverse=True)
        sums = np.zeros((len(rows), *self.whole_shape[1:]), self.values.dtype)
        scatter_add(np, sums, (places.reshape(self.index.shape),), self.values)
        return rows, sums


def rows_of(g: Any, indices: list[Array], template: tuple[Any, ...], shape: Shape) -> RowsOf | None:
    """The cotangent of an array of which rows were taken; None where it is formed at once."""
    if template != (HOLE,):
        return None
    [index] = indices
    if type(g) in _BARE:
        if not is_small_part(g, shape) or type(index) is not np.ndarray:
            return None
    elif not is_small_launched_part(g, shape) or type(index) is not type(g):
        return None
    if index.dtype.kind not in "iu" or not index.size:
        return None
    return RowsOf(g, index, shape) if g.shape == index.shape + shape[1:] else None


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


def is_small_launched_part(part: Any, shape: Shape) -> bool:
    """Whether `part` is a bare array on a GPU much smaller than an array worth watching there."""
    if not devices.is_array(part) or devices.launcher_of(part) is None:
        return False
    size = math.prod(shape)
    return size >= zeros.LEAST_LAUNCHED and part.size * TIMES <= size and part.dtype.itemsize > 2


def is_small_part(part: Array, shape: Shape) -> bool:
    """Whether `part` is a bare NumPy array much smaller than an array of `shape`."""
    if not isinstance(part, _BARE):
        return False
    size = math.prod(shape)
    return size > FEW and part.size * TIMES <= size
