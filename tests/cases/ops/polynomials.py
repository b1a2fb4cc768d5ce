"""Examples for autograd/ops/polynomials.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import apart

from tapegrad.autograd.check import TrialCall


def vander(d):
    return TrialCall([d.array((d.size("A"),))], {
        "N": d.choice([None, 3]), "increasing": d.choice([False, True])
    })  # fmt: skip


def polynomials(d):
    first, second = d.array((d.integer(1, 4),)), d.array((d.integer(1, 4),))
    first[0], second[0] = first[0] + 5, second[0] + 5  # a leading 0 would be dropped
    return TrialCall([first, second])


def polydiv(d):
    second = d.normal((d.integer(1, 3),))
    second[0] = 2
    return TrialCall([d.normal((4,)), second])


def polynomial(d):
    return TrialCall([d.array((d.integer(2, 4),))], {"m": d.choice([1, 2])})


def polyval(d):
    return TrialCall([d.array((d.integer(1, 4),)), d.array(d.shape("N A"), large=10.0)])


def polyfit(d):
    x = apart(d, (6,))
    return TrialCall([x, d.array((6,)), 2])


def roots(d):
    """Two complex ones, which no step of the checker makes real."""
    return TrialCall([np.array([8.0, 0.0, 50.0]) + d.uniform(0, 1, (3,))])


OPERATIONS = {
    **dict.fromkeys((
        "polyadd", "polymul", "polysub"
    ), polynomials),
    "poly": lambda d: TrialCall([d.array((d.integer(1, 3),), large=5.0)]),
    "polyder": polynomial,
    "polydiv": polydiv,
    "polyfit": polyfit,
    "polyint": polynomial,
    "polyval": polyval,
    "roots": roots,
    "vander": vander,
}  # fmt: skip


EXCEPTIONS = {
    ("polyfit", "float32_agrees_with_float64"): "it computes in double precision",
    ("vander", "float32_agrees_with_float64"): "it computes in double precision",
    ("polyder", "float32_agrees_with_float64"): "NumPy multiplies by 64-bit integers",
    ("polyint", "float32_agrees_with_float64"): "NumPy divides by 64-bit integers",
    **{
        (name, "replay_equals_eager"): "how many results there are is decided by their values"
        for name in (
            "polydiv", "polymul", "roots"
        )
    },
}  # fmt: skip
