"""Conversions between model files: five models from each format into each."""

from __future__ import annotations

import tempfile
from pathlib import Path

import round_trips
from large_conversions import conversions

from tests.nightly import nightly

__all__ = ["format_round_trips", "large_conversions"]


@nightly(minutes=1)
def format_round_trips(*, largest: float = 1e-5) -> int:
    """Write and read five models in every format after every other, and print the differences.

    largest: the share of the largest result that a difference may be
    """
    failures = 0
    for name in round_trips.MODELS:
        found = list(round_trips.differences(name))
        print(round_trips.matrix(name, found), flush=True)
        failures += sum(value > largest for *_, value in found)
    return failures


@nightly(minutes=5)
def large_conversions(*, megabytes: int = 1000, memory: float = 1.3, speed: float = 0.0) -> int:
    """Convert a large model from and into each format, and print memory and speed.

    memory: how many times its size a conversion may need
    speed:  how many MB/s it must reach at least; on a machine that does nothing else, 200
    """
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for each in conversions(Path(folder), megabytes):
            print(each, flush=True)
            failures += each.share > memory or each.speed < speed
    return failures
