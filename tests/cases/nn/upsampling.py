"""Examples for nn/layers/upsampling.py; see `cases`."""

from __future__ import annotations

from cases.common import sample

from tapegrad import nn
from tapegrad.autograd.check import Layer


def upsampling(make, *, films=False, singles=True):
    def draw(d):
        module = make(d)
        sides = tuple(d.integer(1, 3) for _ in range(d.choice([2, 3]) if films else 2))
        shape = (*d.shape("N?" if singles else "N"), d.size("C", 1, 2), *sides)
        batch = "always" if len(shape) == len(sides) + 2 else None
        return Layer(module, d.array(shape), d.array(shape[-1:]), batch)

    return draw


def output_sizes(d):
    return {"oheight": d.integer(1, 5), "owidth": d.integer(1, 5)}


def upsampling_of_films(d):
    mode = d.choice(["nearest", "linear"])
    if mode == "linear" and d.choice([False, True]):
        return nn.UpSampling(output_sizes(d) | {"odepth": d.integer(1, 4)}, mode)
    return nn.UpSampling(d.integer(1, 3), mode)


def pixel_shuffle(d):
    r = d.integer(1, 3)
    planes = r * r * d.size("C", 1, 2)
    shape, wrong, batch = sample(d, planes, (d.size("H", 1, 2), d.size("W", 1, 2)))
    return Layer(nn.PixelShuffle(r), d.array(shape), d.array(wrong if r > 1 else shape[-1:]), batch)


def image(make):
    """Images with the channels in front or last."""

    def draw(d):
        module = make(d, d.choice(["NCHW", "NHWC"]))
        shape = (*d.shape("N"), d.integer(1, 3), d.integer(1, 3), d.integer(1, 2))
        return Layer(module, d.array(shape), d.array(shape[1:]), "always")

    return draw


def repeated_steps(d):
    module = nn.UpSampling1D(d.integer(1, 3))
    return Layer(module, d.array(d.shape("N T C")), d.array((2, 2)), "always")


def repeated_volume(d):
    module = nn.UpSampling3D([d.integer(1, 2) for _ in range(3)])
    return Layer(module, d.array((*d.shape("N C"), 2, 1, 2)), d.array((1, 2, 2)), "always")


MODULES = {
    "ResizeBilinear": image(
        lambda d, order: nn.ResizeBilinear(
            d.integer(1, 4), d.integer(1, 4), d.choice([True, False]), order
        )
    ),
    "UpSampling1D": repeated_steps,
    "UpSampling2D": image(
        lambda d, order: nn.UpSampling2D((d.integer(1, 3), d.integer(1, 2)), order)
    ),
    "UpSampling3D": repeated_volume,
    "PixelShuffle": pixel_shuffle,
    "SpatialUpSamplingBilinear": upsampling(
        lambda d: nn.SpatialUpSamplingBilinear(d.choice([2, 3, output_sizes(d)]))
    ),
    "SpatialUpSamplingNearest": upsampling(lambda d: nn.SpatialUpSamplingNearest(d.integer(1, 3))),
    "UpSampling": upsampling(upsampling_of_films, films=True, singles=False),
}
