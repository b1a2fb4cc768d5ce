"""The standard's constants and dtypes, and its functions about dtypes.

dtypes are NumPy's, so that ``x.dtype == float32`` holds for Tensors on every device.  The defaults
are those of NumPy: int64, float64 and complex128, whatever `tapegrad.set_default_dtype` says, which
is about Parameters.
"""

from __future__ import annotations

import builtins
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops.facts import result_type

if TYPE_CHECKING:
    from tapegrad.devices import Device

__all__ = [
    # constants
    "e",
    "inf",
    "nan",
    "newaxis",
    "pi",
    # dtypes
    "bool",
    "complex64",
    "complex128",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    # functions
    "astype",
    "can_cast",
    "finfo",
    "iinfo",
    "isdtype",
    "result_type",
]

# Constants of the standard: numbers of Python, and None for a new axis in an index.
e = math.e
inf = math.inf
nan = math.nan
newaxis = None
pi = math.pi

# Dtypes of the standard: NumPy's, by the standard's names.
bool = np.dtype(np.bool_)
complex64 = np.dtype(np.complex64)
complex128 = np.dtype(np.complex128)
float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int8 = np.dtype(np.int8)
int16 = np.dtype(np.int16)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
uint8 = np.dtype(np.uint8)
uint16 = np.dtype(np.uint16)
uint32 = np.dtype(np.uint32)
uint64 = np.dtype(np.uint64)

DType = np.dtype[Any]

DTYPES: dict[str, DType] = {
    "bool": bool,
    "int8": int8,
    "int16": int16,
    "int32": int32,
    "int64": int64,
    "uint8": uint8,
    "uint16": uint16,
    "uint32": uint32,
    "uint64": uint64,
    "float32": float32,
    "float64": float64,
    "complex64": complex64,
    "complex128": complex128,
}
DEFAULTS = {
    "real floating": float64,
    "complex floating": complex128,
    "integral": int64,
    "indexing": int64,
}

COMPLEX_TO_REAL = (
    "astype: x is {own}, and conversion to {dtype} would drop the imaginary part; write "
    "astype(real(x), {dtype})"
)


class FloatInfo(NamedTuple):
    """The limits of a floating point dtype; of a complex one, those of its parts.

    bits: bits of a number; eps: distance from 1 to the next; smallest_normal: of the full precision
    """

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntegerInfo(NamedTuple):
    """The limits of an integer dtype: its bits, its largest and its smallest number."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype_of(x: Any) -> Any:
    """The dtype of a Tensor, or a dtype itself."""
    return x.dtype if isinstance(x, (Tensor, np.ndarray)) else np.dtype(x)


def astype(
    x: Tensor,
    dtype: DType,
    /,
    *,
    copy: builtins.bool = True,
    device: Device | str | None = None,
) -> Tensor:
    """The entries converted; a conversion to integers or booleans has no derivative.

    copy:   False gives x itself where it has the dtype already
    device: where to put the result; where x is when omitted
    Raises TypeError for complex x and a real dtype.
    """
    dtype = np.dtype(dtype)
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        raise TypeError(COMPLEX_TO_REAL.format(own=x.dtype, dtype=dtype))
    y = x.astype(dtype, copy=copy)
    return y if device is None else y.to(device)


def can_cast(from_: Tensor | DType, to: DType, /) -> builtins.bool:
    """Whether the type promotion of the standard leads from one dtype, or a Tensor's, to another.

    from_: a dtype, or a Tensor whose dtype is meant
    """
    return np.can_cast(_dtype_of(from_), np.dtype(to))


def finfo(type: Tensor | DType, /) -> FloatInfo:
    """The limits of a floating point dtype, or of a Tensor's.  Raises ValueError for another."""
    dtype = _dtype_of(type)
    limits = np.finfo(dtype)
    return FloatInfo(
        bits=limits.bits,
        eps=float(limits.eps),
        max=float(limits.max),
        min=float(limits.min),
        smallest_normal=float(limits.smallest_normal),
        dtype=np.dtype(limits.dtype),
    )


def iinfo(type: Tensor | DType, /) -> IntegerInfo:
    """The limits of an integer dtype, or of a Tensor's.  Raises ValueError for another."""
    dtype = _dtype_of(type)
    limits = np.iinfo(dtype)
    return IntegerInfo(int(limits.bits), int(limits.max), int(limits.min), dtype)


def isdtype(dtype: DType, kind: DType | str | tuple[DType | str, ...]) -> builtins.bool:
    """Whether a dtype is `kind`, or one of several.

    kind: a dtype, or "bool", "signed integer", "unsigned integer", "integral", "real floating",
          "complex floating", "numeric"
    Raises ValueError for another word.
    """
    return np.isdtype(np.dtype(dtype), kind)
