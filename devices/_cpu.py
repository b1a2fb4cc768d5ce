"""The CPU: NumPy's arrays, the memory of the process, PCG64.

Memory figures come from /proc and getrusage, which need no dependency; where a platform lacks them,
the figure is None.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.devices._generators import NumpyStream
from tapegrad.devices._registry import Backend, Device, MemoryInfo

if TYPE_CHECKING:
    from tapegrad.devices._types import Array

__all__ = ["CPU", "load", "memory"]

CPU = Device("cpu")


def memory(_: Device = CPU) -> MemoryInfo:
    """The physical memory of the machine, and the resident set of this process."""
    total, free = _bytes_of_pages("SC_PHYS_PAGES"), _bytes_of_pages("SC_AVPHYS_PAGES")
    peak = _peak_bytes()
    used = _resident_bytes()
    if used is not None and peak is not None:
        peak = max(peak, used)  # the kernel updates the two counters at different times
    return MemoryInfo(total, used, _available_bytes() or free, peak)


def _bytes_of_pages(name: str) -> int | None:
    if name not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")


def _resident_bytes() -> int | None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _available_bytes() -> int | None:
    """Bytes that can be allocated without swapping: free pages, and caches that can be dropped."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _peak_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def load() -> Backend:
    """The declaration of NumPy."""
    return Backend(
        kind="cpu",
        array_type=np.ndarray,
        xp=np,
        device_of=lambda _: CPU,
        devices=lambda: [CPU],
        current=lambda: CPU,
        from_numpy=lambda array, _: array,
        to_numpy=np.asarray,
        move=_same_array,
        memory=memory,
        stream=lambda _, sequence: NumpyStream(sequence),
    )


def _same_array(array: Array, _: Device) -> Array:
    return array
