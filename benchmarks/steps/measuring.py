"""Rounds over peers in processes of their own, of which one runs at a time."""

from __future__ import annotations

import ast
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# The module of each peer, in the order of the tables.
PEERS = {
    "PyTorch": "pytorch",
    "PyTorch compiled": "pytorch",
    "JAX jit": "jax_jit",
    "HIPS autograd": "hips",
    "tapegrad": "ours",
    "tapegrad compiled": "ours",
    "tapegrad without fast": "ours",
}
REFERENCE = "PyTorch"
WAIT = 240  # seconds, for a peer's compilation
SLEEP = 0.05  # seconds between two peers: pools of threads of the last one stop spinning
CLOSE = 2e-3  # relative difference of losses from the reference's


@dataclass
class Result:
    """What was measured of a peer on a workload.

    times in seconds; memory in megabytes: the peak above what was resident before the step was made
    """

    workload: str
    peer: str
    threads: int
    smallest: float = float("nan")
    median: float = float("nan")
    first: float = float("nan")
    importing: float = float("nan")
    grown: float = float("nan")
    error: str = ""
    losses: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Peer:
    """A process that makes steps when it is asked to."""

    def __init__(
        self, peer: str, workload: str, threads: int, log: Any, wait: float = WAIT
    ) -> None:
        self.wait = wait
        environment = dict(os.environ, PYTHONWARNINGS="ignore", JAX_PLATFORMS="cpu")
        for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "TAPEGRAD"):
            environment[name + "_NUM_THREADS"] = str(threads)
        if threads == 1:
            environment["XLA_FLAGS"] = (
                "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
            )
        if hasattr(os, "sched_getaffinity"):
            processors = sorted(os.sched_getaffinity(0))[-threads:]
            environment["PROCESSORS"] = ",".join(map(str, processors))
        command = [sys.executable, str(HERE / "worker.py"), PEERS[peer], peer, workload]
        self.process = subprocess.Popen(
            [*command, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
        )  # fmt: skip
        variant = workload.partition("@")[2]
        name = f"{peer}, {variant}" if variant else peer
        self.result = Result(workload.partition("@")[0], name, threads)
        self.times: list[float] = []
        hello = self._read()
        if not self.result.error:
            self.result.losses = hello["losses"]
            self.result.first, self.result.importing = hello["first"], hello["import"]
            self.before = hello["before"]

    def _read(self) -> dict[str, Any]:
        stream = self.process.stdout
        assert stream is not None
        ready, _, _ = select.select([stream], [], [], self.wait)
        line = stream.readline() if ready else ""
        found = (
            json.loads(line) if line else {"error": "ended" if ready else f"over {self.wait:g} s"}
        )
        if "error" in found:
            self.result.error = found["error"]
            self.process.kill()
        return found

    def run(self, seconds: float) -> None:
        if self.result.error:
            return
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"seconds": seconds}) + "\n")
        self.process.stdin.flush()
        found = self._read()
        if not self.result.error:
            self.times += found["times"]
            self.result.grown = found["peak"] - self.before

    def close(self) -> Result:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        if self.times:
            self.result.smallest = min(self.times)
            self.result.median = statistics.median(self.times)
        return self.result


def declared(module: str, peer: str) -> list[str]:
    """The workloads of a peer, without importing its library here."""
    code = f"import {module}; print(list({module}.PEERS[{peer!r}]))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=False,
        env=dict(os.environ, PYTHONPATH=str(HERE)),
    )  # fmt: skip
    return ast.literal_eval(found.stdout.strip().splitlines()[-1]) if not found.returncode else []


def measure(
    workload: str,
    peers: dict[str, list[str]],
    threads: int,
    rounds: int,
    seconds: float,
    wait: float = WAIT,
) -> list[Result]:
    """Results of all peers on a workload: `rounds` turns of `seconds` each, one after another.

    peers: name -> the workloads that the peer has, variants too
    wait:  seconds for a peer's first step
    """
    with tempfile.TemporaryFile("w") as log:
        running = [
            Peer(peer, name, threads, log, wait)
            for peer, names in peers.items()
            for name in names
            if name.partition("@")[0] == workload
        ]
        for _ in range(rounds):
            for peer in running:
                time.sleep(SLEEP)
                peer.run(seconds)
        results = [peer.close() for peer in running]
    reference = next((r for r in results if r.peer == REFERENCE and not r.error), None)
    for result in results:
        if reference is None or result.error:
            continue
        pairs = zip(result.losses, reference.losses, strict=True)
        off = max(abs(a - b) / (abs(b) + 1e-6) for a, b in pairs)
        if not off < CLOSE:
            result.error = f"losses {result.losses}, and {reference.losses} of {REFERENCE}"
    return results
