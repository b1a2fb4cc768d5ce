"""Examples for nn/layers/rectifiers.py; see `cases`."""

from __future__ import annotations

from cases.common import anywhere, not_the_derivative

from tapegrad import nn
from tapegrad.autograd.check import Layer


def prelu(d):
    planes = d.choice([0, 3])
    shape = d.shape("N A? B?") if not planes else d.choice([(3,), (2, 3), (2, 3, 2), (1, 3, 2, 2)])
    wrong = d.array((4,)) if planes else None
    module = nn.PReLU(planes)
    return Layer(module, d.array(shape), wrong, "always" if not planes or len(shape) > 1 else None)


def rrelu(d):
    module = nn.RReLU(*d.choice([(), (0.1, 0.5), (0.25, 0.25)]))
    return Layer(module, d.array(d.shape("N A? B?")), batch="evaluate")


def crelu(d):
    module = nn.CReLU(d.choice([1, 2]))
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


def s_shaped(d):
    shape = (d.size("A"), *d.shape("B?"))
    module = nn.SReLU(shape, d.choice([None, [0]]))
    module.tLeft.numpy()[...] = d.rng.uniform(-1, -0.2, module.tLeft.shape)
    module.tRight.numpy()[...] = d.rng.uniform(0.2, 1, module.tRight.shape)
    return Layer(module, d.array((*d.shape("N"), *shape)), d.array((2, *shape, 2)), "always")


MODULES = {
    "BinaryThreshold": anywhere(lambda d: nn.BinaryThreshold(d.choice([1e-6, 0.3]))),
    "CReLU": crelu,
    "ELU": anywhere(lambda d: nn.ELU(d.choice([1, 0.5]))),
    "LeakyReLU": anywhere(lambda d: nn.LeakyReLU(d.choice([0.01, 0.3]))),
    "PReLU": prelu,
    "RReLU": rrelu,
    "ReLU": anywhere(lambda d: nn.ReLU(d.choice([False, True]))),
    "ReLU6": anywhere(lambda d: nn.ReLU6(d.choice([False, True]))),
    "SReLU": s_shaped,
    "Threshold": anywhere(lambda d: nn.Threshold(*d.choice([(), (0.2, -0.5), (-0.3, 1)]))),
}


EXCEPTIONS = not_the_derivative("BinaryThreshold", "a step has no derivative but 0")
