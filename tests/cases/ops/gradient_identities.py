"""Examples for autograd/ops/gradient_identities.py; see `cases`."""

from __future__ import annotations

from cases.common import not_the_derivative

from tapegrad.autograd.check import TrialCall


def scaled(d):
    shape = d.shape()
    return TrialCall([d.array(shape), d.array((*shape[:-1], 1) if shape else ())])


def penalty(d):
    return TrialCall([d.array(d.shape())], {"weight": 0.25, "passing": d.choice([True, False])})


def ignore(gradient):
    """What a watched gradient is shown to."""


def watched(d):
    return TrialCall([d.array(d.shape())], {"watch": ignore})


def same(gradients):
    """What a hook that changes nothing returns."""
    return gradients


def replaced(d):
    return TrialCall([[d.array(d.shape()) for _ in range(d.integer(1, 3))]], {"function": same})


def extended(d):
    shape = d.shape()
    return TrialCall([d.array(shape), d.array(shape)])


def gate(d):
    return TrialCall([d.array(d.shape())], {"threshold": d.choice([0.0, 0.3])})


OPERATIONS = {
    "add_gradient": extended,
    "penalize_l1": penalty,
    "replace_gradients": replaced,
    "scale_gradient": scaled,
    "step_with_gate": gate,
    "watch_gradient": watched,
}


EXCEPTIONS = {
    **not_the_derivative("add_gradient", "a gradient is added that is not the output's"),
    ("add_gradient", "its_gradient_is_linear_in_the_cotangent"): "what is added stays as it is",
    ("add_gradient", "pushed_tangents_agree_with_its_gradient"): "a tangent gets none of it",
    **not_the_derivative("step_with_gate", "a step has no derivative but 0"),
    **not_the_derivative("scale_gradient", "the gradient is multiplied on its way"),
    **not_the_derivative(
        "penalize_l1", "the gradient of a penalty is added that is not in the output", second=False
    ),
    ("penalize_l1", "its_gradient_is_linear_in_the_cotangent"): "the penalty has a gradient anyway",
    ("penalize_l1", "pushed_tangents_agree_with_its_gradient"): "the output has no penalty",
}
