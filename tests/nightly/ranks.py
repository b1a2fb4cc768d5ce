"""Ranks that fail or stop: nothing hangs, and who goes on ends with the bits of a whole run."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import rank_runs

from tests.nightly import nightly

__all__ = ["rank_failures", "rank_resumes"]

FAULTS = [
    *((how, "step") for how in ("kill", "raise", "exit", "leave")),
    *((how, where) for how in ("kill", "raise") for where in ("collective", "sweep", "save")),
]
SIZES = ((2, 2), (4, 2), (1, 4), (2, 1))  # ranks before the stop and after it
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


@nightly(minutes=4)
def rank_resumes(*, steps: int = 23) -> int:
    """Stop after every step and go on, with other numbers of ranks: the bits of a whole run.

    steps: of the whole run
    """
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        right = rank_runs.run(2, "train", folder / "right", "--shards", 4, "--steps", steps)
        for stop in range(1, steps):
            first, then = SIZES[stop % len(SIZES)]
            here = folder / str(stop)
            common = ("--shards", 4, "--folder", here / "checkpoints")
            runs = [rank_runs.run(first, "train", here, *common, "--steps", stop)]
            again = (*common, "--steps", steps, "--resume")
            runs.append(rank_runs.run(then, "train", here / "again", *again))
            same = [rank_runs.same_bits(rank, right.ranks[0]) for rank in runs[1].ranks]
            if any(done.code for done in runs) or same != [True] * then:
                failed += 1
                print(f"FAILED at step {stop}, from {first} ranks to {then}: {same}")
                print("\n".join(done.text[-1500:] for done in runs if done.code), flush=True)
    print(f"{steps - 1 - failed} of {steps - 1} stops go on to equal bits")
    return failed
