"""StrictArray: the array of the strict stand-in, an ndarray that behaves as CuPy's arrays do.

`tapegrad.devices.strict` describes its purpose.  Its methods are generated from the record of CuPy,
its operators from a table (`_strict_tables.py`).  This file holds how arrays are wrapped, indexed
and refused.
"""

from __future__ import annotations

import copy as copy_module
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from tapegrad.devices._cupy_signatures import CUPY
from tapegrad.devices._registry import Device, DeviceError
from tapegrad.devices._strict_tables import (
    ATTRIBUTES,
    METHODS,
    OPERATORS,
    Flags,
    methods,
    operators,
)

__all__ = [
    "MIXED",
    "NUMBERS",
    "STRICT",
    "HostArray",
    "StrictArray",
    "as_strict",
    "scatter",
    "unwrap_operand",
    "wrap_result",
]

STRICT = Device("strict")

_IMPLICIT = (
    "a strict array does not turn into an ndarray unasked (nor does CuPy's);"
    " use tapegrad.devices.to_numpy(x) or x.get()"
)
MIXED = (
    "{where}: arrays on cpu and on strict meet in one call (CuPy refuses it too): move one to the"
    " other's device first, x.to('cpu') or x.to('strict')"
)
_STRAY = (
    "np.{name} was called on an array of device 'strict': on a GPU it would be a stray NumPy call;"
    " use xp.{name} with xp = tapegrad.devices.namespace(x)"
)
_NO_DTYPE = f"{CUPY} has no arrays of dtype {{dtype}}"

# The dtypes that CuPy's arrays can have.
_DTYPES = frozenset("?bBhHiIlLqQefdFD")

HostArray = np.ndarray[Any, Any]

# Types that are passed to NumPy as they are.
_PLAIN = frozenset({bool, int, float, complex, str, bytes, slice, type(None), type(Ellipsis)})
NUMBERS = frozenset({bool, int, float, complex})


# Wrapping and unwrapping -------------------------------------------------------------------------


def as_strict(array: HostArray, base: StrictArray | None = None) -> StrictArray:
    """A StrictArray over the memory of `array`.  Raises TypeError for a dtype that CuPy lacks.

    base: the StrictArray whose memory it is a view of
    """
    if array.dtype.char not in _DTYPES:
        raise TypeError(_NO_DTYPE.format(dtype=array.dtype))
    self = object.__new__(StrictArray)
    self._array = array
    self._base = base
    return self


