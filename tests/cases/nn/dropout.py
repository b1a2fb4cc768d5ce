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


def gaussian(kind):
    return lambda d: Layer(kind(0.25), d.array(d.shape("N A? B?")), batch="evaluate")


def map_dropout_of(kind, names, **options):
    def draw(d):
        order = {"format": d.choice(["NCHW", "NHWC"])} if options else {}
        shape = d.shape(names)
        batch = "evaluate" if len(shape) == len(names.split()) else None
        return Layer(kind(d.choice([0.5, 0.25]), **order), d.array(shape), d.array((2,)), batch)

    return draw


def sampled(d):
    shape = d.shape("N A")
    x = [d.array(shape), d.array(shape, large=3.0)]
    return Layer(nn.GaussianSampler(), x, [x[0], d.array((*shape, 2))])


MODULES = {
    "GaussianDropout": gaussian(nn.GaussianDropout),
    "GaussianNoise": gaussian(nn.GaussianNoise),
    "GaussianSampler": sampled,
    "SpatialDropout1D": map_dropout_of(nn.SpatialDropout1D, "N? T C"),
    "SpatialDropout2D": map_dropout_of(nn.SpatialDropout2D, "N? C H W", order=True),
    "SpatialDropout3D": map_dropout_of(nn.SpatialDropout3D, "N? C T H W", order=True),
    "AlphaDropout": alpha_dropout,
    "Dropout": dropout,
    "SpatialDropout": map_dropout(nn.SpatialDropout, "N? C H W"),
    "VolumetricDropout": map_dropout(nn.VolumetricDropout, "N? C T H W"),
    "WhiteNoise": white_noise,
}


EXCEPTIONS = {
    (
        "GaussianSampler",
        "evaluation_is_deterministic_and_changes_nothing",
    ): "it samples in evaluate(), too",
    (
        "GaussianSampler",
        "clones_in_threads_give_what_one_thread_gives",
    ): "it samples in evaluate(), too",
    **{
        (name, "float32_agrees_with_float64"): "the two dtypes draw different numbers"
        for name in ("GaussianDropout", "GaussianNoise", "GaussianSampler")
    },
    ("WhiteNoise", "float32_agrees_with_float64"): "the two dtypes draw different numbers",
}
