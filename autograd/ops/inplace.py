"""Primitives that write into an array that exists already.

They are primitives so that replay repeats them.  They advance the version counter, so that a
derivative that needs the old value fails instead of being wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops.index_template import fill_index

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["accumulate", "assign", "assign_at"]


@primitive(mutates="target")
def assign(xp: Namespace, target: Array, x: Array) -> Array:
    """target[...] = x; x broadcasts to target's shape; in target's dtype."""
    target[...] = x


@primitive(mutates="target")
def assign_at(
    xp: Namespace, target: Array, x: Array, indices: list[Array], *, template: tuple[Any, ...]
) -> Array:
    """target[template with its arrays filled in] = x; an x that overlaps it is read first."""
    if xp is np and any(index.dtype.kind == "b" for index in indices):
        # NumPy copies overlapping memory first, except where the index is a mask
        x = x.copy() if np.may_share_memory(target, x) else x
    target[fill_index(template, indices)] = x


@primitive(mutates="target")
def accumulate(xp: Namespace, target: Array, x: Array) -> Array:
    """target += x; x broadcasts to target's shape; in target's dtype."""
    target += x


@accumulate.primitive.prepared
def _accumulate_prepared(target: Array, x: Array) -> Callable[[], Array]:
    if type(x) is not np.ndarray:
        x = np.array(x, target.dtype) if type(x) in (int, float) else x
    return partial(np.add, target, x, target)
