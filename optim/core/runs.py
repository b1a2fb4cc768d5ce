"""Where an optimizer's parameters lie: neighbours in memory are one run, updated in one pass.

A module's parameters are views of one flat buffer (`getParameters`), and so are their gradients.
Parameters of one group that lie side by side there become one run: one array for the rule to walk
over, however many parameters it holds.  Where there is no such buffer, or the rule must see each
parameter alone, each parameter is a run of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of, as_array, untracked

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.autograd import Parameter, Tensor
    from tapegrad.autograd.core.types import Array

__all__ = ["MemoryRun", "runs_in_buffers", "separate_runs", "write_slot"]

# A parameter of a run: its name, the parameter, and its part of the run's array.
Member: TypeAlias = "tuple[str, Parameter, slice]"


class MemoryRun:
    """Parameters of one group that lie side by side, as one array `x`, and the rule's state.

    g:     their gradients as one array, None for a parameter with a gradient array of its own
    views: each member's view of g, to notice when somebody has put another array into p.grad
    """

    _step_results: ClassVar[tuple[str, ...]] = ()  # a recorded step depends on all attributes

    def __init__(self, x: Tensor, members: list[Member]) -> None:
        self.x = x
        self.members = members
        self.g: Tensor | None = None
        self.views: list[tuple[Parameter, Array]] = []
        self.state: dict[str, Tensor] = {}


def separate_runs(named: dict[str, Parameter]) -> list[MemoryRun]:
    """Make a run of each parameter."""
    return [MemoryRun(p.detach(), [(name, p, slice(0, p.size))]) for name, p in named.items()]


def runs_in_buffers(
    named: dict[str, Parameter], buffers: tuple[Tensor, Tensor], claimed: list[tuple[int, int]]
) -> list[MemoryRun] | None:
    """Make runs in the flat buffers of values and gradients; None where that is not possible.

    claimed: the parts (start, stop) that belong to runs; those of the new runs are added
    """
    values, gradients = buffers
    parts = _neighbours(named, values, claimed)
    if parts is None:
        return None
    runs = []
    for start, stop, members in parts:
        run = MemoryRun(untracked(array_of(values)[start:stop]), members)
        run.g = untracked(array_of(gradients)[start:stop])
        run.views = [(p, array_of(p.grad)) for _, p, _ in members if p.grad is not None]
        runs.append(run)
        claimed.append((start, stop))
    return runs


def _neighbours(
    named: dict[str, Parameter], buffer: Tensor, claimed: list[tuple[int, int]]
) -> list[tuple[int, int, list[Member]]] | None:
    """Find the parts (start, stop, members) of the buffer that hold parameters side by side.

    None where arrays have no addresses, and for parameters that overlap in part.
    """
    base = devices.address_of(array_of(buffer))
    if base is None:
        return None
    spans = []
    for name, p in named.items():
        address = devices.address_of(array_of(p))
        if address is None or not array_of(p).flags.forc:
            return None
        start = (address - base) // p.dtype.itemsize
        spans.append((start, start + p.size, name, p))
    parts: list[tuple[int, int, list[Member]]] = []
    for start, stop, name, p in sorted(spans, key=lambda span: span[:2]):
        if any(a <= start and stop <= b for a, b in claimed):
            continue  # shares the memory of a parameter of an earlier group
        if parts and start < parts[-1][1]:
            if stop > parts[-1][1]:
                return None
            first = parts[-1][0]
            parts[-1][2].append((name, p, slice(start - first, stop - first)))
        elif parts and start == parts[-1][1]:
            first = parts[-1][0]
            members = [*parts[-1][2], (name, p, slice(start - first, stop - first))]
            parts[-1] = (first, stop, members)
        else:
            parts.append((start, stop, [(name, p, slice(0, stop - start))]))
    return parts or None


def write_slot(slot: Tensor, value: npt.ArrayLike, part: slice, run: MemoryRun, name: str) -> None:
    """Write what was saved for the parameter `name`, which is `part` of the run, into a slot.

    Raises ValueError for another number of entries.
    """
    value = np.asarray(value)
    array = array_of(slot)
    is_shared = slot.shape == run.x.shape and len(run.members) > 1
    target = array[part] if is_shared else array
    if target.size != value.size:
        raise ValueError(f"the state saved for {name} has {value.size} entries, not {target.size}")
    moved = devices.to_device(as_array(value.reshape(target.shape), slot.dtype), slot.device)
    target[...] = moved
