"""Examples for nn/layers/sampling.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def grid_sample(d):
    n, c, h, w = d.size("N"), d.size("C"), d.size("H", 1, 3), d.size("W", 1, 3)
    module = nn.GridSample(
        d.choice(["bilinear", "nearest"]), d.choice(["zeros", "border"]), d.choice([False, True])
    )
    grid = d.array((n, d.size("A", 1, 2), 2, 2), -1.4, 1.4)
    x = [d.array((n, c, h, w)), grid]
    return Layer(module, x, [x[0], d.array((n + 1, 2, 2, 2))], "always")


MODULES = {
    "GridSample": grid_sample,
}
