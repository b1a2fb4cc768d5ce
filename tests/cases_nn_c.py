"""Cases of the transfer functions, criterions, graphs, recurrent and modern layers."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Call, Layer

# Primitives ---------------------------------------------------------------------------------------


def one_of_any_shape(d):
    return Call([d.array(d.shape(), large=3.0)])


PRIMITIVES = {"erf": one_of_any_shape}

# Transfer functions -------------------------------------------------------------------------------


def anywhere(make, low=None, high=None, large=1000.0):
    """Elementwise: any shape, any first axis is a batch."""

    def draw(d):
        x = d.array(d.shape("N A? B?"), low, high, large=large)
        return Layer(make(d), x, batch="always")

    return draw


def fixed(kind, **options):
    return anywhere(lambda _: kind(), **options)


def classes(make):
    """(C,), (N, C), (C, H, W) or (N, C, H, W)."""

    def draw(d):
        shape = d.shape(d.choice(["C", "N C", "C H W", "N C H W"]))
        batch = "always" if len(shape) in (2, 4) else None
        return Layer(make(), d.array(shape), wrong=d.array((1,) * 5), batch=batch)

    return draw


def bounded(kind):
    return anywhere(lambda d: kind(*d.choice([(-1, 1), (-0.5, 0.7), (0.25, 1.5)])))


def powers(d):
    p = d.choice([2, 2.5, 3])
    return Layer(nn.Power(p), d.array(d.shape("N A?"), 0.0, large=10.0), batch="always")


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


def gated(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    last = d.choice([True, False])
    module = nn.GatedLinearUnit(d.choice([None, 2, -1]) if last else 1)
    shape = (n, a, 2 * b) if last else (n, 2 * a, b)
    wrong = (n, a, 2 * b + 1) if last else (n, 2 * a + 1, b)
    return Layer(module, d.array(shape), d.array(wrong), "always")


TRANSFER_FUNCTIONS = {
    "Abs": fixed(nn.Abs),
    "CReLU": crelu,
    "Clamp": bounded(nn.Clamp),
    "ELU": anywhere(lambda d: nn.ELU(d.choice([1, 0.5]))),
    "Exp": fixed(nn.Exp, large=10.0),
    "GELU": anywhere(lambda d: nn.GELU(d.choice(["none", "tanh"])), large=3.0),
    "GatedLinearUnit": gated,
    "HardShrink": anywhere(lambda d: nn.HardShrink(d.choice([0.5, 0.3]))),
    "HardTanh": bounded(nn.HardTanh),
    "LeakyReLU": anywhere(lambda d: nn.LeakyReLU(d.choice([0.01, 0.3]))),
    "Log": fixed(nn.Log, low=0.0),
    "LogSigmoid": fixed(nn.LogSigmoid),
    "Mish": fixed(nn.Mish),
    "PReLU": prelu,
    "Power": powers,
    "RReLU": rrelu,
    "ReLU6": anywhere(lambda d: nn.ReLU6(d.choice([False, True]))),
    "SiLU": fixed(nn.SiLU),
    "SoftMin": classes(nn.SoftMin),
    "SoftPlus": anywhere(lambda d: nn.SoftPlus(d.choice([1, 2.5])), large=5.0),
    "SoftShrink": anywhere(lambda d: nn.SoftShrink(d.choice([0.5, 0.3]))),
    "SoftSign": fixed(nn.SoftSign),
    "SpatialLogSoftMax": classes(nn.SpatialLogSoftMax),
    "SpatialSoftMax": classes(nn.SpatialSoftMax),
    "Sqrt": fixed(nn.Sqrt, low=0.0),
    "Square": fixed(nn.Square),
    "TanhShrink": fixed(nn.TanhShrink),
    "Threshold": anywhere(lambda d: nn.Threshold(*d.choice([(), (0.2, -0.5), (-0.3, 1)]))),
}

MODULES = {**TRANSFER_FUNCTIONS}
