"""Where an optimizer's parameters lie: neighbours in memory are one run, updated in one pass.

A module's parameters are views of one flat buffer (`getParameters`), and so are their gradients.
Parameters of one group that lie side by side there become one run: one array for the rule to walk
over, however many parameters it holds.  Where there is no such buffer, or the rule must see each
parameter alone, each parameter is a run of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of, as_array, untracked

if TYPE_CHECKING:
    from tapegrad.autograd import Parameter, Tensor

__all__ = ["Run", "fill", "flat_runs", "separate_runs"]


class Run:
    """Parameters of one group that lie side by side, as one array, and the rule's state."""

    def __init__(self, x: Tensor, members: list[tuple[str, Parameter, slice]]) -> None:
        self.x = x
        self.members = members
        self.g: Tensor | None = None
        # Each member's view of g: who replaces p.grad by another array must not be overlooked.
        self.views: list[tuple[Parameter, Any]] = []
        self.state: dict[str, Any] = {}


def separate_runs(named: dict[str, Parameter]) -> list[Run]:
    """A run for each parameter."""
    return [Run(p.detach(), [(name, p, slice(0, p.size))]) for name, p in named.items()]


def flat_runs(
    named: dict[str, Parameter], flat: tuple[Tensor, Tensor], taken: list[tuple[int, int]]
) -> list[Run] | None:
    """Runs in the flat buffers of values and gradients, or None where they cannot be found.

    taken: the parts (start, stop) that belong to runs; those of the new ones are added
    """
    values, gradients = flat
    places = _places(named, values, taken)
    if places is None:
        return None
    runs = []
    for start, stop, members in places:
        run = Run(untracked(array_of(values)[start:stop]), members)
        run.g = untracked(array_of(gradients)[start:stop])
        run.views = [(p, array_of(p.grad)) for _, p, _ in members if p.grad is not None]
        runs.append(run)
        taken.append((start, stop))
    return runs


def _places(
    named: dict[str, Parameter], flat: Tensor, taken: list[tuple[int, int]]
) -> list[tuple[int, int, list[tuple[str, Parameter, slice]]]] | None:
    """Runs (start, stop, members) in the flat buffer, or None where memory tells no addresses."""
    base = devices.address_of(array_of(flat))
    if base is None:
        return None
    spans = []
    for name, p in named.items():
        address = devices.address_of(array_of(p))
        if address is None or not array_of(p).flags.forc:
            return None
        start = (address - base) // p.dtype.itemsize
        spans.append((start, start + p.size, name, p))
    runs: list[tuple[int, int, list[tuple[str, Parameter, slice]]]] = []
    for start, stop, name, p in sorted(spans, key=lambda span: span[:2]):
        if any(a <= start and stop <= b for a, b in taken):
            continue  # shares the memory of a parameter of an earlier group
        if runs and start < runs[-1][1]:
            if stop > runs[-1][1]:
                return None
            first = runs[-1][0]
            runs[-1][2].append((name, p, slice(start - first, stop - first)))
        elif runs and start == runs[-1][1]:
            first = runs[-1][0]
            members = [*runs[-1][2], (name, p, slice(start - first, stop - first))]
            runs[-1] = (first, stop, members)
        else:
            runs.append((start, stop, [(name, p, slice(0, stop - start))]))
    return runs or None


def fill(slot: Tensor, value: Any, part: slice, run: Run, name: str) -> None:
    """Write what was saved for the parameter `name`, which is `part` of the run, into a slot.

    Raises ValueError for another number of entries.
    """
    value = np.asarray(value)
    array = array_of(slot)
    whole = slot.shape != run.x.shape or len(run.members) == 1
    target = array if whole else array[part]
    if target.size != value.size:
        raise ValueError(f"the state saved for {name} has {value.size} entries, not {target.size}")
    moved = devices.to_device(as_array(value.reshape(target.shape), slot.dtype), slot.device)
    target[...] = moved
