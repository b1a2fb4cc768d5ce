"""Moving arrays between devices, and asking devices about their memory and their work.

Transfers between kinds go through NumPy: there is no other common ground, and a transfer is an
explicit, counted thing that nothing does behind the user's back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.devices._registry import Device, MemoryInfo, backend_named, backend_of
from tapegrad.devices._registry import device as device_named

if TYPE_CHECKING:
    import numpy as np

__all__ = ["memory", "synchronize", "to_device", "to_numpy"]


def to_device(array: Any, device: str | Device) -> Any:
    """`array` on `device`: itself if it is there already, else a copy of equal dtype and values.

    Raises DeviceError for a device that is not there, TypeError for what is no array.
    """
    source = backend_of(array)
    target = device_named(device)
    if source.device_of(array) == target and type(array) is source.array_type:
        return array
    if source.kind == target.kind and type(array) is source.array_type:
        return source.move(array, target)
    return backend_named(target.kind).from_numpy(source.to_numpy(array), target)


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """`array` as a NumPy array: itself on the CPU, a copy from other devices.

    Waits for the device to have computed it.  Raises TypeError for what is no array.
    """
    return backend_of(array).to_numpy(array)


def memory(device: str | Device = "cpu") -> MemoryInfo:
    """Bytes that the device has, that this process uses, that are free, and the peak of use."""
    where = device_named(device)
    return backend_named(where.kind).memory(where)


def synchronize(device: str | Device = "cpu") -> None:
    """Wait until everything started on `device` is done; on the CPU it always is."""
    where = device_named(device)
    backend_named(where.kind).synchronize(where)
