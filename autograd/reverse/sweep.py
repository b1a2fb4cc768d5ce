"""The reverse sweep is a loop over recorded calls, from the newest to the oldest.

Cotangents wait in a dictionary by serial number, and a heap gives the newest call; a chain of calls
uses neither.  There is no recursion and no pass to collect the calls first, so depth costs only
time.  A sweep has a floor, a serial number: older calls are not visited.  Leaves are older than
every call (serial LEAF), so one comparison tests for both.

Three functions run this loop.  `backward` collects the cotangents of Parameters.  `cotangents`
collects those of chosen nodes, and first finds the calls on a path to these.  With ``taped=True``
saved values become Tensors with their own past, and the sweep itself is recorded.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tapegrad import devices
from tapegrad.autograd.core.call import item_node
from tapegrad.autograd.core.errors import InPlaceError
from tapegrad.autograd.core.mode import (
    Observer,
    current_mode,
    is_followed,
    no_grad,
    sweep_follower,
)
from tapegrad.autograd.core.node import LEAF, Leaf, Node, last_write, parents_of, was_written_after
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.kernels.kept_memory import keeping_memory
from tapegrad.autograd.ops import elementwise, reduction
from tapegrad.autograd.ops import shape as shapes
from tapegrad.autograd.ops.pending import RowsOf
from tapegrad.autograd.reverse.accumulation import deliver_to_grad
from tapegrad.autograd.reverse.gathering import form_cotangent, gather, gather_later

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Operand

__all__ = [
    "NOT_TRACKED",
    "Paths",
    "backward",
    "cotangents",
    "unrecorded_sweep",
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
COMPLEX_GRADIENT = (
    "the gradient is complex, what it is the gradient of holds {dtype}: pass a real one, or its "
    "real part"
)
NEEDS_GRADIENT = (
    "backward() without a gradient needs a Tensor with one entry; this one has shape {shape}. "
    "Reduce it, say with .sum(), or pass the gradient."
)


@keeping_memory
def sweep(
    seeds: Iterable[tuple[Node, Any]],
    *,
    floor: int = 0,
    watched: Container[Node] = frozenset(),
    needed: set[Node] | None = None,
    taped: bool = False,
    rows: bool = False,
    into: dict[Node, Any] | None = None,
) -> dict[Node, Any]:
    """Propagate cotangents from `seeds` to older nodes.

    seeds:   pairs (node, cotangent of its result)
    floor:   calls with a smaller serial number are not visited
    watched: nodes, above or below the floor, whose cotangents are returned as well (and still
             propagated)
    needed:  when given, only nodes of this set get cotangents
    taped:   run the rules on Tensors, so that the sweep itself is recorded
    rows:    a leaf's cotangent may be a `RowsOf`
    into:    the dictionary that collects the cotangents; a new one if omitted
    Returns the cotangents of the leaves that were reached and of the watched nodes.
    Raises InPlaceError when a saved array has been written since it was saved.
    """
    collected: dict[Node, Any] = {} if into is None else into
    waiting: dict[int, tuple[Node, Any]] = {}
    heap: list[int] = []
    newest_write = last_write[0]
    rest: Any = None
    for node, g in seeds:
        _queue_cotangent(node, g, floor, watched, collected, waiting, heap)
    while heap:
        node, g = waiting.pop(-heapq.heappop(heap))
        while True:  # follow the newest call for as long as it is known without the heap
            if node.serial < newest_write:
                check_saved(node)
            if watched and node in watched:
                collected[node] = g if node not in collected else collected[node] + g
            parents = node.parents
            pairs: Iterable[tuple[Node, Any]]
            if needed is not None and not (
                needed.issuperset(parents) if type(parents) is tuple else parents in needed
            ):
                pairs = _pull_needed(node, g, needed, taped)
            elif taped:
                pairs = _pull_taped(node, g)
            elif type(parents) is tuple:
                pairs = zip(parents, node.plan.pull(g, *node.saved))  # noqa: B905  # hot; lengths agree
            else:
                g = node.plan.pull(g, *node.saved)
                if not heap and parents.serial >= floor:
                    if parents.shape is not None and (
                        g.shape != parents.shape or g.dtype is not parents.dtype
                    ):
                        g = fit_cotangent(g, parents)
                    node = parents
                    continue
                pairs = ((parents, g),)
            following = None
            for parent, g in pairs:
                if parent.shape is not None and (
                    g.shape != parent.shape or g.dtype is not parent.dtype
                ):
                    if g.shape is None and parent is not following:
                        if parent.serial >= floor:
                            gather_later(g, parent, waiting, heap)
                            continue
                        if parent in collected:
                            collected[parent] = gather(g, parent, [collected.pop(parent)])
                            continue
                        if rows and type(g) is RowsOf and g.fits(parent):
                            collected[parent] = g
                            continue
                    g = fit_cotangent(g, parent)
                serial = parent.serial
                if serial >= floor:
                    if parent is following:
                        rest = _add_cotangents(rest, g)
                    elif heap and serial in waiting:
                        waiting[serial] = (parent, _add_cotangents(waiting[serial][1], g))
                    elif following is None:
                        following, rest = parent, g
                    else:
                        waiting[serial] = (parent, g)
                        heapq.heappush(heap, -serial)
                elif serial == LEAF or parent in watched:
                    collected[parent] = collected[parent] + g if parent in collected else g
            if following is None:
                break
            if heap and -heap[0] > following.serial:
                waiting[following.serial] = (following, rest)
                heapq.heappush(heap, -following.serial)
                break
            node, g = following, rest
    return collected


def _queue_cotangent(
    node: Node,
    g: Any,
    floor: int,
    watched: Container[Node],
    collected: dict[Node, Any],
    waiting: dict[int, tuple[Node, Any]],
    heap: list[int],
) -> None:
    serial = node.serial
    if serial >= floor:
        if serial in waiting:
            waiting[serial] = (node, _add_cotangents(waiting[serial][1], g))
        else:
            waiting[serial] = (node, g)
            heapq.heappush(heap, -serial)
    elif serial == LEAF or node in watched:
        collected[node] = g if node not in collected else collected[node] + g


def _add_cotangents(a: Any, b: Any) -> Any:
    """a + b; the cotangent of a call with several results is a list, with None for zero."""
    if not isinstance(a, list):
        return a + b
    return [x if y is None else y if x is None else x + y for x, y in zip(a, b, strict=True)]


def check_saved(node: Node) -> None:
    for value in node.saved:
        for array in value if isinstance(value, list) else (value,):
            if devices.is_array(array) and was_written_after(array, node.serial):
                observer = sweep_observer()
                more = "" if observer is None else observer.explain_overwrite(node, array)
                raise InPlaceError(OVERWRITTEN.format(primitive=node.plan) + more)


def sweep_observer() -> Observer | None:
    """The observer that must hear of this sweep, or None.

    It is None in the sweep of one sample of a batch, where the rules call operations on the entire
    batch; the observer hears of these calls.
    """
    mode = current_mode()
    return None if mode is None or mode.interpreter is not None else mode.observer


def _pull_needed(node: Node, g: Any, needed: set[Node], taped: bool) -> Iterable[tuple[Node, Any]]:
    parents = parents_of(node)
    wanted = tuple(i for i, parent in enumerate(parents) if parent in needed)
    if not wanted:
        return []
    pull, indices = node.plan.restrict(wanted)
    if taped:
        saved = wrap_saved(node)
        return _pull_observed(node, parents, wanted, pull, g, [saved[i] for i in indices])
    result = pull(g, *[node.saved[i] for i in indices])
    results = (result,) if len(wanted) == 1 else result
    return list(zip([parents[i] for i in wanted], results, strict=True))


def _pull_taped(node: Node, g: Any) -> Iterable[tuple[Node, Any]]:
    parents = parents_of(node)
    return _pull_observed(node, parents, range(len(parents)), node.plan.pull, g, wrap_saved(node))


def _pull_observed(
    node: Node,
    parents: tuple[Node, ...],
    indices: Sequence[int],
    pull: Callable[..., Any],
    g: Any,
    saved: list[Any],
) -> Iterable[tuple[Node, Any]]:
    """Pairs (parent, cotangent) for the parents at `indices`; an observer may follow the rules."""
    chosen = [parents[i] for i in indices]
    observer = sweep_observer()
    if observer is None:
        result = pull(g, *saved)
        return list(zip(chosen, (result,) if len(chosen) == 1 else result, strict=True))

    def run() -> list[Any]:
        result = pull(g, *saved)
        return [result] if len(chosen) == 1 else list(result)

    return _deliver(node, chosen, observer.reverse(node, indices, g, run), observer)


def _deliver(
    node: Node, parents: list[Node], results: list[Any], observer: Observer
) -> Iterator[tuple[Node, Any]]:
    """Yield pairs (parent, its cotangent), and tell the observer before each pair.

    The sweep that takes a pair fits the cotangent and adds it up.  The sweep's loop has no
    observer, so that ordinary sweeps do not pay for one.
    """
    try:
        for parent, g in zip(parents, results, strict=True):
            observer.before_delivery(node, parent)
            yield parent, g
    finally:
        observer.after_delivery(node)


def wrap_saved(node: Node) -> list[Any]:
    """The saved values as Tensors with the nodes that they had."""
    parents = parents_of(node)
    values: list[Any] = []
    for source, value in zip(node.plan.sources, node.saved, strict=True):
        if source == "":
            values.append(untracked(value) if devices.is_array(value) else value)
        elif source == "y":
            if isinstance(value, list):
                count = len(value)
                values.append(
                    [_wrap_with_node(v, item_node(node, i, count, v)) for i, v in enumerate(value)]
                )
            else:
                values.append(_wrap_with_node(value, node))
        elif isinstance(source, list):
            values.append(
                [
                    _wrap_with_node(v, None if index is None else parents[index])
                    for v, index in zip(value, source, strict=True)
                ]
            )
        else:
            values.append(_wrap_with_node(value, None if source is None else parents[source]))
    return values


def _wrap_with_node(value: Any, node: Node | None) -> Any:
    if isinstance(value, Tensor):  # a Single, which a rule saves itself, since it has no array
        return value.with_node(node)
    if not devices.is_array(value):
        return value
    result = untracked(value)
    result._node = node
    return result


def fit_cotangent(g: Any, node: Node) -> Any:
    """Give a cotangent the shape of its node, by sums over broadcast axes, and the node's dtype."""
    shape = node.shape
    if g.shape is None:
        g = form_cotangent(g, node)
    if g.shape != shape:
        g = elementwise.widen_half(g)
        extra = g.ndim - len(shape)
        if extra > 0:
            g = reduction.sum(g, axis=tuple(range(extra)))
        axes = tuple(i for i, n in enumerate(shape) if n == 1 and g.ndim > i and g.shape[i] != 1)
        if axes:
            g = reduction.sum(g, axis=axes, keepdims=True)
        if g.shape != shape:  # a rule returned the shape of a broadcast operand
            g = shapes.broadcast_to(g, shape)
    if g.dtype != node.dtype:
        if g.dtype.kind == "c" and node.dtype.kind != "c":
            g = elementwise.real(g)
        g = elementwise.cast(g, dtype=node.dtype)
    return g


