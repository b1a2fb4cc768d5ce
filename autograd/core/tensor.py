"""Tensor: an array, and the node of the call that made it.

A Tensor has three slots.  `_bare` is the bare array, of NumPy or of another backend, and decides
where calls run.  `_node` is the recorded past, or None for a Tensor that is not tracked.  `_alias`
says whose memory the Tensor shares, in the way of NumPy's views (`views.py`).  All mathematics is
in the primitives: `surface/methods.py` attaches operators, methods, `backward` and NumPy's
protocols, so that this file knows no calculus.

Few files may write a slot.  All three are set where a Tensor is made: here, in the specialised
calls, and by `Single`.  On an existing Tensor,
`_bare`   is written by `become` here and `Parameter.rebind`; by `reverse/`, which gives a root
          memory of its own and takes its views anew; by `views.py`, which copies a small view; by
          nn where state moves (sharing, weights, flat memory) and where ``m.output`` gets another
          array
          (Not `_data`: NumPy's masked arrays read an attribute of that name behind our back.)
`_node`   is written by `become` and `rebind`; by `reverse/`; by code that records its own calls
          (`record_call`: checkpoints, hand-written gradients), on the results; for ``m.output``
`_alias`  is written by `_mark_shared` here, by `views.py` and `reverse/write.py`; for ``m.output``
The laws put other parameters into a module by `_bare` and `_node`, and restore the old ones.
All other code reads by `array_of(x)`, `as_array(x)` and `x.tracked`.  The linter knows who may even
read a slot (SLF001 in pyproject.toml), and a test knows who writes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakValueDictionary

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import refuse
from tapegrad.autograd.core.node import Node, note_write, owner_of
from tapegrad.autograd.core.operands import no_operand, refuse_own_arithmetic
from tapegrad.autograd.core.running import refuse_cut, where_cut
from tapegrad.autograd.core.views import SHARED, RootViews
from tapegrad.autograd.core.zeros import forget_zeros

if TYPE_CHECKING:
    from tapegrad.autograd.core.array_methods import ArrayMethods
    from tapegrad.autograd.core.types import Array, DTypeLike, Operand
else:
    ArrayMethods = object

__all__ = [
    "Tensor",
    "array_of",
    "array_to_pickle",
    "as_array",
    "copy_array",
    "memory_key",
    "result_tensor",
    "from_dlpack",
    "untracked",
]

TRACKED_TO_DLPACK = (
    "this Tensor is tracked: handing its memory to another library would silently cut its "
    "gradient. Use x.detach() for its value."
)
NO_DLPACK = "arrays on {device} cannot be handed on by DLPack; copy to the CPU first: x.to('cpu')"

RESULT_DATA = "the entries of a tracked result cannot be replaced: compute a new Tensor"
OTHER_DATA = (
    "data of shape {found} cannot overwrite a Tensor of shape {expected}, which keeps its memory; "
    "make a new Tensor or Parameter of it"
)

BECOMES = (
    "writes into a Tensor that all samples share, which would then hold one of them; make it with "
    "np.zeros_like(x) of a sample x, so that each has its own"
)


def as_array(data: Operand, dtype: DTypeLike = None) -> Array:
    """The bare array behind `data`: a Tensor's, an array itself, or a new NumPy array.

    Raises TypeError for what holds anything but numbers and booleans.
    """
    bare: Any = data._bare if isinstance(data, Tensor) else data
    if type(bare) is np.ndarray or devices.is_array(bare):
        return bare if dtype is None or bare.dtype == dtype else bare.astype(dtype)
    refuse_own_arithmetic(bare)
    array = np.asarray(bare, dtype=dtype)
    if array.dtype.kind not in "biufc":
        raise no_operand(f"{data!r:.80}", data)
    return array.view(np.ndarray)


def array_of(x: Tensor) -> Array:
    """The bare array of a Tensor, for reading: neither an observer nor the tape hears of it."""
    return x._bare


class Tensor(ArrayMethods):
    """An array whose history can be differentiated.

    ``Tensor(data)`` shares memory with an array `data` and is untracked.  Results are tracked when
    they are computed from a `Parameter`, or from the arguments of a function inside `grad`.  A
    Tensor has the operators, methods and indexing of an ndarray, and NumPy's functions take it.

    data:   array, Tensor, number or nested sequence of numbers
    dtype:  dtype of the Tensor (a copy is made if data's differs); NumPy's choice when omitted
    device: where to put the array, "cpu" or "cuda:0"; where `data` is when omitted
    Raises TypeError for data that are not numeric, DeviceError for a missing device.

    >>> x = Tensor(np.array([1.0, 2.0]))
    >>> np.exp(x).shape, x.tracked
    ((2,), False)
    """

    __slots__ = ("__weakref__", "_alias", "_bare", "_node")

    _bare: Array
    _node: Node | None
    # None for a result without views; SHARED for memory that others hold too; a ViewOrigin for a
    # view; RootViews for a root.
    _alias: Any
    # True for the state of a model: writes go into its own memory and are never recorded.
    _state: ClassVar[bool] = False

    def __init__(
        self, data: Operand, *, dtype: DTypeLike = None, device: devices.Device | str | None = None
    ) -> None:
        if isinstance(data, Tensor):
            data.refuse_if_sample("makes a Tensor of a Tensor")
        array = as_array(data, dtype)
        self._bare = array if device is None else devices.to_device(array, device)
        self._node = None
        self._alias = SHARED

    # What an array is ------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._bare.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the entries."""
        return self._bare.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._bare.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._bare.size

    @property
    def itemsize(self) -> int:
        """Bytes that one entry takes."""
        return self._bare.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that the entries take."""
        return self._bare.nbytes

    @property
    def device(self) -> devices.Device:
        """Where the entries live."""
        return devices.device_of(self._bare)

    @property
    def tracked(self) -> bool:
        """True if calls on this Tensor are recorded."""
        return self._node is not None

    # Values ------------------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The bare array, with shared memory; the tape does not learn of writes to it."""
        refuse("reads .data")
        self._mark_shared()
        return self._bare

    @data.setter
    def data(self, value: Operand) -> None:
        """Overwrite the entries, so that ``p.data -= g`` works, of which the tape learns.

        Raises TypeError for a tracked result, which is not one's to change, and ValueError for
        another shape: memory is never replaced.
        """
        if value is not self._bare:
            refuse("sets .data")
            self._before_write()
            if self._node is not None and not self._state:
                raise TypeError(RESULT_DATA)
            array = as_array(value, self._bare.dtype)
            if array.shape != self._bare.shape:
                raise ValueError(OTHER_DATA.format(found=array.shape, expected=self._bare.shape))
            self._bare[...] = array
        note_write(self._bare)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a NumPy array: with shared memory on the CPU, a copy from other devices."""
        refuse("calls .numpy()")
        self._mark_shared()
        return devices.to_numpy(self._bare)

    def _mark_shared(self) -> None:
        """Note that other code holds the memory too, and sees writes that are not recorded."""
        forget_zeros(self._bare)
        alias = self._alias
        if alias is None:
            self._alias = SHARED
        elif type(alias) is RootViews:
            alias.shared = True

    def item(self, *index: Any) -> Any:
        """One entry as a Python number: the only one, the i-th in row-major order, or at (i, j, …).

        Raises ValueError without an index if there is not exactly one entry.
        """
        refuse("calls .item()")
        return self._bare.item(*index)

    def tobytes(self, order: Literal["C", "F", "A", "K"] | None = "C") -> bytes:
        """The bytes of the entries, row by row; column by column for order "F"."""
        return self.numpy().tobytes(order)

    def tolist(self) -> Any:
        """The entries as nested Python lists."""
        refuse("calls .tolist()")
        return devices.to_numpy(self._bare).tolist()

    def __float__(self) -> float:
        refuse("calls float()")
        if self._node is not None:
            refuse_cut("float() reads")
        return float(self._bare)

    def __int__(self) -> int:
        refuse("calls int()")
        if self._node is not None:
            refuse_cut("int() reads")
        return int(self._bare)

    def __complex__(self) -> complex:
        refuse("calls complex()")
        if self._node is not None:
            refuse_cut("complex() reads")
        return complex(self._bare)

    def __index__(self) -> int:
        refuse("uses a Tensor as a Python index")
        if self._node is not None:
            refuse_cut("a Python index reads")
        return self._bare.__index__()

    def __bool__(self) -> bool:
        refuse("asks a Tensor for true or false")
        return bool(self._bare)

    def __len__(self) -> int:
        return len(self._bare)

    def __iter__(self) -> Iterator[Tensor]:
        if not self._bare.ndim:
            raise TypeError("iteration over a 0-d Tensor")
        return (self[i] for i in range(len(self._bare)))

    def __contains__(self, value: Operand) -> bool:
        refuse("asks whether a Tensor contains a value")
        return bool((self._bare == as_array(value)).any())

    def __dlpack_device__(self) -> tuple[int, int]:
        """The device in DLPack's numbers.  Raises BufferError where the library has none."""
        if not hasattr(self._bare, "__dlpack_device__"):
            raise BufferError(NO_DLPACK.format(device=self.device))
        kind, index = self._bare.__dlpack_device__()
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

        The memory is shared, not copied: a write on one side shows on the other, and the tape does
        not learn of it.  Read-only memory is marked as such for a consumer that knows the mark
        (max_version 1.0 or later), and copied for an older consumer, unless ``copy=False``.
        Raises TypeError for a tracked Tensor, BufferError if the array library cannot export it.
        """
        if self._node is not None:
            raise TypeError(TRACKED_TO_DLPACK)
        refuse("hands out its memory by DLPack")
        forget_zeros(self._bare)
        self.__dlpack_device__()
        array = self._bare
        read_only = type(array) is np.ndarray and not array.flags.writeable
        if read_only and copy is not False and (max_version is None or max_version[0] < 1):
            array, copy = array.copy(), None
        options = {"stream": stream, "max_version": max_version}
        options |= {"dl_device": dl_device, "copy": copy}
        return array.__dlpack__(**{k: v for k, v in options.items() if v is not None})

    def __repr__(self) -> str:
        values = np.array2string(
            devices.to_numpy(self._bare), separator=", ", prefix=f"{type(self).__name__}("
        )
        notes = "" if self._bare.dtype in (np.float64, np.int64, bool) else f", {self.dtype}"
        if (
            self._bare.size > np.get_printoptions()["threshold"]
        ):  # as NumPy does where it leaves out
            notes += f", shape={tuple(self._bare.shape)}"
        if str(self.device) != "cpu":
            notes += f", device={str(self.device)!r}"
        if self._node is not None and type(self) is Tensor:
            notes += ", tracked"
        return f"{type(self).__name__}({values}{notes})"

    def __format__(self, spec: str) -> str:
        if spec and not self._bare.ndim:
            return format(self._bare.item(), spec)
        return format(str(self), spec)

    def _before_write(self) -> None:
        """Called before state is written in its own memory; a Buffer notes how to undo that."""

    # Its past ------------------------------------------------------------------------------------

    def detach(self) -> Tensor:
        """An untracked Tensor with the same memory: a constant in all further computation."""
        return untracked(self._bare)

    def with_node(self, node: Node | None) -> Tensor:
        """A Tensor with the same value and another past; it is not a view, so writes stay apart."""
        return result_tensor(self._bare, node)

    def become(self, other: Tensor) -> None:
        """Take over the array and the past of `other`.

        Raises BatchingError if `other` is one sample of a batch: all samples share this Tensor.
        """
        other.refuse_if_sample(BECOMES)
        self._bare, self._node = other._bare, other._node

    def full_like(self, fill: float, dtype: DTypeLike) -> Tensor:
        """A new untracked Tensor of this shape and device with `fill` in every entry."""
        xp = devices.namespace(self._bare)
        return result_tensor(xp.full(self.shape, fill, dtype=dtype))

    def refuse_if_sample(self, action: str) -> None:
        """Called before the bare array is exposed; `action` says what exposes it.

        `Single` (`transforms/sample.py`) overrides this to raise BatchingError, since one sample of
        a batch has no array.
        """

    def __copy__(self) -> Tensor:
        if self._node is not None and where_cut():
            return self.copy("K")
        return untracked(_copy_as_it_lies(self._bare))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None and where_cut():
            copy = self.copy("K")
        else:
            # The copy is untracked; Tensors that share memory have copies that share memory.
            copy = untracked(copy_array(self._bare, memo))
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> Any:
        if self._node is not None:
            refuse_cut("pickle reads")
        return (Tensor, (array_to_pickle(self._bare),))


# Views that are being pickled, by what they are views of.
_pickled: WeakValueDictionary[Any, np.ndarray[Any, Any]] = WeakValueDictionary()


def array_to_pickle(array: Array) -> np.ndarray[Any, Any]:
    """The array on the CPU; for views of the same entries, one array, which a pickle holds once.

    So Parameters that share their memory share it in a pickle's copy too, and a part of a flat
    buffer does not take the entire buffer along.
    """
    if type(array) is not np.ndarray or array.base is None:
        return devices.to_numpy(array)
    return _pickled.setdefault(memory_key(array), array)


def memory_key(array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """What arrays with the same entries, not only equal ones, have in common."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str


def copy_array(array: Array, memo: dict[Any, Any]) -> Array:
    """A copy of `array`; views of one storage become views of one copied storage.

    `memo` is deepcopy's own.  So a clone of a flattened model keeps its flat buffer, and shared
    weights stay shared.
    """
    known: Array
    if id(array) in memo:
        known = memo[id(array)]
        return known
    owner = owner_of(array)
    if owner is not array and type(array) is np.ndarray and memory_key(array) in memo:
        known = memo[memory_key(array)]  # its other keys are ids
        return known
    if owner is array or type(array) is not np.ndarray or not owner.flags.forc:
        if id(array) not in memo:
            memo[id(array)] = _copy_as_it_lies(array)
            memo.setdefault(id(memo), []).append(array)  # keep ids in `memo` from being reused
        return memo[id(array)]
    if id(owner) not in memo:
        memo[id(owner)] = owner.copy(order="K")
        memo.setdefault(id(memo), []).append(owner)
    start = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return np.ndarray(
        array.shape, array.dtype, buffer=memo[id(owner)], offset=start, strides=array.strides
    )


def _copy_as_it_lies(array: Array) -> Array:
    """A copy in the order of memory that NumPy's copies have: that of `array`."""
    return array.copy(order="K") if type(array) is np.ndarray else array.copy()


def from_dlpack(x: Any) -> Tensor:
    """An untracked Tensor that shares memory with `x`, any object with the DLPack protocol.

    x: an array of NumPy, CuPy, JAX, PyTorch, …, or an untracked Tensor; on the CPU or a CUDA device
    Writes on one side show on the other, and the tape does not learn of the other library's writes.
    The memory of libraries whose arrays never change, such as JAX's, is read-only.
    Raises TypeError for an object without the protocol or a tracked Tensor, DeviceError for memory
    on a device that has no backend.
    """
    return untracked(devices.from_dlpack(x))


_new: Any = object.__new__


def untracked(array: Array) -> Tensor:
    """An untracked Tensor around a bare array that others may hold too, without a check."""
    result = _new(Tensor)
    result._bare = array
    result._node = None
    result._alias = SHARED
    return result


def result_tensor(array: Array, node: Node | None = None) -> Tensor:
    """A Tensor around the new array that a call returned and that nothing else holds."""
    result = _new(Tensor)
    result._bare = array
    result._node = node
    result._alias = None
    return result
