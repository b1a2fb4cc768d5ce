"""Examples for nn/layers/rearranging.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def expanded(d):
    n, a, b = d.size("N", may_be_empty=True), d.size("A"), d.size("B", 2, 3)
    target = d.choice([(-1, a, b), (-1, -1, b)])
    return Layer(nn.ExpandSize(target), d.array((n, a, 1)), d.array((n, a, b + 1)), "always")


def inferred(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    module = d.choice([
        nn.InferReshape((0, -1)), nn.InferReshape((b, a), True), nn.InferReshape((-1, b), True)
    ])  # fmt: skip
    return Layer(module, d.array((n, a, b)), batch="always")


def reversed_axes(d):
    module = nn.Reverse(d.choice([1, -1, 2]), d.choice([False, True]))
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


def tiled(d):
    module = nn.Tile(d.choice([1, -1]), d.integer(1, 3))
    return Layer(module, d.array(d.shape("N A B?")), d.array(()), "always")


MODULES = {
    "ExpandSize": expanded,
    "InferReshape": inferred,
    "Reverse": reversed_axes,
    "Tile": tiled,
}
