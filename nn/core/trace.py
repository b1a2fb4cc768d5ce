"""Running modules: plainly, or as spans of a trace.

A stateful call, ``module.forward(x)``, opens a trace.  Every module called inside it puts an
identity node at each of its inputs.  The gradient that passes this node in the reverse sweep is the
module's gradInput, which `reading.py` reads.  A plain call, ``module(x)``, leaves no span.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, default_dtype, is_recording, ops
from tapegrad.autograd.core.mode import guard
from tapegrad.autograd.core.node import Node, next_serial
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.transforms.variables import variable
from tapegrad.nn.core.frames import (
    Frame,
    FrozenFrame,
    current_frame,
    enter_frame,
    name_module_in_errors,
)
from tapegrad.nn.core.freezing import detach_constants, mark_frozen_parameters
from tapegrad.nn.core.spans import Span, Trace

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["as_tensors", "mark_inputs", "promote_integers", "run_module", "trace_call"]


def as_tensors(inputs: Any) -> Any:
    """The same nest, with untracked Tensors for bare arrays and numbers.

    A list that contains numbers only, nested or not, becomes one array and is no table.
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
    values = leaves(inputs)
    return bool(values) and all(isinstance(x, (bool, int, float, complex)) for x in values)


def mark_inputs(inputs: Any) -> tuple[Any, list[Node | None]]:
    """(inputs behind an identity node each, these nodes), which receive the inputs' gradients.

    An input that cannot be tracked stays as it is, with None for its node.
    """
    nodes: list[Node | None] = []

    def mark(x: Tensor) -> Tensor:
        if x.dtype.kind not in "fc" or not is_recording():
            nodes.append(None)
            return x
        result = variable(x)
        nodes.append(result._node)
        return result

    return map_leaves(mark, inputs), nodes


def run_module(module: Any, args: tuple[Any, ...], update: Callable[..., Any]) -> Any:
    """Run `update` on `args` as the module's forward code: in the open trace, or plainly."""
    guard(module, "_frozen")
    frame = current_frame()
    trace = undo = None
    inputs = [as_tensors(x) for x in args]
    if module.promotes:
        update = _promote_before(update)
    if frame is not None:
        trace, undo = frame.trace, frame.undo
        if isinstance(frame, FrozenFrame):
            inputs = [detach_constants(x) for x in inputs]
    if module._frozen:
        inner: Frame = FrozenFrame(module, trace, frame, undo, mark_frozen_parameters(module))
        update = _detach_constants_of_result(update)
    else:
        inner = Frame(module, trace, frame, undo)
    if trace is None:
        with enter_frame(inner), name_module_in_errors():
            return update(*inputs)
    marked, nodes = mark_inputs(inputs)
    with enter_frame(inner), name_module_in_errors():
        output = update(*marked)
    trace.spans.append(Span(weakref.ref(module), nodes, inputs, output))
    return output


def promote_integers(inputs: Nest) -> Nest:
    """The same nest with floats for integers and booleans, as NumPy promotes them with a float.

    Arrays of at most 16 bits get the default dtype, float32 unless it was changed, and longer ones
    float64, so that no value changes (below 2⁵³).
    """
    return map_leaves(_promote_leaf, inputs)


def _promote_leaf(x: Tensor) -> Tensor:
    if x.dtype.kind not in "iub":
        return x
    return ops.cast(x, dtype=np.result_type(x.dtype, default_dtype()))


def _promote_before(update: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *inputs: update(*map(promote_integers, inputs))


def _detach_constants_of_result(update: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *inputs: detach_constants(update(*inputs))


def trace_call(module: Any, args: tuple[Any, ...], update: Callable[..., Any]) -> Trace:
    """Run a module as the root of a new trace.

    An error in it passes on, after all state that the call changed was put back.
    """
    trace = Trace(next_serial())
    try:
        with enter_frame(Frame(None, trace, current_frame())):
            run_module(module, args, update)
    except BaseException:
        trace.restore()
        raise
    trace.undo.clear()
    return trace
