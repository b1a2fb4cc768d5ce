"""Tensor: an array, and the node of the call that made it.

A Tensor is a handle with three slots.  `_data` is the bare array, NumPy's or another backend's, and
decides where calls run; `_node` is the recorded past, or None when nothing behind it is being
differentiated; `_alias` says what it shares memory with in the way of NumPy's views (`views.py`).
All mathematics lives in the primitives: operators, methods, `backward` and NumPy's protocols are
attached in `surface/methods.py`, so that this file knows no calculus.

Who may write which slot.  All three are set where a Tensor is made: here, by the specialised calls,
and by `Sample`.  On a Tensor that is there already,
`_data`   is written by `become` here and `Parameter.rebind`; by `reverse/`, which gives a root
          memory of its own and takes its views anew; by `views.py`, which copies a small view; by
          nn where state moves (sharing, flat memory) and where ``m.output`` gets another array
`_node`   by `become` and `rebind`; by `reverse/`; by whoever made a record of his own
          (`record_call`: checkpoints, hand-written gradients), on its results; for ``m.output``
`_alias`  by `_mark_shared` here, by `views.py` and `reverse/write.py`, and for ``m.output``
The laws put other parameters into a module by `_data` and `_node`, and put them back.
Everybody else reads: `array_of(x)`, `as_array(x)`, `x.tracked`.  The linter says who may even read
a slot (SLF001 in pyproject.toml), and a test who writes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import refuse
from tapegrad.autograd.core.node import Node, owner_of
from tapegrad.autograd.core.views import SHARED, RootViews

if TYPE_CHECKING:
    from tapegrad.autograd.core.array_methods import ArrayMethods
else:
    ArrayMethods = object

__all__ = ["Tensor", "array_of", "as_array", "copied", "fresh", "from_dlpack", "untracked"]

TRACKED_TO_DLPACK = (
    "this Tensor is tracked: handing its memory to another library would silently cut its "
    "gradient. Use x.detach() for its value."
)
NO_DLPACK = "arrays on {device} cannot be handed on by DLPack; copy to the CPU first: x.to('cpu')"

BECOMES = (
    "writes into a Tensor that all samples share, which would then hold one of them; make it with "
    "np.zeros_like(x) of a sample x, so that each has its own"
)


def as_array(data: Any, dtype: Any = None) -> Any:
    """The bare array behind `data`: a Tensor's, an array itself, or a new NumPy array."""
    if isinstance(data, Tensor):
        data = data._data
    if type(data) is np.ndarray or devices.is_array(data):
        return data if dtype is None or data.dtype == dtype else data.astype(dtype)
    array = np.asarray(data, dtype=dtype)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"cannot make a numeric array of {type(data).__name__}: {data!r:.80}")
    return array.view(np.ndarray)


def array_of(x: Tensor) -> Any:
    """The bare array of a Tensor, to be read only: neither an observer nor the tape is told."""
    return x._data


