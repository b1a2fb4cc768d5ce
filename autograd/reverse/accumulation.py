"""Accumulation: a gradient that arrived at a leaf is added to what is there."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import announce_write, is_followed
from tapegrad.autograd.core.node import note_write
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.core.zeros import (
    kept_rows,
    set_to_zero,
    unclean_parts,
    watch_zeros,
    zeros_of,
)
from tapegrad.autograd.kernels.scattering import scatter_add
from tapegrad.autograd.ops import inplace
from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.autograd.ops.pending import RowsOf
from tapegrad.autograd.reverse.ownership import BY_COUNT, strategy

if TYPE_CHECKING:
    from tapegrad.autograd.core.node import Leaf
    from tapegrad.autograd.core.parameter import Parameter
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["add_to_grad", "begin_gradient", "clear_gradient", "deliver_to_grad"]

# NumPy adds without holding the interpreter's lock, so threads that add to one gradient take turns.
# One that is a copy made by a fork may be held by a thread that the child does not have.
_adding = [threading.RLock()]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _adding.__setitem__(0, threading.RLock()))


def add_to_grad(leaf: Leaf, g: Any, scale: float = 1) -> None:
    """leaf.grad += scale · g, in place; a first gradient starts from zeros.

    A leaf's `adjust` changes g before.  Threads may add to one gradient at a time.
    """
    with _adding[0]:
        if isinstance(g, RowsOf):
            if scale == 1 and _rows_added(leaf, g):
                return
            g = g.form()
        if leaf.grad is None:
            if type(g) is np.ndarray and leaf.adjust is None and scale == 1:
                whole = np.empty(leaf.shape, leaf.dtype)  # one pass in place of two, with its bits
                leaf.grad = untracked(np.add(g, 0, out=whole, casting="same_kind"))
                watch_zeros(whole)
                return
            xp = devices.namespace(as_array(g))
            leaf.grad = untracked(xp.zeros(leaf.shape, dtype=leaf.dtype))
            watch_zeros(as_array(leaf.grad))
        if leaf.adjust is not None:
            g = leaf.adjust(g)
            if g is None:
                return
        zeros = zeros_of(as_array(leaf.grad))
        before = None if zeros is None else zeros.begin()
        inplace.accumulate(leaf.grad, g if scale == 1 else g * scale)
        if zeros is not None and before is not None:
            zeros.end(before, as_array(leaf.grad), None)


def _count_alone() -> tuple[int, int]:
    """How many references `deliver_to_grad` sees of an array that nobody else holds, and of what
    such an array is a view of.
    """
    collected: dict[Any, Any] = {None: np.empty(2).reshape(2, 1)}
    g = collected.pop(None)
    return sys.getrefcount(g), sys.getrefcount(g.base)


_ALONE, _BASE_ALONE = _count_alone() if strategy is BY_COUNT else (0, 0)  # 0: counts say nothing


def _is_all_of_its_own(g: np.ndarray[Any, Any]) -> bool:
    """Whether nobody else holds the memory of an array that nobody else holds."""
    base = g.base
    if base is None:
        return True
    if type(base) is not np.ndarray or base.base is not None or base.nbytes != g.nbytes:
        return False
    del base
    return g.flags.c_contiguous and sys.getrefcount(g.base) <= _BASE_ALONE


def deliver_to_grad(leaf: Leaf, collected: dict[Any, Any]) -> None:
    """Take the cotangent of a leaf out of `collected`, and add it to the leaf's gradient.

    A first one that nobody else holds, or has a view of, becomes the gradient itself, also where it
    is another's memory in a new shape.
    """
    g = collected.pop(leaf)
    if leaf.grad is None and type(g) is np.ndarray and leaf.adjust is None:
        fits = g.shape == leaf.shape and g.dtype == leaf.dtype and g.flags.writeable
        if fits and _ALONE and sys.getrefcount(g) <= _ALONE and _is_all_of_its_own(g):
            with _adding[0]:
                if leaf.grad is None:
                    leaf.grad = untracked(np.add(g, 0, out=g))  # as added to zeros: no -0.0
                    watch_zeros(g)
                    return
    add_to_grad(leaf, g)


def begin_gradient(p: Parameter) -> Tensor:
    """Give a Parameter a gradient of zeros, and return it."""
    array = as_array(p.detach())
    gradient = untracked(devices.namespace(array).zeros_like(array))
    watch_zeros(as_array(gradient))
    p.grad = gradient
    return gradient


def clear_gradient(gradient: Tensor) -> None:
    """gradient[...] = 0: where its entries are known to be 0 but for some rows, these rows only."""
    array = as_array(gradient)
    on_cpu = type(array) is np.ndarray
    if is_followed() or not (on_cpu or zeros_of(array) is not None):
        inplace.assign(gradient, 0)
        return
    with _adding[0]:
        set_to_zero(array)


def _rows_added(leaf: Leaf, g: RowsOf) -> bool:
    """leaf.grad += g, where that concerns g's rows alone; else False, and nothing is done."""
    grad = leaf.grad
    if grad is None or leaf.adjust is not None:
        return False
    array = as_array(grad)
    zeros = zeros_of(array)
    # On a GPU it is not known here which rows these are, and whether one stands there twice.
    elsewhere = type(array) is not np.ndarray
    if elsewhere and (
        type(array) is not type(g.values) or is_followed() or unclean_parts(array) != []
    ):
        return False
    if zeros is None or not zeros.valid:
        rows, sums = g.sums()
        inplace.assign_at(grad, array[rows] + sums, [rows], template=(HOLE,))
        return True
    is_zero = unclean_parts(array) == []
    before = zeros.begin()
    if is_zero and not is_followed():  # sums of nothing but the new values: in place
        announce_write(array)
        scatter_add(devices.namespace(array), array, (g.index,), g.values)
        note_write(array)
        rows = kept_rows(g.index)
    else:
        rows, sums = g.sums()
        inplace.assign_at(grad, array[rows] + sums, [rows], template=(HOLE,))
    zeros.end(before, array, rows)
    return True
