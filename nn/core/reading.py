"""What Torch7's methods read from the trace of a stateful call: gradients of inputs, of parameters.

One reverse sweep over the interval of the trace gives the gradient of the root, of every child and
of every parameter.  The input and target of `backward` are held against those of the call first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, ops
from tapegrad.autograd.core.node import Leaf, Node, owner_of
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.core.tree import leaves, replace_leaves
from tapegrad.autograd.reverse.sweep import add_to_grad, unrecorded_sweep
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.trace import as_tensors

if TYPE_CHECKING:
    from tapegrad.nn.core.spans import Span, Trace

__all__ = [
    "NO_FORWARD",
    "add_to_parameters",
    "gradients_to_inputs",
    "reverse",
    "same_input",
    "same_target",
    "seeds_for",
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
        return unrecorded_sweep(seeds, floor=trace.first, watched=marks)
    targets: set[Node] = set(marks)
    targets.update(p._node for p in parameters or [])
    return unrecorded_sweep(seeds, floor=trace.first, watched=targets, targets=targets)


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
        nested = replace_leaves(span.inputs, values)
        span.keep("gradInput", nested[0] if len(nested) == 1 else nested)


def add_to_parameters(found: dict[Node, Any], scale: float) -> None:
    """Accumulate what reached the Parameters, times `scale`, into their gradients."""
    for node, g in found.items():
        if isinstance(node, Leaf):
            add_to_grad(node, g, scale)
