"""Running modules: plainly, or as spans of a trace.

A stateful call, ``module.forward(x)``, opens a trace.  Every module called inside it puts an
identity node at each of its inputs.  The gradient that passes this node in the reverse sweep is the
module's gradInput, which `reading.py` reads.  A plain call, ``module(x)``, leaves no span.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, default_dtype, is_recording, ops
from tapegrad.autograd.core.mode import watch
from tapegrad.autograd.core.node import Node, next_serial
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.transforms.variables import variable
from tapegrad.devices import is_array
from tapegrad.nn.core.frames import (
    Frame,
    FrozenFrame,
    current_frame,
    run_in_frame,
)
from tapegrad.nn.core.freezing import detach_constants, mark_frozen_parameters
from tapegrad.nn.core.hooks import with_hooks
from tapegrad.nn.core.spans import Span, Trace

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

NO_TENSOR = (
    "{name}.updateOutput returned {kind}, whose gradient is lost: forward code returns Tensors, or "
    "lists, tuples and dicts of them. Compute with x itself, not with x.numpy() or x.data; "
    "tapegrad.Tensor(y) says that y is a constant."
)

__all__ = ["as_tensors", "mark_inputs", "promote_integers", "run_module", "trace_call"]

# What holds no past: a number with a fraction, or an array.
_BARE = (np.ndarray, np.inexact, float, complex)


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


def run_module(
    module: Any,
    args: tuple[Any, ...],
    update: Callable[..., Any],
    named: Mapping[str, Any] | None = None,
) -> Any:
    """Run `update` on `args` as the module's forward code: in the open trace, or plainly.

    named: further arguments by name; arrays among them become Tensors, all else stays what it is
    """
    watch(module)
    frame = current_frame()
    trace = undo = None
    inputs = [as_tensors(x) for x in args]
    if frame is not None:
        trace, undo = frame.trace, frame.undo
        if isinstance(frame, FrozenFrame):
            inputs = [detach_constants(x) for x in inputs]
    hooks = module._tapegrad_hooks
    if module.promotes and (hooks is not None or (inputs and _has_integers(inputs[0]))):
        update = _promote_before(update)
    if hooks is not None:
        update = with_hooks(module, update)
    if named:
        tensors = {name: _named_input(value, frame) for name, value in named.items()}
        update = functools.partial(update, **tensors)
    if module._frozen:
        inner: Frame = FrozenFrame(module, trace, frame, undo, mark_frozen_parameters(module))
        update = _detach_constants_of_result(update)
    else:
        inner = Frame(module, trace, frame, undo)
    if trace is None:
        return run_in_frame(inner, _run_update, module, update, inputs)
    first = len(trace.spans)
    marked, nodes = mark_inputs(inputs)
    output = run_in_frame(inner, _run_update, module, update, marked)
    trace.spans.append(Span(weakref.ref(module), nodes, inputs, output, first))
    return output


def _run_update(module: Any, update: Callable[..., Any], inputs: list[Any]) -> Any:
    output = update(*inputs)
    if not isinstance(output, Tensor):
        _refuse_lost_gradient(module, inputs, output)
    return output


def promote_integers(inputs: Nest) -> Nest:
    """The same nest with floats for integers and booleans, as NumPy promotes them with a float.

    Arrays of at most 16 bits get the default dtype, float32 unless it was changed, and longer ones
    float64, so that no value changes (below 2⁵³).
    """
    return map_leaves(_promote_leaf, inputs)


def _promote_leaf(x: Tensor) -> Tensor:
    if not _is_integral(x):
        return x
    return ops.cast(x, dtype=np.result_type(x.dtype, default_dtype()))


def _is_integral(x: Tensor) -> bool:
    return x.dtype.kind in "iub"


def _has_integers(inputs: Nest) -> bool:
    if isinstance(inputs, Tensor):
        return _is_integral(inputs)
    return any(map(_is_integral, leaves(inputs)))


def _promote_before(update: Callable[..., Any]) -> Callable[..., Any]:
    # inputs after the first are masks, whose booleans mean something else
    return lambda *inputs, **named: update(*map(promote_integers, inputs[:1]), *inputs[1:], **named)


def _refuse_lost_gradient(module: Any, inputs: list[Any], output: Any) -> None:
    """Raise TypeError for an array or a number in the output where a gradient should pass back."""
    if not is_recording():
        return
    bare = next((y for y in leaves(output) if isinstance(y, _BARE) or is_array(y)), None)
    if bare is None:
        return
    tracked = any(isinstance(x, Tensor) and x.tracked for x in leaves(inputs))
    if tracked or module._parameters():
        raise TypeError(NO_TENSOR.format(name=type(module).__name__, kind=type(bare).__name__))


def _named_input(value: Any, frame: Frame | None) -> Any:
    tensors = map_leaves(lambda x: untracked(as_array(x)) if is_array(x) else x, value)
    return detach_constants(tensors) if isinstance(frame, FrozenFrame) else tensors


def _detach_constants_of_result(update: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *inputs: detach_constants(update(*inputs))


def trace_call(
    module: Any,
    args: tuple[Any, ...],
    update: Callable[..., Any],
    named: Mapping[str, Any] | None = None,
) -> Trace:
    """Run a module as the root of a new trace.

    An error in it passes on, after all state that the call changed was put back.
    """
    trace = Trace(next_serial())
    try:
        root = Frame(None, trace, current_frame())
        run_in_frame(root, run_module, module, args, update, named)
    except BaseException:
        trace.restore()
        raise
    trace.undo.clear()
    return trace
