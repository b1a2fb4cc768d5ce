"""Helpers of composites: operands that are lists, constants on an operand's device, axes from 0."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import wraps
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import observer
from tapegrad.autograd.core.nesting import as_one_tensor, holds_tensors
from tapegrad.autograd.core.operands import no_operand, refuse_own_arithmetic
from tapegrad.autograd.core.tensor import Tensor, as_array, result_tensor

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = [
    "as_axes",
    "as_constant",
    "as_floating",
    "as_operand",
    "device_array",
    "half_in_single",
    "inside_numbers",
    "is_fortran",
    "namespace_of",
    "normalize_axis",
    "real_only",
    "refuse_complex",
    "replay_records",
    "value_of",
    "wrap_like",
]


def as_operand(x: Operand) -> Tensor:
    """x if it is a Tensor or an array, else an array of it; a TypeError for an object.

    A list or tuple that holds Tensors becomes a Tensor, and anything else an array of NumPy.

    Type checkers take the result for a Tensor, which has all that operations ask of an array.
    """
    operand: Any = x
    if isinstance(operand, Tensor) or devices.is_array(operand):
        return operand
    refuse_own_arithmetic(operand)
    if holds_tensors(operand):
        return as_one_tensor(operand)
    array: Any = np.asarray(operand)
    if array.dtype.kind == "O" and isinstance(operand, Real):  # a Fraction, say
        return np.asarray(float(operand))  # type: ignore[return-value]  # as above
    if array.dtype.kind == "O":  # a sparse matrix, None, … as an entry of an array
        raise no_operand("an argument", operand)
    return array


def half_in_single(body: Callable[..., Array]) -> Callable[..., Array]:
    """The body of a primitive of x such that it computes in float32 where x is float16.

    Sums inside it may exceed 65,504, the largest float16, although its result does not.
    """

    @wraps(body)
    def wide(xp: Namespace, x: Array, **settings: Any) -> Array:
        if x.dtype != np.float16:
            return body(xp, x, **settings)
        return body(xp, x.astype(np.float32), **settings).astype(np.float16)

    return wide


def real_only(body: Callable[..., Array]) -> Callable[..., Array]:
    """The body of a primitive of x such that it refuses complex x with a TypeError."""

    @wraps(body)
    def real(xp: Namespace, x: Array, **settings: Any) -> Array:
        refuse_complex(x, body.__name__)
        return body(xp, x, **settings)

    return real


def namespace_of(x: Array) -> Namespace:
    """The array library of x's array."""
    return devices.namespace(as_array(x))


def device_array(values: Array, like: Array) -> Array:
    """The NumPy array `values` where `like` lives."""
    return namespace_of(like).asarray(values)


def wrap_like(array: Array, like: Array) -> Array:
    """`array` where `like` lives: an untracked Tensor if `like` is a Tensor, else a bare array."""
    array = device_array(as_array(array), like)
    return result_tensor(array) if isinstance(like, Tensor) else array


def as_floating(x: Operand) -> Tensor:
    """x as an operand; integers and booleans as double precision, as NumPy's functions have them.

    They have no derivative, so the conversion is not recorded.
    """
    x = as_operand(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def value_of(x: Array) -> np.ndarray:
    """The value of x as a NumPy array, for decisions made in Python.

    Replay refuses it while it records: the decision would be the recorded one for ever.
    """
    return x.detach().numpy() if isinstance(x, Tensor) else devices.to_numpy(as_array(x))


def refuse_complex(x: Array, name: str) -> None:
    """Raise TypeError for complex x, which has no order that the function `name` could go by."""
    if x.dtype.kind == "c":
        raise TypeError(f"{name} takes real numbers: complex ones have no order")


def is_fortran(x: Array) -> bool:
    """Whether the first index of x runs fastest in memory."""
    flags = getattr(as_array(x), "flags", None)
    return flags is not None and bool(flags.f_contiguous and not flags.c_contiguous)


def as_constant(value: Any, name: str) -> Any:
    """A setting as it is.  Raises TypeError for a tracked Tensor, whose gradient would be lost."""
    if isinstance(value, Tensor) and value.tracked:
        raise TypeError(
            f"{name} is a tracked Tensor, and a call has no gradient in this setting: "
            f"{name}.item() is its value as a constant"
        )
    return value


def as_axes(axes: int | Sequence[int], ndim: int) -> list[int]:
    """One axis or several as a list, counted from 0.  Raises AxisError outside the array."""
    several: Any = axes  # it may be an array of axes too
    if not isinstance(axes, (tuple, list)):
        several = tuple(several) if np.ndim(several) else (several,)
    return [normalize_axis(axis, ndim) for axis in several]


def inside_numbers(index: Any, n: int, mode: str, name: str) -> Any:
    """Indices of n entries as `mode` has them: "raise" (as they are), "wrap" round, or "clip".

    Raises ValueError for another mode.
    """
    if mode == "raise":
        return index
    if mode == "wrap":
        return index % n
    if mode == "clip":
        return index.clip(0, n - 1)
    raise ValueError(f"{name}: the mode is {mode!r}, none of 'raise', 'wrap', 'clip'")


def normalize_axis(axis: int, ndim: int) -> int:
    """`axis` counted from 0.  Raises AxisError outside the array, TypeError for no integer."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def replay_records() -> bool:
    """Whether the call is being recorded for replay, which leaves out checks of values."""
    watcher = observer()
    return watcher is not None and watcher.refuses
