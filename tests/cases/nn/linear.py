"""Examples for nn/layers/linear.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def linear(d):
    n_in, n_out = d.size("n_in"), d.size("n_out")
    module = nn.Linear(n_in, n_out, d.choice([True, False]))
    shape = (*d.shape("N? T?"), n_in)
    return Layer(
        module,
        d.array(shape),
        wrong=d.array((*shape[:-1], n_in + 1)),
        batch="always" if len(shape) > 1 else None,
    )


def linear_weight_norm(d):
    n_in, n_out = d.size("n_in"), d.size("n_out")
    module = nn.LinearWeightNorm(n_in, n_out, d.choice([True, False]))
    shape = d.shape("N")
    return Layer(module, d.array((*shape, n_in)), d.array((*shape, n_in + 1)), "always")


def bilinear(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    module = nn.Bilinear(a, b, d.size("n_out"), d.choice([True, False]))
    x = [d.array((n, a)), d.array((n, b))]
    return Layer(module, x, [x[0], d.array((n, b + 1))], "always")


def partial_linear(d):
    n_in, n_out = d.size("n_in"), d.size("n_out", 2, 4)
    module = nn.PartialLinear(n_in, n_out, d.choice([True, False]))
    if d.choice([True, False]):
        module.setPartition(d.integers((2,), 0, n_out))
    shape = d.shape("N")
    return Layer(module, d.array((*shape, n_in)), d.array((*shape, n_in + 1)), "always")


def highway(d):
    n = d.size("A")
    module = nn.Highway(n, d.choice([True, False]), d.choice([None, nn.Tanh()]))
    return Layer(module, d.array((*d.shape("N T?"), n)), d.array((2, n + 1)), "always")


MODULES = {
    "Highway": highway,
    "Bilinear": bilinear,
    "Linear": linear,
    "LinearWeightNorm": linear_weight_norm,
    "PartialLinear": partial_linear,
}
