"""Spans: the calls of modules, laid over the tape, and everything Torch7's methods read from them.

A stateful call, ``module.forward(x)``, opens a trace.  Every module called inside it puts an
identity node at each of its inputs; the gradient that passes this node on the way back is that
module's gradInput.  So one reverse sweep over the interval of the trace gives the gradient of the
root, of every child, and of every parameter.  A plain call, ``module(x)``, keeps nothing.

A trace also keeps an undo log: when a call inside it raises, buffers and random generators are put
back, so that a wrong shape changes no state.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tapegrad import devices
from tapegrad.autograd import AnomalyError, Parameter, Tensor, is_recording, ops
from tapegrad.autograd.core import callsite as _place
from tapegrad.autograd.core.node import Leaf, Node, next_serial, owner_of
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, unflatten
from tapegrad.autograd.replay.step import guard
from tapegrad.autograd.reverse.sweep import add_to_grad, observed_sweep
from tapegrad.autograd.transforms.checkpoint import surroundings
from tapegrad.autograd.transforms.gradient import variable
from tapegrad.nn.core.errors import ShapeError

__all__ = ["Frame", "Trace", "current_frame", "same_input"]

NO_FORWARD = "{name}.{method}: call forward(input) first, outside no_grad()"
OTHER_INPUT = (
    "{name}.{method}: the input is not the one of the last forward ({how}). Call "
    "forward(input) again with this input, or pass the same one."
)
IN_MODULE = "in module "
OTHER_TARGET = (
    "{name}.{method}: the target is not the one of the last forward ({how}). Call "
    "forward(input, target) again with this target, or pass the same one."
)
GRAD_SHAPE = "{name}.{method}: gradOutput has shape {found}, the output has {expected}"


@dataclass
class Span:
    """One call of a module inside a trace."""

    reference: Any  # weak: the module keeps the trace, so a strong one would be a cycle
    nodes: list[Node | None]  # the identity node of each input leaf, None where nothing is tracked
    inputs: Any
    output: Any

    def keep(self, name: str, value: Any) -> None:
        """Store a result on the module, if it is still there."""
        module = self.reference()
        if module is not None:
            module.keep(name, value)


@dataclass
class Trace:
    """A stateful call: the spans inside it, and how to undo what it changed."""

    first: int
    spans: list[Span] = field(default_factory=list)
    undo: dict[int, Callable[[], None]] = field(default_factory=dict)
    grad_output: Any = None

    @property
    def root(self) -> Span:
        """The span of the module whose `forward` was called; the last to finish."""
        return self.spans[-1]

    def restore(self) -> None:
        """Put back what changed since the trace was opened."""
        for action in reversed(list(self.undo.values())):
            action()
        self.undo.clear()


@dataclass(frozen=True)
class Frame:
    """The module that is being run, the trace it belongs to (None in a plain call), and the frame
    of the module that called it.

    undo: the trace that changes are undone with when there is none to put spans in
    """

    module: Any
    trace: Trace | None
    parent: Frame | None
    undo: Trace | None = None

    @cached_property
    def path(self) -> str:
        """The module's path in those that called it, ``Sequential[1].Linear``; "" without one."""
        outer = self.parent
        while outer is not None and outer.module is None:
            outer = outer.parent
        if outer is None or self.module is outer.module:
            return "" if self.module is None else type(self.module).__name__
        if self.module is None:
            return outer.path
        name = outer.module.name_of_child(self.module)
        return f"{outer.path}{name}.{type(self.module).__name__}"


_frame: ContextVar[Frame | None] = ContextVar("tapegrad_module", default=None)
current_frame = _frame.get


@contextmanager
def entered(frame: Frame | None) -> Iterator[None]:
    """Run a block as part of `frame.module`."""
    token = _frame.set(frame)
    try:
        yield
    finally:
        _frame.reset(token)


def module_path() -> str:
    """The path of the module that is being run, "" outside of every module."""
    frame = _frame.get()
    return "" if frame is None else frame.path


def name_of(array: Any) -> str:
    """What the module that is being run calls `array`, "" if it is none of its own Tensors."""
    frame = _frame.get()
    own = {} if frame is None or frame.module is None else vars(frame.module)
    return next((name for name, t in own.items() if isinstance(t, Tensor) and t._data is array), "")


_place.register(module_path, name_of)


def on_failure(key: int, make: Callable[[], Callable[[], None]]) -> None:
    """Log, once per key and trace, how to undo a change that is about to be made."""
    frame = _frame.get()
    trace = None if frame is None else frame.trace or frame.undo
    if trace is not None and key not in trace.undo:
        trace.undo[key] = make()


