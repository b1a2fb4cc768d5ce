"""Examples for nn/layers/reduction.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def extremum(kind):
    def draw(d):
        module = d.choice([kind(1), kind(-1), kind(0, 2)])
        return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")

    return draw


def total(d):
    module = d.choice([
        nn.Sum(1), nn.Sum(0, 2, True), nn.Sum(-1, None, False, False), nn.Sum(2, None, True)
    ])  # fmt: skip
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


def mean(d):
    module = d.choice([nn.Mean(1), nn.Mean(0, 2), nn.Mean(-1)])
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


MODULES = {
    "Max": extremum(nn.Max),
    "Mean": mean,
    "Min": extremum(nn.Min),
    "Sum": total,
}
