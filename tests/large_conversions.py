"""`tapegrad convert` of a model of a gigabyte: memory and speed, each in a process of its own.

    python -m tests.nightly large_conversions

The memory is the highest that the process had (VmHWM) less what it had when all was imported; pages
of a mapped file count as long as they are in memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import round_trips

from tapegrad import nn, no_grad

WIDTH = 4_096  # of each layer, whose weights have 67 MB
CHILD = """
import contextlib, io, sys, time
from tapegrad import cli, nn
from tapegrad.nn.core.files import formats

def pages(word):
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(word))

formats()
nn.Sequential(nn.Linear(2, 2))([[1.0, 2.0]])
before, began, worked = pages("VmRSS"), time.perf_counter(), time.process_time()
with contextlib.redirect_stdout(io.StringIO()):
    code = cli.main(["convert", *sys.argv[1:]])
times = time.perf_counter() - began, time.process_time() - worked
print(code, pages("VmHWM") - before, *times)
"""


class Conversion(NamedTuple):
    """How one went: bytes of memory and seconds for a source of so many bytes.

    worked: seconds of processor time, which other programs on the machine do not lengthen
    """

    first: str
    second: str
    size: int
    memory: int
    seconds: float
    worked: float

    @property
    def share(self) -> float:
        return self.memory / self.size

    @property
    def speed(self) -> float:
        """Megabytes of the source in a second."""
        return self.size / 1e6 / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.first:>13} -> {self.second:<13} {self.share:5.2f} x its size in memory, "
            f"{self.speed:6.0f} MB/s, {self.size / 1e6 / self.worked:6.0f} MB in a second of work"
        )


def conversions(folder: Path, megabytes: int) -> Iterator[Conversion]:
    """From our own format into each, and from each into our own."""
    layers = max(1, round(megabytes * 1e6 / (4 * WIDTH * WIDTH)))
    random = np.random.default_rng(0)
    model = nn.Sequential()
    for _ in range(layers):
        layer = nn.Linear(1, 1).float()
        with no_grad():
            layer.weight = type(layer.weight)(random.random((WIDTH, WIDTH), np.float32))
            layer.bias = type(layer.bias)(random.random(WIDTH, np.float32))
        model.add(layer)
    own = folder / "own.safetensors"
    model.save(own)
    del model
    for ending in round_trips.ENDINGS:
        other, again = folder / f"other{ending}", folder / "again.safetensors"
        yield _measured(own, other)
        if ending != ".safetensors":
            yield _measured(other, again)
            again.unlink()
        other.unlink()


def _measured(source: Path, target: Path) -> Conversion:
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, source, target],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    code, memory, seconds, worked = done.stdout.split()
    assert code == "0", done.stderr
    size = source.stat().st_size
    return Conversion(
        source.suffix, target.suffix, size, int(memory), float(seconds), float(worked)
    )
