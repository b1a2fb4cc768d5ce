"""Examples for nn/layers/activation.py; see `cases`."""

from __future__ import annotations

from cases.common import anywhere

from tapegrad import nn
from tapegrad.autograd.check import Layer


def identity(d):
    shape = d.shape("N A")
    x = d.array(shape)
    table = [x, [d.array(shape), d.array(shape[:1])]]
    return Layer(nn.Identity(), d.choice([x, table]), batch="always")


def fixed(kind, **options):
    return anywhere(lambda _: kind(), **options)


def bounded(kind):
    return anywhere(lambda d: kind(*d.choice([(-1, 1), (-0.5, 0.7), (0.25, 1.5)])))


def powers(d):
    p = d.choice([2, 2.5, 3])
    line = d.choice([(), (0.5, 1.5)])
    return Layer(nn.Power(p, *line), d.array(d.shape("N A?"), 0.0, large=10.0), batch="always")


def gated(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    last = d.choice([True, False])
    module = nn.GatedLinearUnit(d.choice([None, 2, -1]) if last else 1)
    shape = (n, a, 2 * b) if last else (n, 2 * a, b)
    wrong = (n, a, 2 * b + 1) if last else (n, 2 * a + 1, b)
    return Layer(module, d.array(shape), d.array(wrong), "always")


MODULES = {
    "Abs": fixed(nn.Abs),
    "Clamp": bounded(nn.Clamp),
    "Exp": fixed(nn.Exp, large=10.0),
    "GELU": anywhere(lambda d: nn.GELU(d.choice(["none", "tanh"])), large=3.0),
    "GatedLinearUnit": gated,
    "HardShrink": anywhere(lambda d: nn.HardShrink(d.choice([0.5, 0.3]))),
    "HardSigmoid": fixed(nn.HardSigmoid),
    "HardTanh": bounded(nn.HardTanh),
    "Identity": identity,
    "Log": fixed(nn.Log, low=0.0),
    "LogSigmoid": fixed(nn.LogSigmoid),
    "Mish": fixed(nn.Mish),
    "Negative": anywhere(lambda d: nn.Negative(d.choice([False, True]))),
    "Power": powers,
    "SiLU": fixed(nn.SiLU),
    "Sigmoid": anywhere(lambda _: nn.Sigmoid()),
    "SoftPlus": anywhere(lambda d: nn.SoftPlus(d.choice([1, 2.5])), large=5.0),
    "SoftShrink": anywhere(lambda d: nn.SoftShrink(d.choice([0.5, 0.3]))),
    "SoftSign": fixed(nn.SoftSign),
    "Sqrt": fixed(nn.Sqrt, low=0.0),
    "Square": fixed(nn.Square),
    "Tanh": anywhere(lambda _: nn.Tanh()),
    "TanhShrink": fixed(nn.TanhShrink),
}
