"""tapegrad.devices: array libraries, the devices of their arrays, transfers and random numbers.

Array libraries are declared in a registry: NumPy, CuPy, the strict stand-in for tests without a
GPU, and any that a user registers.  The rest of tapegrad gets an array's namespace from here, moves
arrays between devices, and draws random numbers.  No other folder imports CuPy, and this one does
so only when a CuPy array or a CUDA device is met.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from tapegrad.devices import _builtin as _builtin  # registers NumPy, CuPy and the stand-in
from tapegrad.devices._errors import TapegradError
from tapegrad.devices._generators import Generator, generator, manual_seed, watched_draws
from tapegrad.devices._registry import (
    Backend,
    CaptureError,
    Device,
    DeviceError,
    Launcher,
    MemoryInfo,
    RandomStream,
    address_of,
    available_devices,
    device,
    device_of,
    is_array,
    launcher_of,
    namespace,
    register_backend,
)
from tapegrad.devices._special import special
from tapegrad.devices._transfer import from_dlpack, memory, synchronize, to_device, to_numpy
from tapegrad.devices._types import Array, DTypeLike, Namespace, Shape

__all__ = [
    # arrays
    "is_array",
    "namespace",
    "special",
    "device_of",
    "address_of",
    "to_device",
    "to_numpy",
    "from_dlpack",
    # devices
    "Device",
    "DeviceError",
    "MemoryInfo",
    "available_devices",
    "device",
    "memory",
    "synchronize",
    # random numbers
    "Generator",
    "generator",
    "manual_seed",
    "watched_draws",
    # generated kernels
    "CaptureError",
    "Launcher",
    "launcher_of",
    # declaring an array library
    "Backend",
    "RandomStream",
    "register_backend",
    # names for annotations, and the base of all errors
    "Array",
    "DTypeLike",
    "Namespace",
    "Shape",
    "TapegradError",
]


def __getattr__(name: str) -> _Any:
    if name == "collectives":  # what needs several ranks is imported when it is first named
        return _import_module("tapegrad.devices.collectives")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