def unseen() -> tuple[Any, Callable[[], Any]]:
    """The contexts of the first and of later runs of a checkpoint: modules leave no spans in them.

    Spans would keep what the checkpoint drops, and their nodes are not those of the later run.
    """
    frame = _frame.get()
    if frame is None:
        return entered(None), lambda: entered(None)
    # Modules may hold the tape, which holds this: strong references would be cycles.
    callers, outer = [], frame
    while outer is not None:
        if outer.module is not None:
            callers.append(weakref.ref(outer.module))
        outer = outer.parent

    def later() -> Any:
        again = None if callers else Frame(None, None, None)
        for reference in reversed(callers):
            again = Frame(reference() or _GONE, None, again)
        return entered(again)

    first = Frame(frame.module, None, frame.parent, frame.trace or frame.undo)
    return entered(first), later


class _Gone:
    """A module that was freed: no module is it, but one is being run."""

    def name_of_child(self, _: Any) -> str:
        return ""


_GONE = _Gone()
surroundings.append(unseen)


# Running ------------------------------------------------------------------------------------------


def as_tensors(inputs: Any) -> Any:
    """The same nest with bare arrays and numbers as untracked Tensors.

    A list of nothing but numbers, nested or not, is an array written out and not a table.
    """
    if isinstance(inputs, Tensor):
        return inputs
    if isinstance(inputs, (list, tuple)) and not _only_numbers(inputs):
        if hasattr(inputs, "_fields"):
            return type(inputs)(*map(as_tensors, inputs))
        return type(inputs)(map(as_tensors, inputs))
    if isinstance(inputs, dict):
        return {key: as_tensors(value) for key, value in inputs.items()}
    return None if inputs is None else untracked(as_array(inputs))


def _only_numbers(inputs: Any) -> bool:
    found = leaves(inputs)
    return bool(found) and all(isinstance(x, (bool, int, float, complex)) for x in found)


def mark_inputs(inputs: Any) -> tuple[Any, list[Node | None]]:
    """The inputs behind identity nodes of their own, which see the gradient that passes."""
    nodes: list[Node | None] = []

    def mark(x: Tensor) -> Tensor:
        if x.dtype.kind not in "fc" or not is_recording():
            nodes.append(None)
            return x
        result = variable(x)
        nodes.append(result._node)
        return result

    return map_leaves(mark, inputs), nodes


def call(module: Any, args: tuple[Any, ...], update: Callable[..., Any]) -> Any:
    """Run a module on `args`: as a part of the open trace, or plainly."""
    guard(module, "_frozen")
    if module._frozen:
        update = _constant(module, update)
    frame = _frame.get()
    trace = None if frame is None else frame.trace
    inputs = [as_tensors(x) for x in args]
    if trace is None:
        undo = None if frame is None else frame.undo
        with entered(Frame(module, None, frame, undo)), located():
            return update(*inputs)
    marked, nodes = mark_inputs(inputs)
    with entered(Frame(module, trace, frame)), located():
        output = update(*marked)
    trace.spans.append(Span(weakref.ref(module), nodes, inputs, output))
    return output


def _constant(module: Any, update: Callable[..., Any]) -> Callable[..., Any]:
    """`update` with the module's own Parameters as constants: calls on them are not recorded."""

    def run(*inputs: Any) -> Any:
        own = [(p, p._node) for p in module.own_parameters()]
        try:
            for p, _ in own:
                p._node = None
            return update(*inputs)
        finally:
            for p, node in own:
                p._node = node

    return run


def trace_call(module: Any, args: tuple[Any, ...], update: Callable[..., Any]) -> Trace:
    """Run a module as the root of a new trace.  Raises what it raises, with state put back."""
    trace = Trace(next_serial())
    try:
        with entered(Frame(None, trace, _frame.get())):
            call(module, args, update)
    except BaseException:
        trace.restore()
        raise
    trace.undo.clear()
    return trace


@contextmanager
def located() -> Iterator[None]:
    """Put the path of the module that is being run into errors; the innermost one that sees it."""
    try:
        yield
    except Exception as error:  # every error, since it is only annotated and raised again
        known = error.__dict__
        if "_tapegrad_path" not in known:
            path = known["_tapegrad_path"] = module_path()
            if isinstance(error, ShapeError):
                error.path = path
            elif not isinstance(error, AnomalyError):  # which names it itself
                error.add_note(IN_MODULE + path)
        raise


# Reading the tape back ----------------------------------------------------------------------------


