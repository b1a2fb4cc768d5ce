"""A recorded write goes into a Tensor's memory without a copy if nothing else holds that memory.

A rule that saved the array, a view of it, or a variable of the caller's may refer to the array
object; a write must then go into a copy.  There are two strategies to find out.

BY_COUNT asks the interpreter for the number of references to the array.  That number for an array
with no reference but the Tensor's own depends on the interpreter, so it is measured at import.

BY_WEAK_REFERENCE drops the Tensor's own reference and tests by a weak reference whether the
array object still exists.  If it does, something else holds it.  If it does not, the Tensor held
it alone, and gets a new array object around the same memory.  So the memory must belong to a third
object, a `_Memory`; the first write to a Tensor copies into one.  An interpreter that frees objects
late causes copies, never a wrong value.  A write costs half a microsecond more than by count.

BY_COUNT is used if it passes a test at import, and BY_WEAK_REFERENCE otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import numpy as np

from tapegrad.autograd.core.tensor import Tensor, result_tensor
from tapegrad.autograd.core.views import SHARED, RootViews

if TYPE_CHECKING:
    from tapegrad.devices import Array, Shape

__all__ = ["BY_COUNT", "BY_WEAK_REFERENCE", "OwnershipStrategy", "strategy"]


class OwnershipStrategy(NamedTuple):
    """How to find out whether a Tensor holds its memory alone.

    holds_alone: True if the memory (a NumPy array's) is writable and nothing but this Tensor holds
                 it: no rule, no view, no variable of the caller's
    take_own:    give a Tensor a copy of its memory that nothing else holds
    """

    holds_alone: Callable[[Tensor], bool]
    take_own: Callable[[Tensor], None]


def _layout_of_copy(data: Array) -> tuple[tuple[int, ...], int, int]:
    """(strides, length in bytes, offset of the first entry) of the memory of a copy of `data`.

    The axes have the order and the directions of the original's.  Where the original has gaps the
    copy has a gap of one entry, so that the same reshaped arrays are views of it.
    """
    strides = list(data.strides)
    length = original = data.itemsize  # of the axes so far
    for axis in sorted(range(data.ndim), key=lambda axis: abs(strides[axis])):
        count, stride = data.shape[axis], strides[axis]
        if count == 1:
            continue
        if abs(stride) < original:  # entries overlap, as those of a broadcast array do
            return np.empty_like(data).strides, data.nbytes, 0
        step = length if abs(stride) == original else length + data.itemsize
        strides[axis] = step if stride > 0 else -step
        length, original = count * step, count * abs(stride)
    return tuple(strides), length, _bytes_before_first(data.shape, strides)


def _bytes_before_first(shape: Shape, strides: Sequence[int]) -> int:
    """How far the first entry is from the start of the memory of an array that runs backwards."""
    return sum((1 - n) * s for n, s in zip(shape, strides, strict=True) if n and s < 0)


# By count -----------------------------------------------------------------------------------------


def _count_references(x: Tensor) -> int:
    return sys.getrefcount(x._bare)


def _count_base_references(array: Array) -> int:
    return sys.getrefcount(array.base)


def _is_alone_by_count(x: Tensor) -> bool:
    if _count_references(x) > _ALONE:
        return False
    array = x._bare
    if not array.flags.writeable:
        return False
    while array.base is not None:
        if type(array.base) is not np.ndarray or _count_base_references(array) > _BASE_ALONE:
            return False
        array = array.base
    return bool(array.flags.writeable)


def _take_copy(x: Tensor) -> None:
    data = x._bare
    if data.flags.forc:
        x._bare = data.copy(order="K")
        return
    strides, span, first = _layout_of_copy(data)
    x._bare = np.ndarray(data.shape, data.dtype, np.empty(span, np.uint8), first, strides)
    x._bare[...] = data


BY_COUNT = OwnershipStrategy(_is_alone_by_count, _take_copy)


# By weak reference --------------------------------------------------------------------------------


class _Memory(np.ndarray[Any, Any]):
    """The owner of the memory of one Tensor's array.

    NumPy lets a view refer to the owner of the memory if that has the view's type, and to the array
    that was viewed otherwise.  So this type makes views of the array refer to the array itself.
    """


def _is_alone_by_weak_reference(x: Tensor) -> bool:
    memory = x._bare.base
    if type(memory) is not _Memory or x._alias is SHARED:
        return False
    if type(x._alias) is RootViews and x._alias.shared:  # exposed, with its `base`
        return False
    shape, dtype, strides = x._bare.shape, x._bare.dtype, x._bare.strides
    first = _bytes_before_first(shape, strides)
    handle = ref(x._bare)
    x._bare = None
    x._bare = survivor = handle()
    if survivor is not None:
        return False
    x._bare = np.ndarray(shape, dtype, memory, first, strides)
    return True


def _take_copy_in_memory(x: Tensor) -> None:
    data = x._bare
    strides, span, first = _layout_of_copy(data)
    x._bare = np.ndarray(data.shape, data.dtype, _Memory(span, np.uint8), first, strides)
    x._bare[...] = data


BY_WEAK_REFERENCE = OwnershipStrategy(_is_alone_by_weak_reference, _take_copy_in_memory)


# The choice ---------------------------------------------------------------------------------------


def _calibrate() -> tuple[int, int]:
    """Measure what the two functions count for an array with no further reference."""
    if not hasattr(sys, "getrefcount"):
        return 0, 0
    own, part = result_tensor(np.empty((2, 2))), result_tensor(np.empty((2, 2))[:1])
    return _count_references(own), _count_base_references(part._bare)


def _counts_are_reliable() -> bool:
    """True if each kind of reference is counted while it exists, and not afterwards."""
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
            result_tensor,
            memoryview,
            lambda array: lambda: array,
        ):
            x = result_tensor(make())
            if not _is_alone_by_count(x):
                return False
            held = hold(x._bare)
            if _is_alone_by_count(x):
                return False
            del held
            if not _is_alone_by_count(x):
                return False
    return True


_ALONE, _BASE_ALONE = _calibrate()
strategy = BY_COUNT if _counts_are_reliable() else BY_WEAK_REFERENCE
