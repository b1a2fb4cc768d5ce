"""Laws of Torch7's methods: what each does to outputs, gradients and parameters.

Hand-written layers most often get accumulation, scale and stale state wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_agree,
    must_all_be_equal,
    must_be_close,
    must_be_equal,
    must_refuse,
)
from tapegrad.autograd.check.modules.trial import ModuleTrial, floating_arrays
from tapegrad.autograd.core.tree import leaves

__all__ = ["LAWS"]

LAWS = Laws("module")


@LAWS()
def backward_is_update_grad_input_then_acc_grad_parameters(trial: ModuleTrial) -> None:
    """Both methods in either order give the same bits as backward."""
    module, x, v = trial.after_forward()
    expected = trial.backward(module, x, v, scale=0.5)
    gradients = trial.gradients(module)
    for order in ("updateGradInput first", "accGradParameters first"):
        parts = trial.with_zero_gradients(trial.copy())
        trial.forward(parts, x)
        g = trial.grad_output(parts, v)
        if order.startswith("acc"):
            parts.accGradParameters(x, g, 0.5)
        before = trial.gradients(parts)
        parts.updateGradInput(x, g)
        for i, (now, then) in enumerate(zip(trial.gradients(parts), before, strict=True)):
            must_be_equal(now, then, f"gradient of parameter {i} after updateGradInput")
        if order.startswith("update"):
            parts.accGradParameters(x, g, 0.5)
        must_all_be_equal(trial.grad_input(parts), expected, f"gradInput, {order},")
        must_all_be_equal(trial.gradients(parts), gradients, f"gradient of parameter, {order},")


@LAWS()
def gradients_accumulate_into_what_is_there(trial: ModuleTrial) -> None:
    """backward adds to the gradients of the parameters exactly once, and overwrites gradInput."""
    module, x, v = trial.after_forward()
    once = trial.backward(module, x, v)
    gradients = trial.gradients(module)
    noise = [gaussian(trial.rng, g.shape) for g in gradients]
    for g, n in zip(module.parameters()[1] or [], noise, strict=True):
        g.data[...] = n
    again = trial.backward(module, x, v)
    must_all_be_equal(again, once, "gradInput of a repeated backward,")
    for i, (now, n, g) in enumerate(zip(trial.gradients(module), noise, gradients, strict=True)):
        scale = float(np.max(np.abs(n), initial=0) + np.max(np.abs(g), initial=0))
        must_be_close(
            now - n, g, f"what backward added to the gradient of parameter {i}",
            relative=1e-12, scale=scale,
        )  # fmt: skip


@LAWS()
def accumulated_gradients_are_linear_in_scale(trial: ModuleTrial) -> None:
    """accGradParameters(x, g, s) adds s times what scale 1 adds; gradInput does not change."""
    module, x, v = trial.after_forward()
    unscaled = trial.backward(module, x, v)
    one = trial.gradients(module)
    for scale in (0.5, -2.0, 0.3):
        trial.with_zero_gradients(module)
        must_be = trial.backward(module, x, v, scale)
        must_all_be_equal(must_be, unscaled, f"gradInput with scale {scale},")
        for i, (s, g) in enumerate(zip(trial.gradients(module), one, strict=True)):
            must_be_close(
                s, scale * g, f"gradient of parameter {i} with scale {scale}", relative=1e-14
            )


@LAWS()
def zero_grad_parameters_zeroes_every_gradient(trial: ModuleTrial) -> None:
    """zeroGradParameters sets the gradients to 0 and leaves the parameters."""
    module, x, v = trial.after_forward()
    trial.backward(module, x, v)
    values = trial.values(module)
    module.zeroGradParameters()
    for i, g in enumerate(trial.gradients(module)):
        must(not g.any(), f"gradient of parameter {i} is not 0")
    must_all_be_equal(trial.values(module), values, "parameter")


@LAWS()
def update_parameters_subtracts_the_gradient_times_the_rate(trial: ModuleTrial) -> None:
    """updateParameters gives p − rate·gradient for each parameter; gradients stay."""
    module, x, v = trial.after_forward()
    trial.backward(module, x, v)
    values, gradients = trial.values(module), trial.gradients(module)
    module.updateParameters(0.125)
    must_all_be_equal(trial.gradients(module), gradients, "gradient of parameter")
    for i, (now, p, g) in enumerate(zip(trial.values(module), values, gradients, strict=True)):
        scale = float(np.max(np.abs(p), initial=0) + np.max(np.abs(g), initial=0))
        must_be_close(now, p - 0.125 * g, f"parameter {i}", relative=1e-14, scale=scale)


@LAWS()
def acc_update_grad_parameters_is_one_step_that_keeps_the_gradients(trial: ModuleTrial) -> None:
    """accUpdateGradParameters gives p − rate·(this gradient), whatever was accumulated before."""
    module, x, v = trial.after_forward()
    trial.backward(module, x, v)
    values, gradients = trial.values(module), trial.gradients(module)
    module.accUpdateGradParameters(x, trial.grad_output(module, v), 0.125)
    must_all_be_equal(trial.gradients(module), gradients, "gradient of parameter")
    for i, (now, p, g) in enumerate(zip(trial.values(module), values, gradients, strict=True)):
        scale = float(np.max(np.abs(p), initial=0) + np.max(np.abs(g), initial=0))
        must_be_close(now, p - 0.125 * g, f"parameter {i}", relative=1e-13, scale=scale)


@LAWS()
def backward_with_another_input_is_an_error(trial: ModuleTrial) -> NotCovered | None:
    """backward with another input raises ValueError and leaves the gradients."""
    module, x, v = trial.after_forward()
    floats = floating_arrays(trial.input)
    if not floats or not floats[0].size:
        return NotCovered("no floating point input, or an empty one")
    trial.backward(module, x, v)
    gradients = trial.gradients(module)
    must_refuse(lambda: trial.backward(module, trial.other_input(), v), "backward(another input)")
    must_all_be_equal(trial.gradients(module), gradients, "gradient of parameter")
    return None


@LAWS()
def a_plain_call_gives_the_output_and_keeps_no_state(trial: ModuleTrial) -> None:
    """module(x) gives the bits of forward and changes no output, gradInput or gradient.

    Where a recurrent module inside has one operation for all its steps (`parts_of_run`), a plain
    call may run it, and forward keeps the steps: they agree but for the order of sums.
    """
    module, x, v = trial.after_forward()
    expected = [np.array(y.numpy()) for y in leaves(module.output)]
    trial.backward(module, x, v)
    gradients, grad_input = trial.gradients(module), trial.grad_input(module)
    trial.call(module, trial.other_input())
    must_all_be_equal([y.numpy() for y in leaves(module.output)], expected, "output")
    must_all_be_equal(trial.grad_input(module), grad_input, "gradInput")
    must_all_be_equal(trial.gradients(module), gradients, "gradient of parameter")
    devices.manual_seed(trial.draws.seed)
    called = [y.numpy() for y in leaves(trial.call(trial.copy(), x))]
    if not _may_run_at_once(module):
        must_all_be_equal(called, expected, "output of a plain call,")
        return
    must(len(called) == len(expected), f"output of a plain call: {len(called)} arrays")
    for y, e in zip(called, expected, strict=True):
        must_agree(y, e, "output of a plain call")


def _may_run_at_once(module: Any) -> bool:
    """Whether a cell inside says that one operation computes all its steps."""
    cells = (m for m in module.listModules() if hasattr(m, "parts_of_run"))
    return any(cell.parts_of_run() is not None for cell in cells)
