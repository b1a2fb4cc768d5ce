"""Examples for autograd/ops/gradient_identities.py; see `cases`."""

from __future__ import annotations

from cases.common import not_the_derivative

from tapegrad.autograd.check import Call


def scaled(d):
    shape = d.shape()
    return Call([d.array(shape), d.array((*shape[:-1], 1) if shape else ())])


def penalty(d):
    return Call([d.array(d.shape())], {"weight": 0.25, "passing": d.choice([True, False])})


def ignore(gradient):
    """What a watched gradient is shown to."""


def watched(d):
    return Call([d.array(d.shape())], {"watch": ignore})


OPERATIONS = {
    "penalized": penalty,
    "scaled_gradient": scaled,
    "watched_gradient": watched,
}


EXCEPTIONS = {
    **not_the_derivative("scaled_gradient", "the gradient is multiplied on its way"),
    **not_the_derivative(
        "penalized", "the gradient of a penalty is added that is not in the output"
    ),
    ("penalized", "its_gradient_is_linear_in_the_cotangent"): "the penalty has a gradient anyway",
}
