"""Examples for nn/layers/padding.py; see `cases`."""

from __future__ import annotations

from cases.common import sample

from tapegrad import nn
from tapegrad.autograd.check import Layer


def padding(kind, sides, least):
    def draw(d):
        module = kind(*(d.integer(least, 2) for _ in range(2 * sides)))
        shape, _, batch = sample(d, d.size("C", 1, 2), tuple(d.integer(3, 4) for _ in range(sides)))
        return Layer(module, d.array(shape), d.array(shape[-1:]), batch)

    return draw


MODULES = {
    "SpatialReflectionPadding": padding(nn.SpatialReflectionPadding, 2, 0),
    "SpatialReplicationPadding": padding(nn.SpatialReplicationPadding, 2, -1),
    "SpatialZeroPadding": padding(nn.SpatialZeroPadding, 2, -1),
    "VolumetricReplicationPadding": padding(nn.VolumetricReplicationPadding, 3, -1),
}
