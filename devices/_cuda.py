"""NVIDIA GPUs: CuPy's arrays, its memory pool, Philox.

This is the only file of the library that imports CuPy.  `load` does so, which runs when a CUDA
device is named or a CuPy array is met.  CuPy's own random numbers are not used (see `_philox`): the
state of its generators is an opaque buffer on the device, and its float32 "uniform" draws are
rounded from float64 and can be 1.0.
"""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from tapegrad.devices._launching import CupyLauncher
from tapegrad.devices._philox import PhiloxStream
from tapegrad.devices._registry import Backend, Device, DeviceError, MemoryInfo

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.devices._types import Array, Namespace

__all__ = ["load"]

_NOT_INSTALLED = (
    "device 'cuda' needs CuPy, which is not installed: pip install 'tapegrad[cuda]'"
    " (and an NVIDIA GPU with its driver)"
)
_BROKEN = (
    "device 'cuda' needs CuPy, which is installed but cannot be imported ({error});"
    " reinstall it: pip install --force-reinstall 'tapegrad[cuda]'"
)
_NO_GPU = (
    "device 'cuda': CuPy {version} found no GPU ({error}); does `nvidia-smi` list one, and is its"
    " driver new enough for this CuPy?"
)


def _cupy() -> Any:
    if importlib.util.find_spec("cupy") is None:
        raise DeviceError(_NOT_INSTALLED)
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DeviceError(_BROKEN.format(error=first)) from error


class _Cuda:
    """The functions of the backend, which call the imported module."""

    def __init__(self, cupy: Namespace) -> None:
        self.cupy = cupy

    def devices(self) -> list[Device]:
        runtime = self.cupy.cuda.runtime
        try:
            count = runtime.getDeviceCount()
        except runtime.CUDARuntimeError as error:
            raise DeviceError(self._no_gpu(error)) from error
        if count == 0:
            raise DeviceError(self._no_gpu("the driver lists none"))
        return [Device("cuda", index) for index in range(count)]

    def _no_gpu(self, error: object) -> str:
        return _NO_GPU.format(version=self.cupy.__version__, error=error)

    def current(self) -> Device:
        self.devices()  # without a GPU this raises our own message
        return Device("cuda", self.cupy.cuda.runtime.getDevice())

    def device_of(self, array: Array) -> Device:
        return Device("cuda", array.device.id)

    def activate(self, device: Device) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.cupy.cuda.Device(device.index)
        return context

    def from_numpy(self, array: np.ndarray[Any, Any], device: Device) -> Array:
        with self.activate(device):
            return self.cupy.asarray(array)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        host: np.ndarray[Any, Any] = self.cupy.asnumpy(array, order="A")
        return host

    def move(self, array: Array, device: Device) -> Array:
        with self.activate(device):
            return (
                array.copy()
            )  # CuPy makes a copy on the current device, whatever device its source is on

    def memory(self, device: Device) -> MemoryInfo:
        with self.activate(device):
            free, total = self.cupy.cuda.runtime.memGetInfo()
            pool = self.cupy.get_default_memory_pool()
            return MemoryInfo(total, pool.used_bytes(), free + pool.free_bytes(), None)

    def synchronize(self, device: Device) -> None:
        self.cupy.cuda.Device(device.index).synchronize()

    def stream(self, device: Device, sequence: np.random.SeedSequence) -> PhiloxStream:
        return PhiloxStream(self.cupy, lambda: self.activate(device), sequence)


def load() -> Backend:
    """The declaration of CuPy.  Raises DeviceError where it is missing or cannot be imported."""
    cuda = _Cuda(_cupy())
    return Backend(
        kind="cuda",
        array_type=cuda.cupy.ndarray,
        xp=cuda.cupy,
        device_of=cuda.device_of,
        devices=cuda.devices,
        current=cuda.current,
        from_numpy=cuda.from_numpy,
        to_numpy=cuda.to_numpy,
        move=cuda.move,
        memory=cuda.memory,
        stream=cuda.stream,
        synchronize=cuda.synchronize,
        activate=cuda.activate,
        numbered=True,
        launcher=CupyLauncher(cuda.cupy),
    )
