"""Starts `rank_programs.py` on several ranks, and returns what each rank wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PROGRAM = Path(__file__).with_name("rank_programs.py")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TAPEGRAD_NUM_THREADS")


class Run(NamedTuple):
    """code: of the starter;  seconds: it took;  text: both outputs;  ranks: what each wrote"""

    code: int
    seconds: float
    text: str
    ranks: list[dict[str, Any]]


def mpiexec() -> str | None:
    own = Path(sys.executable).parent / "mpiexec"
    return str(own) if own.is_file() else shutil.which("mpiexec")


def run(ranks: int, program: str, out: Path, *arguments: object, restarts: int = 0) -> Run:
    """Run a program by mpiexec, or, with restarts, by `tapegrad run`."""
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(PROGRAM)]
    if restarts:
        command = [
            *(sys.executable, "-m", "tapegrad", "run", "-n", str(ranks)),
            *("--restarts", str(restarts), str(PROGRAM)),
        ]
    elif ranks > 1:
        command = [str(mpiexec()), "-n", str(ranks), *command]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, program, str(out), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, **dict.fromkeys(THREADS, "1")},
    )  # fmt: skip
    seconds = time.perf_counter() - started
    files = sorted(out.glob("rank-*.npz"))
    return Run(
        done.returncode, seconds, done.stdout + done.stderr, [dict(np.load(f)) for f in files]
    )


def same_bits(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two ranks, or two runs, ended with the same bits of all arrays and losses."""
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].tobytes() == b[k].tobytes() for k in a
    )
