"""Conversions to another kind of number, or to another device."""

from __future__ import annotations

from typing import Any

from tapegrad import devices
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops.batch_rules import native

__all__ = ["to_device", "to_integer"]


@primitive(differentiable=False)
def to_integer(xp: Any, x: Any, *, dtype: Any) -> Any:
    """x converted to an integer or boolean `dtype`, towards zero."""
    return x.astype(dtype)


to_integer.batch(native)


@primitive
def to_device(xp: Any, x: Any, *, device: Any) -> Any:
    """x copied to `device` (x itself if it is there); the cotangent travels back."""
    return devices.to_device(x, device)


# The cotangent is on the target device; its operand's device is that of the saved value.
to_device.vjp(
    x=lambda g, x: to_device(g, x.device if isinstance(x, Tensor) else devices.device_of(x))
)
to_device.batch(native)
