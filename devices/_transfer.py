"""Transfers of arrays between devices, and the memory and pending work of a device.

A transfer between two kinds of device goes through NumPy, which is the only library that both know.
Nothing in tapegrad transfers an array unless the user asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.devices._registry import (
    Device,
    DeviceError,
    MemoryInfo,
    backend_named,
    backend_of,
)
from tapegrad.devices._registry import device as device_named

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.devices._types import Array

__all__ = ["from_dlpack", "memory", "synchronize", "to_device", "to_numpy"]

# DLPack's number of a device type -> the kind whose library takes such memory without a copy: 1 is
# the CPU, 3 its pinned memory, 2 is CUDA, 13 its managed memory.
_DLPACK_KINDS = {1: "cpu", 3: "cpu", 2: "cuda", 13: "cuda"}


def to_device(array: Array, device: str | Device) -> Array:
    """`array` on `device`: itself if it is there already, else a copy of equal dtype and values.

    Raises DeviceError for a device that is not there, TypeError for anything that is no array.
    """
    source = backend_of(array)
    target = device_named(device)
    if source.device_of(array) == target and type(array) is source.array_type:
        return array
    if source.kind == target.kind and type(array) is source.array_type:
        return source.move(array, target)
    return backend_named(target.kind).from_numpy(source.to_numpy(array), target)


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """`array` as a NumPy array: itself on the CPU, a copy from other devices.

    Waits until the device has computed it.  Raises TypeError for anything that is no array.
    """
    return backend_of(array).to_numpy(array)


def from_dlpack(x: Any) -> Array:
    """The array that shares memory with `x`, any object with the DLPack protocol.

    x: for example an array of NumPy, CuPy, JAX or PyTorch
    The result is an array of NumPy for memory of the CPU, and of CuPy for memory of a CUDA device.
    It is read-only where x says so.
    Raises TypeError for an object without the protocol, DeviceError for memory that no registered
    library takes, and whatever the library raises for a dtype that it does not have.
    """
    if not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise TypeError(
            f"from_dlpack: {type(x).__module__}.{type(x).__qualname__} has no __dlpack__ and "
            "__dlpack_device__"
        )
    number = int(x.__dlpack_device__()[0])
    if number not in _DLPACK_KINDS:
        raise DeviceError(f"from_dlpack: no library here takes memory of DLPack's device {number}")
    return backend_named(_DLPACK_KINDS[number]).xp.from_dlpack(x)


def memory(device: str | Device = "cpu") -> MemoryInfo:
    """The memory of a device in bytes: total, used by this process, free, and the peak of use."""
    home = device_named(device)
    return backend_named(home.kind).memory(home)


def synchronize(device: str | Device = "cpu") -> None:
    """Wait until all work that was started on `device` is done; on the CPU it always is."""
    home = device_named(device)
    backend_named(home.kind).synchronize(home)
