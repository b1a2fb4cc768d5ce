"""Layers whose gradient is written by hand, as in Torch7.

A module may override `updateGradInput` or `accGradParameters`.  Inside another module, a call of it
becomes one record on the tape, whose rule calls these methods.  `super().updateGradInput(...)`
still gives the tape's gradient, since the call keeps a trace of its own.  A second derivative is an
error, because the hand-written gradient is not recorded: in a recorded sweep, a node stands on
its results that refuses to be reversed.
"""

from __future__ import annotations

import weakref
from typing import Any

from tapegrad.autograd import Parameter, Tensor, is_recording
from tapegrad.autograd.core.call import item_node
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.core.mode import no_grad, observer, refuse
from tapegrad.autograd.core.node import Node, Plan, record_call
from tapegrad.autograd.core.tensor import array_of, as_array, result_tensor, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.transforms.sample import Single
from tapegrad.autograd.transforms.variables import variable
from tapegrad.nn.core.frames import Frame, current_frame, enter_frame
from tapegrad.nn.core.spans import Span
from tapegrad.nn.core.trace import as_tensors, mark_inputs, trace_call
from tapegrad.nn.core.transient import transient_state_of

__all__ = ["call_by_hand", "without_gradient"]

SECOND_ORDER = (
    "{name} has a hand-written gradient, which is not recorded: only its first derivative exists. "
    "Delete updateGradInput and accGradParameters to have every order from its forward code."
)

ONE_BY_ONE = (
    "{name} has a hand-written gradient, which runs on arrays and so not on all samples of a batch "
    "at once. Delete updateGradInput and accGradParameters, or loop over the samples."
)


class _RefusingPlan(Plan):
    """The plan on the results of a hand-written gradient, which has no derivative itself."""

    __slots__ = ("name",)

    primitive = None
    mask = (True,)
    names = ()
    sources = ()

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"the gradient of {self.name}"

    def restrict(self, wanted: tuple[int, ...]) -> Any:
        """As `pull`: any derivative is refused."""
        return self.pull, ()

    def pull(self, g: Any) -> Any:
        """Raises RuntimeError."""
        raise RuntimeError(SECOND_ORDER.format(name=self.name))


