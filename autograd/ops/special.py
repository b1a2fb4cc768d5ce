"""SciPy's special functions, elementwise: `scipy.special`'s own ufuncs on Tensors.

`scipy.special.erf(tensor)` finds its primitive here by the ufunc's name.  SciPy is imported when
one of them is first called, and everything else works without it.  The derivative with respect to
an order (of a polygamma function) raises TypeError.  Bessel functions are in `bessel.py`.

`logsumexp`, `softmax`, `log_softmax` and `polygamma` are ordinary functions in SciPy, which cannot
be reached through NumPy's protocols: call them from `tapegrad.autograd.ops`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tapegrad import devices
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.batch_rules import elementwise_rule
from tapegrad.autograd.ops.error_function import erf, erfc
from tapegrad.autograd.ops.scipy_ufuncs import by_name, refuse_order, scipy_ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = [
    "beta",
    "betaln",
    "box_cox_slope",
    "boxcox",
    "digamma",
    "entr",
    "erfcinv",
    "erfcx",
    "erfinv",
    "exp10",
    "expit",
    "exprel",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "hyp1f1",
    "kl_div",
    "log_expit",
    "log_ndtr",
    "logit",
    "ndtr",
    "ndtri",
    "polygamma",
    "rel_entr",
    "rgamma",
    "xlog1py",
    "xlogy",
]

_ROOT_PI = math.sqrt(math.pi)
_ROOT_TAU = math.sqrt(math.tau)
_LN10 = math.log(10)


# Ours, since GELU needs them where SciPy is not installed.
by_name.update(erf=erf, erfc=erfc)


@scipy_ufunc()
def erfcx(x: Array) -> Array:
    """exp(x²)·erfc(x)."""


erfcx.vjp(x=lambda g, x, y: g * (2 * x * y - 2 / _ROOT_PI))


@scipy_ufunc(domain={"x": (-1, 1)})
def erfinv(x: Array) -> Array:
    """The inverse of erf, -1 < x < 1."""


erfinv.vjp(x=lambda g, y: g * (e.exp(y * y) * (_ROOT_PI / 2)))


@scipy_ufunc(domain={"x": (0, 2)})
def erfcinv(x: Array) -> Array:
    """The inverse of erfc, 0 < x < 2."""


erfcinv.vjp(x=lambda g, y: -(g * (e.exp(y * y) * (_ROOT_PI / 2))))


@scipy_ufunc(domain={"x": (0, None)})
def digamma(x: Array) -> Array:
    """The derivative of log Γ(x); SciPy's psi."""


digamma.vjp(x=lambda g, x: g * polygamma(1, x))


@scipy_ufunc(domain={"x": (0, None)})
def gammaln(x: Array) -> Array:
    """log |Γ(x)|."""


gammaln.vjp(x=lambda g, x: g * digamma(x))


@scipy_ufunc(domain={"x": (0, None)})
def gamma(x: Array) -> Array:
    """Γ(x)."""


gamma.vjp(x=lambda g, x, y: g * (y * digamma(x)))


@scipy_ufunc(domain={"x": (0, None)})
def rgamma(x: Array) -> Array:
    """1 / Γ(x), which is 0 at 0, -1, -2, …"""


def _rgamma_rule(g: Array, x: Array, y: Array) -> Array:
    # Left of 1/2 by reflection, 1 / Γ(x) = sin(πx) Γ(1 - x) / π, which has no pole there.
    left = x < 0.5
    here, mirrored = e.where(left, 0.5, x), 1 - e.where(left, x, 0.5)
    angle = (1 - mirrored) * math.pi
    slope = gamma(mirrored) * (e.cos(angle) - e.sin(angle) * digamma(mirrored) / math.pi)
    return g * e.where(left, slope, -(y * digamma(here)))


rgamma.vjp(x=_rgamma_rule)


@scipy_ufunc(domain={"x1": (0, None), "x2": (0, None)})
def beta(x1: Array, x2: Array) -> Array:
    """Γ(x1)·Γ(x2) / Γ(x1 + x2)."""


beta.vjp(
    x1=lambda g, x1, x2, y: g * (y * (digamma(x1) - digamma(x1 + x2))),
    x2=lambda g, x1, x2, y: g * (y * (digamma(x2) - digamma(x1 + x2))),
)


@scipy_ufunc(domain={"x1": (0, None), "x2": (0, None)})
def betaln(x1: Array, x2: Array) -> Array:
    """log |B(x1, x2)|."""


betaln.vjp(
    x1=lambda g, x1, x2: g * (digamma(x1) - digamma(x1 + x2)),
    x2=lambda g, x1, x2: g * (digamma(x2) - digamma(x1 + x2)),
)


@scipy_ufunc()
def expit(x: Array) -> Array:
    """1 / (1 + exp(-x))."""


expit.vjp(x=lambda g, x: e.over_cosh_squared(g * 0.25, x * 0.5))


@scipy_ufunc(domain={"x": (0, 1)})
def logit(x: Array) -> Array:
    """log(x / (1 - x)), 0 < x < 1."""


logit.vjp(x=lambda g, x: g / (x * (1 - x)))


@scipy_ufunc()
def log_expit(x: Array) -> Array:
    """log(1 / (1 + exp(-x))), without overflow."""


log_expit.vjp(x=lambda g, x: g * expit(-x))


@scipy_ufunc(domain={"x2": (0, None)})
def xlogy(x1: Array, x2: Array) -> Array:
    """x1·log(x2), 0 where x1 is 0."""


