"""RESULTS.md from results: ratios to PyTorch's eager steps of the same run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from measuring import REFERENCE, Result
from workloads import WORKLOADS

EAGER, COMPILED, PLAIN = "tapegrad", "tapegrad compiled", "tapegrad without fast"
FIRST = 1.03  # a compiled step is to take at most so many times the best peer's


def render(results: Sequence[Result], about: Sequence[str]) -> str:
    """The page: what was run, and a table for each number of threads.

    about: lines on the machine, the versions and the run
    """
    lines = [
        "# Steps of thirteen workloads, against the field", "",
        "Written by `python benchmarks/steps`. Each peer is a process of its own, pinned to as",
        "many processors as it has threads; one runs at a time, in turns, and the minimum counts.",
        "Ratios are to PyTorch's eager step of the same run: smaller is faster. The losses of the",
        "first three steps agree with PyTorch's within 0.2 %, or the figure is left out.", "",
        *(f"- {line}" for line in about),
    ]  # fmt: skip
    for threads in sorted({r.threads for r in results}):
        chosen = [r for r in results if r.threads == threads]
        lines += ["", f"## {threads} thread{'s' * (threads > 1)}", "", *_table(chosen)]
        lines += ["", *_summary(chosen), "", "### Memory and first steps", "", *_costs(chosen)]
    return "\n".join(lines) + "\n"


def _of(results: Sequence[Result], workload: str, peer: str) -> Result | None:
    found = [r for r in results if r.workload == workload and r.peer == peer and not r.error]
    return found[0] if found else None


def _own(peer: str) -> bool:
    return peer.partition(",")[0] in (EAGER, COMPILED, PLAIN)


def _best(results: Sequence[Result], workload: str) -> Result | None:
    """The fastest of the others."""
    others = [r for r in results if r.workload == workload and not r.error and not _own(r.peer)]
    return min(others, key=lambda r: r.smallest, default=None)


def _ratio(result: Result | None, reference: Result | None) -> str:
    if result is None or reference is None:
        return "–"
    return f"{result.smallest / reference.smallest:.2f}"


def _time(seconds: float, operations: int) -> str:
    return f"{seconds / operations * 1e6:.2f} µs" if operations else f"{seconds * 1e3:.2f} ms"


def _workloads(results: Sequence[Result]) -> list[str]:
    return [name for name in WORKLOADS if any(r.workload == name for r in results)]


def _variants(results: Sequence[Result], workload: str) -> list[str]:
    """The ways in which tapegrad writes a workload: "" for the first, and names of others."""
    own = (r.peer for r in results if r.workload == workload and _own(r.peer))
    return sorted({peer.partition(", ")[2] for peer in own})


def _table(results: Sequence[Result]) -> list[str]:
    lines = [
        "| workload | PyTorch | best peer | HIPS | no `fast` | eager (goal) | compiled (goal) |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for name in _workloads(results):
        workload = WORKLOADS[name]
        reference, best = _of(results, name, REFERENCE), _best(results, name)
        shown = f"{best.peer} {_ratio(best, reference)}" if best else "–"
        goals = [f" ({goal:g})" if goal else "" for goal in (workload.eager, workload.compiled)]
        for variant in _variants(results, name):
            end = f", {variant}" if variant else ""
            own = [_of(results, name, peer + end) for peer in (PLAIN, EAGER, COMPILED)]
            plain, eager, compiled = (_ratio(result, reference) for result in own)
            lines.append(
                f"| {name} {workload.title}{f', as {variant}' if variant else ''} "
                f"| {_time(reference.smallest, workload.operations) if reference else '–'} "
                f"| {shown} | {_ratio(_of(results, name, 'HIPS autograd'), reference)} "
                f"| {plain} | {eager}{goals[0]} | {compiled}{goals[1]} |"
            )
    missing = [f"- {r.workload}, {r.peer}: {r.error}" for r in results if r.error]
    return lines + (["", *missing] if missing else [])


def _summary(results: Sequence[Result]) -> list[str]:
    ratios, first = [], []
    names = [name for name in _workloads(results) if not WORKLOADS[name].operations]
    for name in names:
        reference, best = _of(results, name, REFERENCE), _best(results, name)
        compiled = _of(results, name, COMPILED)
        if reference and compiled and best:
            ratios.append(compiled.smallest / reference.smallest)
            if compiled.smallest <= FIRST * best.smallest:
                first.append(name)
    if not ratios:
        return []
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    names = f" ({', '.join(first)})" if first else ""
    return [
        f"Compiled steps, without the chains: geometric mean {mean:.2f} of PyTorch's eager time.",
        f"At most {FIRST} × the best peer on {len(first)} of {len(ratios)}{names}.",
    ]


def _costs(results: Sequence[Result]) -> list[str]:
    lines = [
        "Megabytes beyond the data at the peak; seconds until the first step was done.", "",
        "| workload | PyTorch | tapegrad | compiled | first: PyTorch | tapegrad | compiled |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for name in _workloads(results):
        found = [_of(results, name, peer) for peer in (REFERENCE, EAGER, COMPILED)]
        memory = [f"{r.grown:.0f}" if r else "–" for r in found]
        first = [f"{r.first:.2f}" if r else "–" for r in found]
        lines.append(f"| {name} | {' | '.join(memory + first)} |")
    return lines
