"""Model files: mutants and cuts of every file that the tests have."""

from __future__ import annotations

import fuzz_formats

from tests.nightly import nightly

__all__ = ["format_mutants"]


@nightly(minutes=40)
def format_mutants(
    *, count: int = 1_000_000, processes: int = 2, seed: int = 0, minutes: float = 0.0
) -> int:
    """Load mutated model files and cut ones, which may do nothing but raise FormatError.

    count:   how many mutants of each format are loaded; a tenth as many are shown
    minutes: if not 0, as many of them as are loaded in this time, and no cuts
    """
    return fuzz_formats.everything(count=count, processes=processes, seed=seed, minutes=minutes)
