"""Checkpoints: a function whose inside is computed again in the reverse sweep instead of kept.

``checkpoint(fn)(x)`` runs fn with recording on, finds in the tape of its results what came from
outside (its arguments, and everything tracked that fn closes over: parameters, other Tensors),
drops that tape and puts one call on the outer one.  Its rule runs fn again on the saved arguments
and sweeps over the new tape.  Memory is then that of the arguments plus one inner tape at a time.

The second run must be the first one again.  So generators are wound back to where they stood before
each was first drawn from, arrays that fn wrote in place get back what they held before, and both
are put right afterwards: from outside, draws and writes happen once.  What cannot be wound back is
noticed: other calls or shapes, another captured Tensor, an array that was written in between, other
results.  All that is done by primitives, so that replay repeats it.

Rejected: keeping the inner tape's structure without its arrays, which would need a second
definition of every primitive; and running fn without recording first, which would miss what it
closes over.
"""

from __future__ import annotations

from array import array as compact
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.call import item_node
from tapegrad.autograd.core.mode import enable_grad, install_observer, interpreter, is_recording
from tapegrad.autograd.core.node import (
    Node,
    Plan,
    last_write,
    next_serial,
    parents_of,
    record_call,
)
from tapegrad.autograd.core.tensor import Tensor, array_of, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.reverse.sweep import cotangents
from tapegrad.autograd.transforms.run_log import Log, Reads
from tapegrad.autograd.transforms.variables import derivative_depth, variable
from tapegrad.devices import TapegradError

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "surroundings"]

OTHER_CALLS = (
    "checkpoint({name}): run again, it made other calls: call {index} was {old}, now it is {new}. "
    "It must compute the same each time: what it decides by must not change before the gradient."
)
OTHER_CAPTURED = (
    "checkpoint({name}): run again, it used another tracked Tensor{shape} than the first time. "
    "What it closes over must stay until the gradient has been computed."
)
OTHER_RESULTS = "checkpoint({name}): run again, it returned {new} tracked arrays, before {old}"
OTHER_VALUES = (
    "checkpoint({name}): run again, it returned other values. It depends on something that has "
    "changed since: random numbers that are not from tapegrad.devices, a number or a bare array "
    "that was overwritten. Pass it as an argument."
)

# Hooks of packages that keep something for each call (nn: which module is being run).  Each returns
# the context of a checkpoint's first run, and a function that makes the contexts of later ones.
Context = AbstractContextManager[Any]
surroundings: list[Callable[[], tuple[Context, Callable[[], Context]]]] = []