class Tensor(ArrayMethods):
    """An array whose history can be differentiated.

    ``Tensor(data)`` shares memory with an array `data` and is untracked: it becomes part of a
    derivative when it is made from a `Parameter` or inside `grad`.  It behaves as an ndarray does:
    operators, methods, indexing, and NumPy's functions, which dispatch to primitives.

    data:   array, Tensor, number or nested sequence of numbers
    dtype:  converts (copies when it differs); as NumPy decides when omitted
    device: where to put it, "cpu" or "cuda:0"; where `data` is when omitted
    Raises TypeError for what is not numeric, DeviceError for a device that is not there.
    """

    __slots__ = ("__weakref__", "_alias", "_data", "_node")

    _data: Any
    _node: Node | None
    # None for a result that has no views, SHARED for memory that others hold too, else a View or
    # the Views of a root.
    _alias: Any
    # State of a model: a write never gives it other memory, nor a past.
    _state: ClassVar[bool] = False

    def __init__(self, data: Any, *, dtype: Any = None, device: Any = None) -> None:
        if isinstance(data, Tensor):
            data.refuse_if_sample("makes a Tensor of a Tensor")
        array = as_array(data, dtype)
        self._data = array if device is None else devices.to_device(array, device)
        self._node = None
        self._alias = SHARED

    # What an array is ------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the entries."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._data.size

    @property
    def itemsize(self) -> int:
        """Bytes that one entry takes."""
        return self._data.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that the entries take."""
        return self._data.nbytes

    @property
    def device(self) -> devices.Device:
        """Where the entries live."""
        return devices.device_of(self._data)

    @property
    def tracked(self) -> bool:
        """Will calls on this Tensor be recorded?"""
        return self._node is not None

    # Values ------------------------------------------------------------------------------------

    @property
    def data(self) -> Any:
        """The bare array, sharing memory; writing to it goes behind the tape's back."""
        refuse("reads .data")
        self._mark_shared()
        return self._data

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a NumPy array: shares memory on the CPU, copies from other devices."""
        refuse("calls .numpy()")
        self._mark_shared()
        return devices.to_numpy(self._data)

    def _mark_shared(self) -> None:
        """Note that somebody else holds the memory now, and sees writes that are not recorded."""
        alias = self._alias
        if alias is None:
            self._alias = SHARED
        elif type(alias) is RootViews:
            alias.shared = True

    def item(self, *index: Any) -> Any:
        """One entry as a Python number: the only one, the i-th in row-major order, or at (i, j, …).

        Raises ValueError when there is not exactly one and no index.
        """
        refuse("calls .item()")
        return self._data.item(*index)

    def tobytes(self, order: Any = "C") -> bytes:
        """The bytes of the entries, row by row; column by column for order "F"."""
        return self.numpy().tobytes(order)

    def tolist(self) -> Any:
        """The entries as nested Python lists."""
        refuse("calls .tolist()")
        return devices.to_numpy(self._data).tolist()

    def __float__(self) -> float:
        refuse("calls float()")
        return float(self._data)

    def __int__(self) -> int:
        refuse("calls int()")
        return int(self._data)

    def __complex__(self) -> complex:
        refuse("calls complex()")
        return complex(self._data)

    def __index__(self) -> int:
        refuse("uses a Tensor as a Python index")
        return self._data.__index__()

    def __bool__(self) -> bool:
        refuse("asks a Tensor for true or false")
        return bool(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        if not self._data.ndim:
            raise TypeError("iteration over a 0-d Tensor")
        return (self[i] for i in range(len(self._data)))

    def __contains__(self, value: Any) -> bool:
        refuse("asks whether a Tensor contains a value")
        return bool((self._data == as_array(value)).any())

    def __dlpack_device__(self) -> tuple[int, int]:
        """The device in DLPack's numbers.  Raises BufferError where the library has none."""
        if not hasattr(self._data, "__dlpack_device__"):
            raise BufferError(NO_DLPACK.format(device=self.device))
        kind, index = self._data.__dlpack_device__()
        return int(kind), int(index)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """The memory of an untracked Tensor as a DLPack capsule, for other libraries to use.

        It is shared, not copied: a write on one side shows on the other, and the tape does not
        learn of it.  Read-only memory is marked so for a consumer that knows such a mark
        (max_version 1.0 or later), and copied for one that does not, unless ``copy=False``.
        Raises TypeError when tracked, BufferError for what the array library cannot hand on.
        """
        if self._node is not None:
            raise TypeError(TRACKED_TO_DLPACK)
        refuse("hands out its memory by DLPack")
        self.__dlpack_device__()
        array = self._data
        read_only = type(array) is np.ndarray and not array.flags.writeable
        if read_only and copy is not False and (max_version is None or max_version[0] < 1):
            array, copy = array.copy(), None
        options = {"stream": stream, "max_version": max_version}
        options |= {"dl_device": dl_device, "copy": copy}
        return array.__dlpack__(**{k: v for k, v in options.items() if v is not None})

    def __repr__(self) -> str:
        values = np.array2string(
            devices.to_numpy(self._data), separator=", ", prefix=f"{type(self).__name__}("
        )
        notes = "" if self._data.dtype in (np.float64, np.int64, bool) else f", {self.dtype}"
        if str(self.device) != "cpu":
            notes += f", device={str(self.device)!r}"
        if self._node is not None and type(self) is Tensor:
            notes += ", tracked"
        return f"{type(self).__name__}({values}{notes})"

    def __format__(self, spec: str) -> str:
        if spec and not self._data.ndim:
            return format(self._data.item(), spec)
        return format(str(self), spec)

    def _before_write(self) -> None:
        """Called on state that is about to be written where it lies; a Buffer keeps a way back."""

    # Its past ------------------------------------------------------------------------------------

    def detach(self) -> Tensor:
        """The same memory, untracked: a constant for whatever is computed from it."""
        return untracked(self._data)

    def with_node(self, node: Node | None) -> Tensor:
        """The same value with another past; writes to it leave this one as it is."""
        return fresh(self._data, node)

    def become(self, other: Tensor) -> None:
        """Stand for the array of `other`, and for its past.

        Raises BatchingError for one sample of a batch: this Tensor is one for all of them.
        """
        other.refuse_if_sample(BECOMES)
        self._data, self._node = other._data, other._node

    def filled(self, fill: float, dtype: Any) -> Tensor:
        """`fill` in every entry, in this shape and device: a constant that can be written into."""
        xp = devices.namespace(self._data)
        return fresh(xp.full(self.shape, fill, dtype=dtype))

    def refuse_if_sample(self, action: str) -> None:
        """Called before the array is taken out; `action` says by what.

        One sample of a batch (`transforms/sample.py`) has no array, and raises BatchingError.
        """

    def __copy__(self) -> Tensor:
        return untracked(self._data.copy())

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        # The copy leaves the tape behind, and keeps what shares memory shared.
        copy = untracked(copied(self._data, memo))
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> Any:
        return (Tensor, (devices.to_numpy(self._data),))