# Functions that run the sweep --------------------------------------------------------------------


def nodes_on_paths(
    outputs: Iterable[Node], targets: set[Node], floor: int, ends: set[Node] | None = None
) -> set[Node] | None:
    """The nodes on a path from `outputs` to `targets`; None if every path ends at a target.

    ends: a set that gets the nodes below the floor, no targets, at which paths end
    """
    seen: set[Node] = set()
    stack = list(outputs)
    elsewhere = False  # True once a path ends at a node that is no target
    ends = set() if ends is None else ends
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        if node.serial < floor:
            if node not in targets:
                elsewhere = True
                ends.add(node)
            continue
        seen.add(node)
        parents = node.parents
        if node in targets:  # another target may be older; calls below the floor are not visited
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
    """True if a Parameter is among the ancestors of `node`."""
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


class Paths:
    """The way of a sweep from `outputs` to `targets`, found before it.

    parameters_beyond: the nodes before the sweep, no targets, that are a Parameter or have one
                       behind them: the cotangents may depend on these
    """

    def __init__(
        self, outputs: Iterable[Node], targets: list[Node], floor: int | None = None
    ) -> None:
        self.floor = max(0, min((t.serial for t in targets), default=0)) if floor is None else floor
        self.targets = targets
        self.wanted = set(targets)
        ends: set[Node] = set()
        self.needed = nodes_on_paths(outputs, self.wanted, self.floor, ends)
        self.parameters_beyond = sorted(filter(reaches_parameter, ends), key=_serial)


