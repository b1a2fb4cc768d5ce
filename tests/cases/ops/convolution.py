"""Examples for autograd/ops/convolution.py; see `cases`."""

from __future__ import annotations

from cases.common import lengths

from tapegrad.autograd import ops, primitives
from tapegrad.autograd.check import TrialCall


def conv2d(d):
    groups = d.choice([1, 1, 2])
    kernel = (d.integer(1, 3), d.integer(1, 3))
    settings = {
        "stride": (d.integer(1, 2), d.integer(1, 3)),
        "padding": (d.integer(0, 2), d.integer(0, 1)),
        "dilation": (d.integer(1, 2), 1),
        "groups": groups,
    }
    height, width = (
        max(1, settings["dilation"][i] * (kernel[i] - 1) + 1 - 2 * settings["padding"][i])
        + d.integer(0, 3)
        for i in range(2)
    )
    n, c, o = d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), d.size("O", 1, 2)
    x = d.array((n, groups * c, height, width))
    return TrialCall([x, d.array((groups * o, c, *kernel))], settings)


def conv2d_input_gradient(d):
    call = conv2d(d)
    x, w = call.args
    y = primitives()["conv2d"](x, w, **call.settings)
    return TrialCall([d.array(y.shape), w], {"shape": x.shape, **call.settings})


def conv2d_weight_gradient(d):
    call = conv2d(d)
    x, w = call.args
    y = primitives()["conv2d"](x, w, **call.settings)
    return TrialCall([x, d.array(y.shape)], {"shape": w.shape, **call.settings})


def conv(axes):
    def draw(d):
        groups = d.choice([1, 1, 2])
        kernel = tuple(d.integer(1, 2 if axes == 3 else 3) for _ in range(axes))
        settings = {
            name: tuple(d.integer(low, high) for _ in range(axes))
            for name, low, high in (("stride", 1, 2), ("padding", 0, 1), ("dilation", 1, 2))
        }
        sides = lengths(d, kernel, settings["padding"], settings["dilation"])
        if axes == 1:
            settings = {name: value for name, (value,) in settings.items()}
        n, c, o = d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), d.size("O", 1, 2)
        x, w = d.array((n, groups * c, *sides)), d.array((groups * o, c, *kernel))
        return TrialCall([x, w], {**settings, "groups": groups})

    return draw


def conv_input_gradient(axes):
    function = {1: ops.conv1d, 3: ops.conv3d}[axes]

    def draw(d):
        call = conv(axes)(d)
        x, w = call.args
        y = function(x, w, **call.settings)
        return TrialCall([d.array(y.shape), w], {"shape": x.shape, **call.settings})

    return draw


OPERATIONS = {
    "conv1d": conv(1),
    "conv1d_input_gradient": conv_input_gradient(1),
    "conv2d": conv2d,
    "conv2d_input_gradient": conv2d_input_gradient,
    "conv2d_weight_gradient": conv2d_weight_gradient,
    "conv3d": conv(3),
    "conv3d_input_gradient": conv_input_gradient(3),
}
