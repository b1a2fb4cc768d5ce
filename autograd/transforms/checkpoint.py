"""Checkpoints: the reverse sweep computes a function again instead of keeping what it computed.

``checkpoint(fn)(x)`` runs fn with recording on.  In the tape of the results it finds what they
depend on outside fn: the arguments, and every tracked Tensor that fn closes over, such as
parameters.  It drops that tape and records a single call on the outer tape.  The rule of this call
runs fn again on the saved arguments and sweeps over the new tape.  So memory holds the arguments
and one inner tape at a time.

The second run must repeat the first.  So generators and arrays that fn writes in place are set back
for its length (`run_log.py`); seen from outside, draws and writes happen once.  A second run that
differs is noticed by its calls, shapes, captured Tensors, results, and by arrays that were written
in between.

Rejected: keeping the structure of the inner tape without its arrays, which would need a second
definition of every primitive; and a first run without recording, which would not find what fn
closes over.
"""

from __future__ import annotations

from array import array as compact
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.call import item_node
from tapegrad.autograd.core.errors import InPlaceError
from tapegrad.autograd.core.mode import (
    derivative_depth,
    enable_grad,
    install_observer,
    interpreter,
    is_recording,
)
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
from tapegrad.autograd.core.views import follow_path, path_of, root_of
from tapegrad.autograd.reverse.sweep import cotangents
from tapegrad.autograd.reverse.write import write
from tapegrad.autograd.transforms.arguments import function_name
from tapegrad.autograd.transforms.run_log import Reads, RunLog
from tapegrad.autograd.transforms.variables import variable
from tapegrad.devices import TapegradError

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "context_hooks"]

P = ParamSpec("P")  # the parameters of fn
R = TypeVar("R")  # the result of fn

OTHER_CALLS = (
    "checkpoint({name}): run again, it made other calls: call {index} was {old}, now it is {new}. "
    "It must compute the same each time: what it decides by must not change before the gradient."
)
OTHER_CAPTURED = (
    "checkpoint({name}): run again, it used another tracked Tensor{shape} than the first time. "
    "What it closes over must stay until the gradient has been computed."
)
OTHER_RESULTS = "checkpoint({name}): run again, it returned {new} tracked arrays, before {old}"
WRITTEN_CONSTANT = (
    "checkpoint({name}): it writes tracked values into an untracked Tensor that it was given, and "
    "a second run would write them once more. Write into a copy, x = x.copy(), and return that."
)
OTHER_VALUES = (
    "checkpoint({name}): run again, it returned other values. It depends on something that has "
    "changed since: random numbers that are not from tapegrad.devices, a number or a bare array "
    "that was overwritten. Pass it as an argument."
)

# Hooks for packages with context of their own for each call, such as nn's current module.  Each
# returns the context of a checkpoint's first run, and a function that makes one for a later run.
Context = AbstractContextManager[Any]
context_hooks: list[Callable[[], tuple[Context, Callable[[], Context]]]] = []


class CheckpointError(TapegradError, RuntimeError):
    """A checkpointed function did something different in its second run; the message says what."""