def cotangents(
    seeds: list[tuple[Node, Any]],
    targets: list[Node],
    *,
    floor: int | None = None,
    taped: bool = False,
    paths: Paths | None = None,
) -> list[Any]:
    """The cotangent of each target node; None for a target that no seed depends on.

    paths: those from the seeds to the targets, if they are known already
    """
    paths = paths or Paths([node for node, _ in seeds], targets, floor)
    if paths.needed is not None:
        seeds = [(node, g) for node, g in seeds if node in paths.needed]
    collected = sweep(
        seeds, floor=paths.floor, watched=paths.wanted, needed=paths.needed, taped=taped
    )
    return [collected.get(target) for target in targets]


def seed_for(output: Tensor, gradient: Operand | None) -> Any:
    """The cotangent from which a sweep starts: `gradient` in the dtype of `output`, or one.

    Raises ValueError for a gradient of another shape, or if `output` has several entries and there
    is no gradient; TypeError for a complex gradient of a real `output`.
    """
    if gradient is None:
        if output.size != 1:
            raise ValueError(NEEDS_GRADIENT.format(shape=output.shape))
        one = devices.namespace(output._bare).empty(output.shape, dtype=output.dtype)
        one.fill(1)
        return one
    if isinstance(gradient, Tensor) and gradient.dtype == output.dtype:
        seed: Any = gradient
    else:
        if output.dtype.kind != "c" and as_array(gradient).dtype.kind == "c":
            raise TypeError(COMPLEX_GRADIENT.format(dtype=output.dtype))
        seed = as_array(gradient, output.dtype)
    if seed.shape != output.shape:
        raise ValueError(f"the gradient has shape {seed.shape}, the Tensor has {output.shape}")
    devices.namespace(output._bare, as_array(seed))
    return seed


