"""Examples for autograd/ops/distance.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import not_the_derivative

from tapegrad.autograd.check import TrialCall


def away_from_zero(d, shape):
    return d.array(shape, 0) * np.where(d.booleans(shape), 1.0, -1.0)


def norm(d):
    shape = d.shape("N A B")
    settings = {"axis": d.choice([1, 2, -1]), "p": d.choice([2, 1, 1.5, 3])}
    return TrialCall([away_from_zero(d, shape)], settings)


def power_of_size(d):
    return TrialCall([away_from_zero(d, d.shape())], {"p": d.choice([2, 1, 1.5, 3, 4])})


def centroids(d):
    k, dim = d.size("k"), d.size("dim")
    return TrialCall([d.array((d.size("N"), dim)), d.array((k, dim))])


OPERATIONS = {
    "guarded_norm": norm,
    "guarded_power": power_of_size,
    "nearest_centroid": centroids,
}


EXCEPTIONS = {
    **not_the_derivative(
        "nearest_centroid", "the rule is k-means' step; the output is a whole number"
    ),
    ("nearest_centroid", "its_gradient_is_linear_in_the_cotangent"): "the cotangent is not used",
    ("nearest_centroid", "pushed_tangents_agree_with_its_gradient"): "a whole number does not move",
}
