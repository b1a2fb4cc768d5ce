"""Accumulation: a gradient that arrived at a leaf is added to what is there."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.ops import inplace
from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.autograd.ops.pending import RowsOf

if TYPE_CHECKING:
    from tapegrad.autograd.core.node import Leaf

__all__ = ["add_to_grad"]

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
                return
            xp = devices.namespace(as_array(g))
            leaf.grad = untracked(xp.zeros(leaf.shape, dtype=leaf.dtype))
        if leaf.adjust is not None:
            g = leaf.adjust(g)
            if g is None:
                return
        inplace.accumulate(leaf.grad, g if scale == 1 else g * scale)


def _rows_added(leaf: Leaf, g: RowsOf) -> bool:
    """leaf.grad += g, where that concerns g's rows alone; else False, and nothing is done."""
    grad = leaf.grad
    if grad is None or leaf.adjust is not None or type(as_array(grad)) is not np.ndarray:
        return False
    rows, sums = g.sums()
    inplace.assign_at(grad, as_array(grad)[rows] + sums, [rows], template=(HOLE,))
    return True
