"""The laws held against planted faults in layers of PyTorch, and against their right twins."""

from __future__ import annotations

import inspect
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check import LawProfile, check_torch

if TYPE_CHECKING:
    from planted.torch_faults import TorchFault
    from planted.torch_layers import TorchLayer

__all__ = ["Hunt", "hunt_torch", "table"]


@dataclass(frozen=True)
class Hunt:
    """What a check said: "broken", "unchecked", "raised" (the check itself failed) or "holds".

    laws, message: the broken laws, and the first one's error
    covered:       the laws that were held against the layer
    """

    verdict: str
    laws: tuple[str, ...]
    covered: tuple[str, ...]
    message: str
    seconds: float


def hunt_torch(layer: TorchLayer, *, examples: int, seed: int | None = None) -> Hunt:
    """Check the layer as its author would: with nothing but inputs, options and what is known."""
    known = inspect.signature(check_torch).parameters
    more = {name: value for name, value in layer.check.items() if name in known}
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            summary: Any = check_torch(
                layer.make(), *layer.specs(), profile=LawProfile(examples), seed=seed,
                raise_error=False, **more, **layer.settings(),
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001  # a check that fails itself is a finding about it
            text = f"{type(error).__name__}: {error}"
            return Hunt("raised", (), (), text, time.perf_counter() - started)
    outcomes = [outcome for _, outcome in summary.outcomes]
    bad = {
        verdict: [o for o in outcomes if o.verdict == verdict]
        for verdict in ("broken", "unchecked")
    }
    verdict = next((name for name, found in bad.items() if found), "holds")
    first = bad[verdict][0].error if verdict != "holds" else None
    return Hunt(
        verdict,
        tuple(o.law.name for o in bad.get(verdict, [])),
        tuple(o.law.name for o in outcomes if o.verdict != "not covered"),
        "" if first is None else f"{type(first).__name__}: {first}",
        time.perf_counter() - started,
    )


def table(faults: Iterable[TorchFault], hunts: Iterable[Hunt]) -> list[str]:
    """Lines that say how many were found, by kind, and which were not."""
    total: Counter[str] = Counter()
    found: Counter[str] = Counter()
    missed: dict[str, list[str]] = {}
    for fault, hunt in zip(faults, hunts, strict=True):
        total[fault.kind] += 1
        found[fault.kind] += hunt.verdict == "broken"
        if hunt.verdict != "broken":
            missed.setdefault(fault.kind, []).append(f"    {hunt.verdict}: {fault.name}")
    lines = []
    for kind, count in total.items():
        lines += [f"  {found[kind]:3d} of {count:3d}  {kind}", *missed.get(kind, [])]
    everything = sum(total.values())
    share = 100 * sum(found.values()) / max(everything, 1)
    return [f"found {sum(found.values())} of {everything} ({share:.1f} %)", *lines]
