"""Examples for nn/layers/pointwise.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import anywhere

from tapegrad import nn
from tapegrad.autograd.check import Layer


def componentwise(kind):
    def draw(d):
        a, b = d.size("A", 2, 4), d.size("B")
        module = d.choice([kind(a, b), kind(a * b), kind(1, a, 1), kind(1, a, b)])
        return Layer(module, d.array(d.shape("N A B")), d.array((2, a + 1, b)), "always")

    return draw


def add(d):
    a, b = d.size("A"), d.size("B")
    if d.choice([False, True]):
        return Layer(nn.Add(1, True), d.array(d.shape("N A B")), batch="always")
    return Layer(nn.Add(a * b), d.array(d.shape("N A B")), d.array((2, a * b + 1)), "always")


def add_constant(d):
    constant = d.choice([1.5, np.linspace(-1, 1, d.size("A"))])
    broadcasts = isinstance(constant, float) or len(constant) == 1
    wrong = None if broadcasts else d.array((2, len(constant) + 1))
    return Layer(nn.AddConstant(constant), d.array(d.shape("N A")), wrong, "always")


def constant(d):
    module = nn.Constant(np.linspace(-1, 1, d.size("B")), 1)
    return Layer(module, d.array(d.shape("N A")), batch="always")


MODULES = {
    "Add": add,
    "AddConstant": add_constant,
    "CAdd": componentwise(nn.CAdd),
    "CMul": componentwise(nn.CMul),
    "Constant": constant,
    "Mul": anywhere(lambda _: nn.Mul()),
    "MulConstant": anywhere(lambda d: nn.MulConstant(d.choice([2.5, -1, 0]))),
    "Scale": componentwise(nn.Scale),
    "SAdd": anywhere(lambda d: nn.SAdd(d.choice([0.5, -2]))),
}
