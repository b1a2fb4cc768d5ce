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


def cropping(kind, sides, last):
    def draw(d):
        crops = [(d.integer(0, 1), d.integer(0, 2)) for _ in range(sides)]
        lengths = tuple(sum(crop) + d.integer(1, 2) for crop in crops)
        channels = d.size("C", 1, 2)
        format = d.choice([None, last])
        own = (*lengths, channels) if format else (channels, *lengths)
        module = kind(*crops, *([format] if format else []))
        return Layer(module, d.array((*d.shape("N"), *own)), d.array(own), "always")

    return draw


MODULES = {
    "Cropping2D": cropping(nn.Cropping2D, 2, "NHWC"),
    "Cropping3D": cropping(nn.Cropping3D, 3, "channel_last"),
    "SpatialReflectionPadding": padding(nn.SpatialReflectionPadding, 2, 0),
    "SpatialReplicationPadding": padding(nn.SpatialReplicationPadding, 2, -1),
    "SpatialZeroPadding": padding(nn.SpatialZeroPadding, 2, -1),
    "VolumetricReplicationPadding": padding(nn.VolumetricReplicationPadding, 3, -1),
}
