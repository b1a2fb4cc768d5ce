"""Compiled steps against ordinary ones, over many steps of the benchmark's workloads."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from tests.nightly import nightly

__all__ = ["compiled_steps"]

STEPS = Path(__file__).parents[2] / "benchmarks" / "steps"
BOUND = 1e-3  # of the loss at its beginning: rounding that training carries on


@nightly(minutes=20)
def compiled_steps(*, steps: int = 1000, only: str = "") -> int:
    """Train each workload of benchmarks/steps eagerly and compiled, and compare their losses.

    steps: of each;  only: names of workloads, separated by commas, or all
    """
    sys.path[:0] = [str(STEPS), str(STEPS.parent)]
    import ours
    from workloads import WORKLOADS

    failed = 0
    for name, make in ours.PEERS["tapegrad"].items():
        if (only and name not in only.split(",")) or name in ("w13b", "w13c"):
            continue
        workload = WORKLOADS[name.partition("@")[0]]
        eager = make(workload.make())
        compiled = ours.PEERS["tapegrad compiled"][name](workload.make())
        worst, begun = 0.0, None
        for _ in range(steps):
            a, b = eager(), compiled()
            begun = abs(a) + 1e-12 if begun is None else begun
            gap = abs(a - b) / begun
            worst = max(worst, gap if math.isfinite(gap) else math.inf)
        failed += worst > BOUND
        print(
            f"{name:10} {steps} steps: differ by {worst:.1e} of the first loss at most", flush=True
        )
    return failed
