"""The faults planted in layers of PyTorch: how many the laws find, and what they accuse wrongly."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from tests.nightly import nightly

if TYPE_CHECKING:
    from planted.torch_hunting import Hunt

__all__ = ["planted_torch"]


def _hunt(what: str, name: str, examples: int) -> Hunt | None:
    """The hunt for a fault, or in a right layer; the names travel between processes."""
    import torch
    from planted.torch_faults import TORCH_FAULTS, TORCH_LAYERS
    from planted.torch_hunting import hunt_torch

    torch.set_num_threads(1)
    if what == "right":
        return hunt_torch(TORCH_LAYERS[name], examples=examples)
    return hunt_torch(next(f for f in TORCH_FAULTS if f.name == name).wrong, examples=examples)


def _hunts(
    pool: ProcessPoolExecutor, what: str, names: Sequence[str], examples: int, until: float
) -> dict[str, Hunt]:
    """The hunts by name that were begun in time."""
    waiting = {name: pool.submit(_hunt, what, name, examples) for name in names}
    found = {}
    for name, future in waiting.items():
        if time.monotonic() > until and future.cancel():
            continue
        found[name] = future.result()
    return found


@nightly(minutes=30)
def planted_torch(
    *, examples: str = "25,100", minutes: float = 30.0, processes: int = 2, only: str = ""
) -> int:
    """Count planted faults in PyTorch layers that the laws find, by kind, and wrong accusations.

    examples: how many for each law; several counts are several runs
    minutes:  after which no further layer is begun
    only:     part of ``kind: layer: what``
    Every accusation of a right layer is a failure, and so is a run that finds less than 95 %.
    """
    from planted.torch_faults import TORCH_FAULTS, TORCH_LAYERS
    from planted.torch_hunting import table

    faults = [f for f in TORCH_FAULTS if only.lower() in f"{f.kind}: {f.name}".lower()]
    twins = [name for name in TORCH_LAYERS if not only or any(f.twin == name for f in faults)]
    until = time.monotonic() + 60 * minutes
    failures = 0
    with ProcessPoolExecutor(processes) as pool:
        for count in map(int, examples.split(",")):
            print(f"{count} examples", flush=True)
            hunts = _hunts(pool, "wrong", [f.name for f in faults], count, until)
            done = [f for f in faults if f.name in hunts]
            print("\n".join(table(done, hunts.values())), flush=True)
            share = sum(h.verdict == "broken" for h in hunts.values()) / max(len(hunts), 1)
            failures += share < 0.95
            right = _hunts(pool, "right", twins, count, until)
            for name, hunt in right.items():
                if hunt.verdict != "holds":
                    laws = ", ".join(hunt.laws)
                    print(f"  right, but {hunt.verdict}: {name}: {laws}: {hunt.message[:300]}")
            accused = sum(hunt.verdict == "broken" for hunt in right.values())
            failures += accused
            times = [hunt.seconds for hunt in right.values()] or [0.0]
            print(
                f"  {accused} of {len(right)} right layers accused; median "
                f"{statistics.median(times):.2f} s, most {max(times):.2f} s",
                flush=True,
            )
    return failures
