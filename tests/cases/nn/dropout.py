"""Examples for nn/layers/dropout.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def dropout(d):
    module = nn.Dropout(d.choice([0.5, 0.0, 0.25]), d.choice([False, True]))
    return Layer(module, d.array(d.shape("N A? B?")), batch="evaluate")


def map_dropout(kind, names):
    def draw(d):
        shape = d.shape(names)
        batch = "evaluate" if len(shape) == len(names.split()) else None
        return Layer(kind(d.choice([0.5, 0.25])), d.array(shape), d.array((2,)), batch)

    return draw


def white_noise(d):
    return Layer(nn.WhiteNoise(0.25, 0.5), d.array(d.shape("N A? B?")), batch="evaluate")


def alpha_dropout(d):
    return Layer(nn.AlphaDropout(d.choice([0, 0.25])), d.array(d.shape("N A?")), batch="evaluate")


MODULES = {
    "AlphaDropout": alpha_dropout,
    "Dropout": dropout,
    "SpatialDropout": map_dropout(nn.SpatialDropout, "N? C H W"),
    "VolumetricDropout": map_dropout(nn.VolumetricDropout, "N? C T H W"),
    "WhiteNoise": white_noise,
}


EXCEPTIONS = {
    ("WhiteNoise", "float32_agrees_with_float64"): "the two dtypes draw different numbers",
}
