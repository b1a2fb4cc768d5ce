"""Examples for autograd/ops/elementwise/; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import complex_one, elementwise, one, setting

from tapegrad.autograd.check import TrialCall


def arctan2(d):
    """Off the negative half-axis, where the angle jumps, except in ordinary data."""
    first, second = d.broadcastable(2)
    return TrialCall([d.array(first), d.array(second, None if d.regime == "ordinary" else 0)])


def where(d):
    c, x1, x2 = d.broadcastable(3)
    return TrialCall([d.booleans(c), d.array(x1), d.array(x2)])


def clip(d):
    low, high = d.choice([(-0.5, 0.75), (None, 0.25), (-1.5, None)])
    return TrialCall([d.array(d.shape())], {"a_min": low, "a_max": high})


def integers(low, high, count=2, **settings):
    def draw(d):
        return TrialCall(
            [d.integers(shape, low, high) for shape in d.broadcastable(count)], settings
        )

    return draw


def shifts(d):
    first, second = d.broadcastable(2)
    return TrialCall([d.integers(first, 0, 100), d.integers(second, 0, 5)])


def ldexp(d):
    first, second = d.broadcastable(2)
    return TrialCall([d.array(first), d.integers(second, -3, 4)])


def numpy_clip(d):
    x = d.array((3, 2))
    low, high = d.array((2,), None, -0.5), d.array((3, 1), 0.5)
    return TrialCall([x, low, high])


OPERATIONS = {
    **{name: elementwise(name) for name in (
        "absolute", "absolute_slope", "guarded_divide", "guarded_sqrt", "larger_share",
        "over_cosh_squared", "add",
        "arccos", "arccosh", "arcsin", "arctanh", "cbrt", "ceil", "conjugate",
        "copysign", "cos", "degrees", "divide", "equal", "fabs", "floor", "floor_divide", "fmax",
        "fmin", "fmod", "greater", "greater_equal", "heaviside", "hypot", "identity", "imag",
        "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10", "log1p", "log2",
        "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor",
        "maximum", "minimum", "multiply", "negative", "nextafter", "not_equal", "phase", "positive",
        "rad2deg", "radians", "real", "reciprocal", "remainder", "rint", "signbit", "signum", "sin",
        "sqrt", "square", "subtract", "tanh", "trunc"
    )},
    **{name: integers(-9, 9) for name in (
        "bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm"
    )},
    "absolute_square": complex_one,
    "arcsinh": elementwise("arcsinh", cut=True),
    "arctan": elementwise("arctan", cut=True),
    "arctan2": arctan2,
    "bitwise_count": integers(-9, 9, 1),
    "cast": setting(dtype=np.dtype(np.float64)),
    "clip": clip,
    "cosh": elementwise("cosh", large=10.0),
    "deg2rad": elementwise("deg2rad", large=100.0),
    "exp": elementwise("exp", large=10.0),
    "exp2": elementwise("exp2", large=10.0),
    "expm1": elementwise("expm1", large=10.0),
    "invert": integers(-9, 9, 1),
    "ldexp": ldexp,
    "left_shift": shifts,
    "numpy_clip": numpy_clip,
    "power": elementwise("power", large=5.0),
    "right_shift": shifts,
    "sign": one,
    "sinh": elementwise("sinh", large=10.0),
    "spacing": one,
    "tan": elementwise("tan", large=1.0),
    "where": where,
}  # fmt: skip


EXCEPTIONS = {
    ("fmax", "nan_stays_nan"): "leaving NaN out is what it is for",
    ("fmin", "nan_stays_nan"): "leaving NaN out is what it is for",
    ("spacing", "float32_agrees_with_float64"): "it tells the precision of the dtype",
}