def _memory_of(array: Any) -> Any:
    """The object that owns the memory of an array, at the end of its chain of bases."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return array


def _wrap_view(array: HostArray, sources: Any) -> StrictArray:
    """Wrap a result that is a view of some array, perhaps of one of the operands `sources`."""
    memory = _memory_of(array)
    for source in _strict_arrays_in(sources):
        if source._array is array:
            return source
        if _memory_of(source._array) is memory:
            _make_writeable(array)
            return as_strict(array, source if source._base is None else source._base)
    return as_strict(array)


def _make_writeable(view: HostArray) -> None:
    """Make a view writeable where CuPy's is: NumPy's `diagonal` is read-only, CuPy's is not.

    Views in which entries share memory (broadcasts, windows) stay read-only.
    """
    base = view.base
    if type(base) is np.ndarray and 0 not in view.strides and base.flags.writeable:
        view.flags.writeable = True


def _strict_arrays_in(values: Any) -> Iterator[StrictArray]:
    """The StrictArrays in nested lists and tuples."""
    for value in values:
        if type(value) is StrictArray:
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _strict_arrays_in(value)


def wrap_result(result: Any, sources: Any) -> Any:
    """A NumPy result as CuPy returns it: StrictArrays, 0-d ones instead of scalars."""
    kind = type(result)
    if kind is np.ndarray:
        if result.base is not None:
            return _wrap_view(result, sources)
        for source in sources:
            if type(source) is StrictArray and source._array is result:
                return source
        return as_strict(result)
    if kind in NUMBERS or isinstance(result, np.generic):
        return as_strict(np.asarray(result))
    if kind is tuple or kind is list:
        return kind(wrap_result(item, sources) for item in result)
    if isinstance(result, tuple):  # a named tuple, as of linalg.eigh
        return kind(*(wrap_result(item, sources) for item in result))
    return result


def unwrap_operand(value: Any, where: str) -> Any:
    """The operand or setting as NumPy takes it.

    Raises DeviceError for an ndarray, TypeError for any other unknown type.
    """
    kind = type(value)
    if kind is StrictArray:
        return value._array
    if kind in _PLAIN:
        return value
    if kind is tuple or kind is list:
        return kind(unwrap_operand(item, where) for item in value)
    if isinstance(value, np.ndarray):
        raise DeviceError(MIXED.format(where=where))
    if isinstance(value, (np.generic, np.dtype, type, int, float)):
        return value
    raise TypeError(f"{where}: unsupported type {kind.__module__}.{kind.__qualname__}")


# The array ---------------------------------------------------------------------------------------


class StrictArray:
    """An array of device "strict": CuPy's interface over the memory of `array`, an ndarray.

    `to_device(x, "strict")`, which copies, and the functions of its namespace make one.
    Raises TypeError for a dtype that CuPy lacks, or when `array` is no ndarray.
    """

    __module__ = "tapegrad.devices.strict"
    __slots__ = ("__weakref__", "_array", "_base")
    __hash__ = None  # type: ignore[assignment]  # arrays compare by element, so they cannot be hashed

    _array: HostArray
    _base: StrictArray | None

    def __init__(self, array: HostArray) -> None:
        if type(array) is not np.ndarray:
            raise TypeError(f"a StrictArray holds an ndarray, not {type(array).__name__}")
        if array.dtype.char not in _DTYPES:
            raise TypeError(_NO_DTYPE.format(dtype=array.dtype))
        self._array = array
        self._base = None

    # NumPy's protocols ---------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(_IMPLICIT)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if not all(_may_answer_for(value) for value in inputs):
            return NotImplemented
        if any(isinstance(value, np.ndarray) for value in (*inputs, *kwargs.get("out", ()))):
            raise DeviceError(MIXED.format(where=f"np.{ufunc.__name__}"))
        # `np.float32(2) * x`: the operators of NumPy's scalars call the ufunc, and CuPy allows it.
        if ufunc in OPERATORS and method == "__call__" and isinstance(inputs[0], np.generic):
            return wrap_result(ufunc(inputs[0], inputs[1]._array), ())
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        raise TypeError(_STRAY.format(name=name))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, (StrictArray, np.ndarray)) for t in types):
            return NotImplemented
        module = function.__module__.removeprefix("numpy").lstrip(".")
        name = f"{module}.{function.__name__}" if module else function.__name__
        raise TypeError(_STRAY.format(name=name))

    # Attributes ----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the entries."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of entries."""
        return self._array.size

    @property
    def strides(self) -> tuple[int, ...]:
        """The bytes from one entry to the next, along each axis."""
        return self._array.strides

    @property
    def itemsize(self) -> int:
        """The bytes of one entry."""
        return self._array.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all entries."""
        return self._array.nbytes

    @property
    def base(self) -> StrictArray | None:
        """The array whose memory this array is a view of, None for an array with its own memory."""
        return self._base

    @property
    def flags(self) -> Flags:
        """The memory layout: c_contiguous, f_contiguous, owndata and CuPy's other flags."""
        return Flags(self._array.flags)

    @property
    def device(self) -> Device:
        """The device "strict"."""
        return STRICT

    @property
    def T(self) -> StrictArray:
        """The view with axes in reverse order."""
        return _wrap_view(self._array.T, (self,))

    @property
    def mT(self) -> StrictArray:
        """The view with the last two axes exchanged."""
        return _wrap_view(self._array.mT, (self,))

    @property
    def real(self) -> StrictArray:
        """The real part: a view, or the array itself when it is real."""
        return _wrap_view(self._array.real, (self,))

    @property
    def imag(self) -> StrictArray:
        """The imaginary part: a view, or new zeros when the array is real."""
        if self._array.dtype.kind == "c":
            return _wrap_view(self._array.imag, (self,))
        return as_strict(np.zeros_like(self._array))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in METHODS or name in ATTRIBUTES:
            raise AttributeError(f"the strict stand-in does not model cupy.ndarray.{name}")
        raise AttributeError(f"{CUPY}: cupy.ndarray has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"strict {self._array!r}"

    def __str__(self) -> str:
        return str(self._array)

    def __format__(self, spec: str) -> str:
        return format(self._array, spec)

    # Values ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[StrictArray]:
        if self._array.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self._array)))

    def __bool__(self) -> bool:
        return bool(self._array)

    def __int__(self) -> int:
        return int(self._array)

    def __float__(self) -> float:
        return float(self._array)

    def __complex__(self) -> complex:
        return complex(self._array)

    def __copy__(self) -> StrictArray:
        return as_strict(self._array.copy())

    def __deepcopy__(self, memo: dict[int, Any]) -> StrictArray:
        return as_strict(copy_module.deepcopy(self._array, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return (StrictArray, (self._array,))

    def get(
        self, stream: Any = None, order: Any = "C", out: Any = None, blocking: bool = True
    ) -> HostArray:
        """A copy as an ndarray, or `out`, an ndarray into which the entries are copied."""
        if out is None:
            return np.array(self._array, order=order)
        out[...] = self._array
        filled: HostArray = out
        return filled

    def set(self, arr: HostArray, stream: Any = None) -> None:
        """Overwrite this array with the entries of an ndarray of the same shape and dtype."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("set: only an ndarray can be copied into an array of device 'strict'")
        if arr.shape != self.shape or arr.dtype != self.dtype:
            raise ValueError(
                f"set: {arr.dtype} of shape {arr.shape} into {self.dtype} of shape {self.shape}"
            )
        self._array[...] = arr

    def scatter_add(self, slices: Any, value: Any) -> None:
        """self[slices] += value; a repeated index adds each of its values."""
        scatter(np.add, self, slices, value)

    def scatter_max(self, slices: Any, value: Any) -> None:
        """self[slices] = max(self[slices], value), repeated indices included."""
        scatter(np.maximum, self, slices, value)

    def scatter_min(self, slices: Any, value: Any) -> None:
        """self[slices] = min(self[slices], value), repeated indices included."""
        scatter(np.minimum, self, slices, value)

    # Indexing --------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> StrictArray:
        index, advanced = unwrap_index(index)
        result = self._array[index]
        if type(result) is not np.ndarray:  # a scalar: take the 0-d view instead
            result = self._array[(*index, ...) if type(index) is tuple else (index, ...)]
        if advanced:  # a copy
            return as_strict(result)
        return as_strict(result, self if self._base is None else self._base)

    def __setitem__(self, index: Any, value: Any) -> None:
        index, advanced = unwrap_index(index)
        if type(value) is StrictArray:
            value = value._array
            if not advanced and value.ndim > 0:
                target = self._array[index]
                if value.ndim > np.ndim(target):
                    raise ValueError(f"cannot write shape {value.shape} to {np.shape(target)}")
        elif type(value) not in NUMBERS and not isinstance(value, np.generic):
            if isinstance(value, np.ndarray):
                raise DeviceError(MIXED.format(where="x[i] = v"))
            raise TypeError(f"x[i] = v: v must be an array or a number, not {type(value).__name__}")
        self._array[index] = value


def _may_answer_for(value: Any) -> bool:
    """May a StrictArray answer a ufunc call with `value`?  Other classes with that protocol come
    first.
    """
    return (
        type(value) is StrictArray
        or isinstance(value, (np.ndarray, np.generic, int, float, complex, list, tuple))
        or not hasattr(value, "__array_ufunc__")
    )


_BASIC = frozenset({int, slice, type(None), type(Ellipsis)})


def unwrap_index(index: Any) -> tuple[Any, bool]:
    """The index as NumPy takes it, and whether it is an advanced index, whose result is a copy."""
    if type(index) in _BASIC:
        return index, False
    parts = index if type(index) is tuple else (index,)
    bare: list[Any] = []
    arrays = masks = 0
    for part in parts:
        if type(part) in _BASIC:
            bare.append(part)
            continue
        if type(part) is StrictArray:
            part = part._array
        elif isinstance(part, np.ndarray):
            raise DeviceError(MIXED.format(where="x[i]"))
        elif isinstance(part, np.integer):
            bare.append(int(part))
            continue
        elif isinstance(part, (list, bool, np.bool)):
            if not all(
                isinstance(item, (int, list, np.integer, np.bool)) for item in _list_items(part)
            ):
                raise TypeError("x[i]: a list as index holds whole numbers or booleans")
            part = np.array(part) if part != [] else np.array([], np.int32)
        else:
            raise IndexError(f"{type(part).__name__} is no index of a strict array")
        if part.dtype.kind not in "iub":
            raise IndexError(f"an index holds integers or booleans, this one {part.dtype}")
        arrays += 1
        masks += part.dtype.kind == "b"
        bare.append(part)
    if masks and arrays > 1:
        raise ValueError(f"{CUPY} takes one boolean array as index, and no other array with it")
    return (tuple(bare) if type(index) is tuple else bare[0]), arrays > 0


def _list_items(part: Any) -> Iterator[Any]:
    """The items of nested lists."""
    if isinstance(part, list):
        for item in part:
            yield from _list_items(item)
    else:
        yield part


# The dtypes that `at` takes with arrays as indices: those that CuPy documents for its scattered
# operations, and those of CUDA's atomic operations.  Complex dtypes are not among them.
_INTEGERS = frozenset({"int32", "uint32", "uint64"})
_ATOMIC = {
    "add": _INTEGERS | {"float16", "float32", "float64"},
    "subtract": frozenset({"int32", "uint32"}),
    "maximum": _INTEGERS | {"float32", "float64"},
    "minimum": _INTEGERS | {"float32", "float64"},
    "bitwise_and": _INTEGERS,
    "bitwise_or": _INTEGERS,
    "bitwise_xor": _INTEGERS,
}


def scatter(ufunc: np.ufunc, array: Any, indices: Any, value: Any) -> None:
    """array[indices] = ufunc(array[indices], value), where repeated indices act one after another.

    Raises TypeError for a dtype that CuPy does not document.
    """
    where = f"cupy.{ufunc.__name__}.at"
    if type(array) is not StrictArray:
        raise TypeError(f"{where} writes to an array, not {type(array).__name__}")
    index, advanced = unwrap_index(indices)
    if advanced and array.dtype.name not in _ATOMIC[ufunc.__name__]:
        raise TypeError(f"{CUPY}: {where} with arrays as indices has no {array.dtype}")
    addend = _operand(value, where)
    if addend is NotImplemented:
        raise TypeError(f"{where}: unsupported type {type(value).__name__}")
    ufunc.at(array._array, index, np.asarray(addend).astype(array.dtype, copy=False))


def _operand(value: Any, symbol: str) -> Any:
    """The other operand as NumPy takes it; NotImplemented to let its own class answer."""
    kind = type(value)
    if kind is StrictArray:
        return value._array
    if kind in NUMBERS or isinstance(value, np.generic):
        return value
    if isinstance(value, np.ndarray):
        raise DeviceError(MIXED.format(where=symbol))
    if isinstance(value, (list, tuple)):
        raise TypeError(f"{symbol}: {CUPY} does not take a {kind.__name__} for an array")
    return NotImplemented


def _add_methods() -> None:
    """Give StrictArray its generated operators and methods."""
    for name, method in operators(_operand, wrap_result).items():
        setattr(StrictArray, name, method)
    for name, method in methods(unwrap_operand, wrap_result, beside=vars(StrictArray)).items():
        setattr(StrictArray, name, method)


_add_methods()
