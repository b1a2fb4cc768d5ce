"""Conversions to another kind of number, or to another device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad import devices
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops.batch_rules import leading_axes_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, DTypeLike, Namespace
    from tapegrad.devices import Device

__all__ = ["to_device", "to_integer"]


@primitive(differentiable=False)
def to_integer(xp: Namespace, x: Array, *, dtype: DTypeLike) -> Array:
    """x, of any shape, converted to an integer or boolean `dtype`, towards zero."""
    return x.astype(dtype)


to_integer.batch(leading_axes_rule)


@primitive
def to_device(xp: Namespace, x: Array, *, device: Device | str) -> Array:
    """x, of any shape, copied to `device` (x itself if it is there); the cotangent travels back."""
    return devices.to_device(x, device)


# The cotangent is on the target device; it goes back to the device of the saved operand.
to_device.vjp(
    x=lambda g, x: to_device(g, x.device if isinstance(x, Tensor) else devices.device_of(x))
)
to_device.batch(leading_axes_rule)