class CheckpointError(TapegradError, RuntimeError):
    """A checkpointed function did something else when it was run again; the message names it."""


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """fn, with what it computes inside recomputed in the reverse sweep instead of kept.

    The result takes and returns what fn does: arguments and results may be nested lists, tuples and
    dicts of arrays.  Gradients of any order reach the arguments and everything tracked that fn
    closes over, and equal those of fn.  It costs one more run of fn for each reverse sweep.

    fn must compute the same when it is run again.  Random draws from `tapegrad.devices` are
    repeated, and in-place writes (running means) count once; neither holds for NumPy's own
    generators or for Python attributes.  Without recording, fn is simply called.
    Raises CheckpointError, in the reverse sweep, when the second run differs; InPlaceError when an
    array that fn reads has been written since.
    """

    @wraps(fn, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not is_recording() or interpreter() is not None:
            # nothing to keep; or a batch, whose wholes keep their own tape
            return fn(*args, **kwargs)
        return _recorded(fn, args, kwargs)

    return checkpointed


def checkpoint_sequential(
    functions: Sequence[Callable[[Any], Any]], x: Any, segments: int | None = None
) -> Any:
    """functions[-1](… functions[0](x)), in `segments` checkpoints of nearly equal length.

    segments: √n of n functions when omitted, which needs the least memory: about 2√n results are
              kept at a time instead of n
    Raises ValueError unless 1 <= segments <= n; n = 0 returns x.
    """
    functions = list(functions)
    n = len(functions)
    if not n:
        return x
    count = max(1, round(n**0.5)) if segments is None else segments
    if not 1 <= count <= n:
        raise ValueError(f"checkpoint_sequential: segments={count}, it must be 1 to {n}")
    bounds = [n * i // count for i in range(count + 1)]
    for start, stop in pairwise(bounds):
        x = checkpoint(_chain(functions[start:stop]))(x)
    return x


def _chain(functions: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def chain(x: Any) -> Any:
        for function in functions:
            x = function(x)
        return x

    return chain


# The call and its rule ----------------------------------------------------------------------------


def _recorded(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """fn's results, on the tape by one record that can run fn again."""
    nest, values = _emptied([args, kwargs])
    call = _Call(fn, nest, values)
    variables = [_fresh(value) for value in values]
    with ExitStack() as stack:
        for make in surroundings:
            now, later = make()
            stack.enter_context(now)
            call.contexts.append(later)
        stack.enter_context(call.log.listening())
        floor = next_serial()
        output = call.run(variables)
    outputs = leaves(output)
    tracked = [y for y in outputs if _is_tracked(y)]
    if not tracked:
        return output
    call.traced = _Traced(tracked, floor, variables)
    parents, places = call.parents(values)
    arrays = [array_of(y) for y in tracked]
    node = record_call(
        _CheckpointPlan(call.name, places),
        tuple(parents),
        (call, [as_array(value) for value in values]),
        arrays[0] if len(arrays) == 1 else arrays,
    )
    call.made = node.serial
    results = [untracked(array) for array in arrays]
    if len(results) == 1:
        results[0]._node = node
    else:
        for i, result in enumerate(results):
            result._node = item_node(node, i, len(results), arrays[i])
    of = iter(results)
    return replace_leaves(output, [next(of) if _is_tracked(y) else y for y in outputs])


@dataclass(frozen=True)
class _Hole:
    """Where an array was in a nest of arguments."""

    number: int


def _emptied(nest: Any) -> tuple[Any, list[Any]]:
    """The nest with holes for arrays and Tensors, and those."""
    values: list[Any] = []

    def empty(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) and not devices.is_array(leaf):
            return leaf
        values.append(leaf)
        return _Hole(len(values) - 1)

    return map_leaves(empty, nest), values


def _fresh(value: Any) -> Any:
    """What fn is given for `value`: for a tracked Tensor a variable without its past."""
    return variable(value.detach()) if _is_tracked(value) else value


def _is_tracked(value: Any) -> bool:
    return isinstance(value, Tensor) and value._node is not None


class _CheckpointPlan(Plan):
    """The plan of a checkpoint's record: its rule runs the function again."""

    __slots__ = ("name", "sources")

    primitive = None
    mask = (True,)
    names = ("call", "arrays")

    def __init__(self, name: str, places: list[int | None]) -> None:
        self.name = f"checkpoint({name})"
        self.sources = ("", places)

    def __repr__(self) -> str:
        return self.name

    def pull(self, g: Any, call: _Call, arrays: list[Any]) -> Any:
        """The cotangents of all parents."""
        return call.pulled(g, arrays, None)

    def restrict(self, wanted: tuple[int, ...]) -> tuple[Callable[..., Any], tuple[int, ...]]:
        """The pull for the parents at the places `wanted` only."""
        return (lambda g, call, arrays: call.pulled(g, arrays, wanted)), (0, 1)


class _Traced:
    """What the tape of one run says: which calls it made, and what they reach outside."""

    def __init__(self, outputs: list[Tensor], floor: int, variables: list[Any]) -> None:
        self.floor = floor
        self.nodes = [y._node for y in outputs if y._node is not None]  # all of them
        inner, self.outside = _reached(self.nodes, floor)
        self.plans = tuple(repr(node.plan) for node in inner)
        self.shapes = compact("q", [hash(node.shape) for node in inner])
        # The variables stand for other nodes in each run, so they are told by their numbers.
        numbers = {v._node: i for i, v in enumerate(variables) if isinstance(v, Tensor)}
        self.captured = [None if node in numbers else node for node in self.outside]
        self.arguments = [numbers.get(node) for node in self.outside]
        self.samples = [_sample(y._data) for y in outputs]

    def forget(self) -> None:
        """Let go of the tape, which is what a checkpoint is for."""
        self.nodes, self.outside = [], []


def _reached(nodes: list[Node], floor: int) -> tuple[list[Node], list[Node]]:
    """The calls from `floor` on behind `nodes`, oldest first, and the older nodes they use."""
    seen: set[Node] = set()
    stack = [node for node in nodes if node.serial >= floor]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack.extend(parent for parent in parents_of(node) if parent.serial >= floor)
    inner = sorted(seen, key=lambda node: node.serial)
    used: dict[Node, None] = {}
    for node in inner:
        used.update(dict.fromkeys(p for p in parents_of(node) if p.serial < floor))
    used.update(dict.fromkeys(node for node in nodes if node.serial < floor))
    return inner, list(used)


class _Call:
    """One run of a function without its tape, and how to run it again."""

    traced: _Traced
    made: int  # the serial number of its record: later writes are not the run's own

    def __init__(self, fn: Callable[..., Any], nest: Any, values: list[Any]) -> None:
        self.fn = fn
        self.name = getattr(fn, "__name__", type(fn).__name__)
        self.nest = nest
        # Tracked Tensors are given anew as variables; the others as they were.
        self.constants = [None if _is_tracked(value) else value for value in values]
        self.depth = derivative_depth.get()
        self.contexts: list[Callable[[], Context]] = []
        self.log = Log()

    def run(self, values: list[Any]) -> Any:
        """What fn returns for these values in the places of the arguments' arrays."""
        args, kwargs = map_leaves(
            lambda leaf: values[leaf.number] if type(leaf) is _Hole else leaf, self.nest
        )
        return self.fn(*args, **kwargs)

    def parents(self, values: list[Any]) -> tuple[list[Node], list[int | None]]:
        """The nodes that the call depends on, and which of them each array belongs to."""
        traced = self.traced
        parents = [
            node if number is None else values[number]._node
            for node, number in zip(traced.outside, traced.arguments, strict=True)
        ]
        places: list[int | None] = [None] * len(values)
        for place, number in enumerate(traced.arguments):
            if number is not None:
                places[number] = place
        traced.forget()
        return parents, places

    def pulled(self, g: Any, arrays: list[Any], wanted: tuple[int, ...] | None) -> Any:
        """The cotangents of the parents, or of those wanted, from those of the results."""
        parts = g if isinstance(g, list) else [g]
        taped = any(isinstance(part, Tensor) for part in parts)
        started = next_serial()
        with self.log.undone(taped=taped):
            traced = self._again(arrays, started)
            seeds = [
                (node, part)
                for node, part in zip(traced.nodes, parts, strict=True)
                if part is not None
            ]
            outside = traced.outside
            targets = outside if wanted is None else [outside[i] for i in wanted]
            found = cotangents(seeds, targets, floor=traced.floor, taped=taped)
        results = [
            _zeros(target, seeds, taped=taped) if c is None else c
            for c, target in zip(found, targets, strict=True)
        ]
        return results[0] if len(results) == 1 else tuple(results)

    def _again(self, arrays: list[Any], started: int) -> _Traced:
        """Run fn a second time, on the tape, with what it draws from where it was.

        started: a serial number; what was written between the first run and it is not fn's own
        """
        variables = [
            value if value is not None else variable(x if isinstance(x, Tensor) else untracked(x))
            for value, x in zip(self.constants, arrays, strict=True)
        ]
        with ExitStack() as stack:
            stack.enter_context(enable_grad())
            stack.enter_context(self.log.drawn_again())
            for make in self.contexts:
                stack.enter_context(make())
            if last_write[0] > self.made:
                stack.enter_context(install_observer(Reads(self.name, self.made, started)))
            token = derivative_depth.set(self.depth)
            floor = next_serial()
            try:
                output = self.run(variables)
            finally:
                derivative_depth.reset(token)
        return self._checked(output, floor, variables)

    def _checked(self, output: Any, floor: int, variables: list[Any]) -> _Traced:
        """What the second run did.  Raises CheckpointError where it is not what the first did."""
        tracked = [y for y in leaves(output) if _is_tracked(y)]
        old, name = self.traced, self.name
        if len(tracked) != len(old.samples):
            counts = {"old": len(old.samples), "new": len(tracked)}
            raise CheckpointError(OTHER_RESULTS.format(name=name, **counts))
        new = _Traced(tracked, floor, variables)
        if new.plans != old.plans or new.shapes != old.shapes:
            raise CheckpointError(OTHER_CALLS.format(name=name, **_difference(old, new)))
        for i, node in enumerate(new.outside):
            if i >= len(old.captured) or (new.captured[i], new.arguments[i]) != (
                old.captured[i],
                old.arguments[i],
            ):
                raise CheckpointError(OTHER_CAPTURED.format(name=name, shape=f" {node.shape}"))
        if not all(map(_alike, old.samples, new.samples)):
            raise CheckpointError(OTHER_VALUES.format(name=name))
        return new


def _difference(old: _Traced, new: _Traced) -> dict[str, Any]:
    """The first call that differs, in words."""
    was, now = (list(zip(run.plans, run.shapes, strict=True)) for run in (old, new))
    index = next(i for i in range(len(was) + 1) if was[i : i + 1] != now[i : i + 1])
    names = [run[index][0] if index < len(run) else "none" for run in (was, now)]
    if names[0] == names[1]:
        names[1] = "another shape"
    return {"index": index, "old": names[0], "new": names[1]}


def _zeros(target: Node, seeds: list[tuple[Node, Any]], *, taped: bool) -> Any:
    xp = devices.namespace(*[as_array(part) for _, part in seeds])
    zeros = xp.zeros(target.shape, dtype=target.dtype)
    return untracked(zeros) if taped else zeros


def _sample(array: Any) -> Any:
    """A few entries of a result, to notice that a second run gives another; NumPy's arrays only."""
    if type(array) is not np.ndarray or not array.size:
        return None
    return array.reshape(-1)[:: max(1, array.size // 16)].copy()


def _alike(old: Any, new: Any) -> bool:
    """Equal up to rounding: threads may add in another order."""
    if old is None or new is None or np.array_equal(old, new):
        return True
    within = float(np.finfo(old.dtype).eps) ** 0.5
    with np.errstate(all="ignore"):
        scale = within * np.max(np.abs(old), initial=0, where=np.isfinite(old))
        return np.allclose(old, new, rtol=within, atol=float(scale), equal_nan=True)