def same_input(name: str, method: str, given: Any, trace: Trace | None) -> Span:
    """The root span, if `given` is what it ran on: the same memory and layout, or equal bits."""
    if trace is None:
        raise RuntimeError(NO_FORWARD.format(name=name, method=method))
    span = trace.root
    how = _difference(given, span.inputs[0] if len(span.inputs) == 1 else span.inputs)
    if how:
        raise ValueError(OTHER_INPUT.format(name=name, method=method, how=how))
    return span


def _difference(given: Any, last: Any) -> str:
    """How two nests of arrays differ, in words; "" when they are the same."""
    now_leaves, then_leaves = leaves(as_tensors(given)), leaves(last)
    if len(now_leaves) != len(then_leaves):
        return f"{len(then_leaves)} arrays then, {len(now_leaves)} now"
    for now, then in zip(now_leaves, then_leaves, strict=True):
        if now._data is then._data:
            continue
        if now.shape != then.shape or now.dtype != then.dtype:
            return f"{then.dtype}{then.shape} then, {now.dtype}{now.shape} now"
        if not _same_bits(now._data, then._data):
            return "same shape, other values"
    return ""


def same_target(name: str, method: str, given: Any, last: Any) -> None:
    """Raise ValueError unless `given` is the target of the last forward."""
    how = _difference(given, last)
    if how:
        raise ValueError(OTHER_TARGET.format(name=name, method=method, how=how))


def _same_bits(a: Any, b: Any) -> bool:
    xp = devices.namespace(a, b)
    return bool(xp.all(xp.logical_or(a == b, xp.logical_and(xp.isnan(a), xp.isnan(b)))))


def seeds_for(name: str, method: str, span: Span, grad_output: Any) -> list[tuple[Node, Any]]:
    """(node, cotangent) for each output leaf.  Raises ShapeError when they do not match."""
    outputs = leaves(as_tensors(span.output))
    given = leaves(as_tensors(grad_output))
    if len(outputs) != len(given):
        raise ShapeError(
            f"{name}.{method}: gradOutput holds {len(given)} arrays, the output {len(outputs)}"
        )
    seeds = []
    for output, g in zip(outputs, given, strict=True):
        if g.shape != output.shape:
            raise ShapeError(
                GRAD_SHAPE.format(name=name, method=method, found=g.shape, expected=output.shape)
            )
        devices.namespace(output._data, g._data)
        if output._node is not None:
            if g.dtype != output.dtype:
                g = ops.cast(g, dtype=output.dtype)
            seeds.append((output._node, g))
    return seeds


def reverse(
    trace: Trace,
    seeds: list[tuple[Node, Any]],
    *,
    inputs: bool,
    parameters: list[Parameter] | None,
) -> dict[Node, Any]:
    """One sweep over the trace.

    inputs:     gather the gradient at every module's inputs
    parameters: None for whatever Parameters are reached, [] for none, else exactly these
    """
    marks = {n for span in trace.spans for n in span.nodes if n is not None} if inputs else set()
    if inputs and parameters is None:
        return observed_sweep(seeds, floor=trace.first, watched=marks)
    targets: set[Node] = set(marks)
    targets.update(p._node for p in parameters or [])
    return observed_sweep(seeds, floor=trace.first, watched=targets, targets=targets)


def gradients_to_inputs(trace: Trace, found: dict[Node, Any], grad_output: Any) -> None:
    """Give every module of the trace its gradInput, root last."""
    owners = {id(owner_of(g._data)) for g in leaves(as_tensors(grad_output))}
    for span in reversed(trace.spans):
        is_root = span is trace.root
        if is_root:
            owners |= {id(owner_of(x._data)) for x in leaves(span.inputs)}
        values: list[Any] = []
        for node, x in zip(span.nodes, leaves(span.inputs), strict=True):
            if x.dtype.kind not in "fc":
                values.append(None)
                continue
            g = None if node is None else found.get(node)
            if g is None:
                g = untracked(devices.namespace(x._data).zeros(x.shape, dtype=x.dtype))
            g = g if isinstance(g, Tensor) else untracked(as_array(g))
            if is_root and id(owner_of(g._data)) in owners:
                g = ops.copy(g).detach()
            if is_root:
                owners.add(id(owner_of(g._data)))
            values.append(g.detach())
        nested = unflatten(span.inputs, values)
        span.keep("gradInput", nested[0] if len(nested) == 1 else nested)


def add_to_parameters(found: dict[Node, Any], scale: float) -> None:
    """Accumulate what reached the Parameters, times `scale`, into their gradients."""
    for node, g in found.items():
        if isinstance(node, Leaf):
            add_to_grad(node, g, scale)
