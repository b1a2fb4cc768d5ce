"""Ranks that fail: nothing hangs, and a restart ends with the bits of an undisturbed run."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import rank_runs

from tests.nightly import nightly

__all__ = ["rank_failures"]

FAULTS = [
    *((how, "step") for how in ("kill", "raise", "exit", "leave")),
    *((how, where) for how in ("kill", "raise") for where in ("collective", "sweep", "save")),
]
SECONDS = 10.0  # within which all ranks have ended


@nightly(minutes=20)
def rank_failures(*, trials: int = 100, ranks: int = 2, seed: int = 0) -> int:
    """Let a rank fail at a random point, look that all end in time, and go on from the checkpoint.

    trials: how many;  ranks: processes of each
    """
    draw = random.Random(seed)
    failed, longest = 0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = ("--shards", 4, "--steps", 15)
        right = rank_runs.run(1, "train", folder / "right", *common).ranks[0]
        start = rank_runs.run(ranks, "train", folder / "start", "--steps", 1).seconds
        for number in range(trials):
            how, where = FAULTS[number % len(FAULTS)]
            at = {"step": (1, 14), "collective": (5, 30), "sweep": (1, 60), "save": (1, 5)}[where]
            here = folder / str(number)
            fault = ("--fault", how, "--where", where, "--at", draw.randint(*at))
            kept = (*common, "--save-every", 3, "--folder", here / "checkpoints")
            broken = rank_runs.run(ranks, "train", here, *kept, *fault)
            ended = broken.seconds - start
            longest = max(longest, ended)
            again = rank_runs.run(ranks, "train", here / "again", *kept, "--resume")
            same = [rank_runs.same_bits(rank, right) for rank in again.ranks]
            fine = (
                broken.code != 0 and ended < SECONDS and again.code == 0 and same == [True] * ranks
            )
            if not fine:
                failed += 1
                print(f"FAILED {fault}: codes {broken.code}, {again.code}; {ended:.1f} s; {same}")
                print((broken.text if not broken.code else again.text)[-1500:], flush=True)
    print(f"{trials - failed} of {trials} trials; the longest end took {longest:.1f} s")
    return failed
