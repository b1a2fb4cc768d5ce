"""The reverse sweep: a loop over recorded calls, newest first.

Cotangents wait in a dictionary by serial number and a heap gives the newest; a chain never touches
either.  There is no recursion and no collecting pass, so depth costs nothing but time.  A sweep has
a floor: calls older than it are not visited.  Parameters are older than every call (serial LEAF),
so one comparison handles both.

The same loop serves three readings.  `backward` gathers what reaches Parameters.  `cotangents`
gathers what reaches chosen nodes, and first finds which calls lie on a path to them, so that an
input's gradient does not pay for the weights'.  With ``taped=True`` saved values are wrapped as
Tensors with their own past again, and the sweep itself is recorded: the next order of derivative.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from tapegrad import devices
from tapegrad.autograd.core.call import item_node
from tapegrad.autograd.core.errors import InPlaceError
from tapegrad.autograd.core.mode import Observer, current, is_followed, no_grad
from tapegrad.autograd.core.node import LEAF, Leaf, Node, last_write, parents_of, written_after
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.ops import elementwise, inplace, reduction
from tapegrad.autograd.ops import shape as shapes

__all__ = [
    "NOT_TRACKED",
    "add_to_grad",
    "backward",
    "cotangents",
    "observed_sweep",
    "reaches_parameter",
    "seed_for",
    "sweep",
]

OVERWRITTEN = (
    "{primitive} saved an array for its derivative that was written in place afterwards: "
    "copy it before the write, or compute a new array instead of writing into this one."
)
NOT_TRACKED = (
    "this Tensor is not tracked: it depends on no Parameter, or was computed under no_grad() or by "
    "a stateful module.forward(x). Compose with module(x), or make what you differentiate a "
    "Parameter."
)
NEEDS_GRADIENT = (
    "backward() without a gradient needs a Tensor with one entry; this one has shape {shape}. "
    "Reduce it, say with .sum(), or pass the gradient."
)


def sweep(
    seeds: Iterable[tuple[Node, Any]],
    *,
    floor: int = 0,
    watched: frozenset[Node] | set[Node] = frozenset(),
    needed: set[Node] | None = None,
    taped: bool = False,
) -> dict[Node, Any]:
    """Push cotangents from `seeds` down the tape.

    seeds:   pairs (node, cotangent of its result)
    floor:   calls with a smaller serial number are not visited; what arrives at leaves is returned
    watched: nodes, above or below the floor, whose cotangents are returned as well (and still
             passed on)
    needed:  when given, only operands that are in this set get cotangents
    taped:   run the rules on Tensors, so that the sweep is recorded itself
    Returns the cotangents of the leaves reached and of the watched nodes.
    Raises InPlaceError when a saved array has been written since.
    """
    found: dict[Node, Any] = {}
    waiting: dict[int, tuple[Node, Any]] = {}
    heap: list[int] = []
    newest_write = last_write[0]
    rest: Any = None
    for node, g in seeds:
        _add(node, g, floor, watched, found, waiting, heap)
    while heap:
        node, g = waiting.pop(-heapq.heappop(heap))
        while True:  # stay with the newest call for as long as it is known without the heap
            if node.serial < newest_write:
                _check_saved(node)
            if node in watched:
                found[node] = g if node not in found else found[node] + g
            parents = node.parents
            given: Iterable[tuple[Node, Any]]
            if needed is not None and not (
                needed.issuperset(parents) if type(parents) is tuple else parents in needed
            ):
                given = _restricted(node, g, needed, taped)
            elif taped:
                given = _taped(node, g)
            elif type(parents) is tuple:
                given = zip(parents, node.plan.pull(g, *node.saved))  # noqa: B905  # hot; lengths agree
            else:
                g = node.plan.pull(g, *node.saved)
                if not heap and parents.serial >= floor:
                    if parents.shape is not None and (
                        g.shape != parents.shape or g.dtype is not parents.dtype
                    ):
                        g = fit(g, parents)
                    node = parents
                    continue
                given = ((parents, g),)
            following = None
            for parent, g in given:
                if parent.shape is not None and (
                    g.shape != parent.shape or g.dtype is not parent.dtype
                ):
                    g = fit(g, parent)
                serial = parent.serial
                if serial >= floor:
                    if parent is following:
                        rest = _sum(rest, g)
                    elif heap and serial in waiting:
                        waiting[serial] = (parent, _sum(waiting[serial][1], g))
                    elif following is None:
                        following, rest = parent, g
                    else:
                        waiting[serial] = (parent, g)
                        heapq.heappush(heap, -serial)
                elif serial == LEAF or parent in watched:
                    found[parent] = found[parent] + g if parent in found else g
            if following is None:
                break
            if heap and -heap[0] > following.serial:
                waiting[following.serial] = (following, rest)
                heapq.heappush(heap, -following.serial)
                break
            node, g = following, rest
    return found


def _add(
    node: Node,
    g: Any,
    floor: int,
    watched: frozenset[Node] | set[Node],
    found: dict[Node, Any],
    waiting: dict[int, tuple[Node, Any]],
    heap: list[int],
) -> None:
    serial = node.serial
    if serial >= floor:
        if serial in waiting:
            waiting[serial] = (node, _sum(waiting[serial][1], g))
        else:
            waiting[serial] = (node, g)
            heapq.heappush(heap, -serial)
    elif serial == LEAF or node in watched:
        found[node] = g if node not in found else found[node] + g


def _sum(a: Any, b: Any) -> Any:
    """a + b, where cotangents of several results are lists with None for zero."""
    if not isinstance(a, list):
        return a + b
    return [x if y is None else y if x is None else x + y for x, y in zip(a, b, strict=True)]


def _check_saved(node: Node) -> None:
    for value in node.saved:
        for array in value if isinstance(value, list) else (value,):
            if devices.is_array(array) and written_after(array, node.serial):
                observer = _follower()
                more = "" if observer is None else observer.overwritten(node, array)
                raise InPlaceError(OVERWRITTEN.format(primitive=node.plan) + more)


def _follower() -> Observer | None:
    """The observer to tell of this sweep, if any.

    None in the sweep for one sample of a batch: there the rules call operations on the whole batch,
    and these calls tell the observer.
    """
    mode = current()
    return None if mode is None or mode.interpreter is not None else mode.observer


def _restricted(node: Node, g: Any, needed: set[Node], taped: bool) -> Iterable[tuple[Node, Any]]:
    parents = parents_of(node)
    wanted = tuple(i for i, parent in enumerate(parents) if parent in needed)
    if not wanted:
        return []
    pull, taken = node.plan.restricted(wanted)
    if taped:
        saved = _wrapped(node)
        return _observed(node, parents, wanted, pull, g, [saved[i] for i in taken])
    result = pull(g, *[node.saved[i] for i in taken])
    results = (result,) if len(wanted) == 1 else result
    return list(zip([parents[i] for i in wanted], results, strict=True))


def _taped(node: Node, g: Any) -> Iterable[tuple[Node, Any]]:
    parents = parents_of(node)
    return _observed(node, parents, range(len(parents)), node.plan.pull, g, _wrapped(node))


def _observed(
    node: Node,
    parents: tuple[Node, ...],
    places: Sequence[int],
    pull: Callable[..., Any],
    g: Any,
    saved: list[Any],
) -> Iterable[tuple[Node, Any]]:
    """(parent, its cotangent) for the parents at `places`, by rules that an observer may follow."""
    chosen = [parents[i] for i in places]
    observer = _follower()
    if observer is None:
        result = pull(g, *saved)
        return list(zip(chosen, (result,) if len(chosen) == 1 else result, strict=True))

    def run() -> list[Any]:
        result = pull(g, *saved)
        return [result] if len(chosen) == 1 else list(result)

    return _handed_on(node, chosen, observer.reverse(node, places, g, run), observer)


def _handed_on(
    node: Node, parents: list[Node], results: list[Any], observer: Observer
) -> Iterator[tuple[Node, Any]]:
    """Yield (parent, its cotangent), and tell the observer before each: the sweep that takes it
    fits it and adds it up.

    The sweep's loop knows no observer, so that ordinary sweeps pay nothing.
    """
    try:
        for parent, g in zip(parents, results, strict=True):
            observer.handing_on(node, parent)
            yield parent, g
    finally:
        observer.handed_on(node)


def _wrapped(node: Node) -> list[Any]:
    """The saved values as Tensors that know their past."""
    parents = parents_of(node)
    values: list[Any] = []
    for source, value in zip(node.plan.sources, node.saved, strict=True):
        if source == "":
            values.append(untracked(value) if devices.is_array(value) else value)
        elif source == "y":
            if isinstance(value, list):
                count = len(value)
                values.append(
                    [_with_past(v, item_node(node, i, count, v)) for i, v in enumerate(value)]
                )
            else:
                values.append(_with_past(value, node))
        elif isinstance(source, list):
            values.append(
                [
                    _with_past(v, None if place is None else parents[place])
                    for v, place in zip(value, source, strict=True)
                ]
            )
        else:
            values.append(_with_past(value, None if source is None else parents[source]))
    return values


def _with_past(value: Any, node: Node | None) -> Any:
    if isinstance(value, Tensor):  # one sample of a batch, which has no array to save
        return value.with_node(node)
    if not devices.is_array(value):
        return value
    result = untracked(value)
    result._node = node
    return result


def fit(g: Any, node: Node) -> Any:
    """Bring a cotangent to its argument's shape (sum over broadcast axes) and dtype."""
    wanted = node.shape
    if g.shape != wanted:
        extra = g.ndim - len(wanted)
        if extra > 0:
            g = reduction.sum(g, axis=tuple(range(extra)))
        axes = tuple(i for i, n in enumerate(wanted) if n == 1 and g.ndim > i and g.shape[i] != 1)
        if axes:
            g = reduction.sum(g, axis=axes, keepdims=True)
        if g.shape != wanted:  # a rule returned the shape of a broadcast operand
            g = shapes.broadcast_to(g, wanted)
    if g.dtype != node.dtype:
        if g.dtype.kind == "c" and node.dtype.kind != "c":
            g = elementwise.real(g)
        g = elementwise.cast(g, dtype=node.dtype)
    return g