def copied(array: Any, memo: dict[int, Any]) -> Any:
    """A copy of `array`; views of one storage become views of one copied storage.

    `memo` is deepcopy's own.  Without this a clone of a flattened model would lose its flat buffer,
    and shared weights would part.
    """
    owner = owner_of(array)
    if owner is array or type(array) is not np.ndarray or not owner.flags.forc:
        if id(array) not in memo:
            memo[id(array)] = array.copy()
            memo.setdefault(id(memo), []).append(array)  # keep ids in `memo` from being reused
        return memo[id(array)]
    if id(owner) not in memo:
        memo[id(owner)] = owner.copy(order="K")
        memo.setdefault(id(memo), []).append(owner)
    start = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return np.ndarray(
        array.shape, array.dtype, buffer=memo[id(owner)], offset=start, strides=array.strides
    )


def from_dlpack(x: Any) -> Tensor:
    """An untracked Tensor that shares memory with `x`, any object with the DLPack protocol.

    x: an array of NumPy, CuPy, JAX, PyTorch, …, or an untracked Tensor; on the CPU or a CUDA device
    Writes on one side show on the other, and the tape does not learn of those made elsewhere; the
    memory of libraries whose arrays never change, such as JAX's, comes read-only.
    Raises TypeError for an object without the protocol or a tracked Tensor, DeviceError for memory
    of a device that is not known here.
    """
    return untracked(devices.from_dlpack(x))


_new: Any = object.__new__


def untracked(array: Any) -> Tensor:
    """A Tensor around a bare array that others may hold too, without looking at it."""
    result = _new(Tensor)
    result._data = array
    result._node = None
    result._alias = SHARED
    return result


def fresh(array: Any, node: Node | None = None) -> Tensor:
    """A Tensor around the new result of a call: no one else was given its array."""
    result = _new(Tensor)
    result._data = array
    result._node = node
    result._alias = None
    return result
