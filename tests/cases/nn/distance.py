"""Examples for nn/layers/distance.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import not_the_derivative

from tapegrad import nn
from tapegrad.autograd.check import Layer

GUARDED = (nn.Euclidean, nn.WeightedEuclidean, nn.PairwiseDistance)  # by `small`, under the root


def unguarded(module):
    """With next to no guard, so that the gradient is the derivative; records have the usual one."""
    if isinstance(module, GUARDED):
        assert module.small, "the guard has another name"
        module.small = 1e-30
    return module


def centred(kind):

    def draw(d):
        n_in = d.size("n_in", 2, 4)
        shape = d.shape("N?")
        batch = "always" if shape else None
        module = unguarded(kind(n_in, d.size("n_out")))
        return Layer(module, d.array((*shape, n_in)), d.array((*shape, n_in + 1)), batch)

    return draw


def between(make):
    def draw(d):
        shape = (*d.shape("N?"), d.size("A", 2, 4))
        x = [d.array(shape), d.array(shape)]
        batch = "always" if len(shape) == 2 else None
        module = unguarded(make(d))
        return Layer(module, x, [x[0], d.array((*shape, 2))], batch)

    return draw


def normalize(d):
    """eps is below what differences see: the rule guards the derivative with it, as Torch7's."""
    shape = (*d.shape("N?"), d.size("A", 2, 4))
    module = nn.Normalize(d.choice([2, 1, 1.5, 3, 4, np.inf]), 1e-14)
    return Layer(module, d.array(shape), d.array((1, 1, 1)), "always" if len(shape) == 2 else None)


def kmeans(d):
    k, dim = d.size("k"), d.size("dim")
    x = d.array((d.size("N"), dim))
    return Layer(nn.Kmeans(k, dim, d.choice([None, 0.5])), x, d.array((2, dim + 1)))


MODULES = {
    "Cosine": centred(nn.Cosine),
    "CosineDistance": between(lambda _: nn.CosineDistance()),
    "DotProduct": between(lambda _: nn.DotProduct()),
    "Euclidean": centred(nn.Euclidean),
    "Kmeans": kmeans,
    "Normalize": normalize,
    "PairwiseDistance": between(lambda d: nn.PairwiseDistance(d.choice([2, 1, 1.5, 3]))),
    "WeightedEuclidean": centred(nn.WeightedEuclidean),
}


EXCEPTIONS = {
    ("Kmeans", "pushed_tangents_agree_with_its_gradients"): "a whole number does not move",
    **not_the_derivative("Kmeans", "the gradient is k-means' step; the output is a whole number"),
}
