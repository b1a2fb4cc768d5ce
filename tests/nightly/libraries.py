"""The laws held against other libraries, and every accusation with its cause."""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from pathlib import Path

from tests.nightly import nightly

__all__ = ["laws_hips", "laws_jax", "laws_torch_functions", "laws_torch_modules"]

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def _hold(library: str, *, minutes: float, processes: int, only: str, profile: str) -> int:
    """Run one library; the number of accusations that are wrong or of unknown cause."""
    if str(BENCHMARKS) not in sys.path:
        sys.path.append(str(BENCHMARKS))
    from others.causes import CLASSES, classified
    from others.running import records, subjects

    found = records(library, only=only, processes=processes, minutes=minutes, profile=profile)
    verdicts = Counter(verdict for r in found for _, verdict, _ in r.outcomes)
    print(f"{len(found)} of {len(subjects(library))} subjects: {dict(verdicts)}")
    times = [r.seconds for r in found if r.outcomes] or [0.0]
    print(f"seconds for a subject: median {statistics.median(times):.2f}, most {max(times):.1f}")
    causes = classified(library, found)
    for kind in CLASSES:
        own = {cause: list_ for cause, list_ in causes.items() if cause.kind == kind}
        total = sum(len(list_) for list_ in own.values())
        names = {name for list_ in own.values() for name, *_ in list_}
        print(f"{kind}: {total} accusations of {len(names)} subjects")
        for cause, list_ in sorted(own.items(), key=lambda item: -len(item[1])):
            shown = ", ".join(dict.fromkeys(f"{name}" for name, *_ in list_))
            print(f"  {len(list_):4d}  {cause.cause}: {shown[:300]}")
            for name, law, verdict, message in list_ if kind in ("false", "unclassified") else ():
                first = message.strip().splitlines()[:1]
                print(f"        {verdict}: {name}: {law}: {' '.join(first)[:240]}")
    return sum(len(v) for c, v in causes.items() if c.kind in ("false", "unclassified"))


@nightly(minutes=60)
def laws_torch_modules(
    *, minutes: float = 60.0, processes: int = 2, only: str = "", profile: str = "pr"
) -> int:
    """Hold the laws against PyTorch's modules; accusations by class of their cause.

    minutes: after which no further subject is begun
    only:    part of a subject's name
    """
    return _hold("torch_modules", minutes=minutes, processes=processes, only=only, profile=profile)


@nightly(minutes=60)
def laws_torch_functions(
    *, minutes: float = 60.0, processes: int = 2, only: str = "", profile: str = "pr"
) -> int:
    """Hold the laws against PyTorch's functions; accusations by class of their cause."""
    return _hold(
        "torch_functions", minutes=minutes, processes=processes, only=only, profile=profile
    )


@nightly(minutes=60)
def laws_hips(
    *, minutes: float = 60.0, processes: int = 2, only: str = "", profile: str = "pr"
) -> int:
    """Hold the laws against HIPS autograd's rules; accusations by class of their cause."""
    return _hold("hips", minutes=minutes, processes=processes, only=only, profile=profile)


@nightly(minutes=60)
def laws_jax(
    *, minutes: float = 60.0, processes: int = 2, only: str = "", profile: str = "pr"
) -> int:
    """Hold the laws against JAX's functions; accusations by class of their cause."""
    return _hold("jax", minutes=minutes, processes=processes, only=only, profile=profile)
