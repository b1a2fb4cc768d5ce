"""Examples for nn/layers/softmax.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def classes(make):
    """(C,), (N, C), (C, H, W) or (N, C, H, W)."""

    def draw(d):
        shape = d.shape(d.choice(["C", "N C", "C H W", "N C H W"]))
        batch = "always" if len(shape) in (2, 4) else None
        return Layer(make(), d.array(shape), wrong=d.array((1,) * 5), batch=batch)

    return draw


MODULES = {
    "LogSoftMax": classes(nn.LogSoftMax),
    "SoftMax": classes(nn.SoftMax),
    "SoftMin": classes(nn.SoftMin),
    "SpatialLogSoftMax": classes(nn.SpatialLogSoftMax),
    "SpatialSoftMax": classes(nn.SpatialSoftMax),
}
