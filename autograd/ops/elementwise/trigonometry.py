"""Trigonometric and hyperbolic functions, their inverses, degrees and radians."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import fused_bodies
from tapegrad.autograd.ops.batch_rules import elementwise_rule
from tapegrad.autograd.ops.elementwise.arithmetic import sqrt
from tapegrad.autograd.ops.fused_bodies import fuse_elementwise
from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = [
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "cos",
    "cosh",
    "deg2rad",
    "degrees",
    "rad2deg",
    "radians",
    "over_cosh_squared",
    "sin",
    "sinh",
    "tan",
    "tanh",
]


@ufunc(np.deg2rad)
def deg2rad(x: Array) -> Array:
    """Degrees to radians: x · π / 180, elementwise."""


@ufunc(np.radians)
def radians(x: Array) -> Array:
    """Degrees to radians: x · π / 180, elementwise."""


@ufunc(np.rad2deg)
def rad2deg(x: Array) -> Array:
    """Radians to degrees: x · 180 / π, elementwise."""


@ufunc(np.degrees)
def degrees(x: Array) -> Array:
    """Radians to degrees: x · 180 / π, elementwise."""


deg2rad.vjp(x=lambda g: deg2rad(g))
radians.vjp(x=lambda g: radians(g))
rad2deg.vjp(x=lambda g: rad2deg(g))
degrees.vjp(x=lambda g: degrees(g))


@ufunc(np.sin)
def sin(x: Array) -> Array:
    """Sine, elementwise; x in radians."""


@ufunc(np.cos)
def cos(x: Array) -> Array:
    """Cosine, elementwise; x in radians."""


sin.vjp(x=lambda g, x: g * cos(x))
cos.vjp(x=lambda g, x: -(g * sin(x)))


@ufunc(np.tan)
def tan(x: Array) -> Array:
    """Tangent, elementwise; x in radians."""


tan.vjp(x=lambda g, y: g + g * (y * y))


@ufunc(np.arcsin, domain={"x": (-1, 1)})
def arcsin(x: Array) -> Array:
    """Inverse sine in radians, elementwise; -1 <= x <= 1."""


def _other_side(x: Array) -> Array:
    """√(1 - x²); of complex x beyond ±1 on the side of the cut that NumPy's inverses take."""
    if x.dtype.kind != "c":
        return sqrt((1 - x) * (1 + x))
    return sqrt(-(x - 1)) * sqrt(x + 1)  # -(x - 1) has the sign of zero that 1 - x loses


arcsin.vjp(x=lambda g, x: g / _other_side(x))


@ufunc(np.arccos, domain={"x": (-1, 1)})
def arccos(x: Array) -> Array:
    """Inverse cosine in radians, elementwise; -1 <= x <= 1."""


arccos.vjp(x=lambda g, x: -(g / _other_side(x)))


@ufunc(np.arctan)
def arctan(x: Array) -> Array:
    """Inverse tangent in radians, elementwise."""


arctan.vjp(x=lambda g, x: g / (x * x + 1))


@ufunc(np.arctan2)
def arctan2(x1: Array, x2: Array) -> Array:
    """The angle of the point (x2, x1) in radians, elementwise."""


arctan2.vjp(
    x1=lambda g, x1, x2: g * (x2 / (x1 * x1 + x2 * x2)),
    x2=lambda g, x1, x2: -(g * (x1 / (x1 * x1 + x2 * x2))),
)


@ufunc(np.sinh)
def sinh(x: Array) -> Array:
    """Hyperbolic sine, elementwise."""


@ufunc(np.cosh)
def cosh(x: Array) -> Array:
    """Hyperbolic cosine, elementwise."""


sinh.vjp(x=lambda g, x: g * cosh(x))
cosh.vjp(x=lambda g, x: g * sinh(x))
fuse_elementwise(sinh, cosh, warns=True)


@ufunc(np.tanh)
def tanh(x: Array) -> Array:
    """Hyperbolic tangent, elementwise."""


FEW = 4096  # entries below which operations cost their call more than their work

# NumPy's state of floating point errors belongs to a context, so a call in a copy of this one is as
# fast as any, and says nothing of overflow.
_quiet = contextvars.Context()
_quiet.run(np.seterr, over="ignore")
_quiet_context, _cosh, _divide = _quiet.copy, np.cosh, np.divide


@primitive(elementwise=True)
def over_cosh_squared(xp: Namespace, x1: Array, x2: Array) -> Array:
    """x1 / cosh²(x2), elementwise, without overflow.

    It is the derivative of tanh with all its digits: 1 - tanh² would be 0 from |x2| = 19 on.
    """
    if x2.dtype.kind == "c":
        y = xp.tanh(x2)
        return x1 - x1 * (y * y)
    if xp is np and x2.size < FEW:  # three operations, where each costs its call
        size = _quiet_context().run(_cosh, x2)
        return x1 / size / size
    return _over_cosh_squared_steps(xp, x1, x2)  # NumPy's exp takes a tenth of its cosh's time


@over_cosh_squared.primitive.stepwise
def _over_cosh_squared_steps(xp: Namespace, x1: Array, x2: Array) -> Array:
    power = xp.exp(-xp.abs(x2))
    size = power * (2 / (power * power + 1))  # 1 / cosh
    return x1 * size * size


tanh.primitive.stepwise(lambda xp, x: xp.tanh(x))
over_cosh_squared.vjp(
    x1=lambda g, x2: over_cosh_squared(g, x2),
    x2=lambda g, x2, y: -(g * (tanh(x2) * (y + y))),
)
over_cosh_squared.batch(elementwise_rule)


def _tanh_rule(g: Array, x: Array) -> Array:
    is_bare = type(x) is np.ndarray and x.dtype.kind == "f"
    if is_bare and x.size < min(FEW, fused_bodies.LEAST[0]):
        size = _quiet_context().run(_cosh, x)  # what the primitive does, for speed
        return _divide(_divide(g, size), size)
    return over_cosh_squared(g, x)


tanh.vjp(x=_tanh_rule)
fuse_elementwise(tanh, over_cosh_squared)


@ufunc(np.arcsinh)
def arcsinh(x: Array) -> Array:
    """Inverse hyperbolic sine, elementwise."""


arcsinh.vjp(x=lambda g, x: g / sqrt(x * x + 1))


@ufunc(np.arccosh, domain={"x": (1, None)})
def arccosh(x: Array) -> Array:
    """Inverse hyperbolic cosine, elementwise; x >= 1."""


# Two roots: √(x² - 1) of complex x takes the wrong branch where Re x < 0.
arccosh.vjp(x=lambda g, x: g / (sqrt(x - 1) * sqrt(x + 1)))


@ufunc(np.arctanh, domain={"x": (-1, 1)})
def arctanh(x: Array) -> Array:
    """Inverse hyperbolic tangent, elementwise; -1 <= x <= 1."""


arctanh.vjp(x=lambda g, x: g / ((1 - x) * (1 + x)))
