"""Whether a Tensor holds its memory alone, so that a recorded write may go into it without a copy.

A rule that saved the array, a view of it, a variable of the caller's: each refers to the array
object, and a write must then leave that as it is and go into a copy.  There are two ways to tell.

BY_COUNT asks the interpreter how many references there are.  How many it counts when there are none
but the Tensor's own depends on the interpreter, so it is measured.

BY_LETTING_GO drops the Tensor's own reference and looks, by a weak one, whether the array object is
still there.  If it is, somebody else holds it; if it is gone, the Tensor held it alone, and another
is put around its memory.  That memory therefore belongs to an object of its own: the first write to
a Tensor copies into such.  An interpreter that frees objects late makes for copies, never for a
wrong answer.  A write costs half a microsecond more than by count.

The first is used where it stands a test at import, the second anywhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from tapegrad.autograd.core.tensor import Tensor, fresh
from tapegrad.autograd.core.views import SHARED, RootViews

__all__ = ["BY_COUNT", "BY_WEAK_REFERENCE", "OwnershipStrategy", "strategy"]


class OwnershipStrategy(NamedTuple):
    """A way to tell.

    holds_alone: does nothing but this Tensor hold its memory (a NumPy array): no rule, no view, no
                 variable of the caller's?  And can that be written?
    take_own:    give a Tensor a copy of its memory, for itself
    """

    holds_alone: Callable[[Tensor], bool]
    take_own: Callable[[Tensor], None]


# By count -----------------------------------------------------------------------------------------


def _references(x: Tensor) -> int:
    return sys.getrefcount(x._data)


def _references_to_base(array: Any) -> int:
    return sys.getrefcount(array.base)


def _is_counted_alone(x: Tensor) -> bool:
    if _references(x) > _ALONE:
        return False
    array = x._data
    if not array.flags.writeable:
        return False
    while array.base is not None:
        if type(array.base) is not np.ndarray or _references_to_base(array) > _BASE_ALONE:
            return False
        array = array.base
    return bool(array.flags.writeable)


def _copy(x: Tensor) -> None:
    x._data = x._data.copy(order="K")


BY_COUNT = OwnershipStrategy(_is_counted_alone, _copy)


# By letting go ------------------------------------------------------------------------------------


class _Memory(np.ndarray[Any, Any]):
    """What owns the memory.  Of another type than the arrays around it, so that NumPy lets views of
    such an array refer to the array, and not straight to what owns the memory.
    """


def _is_gone_when_let_go(x: Tensor) -> bool:
    memory = x._data.base
    if type(memory) is not _Memory or x._alias is SHARED:
        return False
    if type(x._alias) is RootViews and x._alias.shared:  # handed out, and with it its `base`
        return False
    shape, dtype, strides = x._data.shape, x._data.dtype, x._data.strides
    handle = ref(x._data)
    x._data = None
    x._data = held = handle()
    if held is not None:
        return False
    x._data = np.ndarray(shape, dtype, memory, 0, strides)
    return True


def _copy_into_memory(x: Tensor) -> None:
    data = x._data
    like = np.empty_like(data)  # lies as a copy would
    memory = _Memory(data.size, data.dtype)
    x._data = np.ndarray(data.shape, data.dtype, memory, 0, like.strides)
    x._data[...] = data


BY_WEAK_REFERENCE = OwnershipStrategy(_is_gone_when_let_go, _copy_into_memory)


# Which one ----------------------------------------------------------------------------------------


def _calibrate() -> tuple[int, int]:
    """What the two functions count where nobody else refers to the array."""
    if not hasattr(sys, "getrefcount"):
        return 0, 0
    own, part = fresh(np.empty((2, 2))), fresh(np.empty((2, 2))[:1])
    return _references(own), _references_to_base(part._data)


def _counts_behave() -> bool:
    """Is each kind of reference counted while it is there, and not when it is gone?"""
    if not hasattr(sys, "getrefcount"):
        return False
    for make in (lambda: np.empty((2, 3)), lambda: np.empty(6).reshape(2, 3)):
        for hold in (
            lambda array: array,
            lambda array: [array],
            lambda array: {0: (array,)},
            lambda array: array[:1],
            lambda array: array.T[1:],
            lambda array: array if array.base is None else array.base,
            fresh,
            memoryview,
            lambda array: lambda: array,
        ):
            x = fresh(make())
            if not _is_counted_alone(x):
                return False
            held = hold(x._data)
            if _is_counted_alone(x):
                return False
            del held
            if not _is_counted_alone(x):
                return False
    return True


_ALONE, _BASE_ALONE = _calibrate()
strategy = BY_COUNT if _counts_behave() else BY_WEAK_REFERENCE
