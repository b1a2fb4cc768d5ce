"""Moving arrays between devices, and asking devices about their memory and their work.

Transfers between kinds go through NumPy: there is no other common ground, and a transfer is an
explicit, counted thing that nothing does behind the user's back.
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

__all__ = ["from_dlpack", "memory", "synchronize", "to_device", "to_numpy"]

# DLPack's numbers of devices -> the kind of ours whose library takes their memory as it is: the
# CPU and pinned memory of it; CUDA and its managed memory.
_DLPACK_KINDS = {1: "cpu", 3: "cpu", 2: "cuda", 13: "cuda"}


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


def from_dlpack(x: Any) -> Any:
    """The array that shares memory with `x`, any object with the DLPack protocol.

    x: a NumPy, CuPy, JAX or PyTorch array, say.  An array of NumPy for memory of the CPU, of CuPy
    for that of a CUDA device.  It is read-only where its owner says so.
    Raises TypeError for an object without the protocol, DeviceError for memory that no library
    known here takes, and what the libraries raise for a dtype that they do not have.
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
    """Bytes that the device has, that this process uses, that are free, and the peak of use."""
    where = device_named(device)
    return backend_named(where.kind).memory(where)


def synchronize(device: str | Device = "cpu") -> None:
    """Wait until everything started on `device` is done; on the CPU it always is."""
    where = device_named(device)
    backend_named(where.kind).synchronize(where)
