"""Laws of training and evaluation mode, of freezing, and of random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_all_be_equal,
    must_be_close,
    must_be_equal,
)
from tapegrad.autograd.core.tree import leaves

if TYPE_CHECKING:
    from tapegrad.autograd.check.modules.trial import ModuleTrial

__all__ = ["LAWS"]

LAWS = Laws("module")


@LAWS()
def evaluation_is_deterministic_and_changes_nothing(trial: ModuleTrial) -> None:
    """In evaluation mode two seeds give equal bits, and parameters and buffers stay."""
    module, x = trial.copy().evaluate(), trial.on_input()
    state = module.state_dict()
    devices.manual_seed(1)
    first = [np.array(y.numpy()) for y in leaves(trial.run(module, x))]
    devices.manual_seed(2)
    second = [np.array(y.numpy()) for y in leaves(trial.run(module, x))]
    must_all_be_equal(second, first, "output with another seed,")
    for name, value in module.state_dict().items():
        must_be_equal(value, state[name], name)


@LAWS()
def equal_seeds_give_equal_results(trial: ModuleTrial) -> None:
    """Two equal modules with one seed give equal outputs, gradients and buffers."""
    first, second, x = (
        trial.with_zero_gradients(trial.copy()),
        trial.with_zero_gradients(trial.copy()),
        trial.on_input(),
    )
    must_all_be_equal(trial.forward(second, x), trial.forward(first, x), "output")
    v = trial.cotangents(first)
    must_all_be_equal(trial.backward(second, x, v), trial.backward(first, x, v), "gradInput")
    must_all_be_equal(trial.gradients(second), trial.gradients(first), "gradient of parameter")
    for name, value in first.state_dict().items():
        must_be_equal(second.state_dict()[name], value, name)


@LAWS(effort=0.1)
def it_is_random_only_if_its_case_says_so(trial: ModuleTrial) -> NotCovered | None:
    """stochastic=True: random numbers are drawn in training mode; False: in no mode."""
    if not trial.stochastic:
        must(
            trial.stochastic is None or not trial.is_random(),
            "random numbers are drawn: say stochastic=True in the case, if they are meant to be",
        )
        return (
            NotCovered("the case says nothing on randomness") if trial.stochastic is None else None
        )
    must(not trial.training or trial.is_random(), "no random number was drawn in training mode")
    return None


@LAWS(effort=0.1)
def training_and_evaluate_reach_every_module(trial: ModuleTrial) -> None:
    """evaluate and training set the mode of every module in the tree."""
    module = trial.copy()
    for method, mode in (("evaluate", False), ("training", True), ("evaluate", False)):
        getattr(module, method)()
        for part in module.listModules():
            must(part.train == mode, f"{type(part).__name__}.train is {part.train} after {method}")


@LAWS()
def freezing_stops_the_parameters_and_nothing_else(trial: ModuleTrial) -> NotCovered | None:
    """A frozen module gives equal outputs and gradInput, adds to no gradient, and thaws whole."""
    module, x, v = trial.after_forward()
    held = trial.parameters(module)
    if not held:
        return NotCovered("it has no parameters")
    if not (hasattr(module, "freeze") and hasattr(module, "unfreeze")):
        return NotCovered("it has no freeze")
    grad_input, gradients = trial.backward(module, x, v), trial.gradients(module)
    outputs = trial.forward(trial.copy(), x)
    frozen = trial.with_zero_gradients(trial.copy())
    held = trial.parameters(frozen)
    frozen.freeze()
    must_all_be_equal(trial.forward(frozen, x), outputs, "output of the frozen module")
    found = trial.backward(frozen, x, v)
    for i, (f, e) in enumerate(zip(found, grad_input, strict=True)):
        must_be_close(f, e, f"gradInput {i} of the frozen module", relative=1e-11, scale=1.0)
    for i, parameter in enumerate(held):
        grad = parameter.grad
        must(grad is None or not np.any(grad.numpy()), f"frozen parameter {i} got a gradient")
    must(not trial.parameters(frozen), "parameters() of the frozen module are not empty")
    frozen.unfreeze()
    again = trial.with_zero_gradients(frozen)
    # a module that came with frozen parameters has more of them now, and these have no rule here
    places = {id(parameter): k for k, parameter in enumerate(trial.parameters(again))}
    must(all(id(parameter) in places for parameter in held), "parameters are lost by unfreeze")
    trial.set_mode(again)
    trial.forward(again, x)
    trial.backward(again, x, v)
    thawed = trial.gradients(again)
    for i, (parameter, e) in enumerate(zip(held, gradients, strict=True)):
        f = thawed[places[id(parameter)]]
        must_be_close(f, e, f"gradient of parameter {i} after unfreeze", relative=1e-11, scale=1.0)
    return None
