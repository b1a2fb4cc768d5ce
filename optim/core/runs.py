"""Where an optimizer's parameters lie: neighbours in memory are one run, updated in one pass.

A module's parameters may be views of one flat buffer (`getParameters`), and so are their gradients.
Parameters of one group that lie side by side there become one run: one array for the rule to walk
over, however many parameters it holds.  Where they do not, or the rule must see each parameter
alone, each parameter is a run of its own; those that share their memory are one run.  No parameter
moves here: others may hold its memory, and would be left behind.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.core.tensor import array_of, as_array, untracked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from tapegrad.autograd import Parameter, Tensor
    from tapegrad.autograd.core.types import Array
    from tapegrad.optim.core.standing import StandingStep

__all__ = ["MemoryRun", "at_rest", "find_runs", "is_held_elsewhere", "write_slot"]

NOT_SHARED_ALIKE = (
    "{name} and {other} share memory, and their gradients do not, so that both would be updated "
    "apart. Share the gradients too, as in share(other, 'weight', 'gradWeight', 'bias', "
    "'gradBias'), or give both modules one Parameter"
)

# A parameter of a run: its name, the parameter, and its part of the run's array.
Member: TypeAlias = "tuple[str, Parameter, slice]"


class _Place:
    """Where a Parameter and its gradient lie: addresses in bytes, from start to stop.

    owner, gradient_owner: the memory that they are views of, where it is a flat array
    start: None where arrays have no addresses, or entries are not side by side
    """

    start: Any
    stop: Any
    gradient_start: Any
    owner: Array | None
    gradient_owner: Array | None

    def __init__(self, p: Parameter) -> None:
        array = array_of(p)
        self.strides = array.strides
        self.dtype = array.dtype
        address = devices.address_of(array)
        self.start = self.stop = address
        self.owner = self.gradient_owner = self.gradient_start = None
        if address is None or not array.size:
            return
        if not array.flags.forc:
            steps = zip(array.shape, array.strides, strict=True)
            self.stop = address + sum((n - 1) * abs(s) for n, s in steps) + array.itemsize
            return
        self.stop = address + array.nbytes
        owner = owner_of(array)
        self.owner = owner if owner.ndim == 1 and owner.flags.c_contiguous else None
        if p.grad is not None:
            gradient = array_of(p.grad)
            if gradient.strides == array.strides and gradient.dtype == array.dtype:
                owner = owner_of(gradient)
                is_flat = owner.ndim == 1 and owner.flags.c_contiguous
                self.gradient_owner = owner if is_flat else None
                self.gradient_start = devices.address_of(gradient)

    def overlaps(self, other: _Place) -> bool:
        """Whether both are in part the same memory."""
        if self.start is None or other.start is None:
            return False
        return bool(self.start < other.stop and other.start < self.stop)

    def continues(self, other: _Place) -> bool:
        """Whether `other` begins where this ends, and so do the gradients, in flat memory."""
        return bool(
            self.stop is not None
            and self.stop == other.start
            and self.dtype == other.dtype
            and self.owner is not None
            and self.owner is other.owner
            and self.gradient_owner is not None
            and self.gradient_owner is other.gradient_owner
            and self.gradient_start + self.stop - self.start == other.gradient_start
        )


class MemoryRun:
    """Parameters of one group that lie side by side, as one array `x`, and the rule's state.

    g:     their gradients as one array, None for a parameter with a gradient array of its own
    views: each member's view of g, to notice when somebody has put another array into p.grad
    standing: the step of this run made ready, after a first one
    """

    _step_results: ClassVar[tuple[str, ...]] = ("standing",)  # a step depends on all the others

    def __init__(self, name: str, p: Parameter, place: _Place, key: Any) -> None:
        self.x = p.detach()
        self.members: list[Member] = [(name, p, slice(0, p.size))]
        self.place = place
        self.key = key
        self.g: Tensor | None = None
        self.views: list[tuple[Parameter, Array]] = []
        self.state: dict[str, Tensor] = {}
        self.standing: StandingStep | None = None

    def append(self, name: str, p: Parameter, place: _Place) -> None:
        """Add the next neighbour."""
        begin = self.members[-1][2].stop
        self.members.append((name, p, slice(begin, begin + p.size)))
        self.place.stop = place.stop

    def add_shared(self, name: str, p: Parameter, place: _Place, *, parts: bool) -> bool:
        """Add a Parameter that lies in the run's memory; False unless its gradient does, too.

        parts: whether it may be a part of the run, or the same entries in another order
        """
        own = self.place
        if place.start < own.start or place.stop > own.stop or place.dtype != own.dtype:
            return False
        first = self.members[0][1]
        alone = len(self.members) == 1
        is_same = (place.stop - place.start, place.strides) == (own.stop - own.start, own.strides)
        if alone and is_same and p.grad is None:
            if first.grad is None:
                first.grad = devices.namespace(array_of(first)).zeros_like(array_of(first))
                self.place = own = _Place(first)
            p.grad = first.grad
            place.gradient_start = own.gradient_start
        if place.gradient_start is None or own.gradient_start is None:
            return False
        offset = place.start - own.start
        if place.gradient_start - own.gradient_start != offset:
            return False
        if not is_same and (not parts or own.owner is None or own.gradient_owner is None):
            return False
        begin = offset // place.dtype.itemsize
        self.members.append((name, p, slice(begin, begin + p.size)))
        return True

    def finish(self) -> None:
        """Make the arrays of several members one."""
        if len(self.members) == 1:
            return
        place, first = self.place, self.members[0][1]
        if place.owner is None or place.gradient_owner is None:
            assert first.grad is not None  # `add_shared` asks for it
            self.g = first.grad.detach()
        else:
            self.x = _part_of(place.owner, place.start, place.stop)
            stop = place.gradient_start + place.stop - place.start
            self.g = _part_of(place.gradient_owner, place.gradient_start, stop)
        self.views = [(p, array_of(p.grad)) for _, p, _ in self.members if p.grad is not None]


def _part_of(owner: Array, start: Any, stop: Any) -> Tensor:
    """The entries of a flat array between two addresses."""
    base: Any = devices.address_of(owner)
    first = (start - base) // owner.itemsize
    return untracked(owner[first : first + (stop - start) // owner.itemsize])


def _start_of(p: Parameter) -> tuple[int, int]:
    address = devices.address_of(array_of(p))
    return (0, 0) if address is None else (address, -p.size)


def is_held_elsewhere(tensors: Sequence[Tensor]) -> bool:
    """Whether others than these Tensors hold their memory: a clone that shares it, or a view.

    Told by counting references.
    """
    slots: Counter[int] = Counter(id(array_of(t)) for t in tensors)
    arrays = list({id(array_of(t)): array_of(t) for t in tensors}.values())
    views: Counter[int] = Counter()
    owners = {}
    for array in arrays:
        owner = owner_of(array)
        if owner is not array:
            if array.base is not owner or owner.base is not None:
                return True
            views[id(owner)] += 1
            owners[id(owner)] = owner
    array = owner = None  # no reference of ours may count
    alone = [np.empty(1)]
    counted = sys.getrefcount(alone[0])
    for i in range(len(arrays)):
        if sys.getrefcount(arrays[i]) - counted != slots[id(arrays[i])] + views[id(arrays[i])]:
            return True
    others = [o for key, o in owners.items() if key not in slots]
    owners.clear()
    return any(
        sys.getrefcount(others[i]) - counted != views[id(others[i])] for i in range(len(others))
    )


def find_runs(
    named: Mapping[str, Parameter],
    claimed: list[MemoryRun],
    *,
    join: bool,
    key_of: Callable[[str], Any],
) -> list[MemoryRun]:
    """Make the runs of a group's Parameters, which stay where they are in memory.

    claimed: runs of earlier groups; a Parameter in the memory of one belongs to it
    join:    whether neighbours may be one run.  Those that are the same memory always are
    key_of:  the name of a Parameter -> what neighbours must have in common
    Raises ValueError where Parameters share memory and their gradients do not, or share it in part.
    """
    runs: list[MemoryRun] = []
    for name, p in sorted(named.items(), key=lambda item: _start_of(item[1])):
        place = _Place(p)
        near = [*claimed, *runs[-1:]]  # in order of addresses, only the last run can overlap
        same = next((run for run in near if run.place.overlaps(place)), None)
        if same is not None:
            if not same.add_shared(name, p, place, parts=join):
                found = (name, same.members[0][0])
                raise ValueError(NOT_SHARED_ALIKE.format(name=found[0], other=found[1]))
            continue
        last = runs[-1] if runs else None
        key = key_of(name)
        if join and last is not None and last.key == key and last.place.continues(place):
            last.append(name, p, place)
        else:
            runs.append(MemoryRun(name, p, place, key))
    for run in runs:
        run.finish()
    return runs


def at_rest(
    saved: Mapping[str, Mapping[str, Any]],
    named: Mapping[str, Parameter],
    runs: Sequence[MemoryRun],
) -> dict[str, dict[str, Any]]:
    """The part of a saved state, by name and slot, that is of no run.

    What is of a Parameter whose memory a run has, since a sharer learns, is left out: it is old.
    """
    members = {name for run in runs for name, *_ in run.members}
    resting = {name: dict(state) for name, state in saved.items() if name not in members and state}
    for name in resting.keys() & named.keys():
        place = _Place(named[name])
        if any(
            run.place.overlaps(place)
            and run.place.start <= place.start
            and place.stop <= run.place.stop
            for run in runs
        ):
            del resting[name]
    return resting


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
