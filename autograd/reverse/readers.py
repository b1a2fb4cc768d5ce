"""NumPy arrays that NumPy made of Tensors, `np.asarray(x)`, and that share their memory.

A recorded write never changes memory that something else holds, so such an array would not show
it, where NumPy's own `np.asarray(a)` would.  While one is alive the write is refused.  An array
that was asked for by name, `x.numpy()`, is a value of its time and is not noted here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from tapegrad.autograd.core.errors import InPlaceError
from tapegrad.autograd.core.node import owner_of

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["array_to_read", "refuse_with_readers"]

WITH_READER = (
    "{action} would record a write into a Tensor of which NumPy made an array that is still there "
    "(np.asarray, np.ma.getdata) and would not show the new entries: write into x.copy(), or take "
    "the value as x.numpy(), which is one of its time"
)


class _Reader:
    """What arrays that NumPy makes of a Tensor, and views of them, have as their base.

    The base of a view of an array is the array's own base; so the views too keep it alive.
    """

    __slots__ = ("__weakref__", "base")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.base = array

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.base.dtype

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.base.__array_interface__


# By the id of the array that owns the memory, which a reader keeps alive.
_readers: dict[int, list[ref[_Reader]]] = {}


def array_to_read(array: np.ndarray[Any, Any]) -> _Reader:
    """What NumPy makes an array of that shares the memory of `array`, noted while it is there."""
    reader, key = _Reader(array), id(owner_of(array))
    _readers.setdefault(key, []).append(ref(reader, partial(_forget, key)))
    return reader


def _forget(key: int, reader: ref[_Reader]) -> None:
    readers = _readers.get(key, [])
    if reader in readers:
        readers.remove(reader)
    if not readers:
        _readers.pop(key, None)


def refuse_with_readers(x: Tensor, action: str) -> None:
    """Raise InPlaceError if an array that NumPy made of x, or a view of one, is alive."""
    if _readers and id(owner_of(x._bare)) in _readers:
        raise InPlaceError(WITH_READER.format(action=action))
