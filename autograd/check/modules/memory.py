"""Laws of memory: what a module may write to, share, and keep from call to call."""

from __future__ import annotations

import numpy as np

from tapegrad.autograd.check.laws import (
    Laws,
    must,
    must_all_be_equal,
    must_be_close,
    must_be_unchanged,
    must_leave_no_cycles,
    snapshot,
)
from tapegrad.autograd.check.layouts import ODD_LAYOUTS
from tapegrad.autograd.check.modules.trial import ModuleTrial, floating_arrays
from tapegrad.autograd.core.tree import leaves

__all__ = ["LAWS"]

LAWS = Laws("module")


@LAWS(regimes=("ordinary", "grid"))
def inputs_grad_outputs_and_parameters_are_left_alone(trial: ModuleTrial) -> None:
    """forward and backward do not write into inputs, gradOutputs, outputs or parameters."""
    module, x = trial.with_zero_gradients(trial.copy()), trial.on_input()
    arrays = [t.numpy() for t in leaves(x)]
    parameters = [p.numpy() for p in trial.parameters(module)]
    before = snapshot(arrays), snapshot(parameters)
    trial.forward(module, x)
    v = trial.cotangents(module)
    output, cotangents = [y.numpy() for y in leaves(module.output)], snapshot(v)
    outputs = snapshot(output)
    trial.backward(module, x, v)
    must_be_unchanged(before[0], arrays, "input")
    must_be_unchanged(before[1], parameters, "parameter")
    must_be_unchanged(cotangents, v, "gradOutput")
    must_be_unchanged(outputs, output, "output")
    # forward computes on a Tensor of its own; a plain call is given the caller's
    x = trial.on_input()
    arrays = [t.numpy() for t in leaves(x)]
    held = snapshot(arrays)
    trial.call(trial.copy(), x)
    must_be_unchanged(held, arrays, "input of a plain call")


@LAWS()
def grad_input_shares_no_memory(trial: ModuleTrial) -> None:
    """gradInput shares no memory with gradOutput, input, parameters or gradients."""
    module, x, v = trial.after_forward()
    g = trial.grad_output(module, v)
    trial.backward(module, x, [t.numpy() for t in leaves(g)])
    found = [t.numpy() for t in leaves(module.gradInput)]
    others = [t.numpy() for t in [*leaves(x), *leaves(g), *trial.parameters(module)]]
    for i, gradient in enumerate(found):
        for other in [*found[:i], *others, *[t.numpy() for t in module.parameters()[1] or []]]:
            must(not np.shares_memory(gradient, other), f"gradInput {i} shares memory")


@LAWS()
def results_are_not_overwritten_by_the_next_call(trial: ModuleTrial) -> None:
    """Arrays and Tensors that forward and backward returned keep their bits in later calls."""
    module, x = trial.with_zero_gradients(trial.copy()), trial.on_input()
    returned = leaves(trial.run(module, x))
    v = trial.cotangents(module)
    trial.backward(module, x, v)
    kept = [t.numpy() for t in [*leaves(module.output), *leaves(module.gradInput)]]
    before = snapshot(kept)
    other = trial.other_input()
    trial.forward(module, other)
    trial.backward(module, other, trial.cotangents(module))
    must_be_unchanged(before, kept, "result")
    now = [t.numpy() for t in returned]
    must_be_unchanged(before[: len(now)], now, "Tensor that forward returned")


@LAWS()
def results_do_not_depend_on_earlier_calls(trial: ModuleTrial) -> None:
    """Calls on other data and in another mode do not change later results."""
    module, x, v = trial.after_forward()
    expected, output = trial.backward(module, x, v), [y.numpy() for y in leaves(module.output)]
    gradients = trial.gradients(module)
    used = trial.with_zero_gradients(trial.copy())
    other = trial.other_input()
    if trial.training:  # evaluation would meet the statistics that training leaves behind
        used.evaluate()
        trial.forward(used, other)
        used.training()
    trial.forward(used, other)
    trial.backward(used, other, trial.cotangents(used))
    trial.with_zero_gradients(used)
    must_all_be_equal(trial.forward(used, x), output, "output")
    must_all_be_equal(trial.backward(used, x, v), expected, "gradInput")
    must_all_be_equal(trial.gradients(used), gradients, "gradient of parameter")


@LAWS()
def memory_layout_does_not_matter(trial: ModuleTrial) -> None:
    """Fortran order, gaps, negative strides and read-only arrays give the same results."""
    module, x, v = trial.after_forward()
    expected, output = trial.backward(module, x, v), [y.numpy() for y in leaves(module.output)]
    for name, layout in ODD_LAYOUTS.items():
        other = trial.with_zero_gradients(trial.copy())
        odd = trial.on_input([layout(a) for a in floating_arrays(trial.input)])
        for i, (f, e) in enumerate(zip(trial.forward(other, odd), output, strict=True)):
            must_be_close(f, e, f"output {i} of {name} input", relative=1e-12, scale=1.0)
        found = trial.backward(other, odd, [layout(c) for c in v])
        for i, (f, e) in enumerate(zip(found, expected, strict=True)):
            must_be_close(f, e, f"gradInput {i} of {name} arrays", relative=1e-11, scale=1.0)


@LAWS(effort=0.1)
def it_leaves_no_cyclic_garbage(trial: ModuleTrial) -> None:
    """Forward and backward are freed by reference count alone."""
    module, x = trial.copy(), trial.on_input()

    def step() -> None:
        trial.forward(module, x)
        trial.backward(module, x, trial.cotangents(module))

    step()
    must_leave_no_cycles(step)
