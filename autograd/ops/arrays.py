"""Small helpers of composites: constants on an operand's device, and operands that are lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import observer
from tapegrad.autograd.core.tensor import Tensor, as_array

__all__ = [
    "as_operand",
    "axis_of",
    "constant",
    "must_be_ordered",
    "namespace_of",
    "observed",
    "value_of",
]


def as_operand(x: Any) -> Any:
    """x if it is an array or Tensor, else a NumPy array of it."""
    return x if isinstance(x, Tensor) or devices.is_array(x) else np.asarray(x)


def namespace_of(x: Any) -> Any:
    """The array library of x's array."""
    return devices.namespace(as_array(x))


def constant(values: Any, like: Any) -> Any:
    """The NumPy array `values` where `like` lives."""
    return namespace_of(like).asarray(values)


def value_of(x: Any) -> Any:
    """x's value as a NumPy array, for what is decided by Python; refused while replay records."""
    return x.detach().numpy() if isinstance(x, Tensor) else devices.to_numpy(as_array(x))


def must_be_ordered(x: Any, name: str) -> None:
    """Raise TypeError for complex x, which has no order that the function `name` could go by."""
    if x.dtype.kind == "c":
        raise TypeError(f"{name} takes real numbers: complex ones have no order")


def axis_of(axis: int, ndim: int) -> int:
    """`axis` counted from 0.  Raises AxisError outside the array."""
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def observed() -> bool:
    """Is the call being recorded for replay?  Then checks of values are left out."""
    told = observer()
    return told is not None and told.refuses
