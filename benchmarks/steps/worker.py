"""One peer, one workload, one process: `python worker.py MODULE PEER WORKLOAD THREADS`.

Speaks JSON lines with the driver.  First it says what the first step took and the losses of three
steps; then, for each line ``{"seconds": s}`` that it reads, the times of steps of s seconds.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))


def resident() -> float:
    """Megabytes of this process in memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak() -> float:
    """The most megabytes that were resident."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size / 1e3


def prepare(module: str, peer: str, workload: str, threads: int) -> tuple[Callable[[], float], Any]:
    """The step, and what is said first."""
    if peer.endswith("without fast"):
        sys.modules.update(dict.fromkeys(("numba", "llvmlite", "threadpoolctl")))  # None: not there
    start = time.perf_counter()
    steps = importlib.import_module(module)
    steps.set_threads(threads)
    imported = time.perf_counter() - start
    from workloads import WORKLOADS

    data = WORKLOADS[workload.partition("@")[0]].make()
    before = resident()
    start = time.perf_counter()
    step = steps.PEERS[peer][workload](data)
    losses = [float(step())]
    first = time.perf_counter() - start
    losses += [float(step()) for _ in range(2)]
    return step, {"losses": losses, "import": imported, "first": first, "before": before}


def run(step: Callable[[], float], seconds: float) -> dict[str, Any]:
    times, clock = [], time.perf_counter
    end = clock() + seconds
    while True:
        start = clock()
        step()
        now = clock()
        times.append(now - start)
        if now > end:
            return {"times": times, "peak": peak()}


def main() -> None:
    module, peer, workload, threads = sys.argv[1:]
    if processors := os.environ.get("PROCESSORS"):  # before a library counts those that it has
        os.sched_setaffinity(0, map(int, processors.split(",")))
    reply = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes elsewhere

    def say(what: dict[str, Any]) -> None:
        reply.write(json.dumps(what) + "\n")

    try:
        step, hello = prepare(module, peer, workload, int(threads))
        say(hello)
        for line in sys.stdin:
            say(run(step, json.loads(line)["seconds"]))
    except Exception as error:  # noqa: BLE001  # the driver's table says what a peer cannot do
        say({"error": f"{type(error).__name__}: {error}"[:200]})


if __name__ == "__main__":
    main()
