"""The CPU: NumPy's arrays, the process's memory, PCG64.

Memory comes from /proc and getrusage, so that no dependency is needed for four numbers; a platform
without them answers None.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tapegrad.devices._generators import NumpyStream
from tapegrad.devices._registry import Backend, Device, MemoryInfo

__all__ = ["CPU", "load", "memory"]

CPU = Device("cpu")


def memory(_: Device = CPU) -> MemoryInfo:
    """Physical memory of the machine, and the resident set of this process."""
    total, free = _pages("SC_PHYS_PAGES"), _pages("SC_AVPHYS_PAGES")
    peak = _peak()
    used = _resident()
    if used is not None and peak is not None:
        peak = max(peak, used)  # the kernel keeps the two counters apart and a little out of step
    return MemoryInfo(total, used, _available() or free, peak)


def _pages(name: str) -> int | None:
    if name not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")


def _resident() -> int | None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _available() -> int | None:
    """What could be allocated without swapping: free pages, and caches that would be given up."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _peak() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def load() -> Backend:
    """NumPy's declaration."""
    return Backend(
        kind="cpu",
        array_type=np.ndarray,
        xp=np,
        device_of=lambda _: CPU,
        devices=lambda: [CPU],
        current=lambda: CPU,
        from_numpy=lambda array, _: array,
        to_numpy=np.asarray,
        move=_stays,
        memory=memory,
        stream=lambda _, sequence: NumpyStream(sequence),
    )


def _stays(array: Any, _: Device) -> Any:
    return array
