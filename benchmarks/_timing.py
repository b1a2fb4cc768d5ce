"""How the benchmarks measure: interleaved rounds, the smallest time of each, ratios in one run.

A shared machine changes speed from second to second.  So the competitors take turns, many times,
and each one's minimum counts: the only figure that noise cannot lower.  Absolute times are printed
for orientation; what is claimed are ratios.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np


def smallest_times(
    competitors: Mapping[str, Callable[[], object]], *, rounds: int = 60
) -> dict[str, float]:
    """Seconds of the fastest run of each competitor, taken in turns."""
    best = dict.fromkeys(competitors, float("inf"))
    for run in competitors.values():
        run()  # compile, allocate, fill caches
    for _ in range(rounds):
        for name, run in competitors.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def machine(threads: int) -> str:
    """One line about where the figures come from."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line for line in lines if line.startswith("model name")).split(": ")[1]
    except (OSError, StopIteration):
        pass
    return (
        f"{model.strip()}, {os.cpu_count()} cores, {threads} thread(s), "
        f"Python {platform.python_version()}, NumPy {np.__version__}"
    )


def one_thread() -> None:
    """Limit the maths libraries to one thread; to be called before NumPy is imported elsewhere."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        if os.environ.get(name) != "1":
            os.environ[name] = "1"
            os.execv(sys.executable, [sys.executable, *sys.argv])  # the same command, again


def torch_or_none() -> object | None:
    """PyTorch limited to one thread, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    return torch
