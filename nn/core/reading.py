"""Torch7's gradients, read from the trace of a stateful call.

One reverse sweep over the trace gives the gradient at the inputs of the root and of every child,
and that of every parameter.  Before it, the input and target of `backward` are compared with those
of `forward`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, ops
from tapegrad.autograd.core.node import Leaf, Node, owner_of
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.core.tree import leaves, replace_leaves
from tapegrad.autograd.reverse.accumulation import add_to_grad
from tapegrad.autograd.reverse.sweep import unrecorded_sweep
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.trace import as_tensors

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest
    from tapegrad.nn.core.spans import Span, Trace

__all__ = [
    "NO_FORWARD",
    "add_to_parameter_gradients",
    "check_same_target",
    "checked_root_span",
    "seeds_for",
    "store_input_gradients",
    "sweep_trace",
]

NO_FORWARD = "{name}.{method}: call forward(input) first, outside no_grad()"

OTHER_INPUT = (
    "{name}.{method}: the input is not the one of the last forward ({how}). Call "
    "forward(input) again with this input, or pass the same one."
)

OTHER_TARGET = (
    "{name}.{method}: the target is not the one of the last forward ({how}). Call "
    "forward(input, target) again with this target, or pass the same one."
)

GRAD_SHAPE = "{name}.{method}: gradOutput has shape {found}, the output has {expected}"


def checked_root_span(name: str, method: str, input: Nest, trace: Trace | None) -> Span:
    """The root span of the trace, after a check that the module ran on `input`.

    The same memory and layout counts as the same input, and so do equal bits.  Raises RuntimeError
    without a trace, ValueError for another input.
    """
    if trace is None:
        raise RuntimeError(NO_FORWARD.format(name=name, method=method))
    span = trace.root
    how = _describe_difference(input, span.inputs[0] if len(span.inputs) == 1 else span.inputs)
    if how:
        raise ValueError(OTHER_INPUT.format(name=name, method=method, how=how))
    return span


def _describe_difference(current: Nest, last: Nest) -> str:
    """A text that says how two nests of arrays differ; "" when they are the same."""
    now_leaves, then_leaves = leaves(as_tensors(current)), leaves(last)
    if len(now_leaves) != len(then_leaves):
        return f"{len(then_leaves)} arrays then, {len(now_leaves)} now"
    for now, then in zip(now_leaves, then_leaves, strict=True):
        if now._bare is then._bare:
            continue
        if now.shape != then.shape or now.dtype != then.dtype:
            return f"{then.dtype}{then.shape} then, {now.dtype}{now.shape} now"
        if not _same_bits(now._bare, then._bare):
            return "same shape, other values"
    return ""


def check_same_target(name: str, method: str, target: Nest, last: Nest) -> None:
    """Raise ValueError unless `target` is the target of the last forward."""
    how = _describe_difference(target, last)
    if how:
        raise ValueError(OTHER_TARGET.format(name=name, method=method, how=how))


def _same_bits(a: Any, b: Any) -> bool:
    xp = devices.namespace(a, b)
    return bool(xp.all(xp.logical_or(a == b, xp.logical_and(xp.isnan(a), xp.isnan(b)))))


def seeds_for(name: str, method: str, span: Span, grad_output: Nest) -> list[tuple[Node, Any]]:
    """(node, cotangent) for each tracked output.  Raises ShapeError when shapes do not match."""
    outputs = leaves(as_tensors(span.output))
    cotangents = leaves(as_tensors(grad_output))
    if len(outputs) != len(cotangents):
        raise ShapeError(
            f"{name}.{method}: gradOutput holds {len(cotangents)} arrays, the output {len(outputs)}"
        )
    seeds = []
    for output, g in zip(outputs, cotangents, strict=True):
        if g.shape != output.shape:
            raise ShapeError(
                GRAD_SHAPE.format(name=name, method=method, found=g.shape, expected=output.shape)
            )
        devices.namespace(output._bare, g._bare)
        if output._node is not None:
            if g.dtype != output.dtype:
                g = ops.cast(g, dtype=output.dtype)
            seeds.append((output._node, g))
    return seeds


def sweep_trace(
    trace: Trace,
    seeds: list[tuple[Node, Any]],
    *,
    inputs: bool,
    parameters: list[Parameter] | None,
) -> dict[Node, Any]:
    """Run one reverse sweep over the trace; returns the cotangents by node.

    inputs:     whether to return the cotangents at every module's inputs
    parameters: None for every Parameter that the sweep reaches, [] for none, else exactly these
    """
    marks = {n for span in trace.spans for n in span.nodes if n is not None} if inputs else set()
    if inputs and parameters is None:
        return unrecorded_sweep(seeds, floor=trace.first, watched=marks)
    targets: set[Node] = set(marks)
    targets.update(p._leaf for p in parameters or [])
    return unrecorded_sweep(seeds, floor=trace.first, watched=targets, targets=targets)


def store_input_gradients(trace: Trace, cotangents: dict[Node, Any], grad_output: Nest) -> None:
    """Store its gradInput on every module of the trace, the root last.

    cotangents: by node.  The root's gradInput shares no memory with its input and gradOutput.
    """
    for span in reversed(trace.spans):
        inputs = leaves(span.inputs)
        values = [
            _gradient_at(node, x, cotangents) for node, x in zip(span.nodes, inputs, strict=True)
        ]
        if span is trace.root:
            values = _with_own_memory(values, inputs + leaves(as_tensors(grad_output)))
        nested = replace_leaves(span.inputs, values)
        span.keep("gradInput", nested[0] if len(nested) == 1 else nested)


def _gradient_at(node: Node | None, x: Tensor, cotangents: dict[Node, Any]) -> Tensor | None:
    """The cotangent at an input of a module, zeros if none came; None for an array of integers."""
    if x.dtype.kind not in "fc":
        return None
    g = None if node is None else cotangents.get(node)
    if g is None:
        return untracked(devices.namespace(x._bare).zeros(x.shape, dtype=x.dtype))
    return g if isinstance(g, Tensor) else untracked(as_array(g))


def _with_own_memory(values: list[Tensor | None], others: list[Tensor]) -> list[Tensor | None]:
    """The values, with copies of those that share memory with each other or with `others`."""
    owners = {id(owner_of(x._bare)) for x in others}
    result: list[Tensor | None] = []
    for g in values:
        if g is not None:
            if id(owner_of(g._bare)) in owners:
                g = ops.copy(g)
            owners.add(id(owner_of(g._bare)))
        result.append(g)
    return result


def add_to_parameter_gradients(cotangents: dict[Node, Any], scale: float) -> None:
    """Add the cotangents of Parameters, times `scale`, to their gradients."""
    for node, g in cotangents.items():
        if isinstance(node, Leaf):
            add_to_grad(node, g, scale)