class _NoGradientPlan(_RefusingPlan):
    """The plan on the results of a layer that has no gradient; `name` is what to say of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "a layer without a gradient"

    def pull(self, g: Any) -> Any:
        """Raises NotImplementedError."""
        raise NotImplementedError(self.name)


def without_gradient(y: Any, inputs: Any, text: str) -> Any:
    """`y`, such that a derivative with respect to `inputs` raises NotImplementedError with `text`.

    y: Tensors that do not depend on tracked inputs as the tape sees it, since rounding cut it
    """
    nodes = [x._node for x in leaves(inputs) if isinstance(x, Tensor) and x._node is not None]
    if not nodes or not is_recording():
        return y
    plan = _NoGradientPlan(text)

    def refuse_on(t: Any) -> Any:
        array = array_of(t)
        return result_tensor(array, record_call(plan, tuple(nodes), (), array))

    return map_leaves(lambda t: refuse_on(t) if isinstance(t, Tensor) else t, y)


class _ModulePlan(Plan):
    """The plan of a module's record: its rule calls the module's own methods."""

    __slots__ = ("name",)

    primitive = None
    mask = (True,)
    names = ("module", "trace", "parameters", "parents")
    sources = ("", "", "", "")

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def restrict(self, wanted: tuple[int, ...]) -> Any:
        """The pull for some of the parents: computes all cotangents, returns those wanted."""

        def pull(g: Any, *saved: Any) -> Any:
            cotangents = self.pull(g, *saved)
            if not isinstance(cotangents, tuple):
                cotangents = (cotangents,)
            selected = tuple(cotangents[i] for i in wanted)
            return selected[0] if len(wanted) == 1 else selected

        return pull, (0, 1, 2, 3)

    def pull(
        self,
        g: Any,
        module: Any,
        trace: Any,
        parameters: list[Parameter],
        parents: tuple[Node, ...],
    ) -> Any:
        """The cotangents of the tracked inputs, then of the parameters."""
        if any(isinstance(part, Single) for part in leaves([g, trace.root.inputs])):
            raise BatchingError(ONE_BY_ONE.format(name=self.name))
        # Cotangents are Tensors in a sweep that is recorded (for a second derivative), and in one
        # that is only observed.
        if any(isinstance(part, Tensor) for part in leaves(g)):
            if is_recording():
                above = [part._node for part in leaves(g) if isinstance(part, Tensor)]
                with no_grad():
                    results = self.pull(map_leaves(as_array, g), module, trace, parameters, ())
                several = isinstance(results, tuple)
                past = (*parents, *(node for node in above if node is not None))
                refused = tuple(
                    result_tensor(r, record_call(_RefusingPlan(self.name), past, (), r))
                    for r in (results if several else (results,))
                )
                return refused if several else refused[0]
            refuse(f"runs the hand-written gradient of {self.name}")
            g = map_leaves(as_array, g)
        cotangents = g if isinstance(g, list) else [g]
        outputs = leaves(trace.root.output)
        gradients = [
            untracked(part if part is not None else output._bare * 0)
            for part, output in zip(cotangents, outputs, strict=True)
        ]
        grad_output = replace_leaves(trace.root.output, gradients)
        inputs = trace.root.inputs[0] if len(trace.root.inputs) == 1 else trace.root.inputs
        gathered = [(p, p.grad) for p in parameters]
        state = transient_state_of(module)
        newer, state.trace = state.trace, trace
        try:
            for p in parameters:
                p.grad = p._bare * 0
            grad_input = module.updateGradInput(inputs, grad_output)
            if parameters or not module._frozen:
                module.accGradParameters(inputs, grad_output, 1)
            results = [t._bare for t in leaves(grad_input)]
            results = [
                r for r, x in zip(results, leaves(inputs), strict=True) if x.dtype.kind in "fc"
            ]
            results += [p.grad._bare for p in parameters if p.grad is not None]
        finally:
            for p, gradient in gathered:
                p.grad = gradient
            state.trace = newer
        return results[0] if len(results) == 1 else tuple(results)


def call_by_hand(module: Any, inputs: tuple[Any, ...]) -> Any:
    """Run the module on a trace of its own, and put the call on the current tape as one record."""
    tensors = [as_tensors(x) for x in inputs]
    frame = current_frame()
    outer = None if frame is None else frame.trace
    marked, nodes = mark_inputs(tensors) if outer is not None else (tensors, [])
    # The rule returns a cotangent for every floating point input, so each of them needs a node.
    marked = replace_leaves(marked, [_tracked(x) for x in leaves(marked)])
    flat = [x for x in leaves(marked) if x._node is not None]
    detached = replace_leaves(marked, [x.detach() for x in leaves(marked)])
    trace = trace_call(module, tuple(detached), module.updateOutput)
    parameters = module._parameters()
    output = replace_leaves(trace.root.output, [t.detach() for t in leaves(trace.root.output)])
    if is_recording():
        with enter_frame(Frame(module, outer, frame)):
            _record_call_of(module, trace, flat, parameters, leaves(output))
    if outer is not None:
        outer.spans.append(Span(weakref.ref(module), nodes, tensors, output, len(outer.spans)))
    return output


def _tracked(x: Tensor) -> Tensor:
    """x with a node of its own, if it is a floating point Tensor without one."""
    return variable(x) if x._node is None and x.dtype.kind in "fc" and is_recording() else x


def _record_call_of(
    module: Any,
    trace: Any,
    inputs: list[Tensor],
    parameters: list[Parameter],
    outputs: list[Tensor],
) -> None:
    """Record the call: one node, whose parents are the tracked inputs and the parameters."""
    parents = tuple(t._node for t in (*inputs, *parameters) if t._node is not None)
    node = record_call(
        _ModulePlan(type(module).__name__),
        parents,
        (module, trace, parameters, parents),
        outputs[0] if len(outputs) == 1 else outputs,
    )
    current_observer = observer()
    if current_observer is not None:
        current_observer.recorded(node)
    if len(outputs) == 1:
        outputs[0]._node = node
        return
    for i, output in enumerate(outputs):
        output._node = item_node(node, i, len(outputs), array_of(output))