def unrecorded_sweep(
    seeds: list[tuple[Node, Any]],
    *,
    floor: int = 0,
    watched: Container[Node] = frozenset(),
    targets: set[Node] | None = None,
    followed: bool = False,
    rows: bool = False,
) -> dict[Node, Any]:
    """Run a sweep that is not recorded for a further derivative; an observer may follow it.

    seeds:   pairs (node, cotangent), a Tensor or a bare array
    targets: when given, only calls on a path to these are visited
    followed: whether `sweep_follower` runs this sweep
    rows:    as in `sweep`
    """
    follow = sweep_follower[0]
    if follow is not None and not followed:
        run = partial(unrecorded_sweep, seeds, floor=floor, targets=targets, rows=rows)
        return follow(partial(run, followed=True), watched, floor)
    needed = None
    if targets is not None:
        needed = nodes_on_paths([node for node, _ in seeds], targets, floor)
        if needed is not None:
            seeds = [(node, g) for node, g in seeds if node in needed]
    if not is_followed():
        bare = [(node, as_array(g)) for node, g in seeds]
        return sweep(bare, floor=floor, watched=watched, needed=needed, rows=rows)
    # An observer sees calls on Tensors, so the rules run on untracked Tensors.
    tensors = [(node, g if isinstance(g, Tensor) else untracked(g)) for node, g in seeds]
    with no_grad():
        return sweep(tensors, floor=floor, watched=watched, needed=needed, taped=True)


def backward(output: Tensor, gradient: Operand | None = None) -> None:
    """Add d(output)/dp, times `gradient`, to ``p.grad`` of every Parameter p behind `output`.

    gradient: array of the output's shape; 1 when omitted, if `output` has one entry
    Raises ValueError if `output` is untracked, or has several entries and `gradient` is omitted.
    """
    if output._node is None:
        raise ValueError(NOT_TRACKED)
    collected = unrecorded_sweep([(output._node, seed_for(output, gradient))], rows=True)
    for leaf in list(collected):
        if isinstance(leaf, Leaf):
            deliver_to_grad(leaf, collected)