@overload
def checkpoint(fn: np.ufunc) -> Callable[..., Any]: ...
@overload
def checkpoint(fn: Callable[P, R]) -> Callable[P, R]: ...
def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """fn, but the reverse sweep computes its intermediate results again instead of keeping them.

    The returned function takes and returns what fn does: arguments and results may be nested lists,
    tuples and dicts of arrays.  Gradients of any order reach the arguments and everything tracked
    that fn closes over, and equal those of fn.  Each reverse sweep costs one more run of fn.

    fn must compute the same when it is run again.  Random draws from `tapegrad.devices` are
    repeated, and in-place writes (running means) count once; neither holds for NumPy's own
    generators or for Python attributes.  Without recording, fn is simply called.
    Raises CheckpointError, in the reverse sweep, when the second run differs; InPlaceError when an
    array that fn reads has been written since.

    >>> import tapegrad as tg
    >>> tg.grad(checkpoint(lambda x: np.sum(np.exp(x) ** 2)))(np.array([0.0, 1.0]))
    array([ 2.       , 14.7781122])
    """

    @wraps(fn, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not is_recording() or interpreter() is not None:
            # Nothing would be kept, or fn runs on the Singles of a vmap, whose batches have a tape.
            return fn(*args, **kwargs)
        return _record_checkpoint(fn, args, kwargs)

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


def _record_checkpoint(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The results of fn, put on the tape by one record that can run fn again."""
    nest, values = _without_arrays([args, kwargs])
    call = _CheckpointCall(fn, nest, values)
    variables = [_as_variable(value) for value in values]
    started = [_node_of(x) for x in variables]
    with ExitStack() as stack:
        for make in context_hooks:
            now, later = make()
            stack.enter_context(now)
            call.contexts.append(later)
        stack.enter_context(call.log.noting())
        floor = next_serial()
        output = call.run(variables)
    outputs = leaves(output)
    tracked = _computed(outputs, variables, started, floor)
    written = [i for i, x in enumerate(variables) if _node_of(x) is not started[i]]
    if any(variables[i] is values[i] for i in written):
        raise InPlaceError(WRITTEN_CONSTANT.format(name=call.name))
    if not tracked:
        return replace_leaves(output, [_of_caller(y, variables, values) for y in outputs])
    call.traced = _RunTrace(tracked, floor, started)
    parents, sources = call.parents(values)
    arrays = [array_of(y) for y in tracked]
    node = record_call(
        _CheckpointPlan(call.name, sources),
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
    for i, result in zip(written, results[len(results) - len(written) :], strict=True):
        write(values[i], (...,), result, f"checkpoint({call.name})")
    made = {id(y): result for y, result in zip(tracked, results, strict=True)}
    return replace_leaves(
        output,
        [_of_caller(y, variables, values) if id(y) not in made else made[id(y)] for y in outputs],
    )


def _computed(
    outputs: list[Any], variables: list[Any], started: list[Node | None], floor: int
) -> list[Tensor]:
    """What a run has recorded: results that are no views of arguments, and arguments it wrote.

    started: the nodes of the variables before the run
    """
    arguments = {id(x) for x in variables}
    results = [
        y
        for y in outputs
        if _is_tracked(y) and y._node.serial >= floor and id(root_of(y)) not in arguments
    ]
    written = zip(variables, started, strict=True)
    return results + [x for x, node in written if _node_of(x) is not node]


def _of_caller(y: Any, variables: list[Any], values: list[Any]) -> Any:
    """y; but where it is an argument of fn or a view of one, that of the caller's own Tensor.

    A write to it then shows in that Tensor, as without the checkpoint.
    """
    if not isinstance(y, Tensor):
        return y
    root = root_of(y)
    for x, value in zip(variables, values, strict=True):
        if root is x and x is not value:
            return follow_path(value, path_of(y))
    return y


@dataclass(frozen=True)
class _ArraySlot:
    """Marks where an array stood in a nest of arguments."""

    number: int


def _without_arrays(nest: Any) -> tuple[Any, list[Any]]:
    """The nest with an `_ArraySlot` for each array and Tensor, and a list of these."""
    values: list[Any] = []

    def take_out(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) and not devices.is_array(leaf):
            return leaf
        values.append(leaf)
        return _ArraySlot(len(values) - 1)

    return map_leaves(take_out, nest), values


def _as_variable(value: Any) -> Any:
    """The argument for the first run: a variable for a tracked Tensor, anything else as it is."""
    return variable(value.detach()) if _is_tracked(value) else value


def _node_of(value: Any) -> Node | None:
    return value._node if isinstance(value, Tensor) else None


def _is_tracked(value: Any) -> bool:
    return isinstance(value, Tensor) and value._node is not None


class _CheckpointPlan(Plan):
    """The plan of a checkpoint's record: its rule runs the function again."""

    __slots__ = ("name", "sources")

    primitive = None
    mask = (True,)
    names = ("call", "arrays")

    def __init__(self, name: str, sources: list[int | None]) -> None:
        self.name = f"checkpoint({name})"
        self.sources = ("", sources)

    def __repr__(self) -> str:
        return self.name

    def pull(self, g: Any, call: _CheckpointCall, arrays: list[Any]) -> Any:
        """The cotangents of all parents, from the cotangent g of the result."""
        return call.parent_cotangents(g, arrays, None)

    def restrict(self, wanted: tuple[int, ...]) -> tuple[Callable[..., Any], tuple[int, ...]]:
        """`pull` for the parents with the indices `wanted` only, and what it takes after g."""
        return (lambda g, call, arrays: call.parent_cotangents(g, arrays, wanted)), (0, 1)


class _RunTrace:
    """The tape of one run in short: the calls that it made, and what they depend on outside."""

    def __init__(self, outputs: list[Tensor], floor: int, started: list[Node | None]) -> None:
        self.floor = floor
        self.nodes = [y._node for y in outputs if y._node is not None]
        inner, self.outside = _split_by_age(self.nodes, floor)
        self.plans = tuple(repr(node.plan) for node in inner)
        self.shapes = compact("q", [hash(node.shape) for node in inner])
        # Each run has new variables, so their nodes are compared by the numbers of the arguments.
        numbers = {node: i for i, node in enumerate(started) if node is not None}
        self.captured = [None if node in numbers else node for node in self.outside]
        self.arguments = [numbers.get(node) for node in self.outside]
        self.samples = [_sampled_entries(y._bare) for y in outputs]

    def forget(self) -> None:
        """Drop the references to the tape, so that its memory is freed."""
        self.nodes, self.outside = [], []


def _split_by_age(nodes: list[Node], floor: int) -> tuple[list[Node], list[Node]]:
    """The ancestors of `nodes` from serial `floor` on, oldest first, and the older ones in use."""
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


class _CheckpointCall:
    """A call of a checkpointed function whose tape was dropped; it can be run again."""

    traced: _RunTrace
    made: int  # the serial number of its record; fn's own writes have smaller ones

    def __init__(self, fn: Callable[..., Any], nest: Any, values: list[Any]) -> None:
        self.fn = fn
        self.name = function_name(fn)
        self.nest = nest
        # None for a tracked Tensor, for which every run gets a new variable.
        self.constants = [None if _is_tracked(value) else value for value in values]
        self.depth = derivative_depth.get()
        self.contexts: list[Callable[[], Context]] = []
        self.log = RunLog()

    def run(self, values: list[Any]) -> Any:
        """What fn returns when these values replace the arrays of its arguments."""
        args, kwargs = map_leaves(
            lambda leaf: values[leaf.number] if type(leaf) is _ArraySlot else leaf, self.nest
        )
        return self.fn(*args, **kwargs)

    def parents(self, values: list[Any]) -> tuple[list[Node], list[int | None]]:
        """The nodes that the call depends on, and for each array the index of its node or None."""
        traced = self.traced
        parents = [
            node if number is None else values[number]._node
            for node, number in zip(traced.outside, traced.arguments, strict=True)
        ]
        sources: list[int | None] = [None] * len(values)
        for index, number in enumerate(traced.arguments):
            if number is not None:
                sources[number] = index
        traced.forget()
        return parents, sources

    def parent_cotangents(self, g: Any, arrays: list[Any], wanted: tuple[int, ...] | None) -> Any:
        """The cotangents of the parents, or of those with the indices `wanted`.

        g: the cotangent of the result, or a list of them
        """
        parts = g if isinstance(g, list) else [g]
        taped = any(isinstance(part, Tensor) for part in parts)
        started = next_serial()
        with self.log.undoing_writes(taped=taped):
            traced = self._run_again(arrays, started)
            seeds = [
                (node, part)
                for node, part in zip(traced.nodes, parts, strict=True)
                if part is not None
            ]
            outside = traced.outside
            targets = outside if wanted is None else [outside[i] for i in wanted]
            swept = cotangents(seeds, targets, floor=traced.floor, taped=taped)
        results = [
            _zeros(target, seeds, taped=taped) if c is None else c
            for c, target in zip(swept, targets, strict=True)
        ]
        return results[0] if len(results) == 1 else tuple(results)

    def _run_again(self, arrays: list[Any], started: int) -> _RunTrace:
        """Run fn again with recording on; its generators draw what they drew in the first run.

        started: the serial number at which this run began; arrays that were written between the
                 first run and this number were not written by fn
        """
        variables = [
            value if value is not None else variable(x if isinstance(x, Tensor) else untracked(x))
            for value, x in zip(self.constants, arrays, strict=True)
        ]
        nodes = [_node_of(x) for x in variables]
        with ExitStack() as stack:
            stack.enter_context(enable_grad())
            stack.enter_context(self.log.repeating_draws())
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
        return self._compare_runs(output, floor, variables, nodes)

    def _compare_runs(
        self, output: Any, floor: int, variables: list[Any], started: list[Node | None]
    ) -> _RunTrace:
        """The tape of the second run.  Raises CheckpointError where it differs from the first's."""
        tracked = _computed(leaves(output), variables, started, floor)
        old, name = self.traced, self.name
        if len(tracked) != len(old.samples):
            counts = {"old": len(old.samples), "new": len(tracked)}
            raise CheckpointError(OTHER_RESULTS.format(name=name, **counts))
        new = _RunTrace(tracked, floor, started)
        if new.plans != old.plans or new.shapes != old.shapes:
            raise CheckpointError(OTHER_CALLS.format(name=name, **_first_difference(old, new)))
        for i, node in enumerate(new.outside):
            if i >= len(old.captured) or (new.captured[i], new.arguments[i]) != (
                old.captured[i],
                old.arguments[i],
            ):
                raise CheckpointError(OTHER_CAPTURED.format(name=name, shape=f" {node.shape}"))
        if not all(map(_agree_to_rounding, old.samples, new.samples)):
            raise CheckpointError(OTHER_VALUES.format(name=name))
        return new


def _first_difference(old: _RunTrace, new: _RunTrace) -> dict[str, Any]:
    """The first call that differs between two runs: its index and both names, for a message."""
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


def _sampled_entries(array: Any) -> Any:
    """At most 31 entries of a NumPy array, to compare with a second run; None for other arrays."""
    if type(array) is not np.ndarray or not array.size:
        return None
    return array.reshape(-1)[:: max(1, array.size // 16)].copy()


def _agree_to_rounding(old: Any, new: Any) -> bool:
    """Are both equal up to rounding?  Threads may add in another order."""
    if old is None or new is None or np.array_equal(old, new):
        return True
    within = float(np.finfo(old.dtype).eps) ** 0.5
    with np.errstate(all="ignore"):
        scale = within * np.max(np.abs(old), initial=0, where=np.isfinite(old))
        return np.allclose(old, new, rtol=within, atol=float(scale), equal_nan=True)
