"""Examples for autograd/ops/pooling.py; see `cases`."""

from __future__ import annotations

from cases.common import lengths

from tapegrad.autograd import primitives
from tapegrad.autograd.check import TrialCall


def windows(d, *, dilated=False):
    """Kernel, stride and padding of a pooling as settings, and an image shape that holds one."""
    kernel = (d.integer(1, 3), d.integer(1, 3))
    settings = {
        "kernel": kernel,
        "stride": d.choice([None, (1, 1), (2, 1)]),
        "padding": tuple(d.integer(0, k // 2) for k in kernel),
        "ceil_mode": d.choice([False, True]),
    }
    dilation = (1, d.integer(1, 2)) if dilated else (1, 1)
    if dilated:
        settings["dilation"] = dilation
    height, width = (dilation[i] * (kernel[i] - 1) + 1 + d.integer(0, 3) for i in range(2))
    return settings, (d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), height, width)


def max_pool2d(d):
    settings, shape = windows(d, dilated=True)
    return TrialCall([d.array(shape)], settings)


def picks(d):
    """An image's shape and the picks of some max pooling of it."""
    settings, shape = windows(d)
    image = d.rng.standard_normal(shape)
    return shape, primitives()["max_pool2d"].with_aux(image, **settings)[1]


def max_pool2d_gather(d):
    shape, indices = picks(d)
    return TrialCall([d.array(shape), indices])


def max_unpool2d(d):
    shape, indices = picks(d)
    return TrialCall([d.array(indices.shape), indices], {"shape": shape})


def avg_pool2d(d):
    settings, shape = windows(d)
    settings["count_include_pad"] = d.choice([True, False])
    settings["divide"] = d.choice([True, True, False])
    return TrialCall([d.array(shape)], settings)


def avg_pool2d_gradient(d):
    call = avg_pool2d(d)
    [image] = call.args
    y = primitives()["avg_pool2d"](image, **call.settings)
    return TrialCall([d.array(y.shape)], {"shape": image.shape, **call.settings})


def check_positions(d):
    shape = d.shape("N A B")
    return TrialCall([d.integers(shape, 0, 6)], {"shape": shape, "size": 6})


def max_pool3d(d):
    kernel = tuple(d.integer(1, 2) for _ in range(3))
    settings = {
        "kernel": kernel,
        "stride": d.choice([None, 1, (1, 2, 1)]),
        "padding": tuple(d.integer(0, k // 2) for k in kernel),
        "dilation": d.choice([1, (1, 2, 1)]),
        "ceil_mode": d.choice([False, True]),
    }
    dilation = (1, 1, 1) if settings["dilation"] == 1 else settings["dilation"]
    sides = lengths(d, kernel, (0, 0, 0), dilation)
    shape = (d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), *sides)
    return TrialCall([d.array(shape)], settings)


def avg_pool3d(d):
    kernel = tuple(d.integer(1, 2) for _ in range(3))
    sides = lengths(d, kernel, (0, 0, 0), (1, 1, 1))
    shape = (d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), *sides)
    return TrialCall([d.array(shape)], {"kernel": kernel, "stride": d.choice([None, 1, (2, 1, 1)])})


OPERATIONS = {
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_gradient": avg_pool2d_gradient,
    "avg_pool3d": avg_pool3d,
    "check_positions": check_positions,
    "max_pool2d": max_pool2d,
    "max_pool2d_gather": max_pool2d_gather,
    "max_pool3d": max_pool3d,
    "max_unpool2d": max_unpool2d,
}
