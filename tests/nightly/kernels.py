"""Kernels for a GPU of every primitive, run on the CPU, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.nightly import nightly

ROOT = Path(__file__).parents[2]


@nightly(minutes=20)
def cuda_primitives(*, only: str = "") -> int:
    """Compile each primitive for a GPU, and hold its kernels, run on the CPU, to its body.

    only: a part of the names of the tests that run
    """
    command = [sys.executable, "-m", "pytest", "-m", "extra", "tests/test_cuda_primitives.py"]
    environment = {**os.environ, "TAPEGRAD_CUDA_PRIMITIVES": "1"}
    return subprocess.run(
        [*command, *(["-k", only] if only else [])], cwd=ROOT, env=environment, check=False
    ).returncode