# Readings ----------------------------------------------------------------------------------------


def needed_for(outputs: Iterable[Node], targets: set[Node], floor: int) -> set[Node] | None:
    """The nodes on a path from `outputs` down to `targets`; None if every path leads to them."""
    seen: set[Node] = set()
    stack = list(outputs)
    elsewhere = False  # does a path end at anything but a target?
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        if node.serial < floor:
            elsewhere = elsewhere or node not in targets
            continue
        seen.add(node)
        parents = node.parents
        if node in targets:  # others may lie below it; what is older and no leaf is not visited
            stack.extend(p for p in parents_of(node) if p.serial >= floor or p.serial == LEAF)
        elif type(parents) is not tuple:
            stack.append(parents)
        elif parents:
            stack.extend(parents)
        else:
            elsewhere = True
    if not elsewhere:
        return None
    needed = set(targets)
    for node in sorted(seen, key=_serial):
        parents = node.parents
        if parents in needed if type(parents) is not tuple else not needed.isdisjoint(parents):
            needed.add(node)
    return needed


_serial = attrgetter("serial")


def reaches_parameter(node: Node) -> bool:
    """Does the past of `node` hold a Parameter?"""
    seen: set[Node] = set()
    stack = [node]
    while stack:
        node = stack.pop()
        if node.serial == LEAF:
            return True
        if node not in seen:
            seen.add(node)
            stack.extend(parents_of(node))
    return False


