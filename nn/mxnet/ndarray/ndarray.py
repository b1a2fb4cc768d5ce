"""NDArray: a thin face of Tensor, with MXNet's methods, reshape codes and rules of types.

An NDArray holds an untracked Tensor.  Slices with step 1 along the first axis share its memory;
``x[:] = y`` writes into it.  There are no arrays without axes: a sum has the shape (1,).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad
from tapegrad.nn.core.services import service
from tapegrad.nn.mxnet.context import Context, current_context
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.ndarray.overloading import NDArrayOperators
from tapegrad.nn.mxnet.reshape import reshaped

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import ArrayLike, DTypeLike, Index, ShapeLike


__all__ = ["NDArray", "array", "as_array", "empty", "from_tensor", "full", "ones", "zeros"]


class NDArray(NDArrayOperators):
    """An array of numbers on a context.  Source: mx.nd.NDArray."""

    __slots__ = ("_context", "_tensor", "writable")
    __array_priority__ = 1000.0

    def __init__(self, tensor: Tensor, context: Context | None = None, writable: bool = True):
        self._tensor = tensor
        self._context = context or current_context()
        self.writable = writable

    # What it is

    @property
    def tensor(self) -> Tensor:
        """tapegrad's Tensor, on the same memory."""
        return self._tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(self._tensor.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def dtype(self) -> type[Any]:
        """The type of entries, as NumPy's class: numpy.float32."""
        kind: type[Any] = np.dtype(self._tensor.dtype).type
        return kind

    @property
    def context(self) -> Context:
        """Where the array lives."""
        return self._context

    ctx = context

    @property
    def stype(self) -> str:
        """The kind of storage: "default"."""
        return "default"

    @property
    def T(self) -> NDArray:
        """The array with its axes reversed."""
        return self._call("transpose", (self,), {})

    def __repr__(self) -> str:
        shape = "x".join(str(n) for n in self.shape)
        return f"\n{self.asnumpy()!s}\n<{type(self).__name__} {shape} @{self._context}>"

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size == 0:
            return False
        if self.size == 1:
            return bool(self.asscalar())
        raise ValueError("The truth value of an NDArray with multiple elements is ambiguous.")

    def __float__(self) -> float:
        return float(self.asscalar())

    def __int__(self) -> int:
        return int(self.asscalar())

    def __index__(self) -> int:
        if np.dtype(self.dtype).kind not in "iu":
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return int(self.asscalar())

    def __hash__(self) -> int:
        return id(self) // 16

    # Copies and conversions

    def asnumpy(self) -> np.ndarray:
        """A NumPy array with a copy of the entries."""
        return np.array(self._tensor.numpy())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        found = self.asnumpy()
        return found if dtype is None else found.astype(dtype)

    def asscalar(self) -> Any:
        """The entry of an array of one.  Raises ValueError for another size."""
        if self.size != 1:
            raise ValueError("The current array is not a scalar")
        return self.asnumpy().reshape(-1)[0]

    item = asscalar

    def copy(self) -> NDArray:
        """A copy on the same context."""
        return NDArray(Tensor(self.asnumpy(), device=self._context.device), self._context)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> NDArray:
        return self.copy()

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _restored, (self.asnumpy(), self._context.device_type, self._context.device_id)

    def copyto(self, other: NDArray | Context) -> NDArray:
        """Copy the entries into another array, or into a new one on a context.

        Raises MXNetError for an array of another shape, TypeError for anything else.
        """
        if isinstance(other, Context):
            return NDArray(Tensor(self.asnumpy(), device=other.device), other)
        if not isinstance(other, NDArray):
            raise TypeError(f"copyto does not support type {type(other)}")
        if other.shape != self.shape:
            raise MXNetError(f"copyto: an array of shape {self.shape} into one of {other.shape}")
        other[:] = self
        return other

    def as_in_context(self, context: Context) -> NDArray:
        """The array itself if it is there, else a copy."""
        return self if context == self._context else self.copyto(context)

    as_in_ctx = as_in_context

    def astype(self, dtype: DTypeLike, copy: bool = True) -> NDArray:
        """A copy with another type of entries; the array itself if not `copy` and equal."""
        if not copy and np.dtype(dtype) == np.dtype(self.dtype):
            return self
        return NDArray(
            Tensor(self.asnumpy().astype(dtype), device=self._context.device), self._context
        )

    def wait_to_read(self) -> None:
        """Nothing: every call here has ended when it returns."""

    wait_to_write = wait_to_read

    def detach(self) -> NDArray:
        """The array itself: no NDArray is on a tape."""
        return self

    def tostype(self, stype: str) -> NDArray:
        """The array with another kind of storage: "default", "row_sparse" or "csr".

        Raises ValueError for another kind.
        """
        return self if stype == "default" else service("mxnet.with_storage")(self, stype)

    def reshape(self, *shape: Any, **settings: Any) -> NDArray:
        """The entries in another shape, on the same memory; codes as in `reshaped`.

        Raises TypeError for an unknown keyword, MXNetError for a shape of another size.
        """
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        shape = tuple(settings.pop("shape", shape))
        reverse = bool(settings.pop("reverse", False))
        if settings:
            raise TypeError(f"reshape: unknown argument {next(iter(settings))!r}")
        with no_grad():
            y = self._tensor.reshape(reshaped(self.shape, shape, reverse))
        return NDArray(y, self._context)

    # Slices

    def __getitem__(self, key: Index) -> NDArray:
        """Basic slices share memory; an NDArray, a list or a mask selects a copy.

        Raises IndexError for what is out of range.
        """
        with no_grad():
            y = self._tensor[_index(key)]
        if not y.shape:
            y = y.reshape((1,))
        return NDArray(y, self._context)

    def __setitem__(self, key: Index, value: ArrayLike) -> None:
        """Write entries; the type of this array stays.  Raises ValueError where it is read-only."""
        if not self.writable:
            raise ValueError("Cannot assign to readonly NDArray")
        memory = self._tensor.data
        new = value.tensor.data if isinstance(value, NDArray) else value
        if isinstance(new, Tensor):
            new = new.data
        if not devices.is_array(new) and not isinstance(new, Number):
            new = np.asarray(new)
        if devices.is_array(new):
            new = devices.to_device(new, self._tensor.device)
        memory[_index(key)] = new

    def _call(self, operator: str, arrays: Sequence[Any], settings: dict[str, Any]) -> Any:
        return service("mxnet.invoke")(operator, arrays, settings)


def _index(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_index(part) for part in key)
    if isinstance(key, NDArray):
        found = key.asnumpy()
        return found.astype(np.int64) if found.dtype.kind == "f" else found
    if isinstance(key, list):
        return np.asarray([int(k) for k in key])
    return key


def _restored(values: np.ndarray, device_type: str, device_id: int) -> NDArray:
    context = Context(device_type, device_id)
    return NDArray(Tensor(values, device=context.device), context)


def from_tensor(tensor: Tensor, context: Context | None = None) -> NDArray:
    """The NDArray of a Tensor, on its memory; a Tensor without axes gets one of length 1."""
    if tensor.tracked:
        tensor = tensor.detach()
    if not tensor.shape:
        with no_grad():
            tensor = tensor.reshape((1,))
    return NDArray(tensor, context)


def as_array(value: ArrayLike, context: Context | None = None) -> NDArray:
    """The NDArray of what can stand for one: itself, a Tensor, a NumPy array (its type stays)."""
    if isinstance(value, NDArray):
        return value
    if isinstance(value, Tensor):
        return from_tensor(value, context)
    return array(value, context, getattr(value, "dtype", None))


def array(source: ArrayLike, ctx: Context | None = None, dtype: DTypeLike | None = None) -> NDArray:
    """An array with a copy of the source; float32, or the source's type if it is an NDArray.

    Raises TypeError for what is no array and no list of numbers.
    """
    context = ctx or current_context()
    if isinstance(source, NDArray):
        values, dtype = source.asnumpy(), dtype or source.dtype
    else:
        try:
            values = np.array(source)
        except (TypeError, ValueError) as error:
            raise TypeError("source_array must be array like object") from error
        if values.dtype.kind not in "biuf":
            raise TypeError(f"source_array must be array like object, not {values.dtype}")
    values = values.astype(dtype or np.float32, copy=False)  # it is a copy already
    return NDArray(Tensor(values.reshape(values.shape or (1,)), device=context.device), context)


def _filled(
    shape: ShapeLike, ctx: Context | None, dtype: DTypeLike | None, value: float
) -> NDArray:
    context = ctx or current_context()
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    values = np.full(shape or (1,), value, dtype or np.float32)
    return NDArray(Tensor(values, device=context.device), context)


def zeros(shape: ShapeLike, ctx: Context | None = None, dtype: DTypeLike | None = None) -> NDArray:
    """An array of zeros."""
    return _filled(shape, ctx, dtype, 0)


def ones(shape: ShapeLike, ctx: Context | None = None, dtype: DTypeLike | None = None) -> NDArray:
    """An array of ones."""
    return _filled(shape, ctx, dtype, 1)


def empty(shape: ShapeLike, ctx: Context | None = None, dtype: DTypeLike | None = None) -> NDArray:
    """An array whose entries are still to be written: zeros."""
    return _filled(shape, ctx, dtype, 0)


def full(
    shape: ShapeLike, val: float, ctx: Context | None = None, dtype: DTypeLike | None = None
) -> NDArray:
    """An array of one number."""
    return _filled(shape, ctx, dtype, val)
