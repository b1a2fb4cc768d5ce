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


OPERATIONS = {
    "penalize_l1": penalty,
    "replace_gradients": replaced,
    "scale_gradient": scaled,
    "watch_gradient": watched,
}


EXCEPTIONS = {
    **not_the_derivative("scale_gradient", "the gradient is multiplied on its way"),
    **not_the_derivative(
        "penalize_l1", "the gradient of a penalty is added that is not in the output", second=False
    ),
    ("penalize_l1", "its_gradient_is_linear_in_the_cotangent"): "the penalty has a gradient anyway",
}
