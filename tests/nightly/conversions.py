"""Conversions between model files: five models from each format into each."""

from __future__ import annotations

import round_trips

from tests.nightly import nightly

__all__ = ["format_round_trips"]


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