def cotangents(
    seeds: list[tuple[Node, Any]],
    targets: list[Node],
    *,
    floor: int | None = None,
    taped: bool = False,
) -> list[Any]:
    """The cotangent of each target node, None where nothing reaches it."""
    if floor is None:
        floor = max(0, min((t.serial for t in targets), default=0))
    wanted = set(targets)
    needed = needed_for([node for node, _ in seeds], wanted, floor)
    if needed is not None:
        seeds = [(node, g) for node, g in seeds if node in needed]
    found = sweep(seeds, floor=floor, watched=wanted, needed=needed, taped=taped)
    return [found.get(target) for target in targets]


def seed_for(output: Tensor, gradient: Any) -> Any:
    """The cotangent to start from: `gradient` made to fit `output`, or one."""
    if gradient is None:
        if output.size != 1:
            raise ValueError(NEEDS_GRADIENT.format(shape=output.shape))
        one = devices.namespace(output._data).empty(output.shape, dtype=output.dtype)
        one.fill(1)
        return one
    if isinstance(gradient, Tensor) and gradient.dtype == output.dtype:
        seed: Any = gradient
    else:
        seed = as_array(gradient, output.dtype)
    if seed.shape != output.shape:
        raise ValueError(f"the gradient has shape {seed.shape}, the Tensor has {output.shape}")
    devices.namespace(output._data, as_array(seed))
    return seed


def observed_sweep(
    seeds: list[tuple[Node, Any]],
    *,
    floor: int = 0,
    watched: set[Node] | frozenset[Node] = frozenset(),
    targets: set[Node] | None = None,
) -> dict[Node, Any]:
    """A sweep that is not recorded for a further derivative, but that an observer can follow.

    seeds:   pairs (node, cotangent), a Tensor or a bare array
    targets: when given, only calls on a path to these are visited
    """
    needed = None
    if targets is not None:
        needed = needed_for([node for node, _ in seeds], targets, floor)
        if needed is not None:
            seeds = [(node, g) for node, g in seeds if node in needed]
    if not is_followed():
        bare = [(node, as_array(g)) for node, g in seeds]
        return sweep(bare, floor=floor, watched=watched, needed=needed)
    # The observer sees calls on Tensors, so the rules run on those, without being tracked.
    tensors = [(node, g if isinstance(g, Tensor) else untracked(g)) for node, g in seeds]
    with no_grad():
        return sweep(tensors, floor=floor, watched=watched, needed=needed, taped=True)


def backward(output: Tensor, gradient: Any = None) -> None:
    """Accumulate d(output)/dp, times `gradient`, into ``p.grad`` of every Parameter behind it.

    gradient: array of the output's shape; may be omitted when it holds one number.
    Raises ValueError when it is untracked, or holds several numbers and `gradient` is missing.
    """
    if output._node is None:
        raise ValueError(NOT_TRACKED)
    found = observed_sweep([(output._node, seed_for(output, gradient))])
    for leaf, g in found.items():
        if isinstance(leaf, Leaf):
            add_to_grad(leaf, g)


def add_to_grad(leaf: Leaf, g: Any, scale: float = 1) -> None:
    """leaf.grad += scale · g, in place once there is a gradient."""
    if leaf.grad is None:
        xp = devices.namespace(as_array(g))
        leaf.grad = untracked(xp.zeros(leaf.shape, dtype=leaf.dtype))
    inplace.accumulate(leaf.grad, g if scale == 1 else g * scale)