def _inside(x1: Array, x: Array) -> Array:
    """x, but 1 where x1 is 0 and x outside the domain of the logarithm: the product is 0 there."""
    return e.where(
        e.equal(x1, 0) & ~e.greater(e.absolute(x) if x.dtype.kind == "c" else x, 0), 1, x
    )


xlogy.vjp(
    x1=lambda g, x2: g * e.log(x2),
    x2=lambda g, x1, x2: g * (x1 / _inside(x1, x2)),
)


@scipy_ufunc(domain={"x2": (-1, None)})
def xlog1py(x1: Array, x2: Array) -> Array:
    """x1·log(1 + x2), 0 where x1 is 0."""


xlog1py.vjp(
    x1=lambda g, x2: g * e.log1p(x2),
    x2=lambda g, x1, x2: g * (x1 / _inside(x1, x2 + 1)),
)


@scipy_ufunc(domain={"x": (0, None)})
def entr(x: Array) -> Array:
    """-x·log(x), 0 at 0."""


entr.vjp(x=lambda g, x: -(g * (e.log(x) + 1)))


@scipy_ufunc(domain={"x1": (0, None), "x2": (0, None)})
def rel_entr(x1: Array, x2: Array) -> Array:
    """x1·log(x1 / x2)."""


rel_entr.vjp(x1=lambda g, x1, x2: g * (e.log(x1 / x2) + 1), x2=lambda g, x1, x2: -(g * (x1 / x2)))


@scipy_ufunc(domain={"x1": (0, None), "x2": (0, None)})
def kl_div(x1: Array, x2: Array) -> Array:
    """x1·log(x1 / x2) - x1 + x2."""


kl_div.vjp(x1=lambda g, x1, x2: g * e.log(x1 / x2), x2=lambda g, x1, x2: g * (1 - x1 / x2))


@scipy_ufunc()
def ndtr(x: Array) -> Array:
    """The normal distribution function, P(Z <= x)."""


ndtr.vjp(x=lambda g, x: g * (e.exp(x * x * -0.5) / _ROOT_TAU))


@scipy_ufunc()
def log_ndtr(x: Array) -> Array:
    """log P(Z <= x), exact for very negative x."""


def _log_ndtr_rule(g: Array, x: Array, y: Array) -> Array:
    # Far below 0 exp(-x²/2 - y) would lose the digits that x² has before the point.
    below = (2 / _ROOT_TAU) / erfcx(e.minimum(x, 0) * -math.sqrt(0.5))
    return g * e.where(e.less(x, 0), below, e.exp(x * x * -0.5 - y) / _ROOT_TAU)


log_ndtr.vjp(x=_log_ndtr_rule)


@scipy_ufunc(domain={"x": (0, 1)})
def ndtri(x: Array) -> Array:
    """The inverse of ndtr, 0 < x < 1."""


ndtri.vjp(x=lambda g, y: g * (e.exp(y * y * 0.5) * _ROOT_TAU))


@scipy_ufunc()
def exp10(x: Array) -> Array:
    """10ˣ."""


exp10.vjp(x=lambda g, y: g * (y * _LN10))


@scipy_ufunc(domain={"x": (0, None)})
def gammainc(order: Array, x: Array) -> Array:
    """The lower incomplete gamma function P(a, x), a > 0, x >= 0."""


gammainc.vjp(order=refuse_order, x=lambda g, order, x: g * _gamma_density(order, x))


@scipy_ufunc(domain={"x": (0, None)})
def gammaincc(order: Array, x: Array) -> Array:
    """The upper incomplete gamma function 1 - P(a, x)."""


gammaincc.vjp(order=refuse_order, x=lambda g, order, x: -(g * _gamma_density(order, x)))


def _gamma_density(order: Array, x: Array) -> Array:
    """The derivative of `gammainc` in x: the density of the gamma distribution."""
    return e.exp(xlogy(order - 1, x) - x - gammaln(order))


@scipy_ufunc()
def hyp1f1(a: Array, b: Array, x: Array) -> Array:
    """Kummer's confluent hypergeometric function ₁F₁(a; b; x)."""


hyp1f1.vjp(
    a=refuse_order,
    b=refuse_order,
    x=lambda g, a, b, x: g * (a / b * hyp1f1(a + 1, b + 1, x)),
)


@scipy_ufunc()
def exprel(x: Array) -> Array:
    """(exp(x) - 1) / x, 1 at 0."""


exprel.vjp(x=lambda g, x: g * (0.5 * hyp1f1(2.0, 3.0, x)))  # (eˣ - y) / x would lose digits near 0


@scipy_ufunc(domain={"x": (0, None)})
def boxcox(x: Array, lmbda: Array) -> Array:
    """(x^λ - 1) / λ, or log x where λ is 0; x > 0."""


def box_cox_slope(log: Array, lmbda: Array) -> Array:
    """∂/∂λ of (exp(λ·log) - 1) / λ, also at λ = 0."""
    return 0.5 * e.square(log) * hyp1f1(2.0, 3.0, lmbda * log)


boxcox.vjp(
    x=lambda g, x, lmbda: g * e.power(x, lmbda - 1),
    lmbda=lambda g, x, lmbda: g * box_cox_slope(e.log(x), lmbda),
)


@primitive(elementwise=True, domain={"x": (0, None)})
def polygamma(xp: Namespace, n: Array, x: Array) -> Array:
    """The n-th derivative of `digamma`, n = 0, 1, …; x > 0."""
    return devices.special(xp).polygamma(n, x).astype(x.dtype)


polygamma.vjp(n=refuse_order, x=lambda g, n, x: g * polygamma(n + 1, x))
polygamma.batch(elementwise_rule)
