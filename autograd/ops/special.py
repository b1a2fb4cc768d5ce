"""SciPy's special functions, elementwise: `scipy.special`'s own ufuncs on Tensors.

`scipy.special.erf(tensor)` finds its primitive here by the ufunc's name.  SciPy is imported when
one of them is first called, and everything else works without it.  The derivative with respect to
an order (of a Bessel function, a polygamma function) raises TypeError.  `logsumexp`, `softmax`,
`log_softmax` and `polygamma` are ordinary functions in SciPy, which cannot be reached through
NumPy's protocols: call them from `tapegrad.autograd.ops`.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

from tapegrad import devices
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.batch_rules import elementwise_rule
from tapegrad.autograd.ops.error_function import erf, erfc

__all__ = [
    "beta",
    "betaln",
    "boxcox",
    "digamma",
    "entr",
    "erfcinv",
    "erfcx",
    "erfinv",
    "exp10",
    "expit",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "i0e",
    "i1",
    "i1e",
    "iv",
    "ive",
    "j0",
    "j1",
    "jv",
    "k0",
    "k1",
    "kl_div",
    "kv",
    "log_expit",
    "log_ndtr",
    "logit",
    "ndtr",
    "ndtri",
    "polygamma",
    "primitive_of_scipy",
    "rel_entr",
    "rgamma",
    "special_i0",
    "xlog1py",
    "xlogy",
    "y0",
    "y1",
    "yv",
]

_by_name: dict[str, Callable[..., Any]] = {}


def primitive_of_scipy(function: np.ufunc) -> Callable[..., Any] | None:
    """The primitive for a ufunc of scipy.special, or None."""
    name = function.__name__
    module = sys.modules.get("scipy.special")
    if name == "psi":
        name = "digamma"
    known = _by_name.get(name)
    return known if known is not None and getattr(module, name, None) is function else None


def _scipy_ufunc(**declared: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare an elementwise primitive computed by SciPy's function of the stub's name."""

    def declare(stub: Callable[..., Any]) -> Any:
        name = stub.__name__.removeprefix("special_")

        def body(xp: Namespace, *operands: Any) -> Any:
            y = getattr(devices.special(xp), name)(*operands)
            # SciPy computes some of them in double precision only
            dtypes = [x.dtype for x in operands if hasattr(x, "dtype") and x.dtype.kind == "f"]
            target = max(dtypes, key=lambda dtype: dtype.itemsize, default=y.dtype)
            return y if y.dtype == target else y.astype(target)

        body.__name__ = stub.__name__
        body.__doc__ = stub.__doc__
        own = list(inspect.signature(stub).parameters.values())
        first = inspect.Parameter("xp", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        body.__signature__ = inspect.Signature([first, *own])  # type: ignore[attr-defined]  # the stub's
        body.__module__ = stub.__module__
        _by_name[name] = function = primitive(body, **declared)
        function.batch(elementwise_rule)
        return function

    return declare


ORDER = (
    "a special function's derivative with respect to its order is not known here: "
    "pass order.detach()"
)


def _refuse_order(g: Array) -> NoReturn:
    """Raise TypeError: the rule of an order, since a missing gradient would be a wrong one."""
    raise TypeError(ORDER)


def _in_double(x: Array) -> Array:
    """x in float64: terms of the rules of scaled Bessel functions cancel, by a factor of x."""
    return e.cast(x, dtype=np.float64) if x.dtype.kind == "f" else x


_ROOT_PI = math.sqrt(math.pi)
_ROOT_TAU = math.sqrt(math.tau)
_LN10 = math.log(10)


# Ours, since GELU needs them where SciPy is not installed.
_by_name.update(erf=erf, erfc=erfc)


@_scipy_ufunc()
def erfcx(x: Array) -> Array:
    """exp(x²)·erfc(x)."""


erfcx.vjp(x=lambda g, x, y: g * (2 * x * y - 2 / _ROOT_PI))


@_scipy_ufunc(domain={"x": (-1, 1)})
def erfinv(x: Array) -> Array:
    """The inverse of erf, -1 < x < 1."""


erfinv.vjp(x=lambda g, y: g * (e.exp(y * y) * (_ROOT_PI / 2)))


@_scipy_ufunc(domain={"x": (0, 2)})
def erfcinv(x: Array) -> Array:
    """The inverse of erfc, 0 < x < 2."""


erfcinv.vjp(x=lambda g, y: -(g * (e.exp(y * y) * (_ROOT_PI / 2))))


@_scipy_ufunc(domain={"x": (0, None)})
def digamma(x: Array) -> Array:
    """The derivative of log Γ(x); SciPy's psi."""


digamma.vjp(x=lambda g, x: g * polygamma(1, x))


@_scipy_ufunc(domain={"x": (0, None)})
def gammaln(x: Array) -> Array:
    """log |Γ(x)|."""


gammaln.vjp(x=lambda g, x: g * digamma(x))


@_scipy_ufunc(domain={"x": (0, None)})
def gamma(x: Array) -> Array:
    """Γ(x)."""


gamma.vjp(x=lambda g, x, y: g * (y * digamma(x)))


@_scipy_ufunc(domain={"x": (0, None)})
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


@_scipy_ufunc(domain={"x1": (0, None), "x2": (0, None)})
def beta(x1: Array, x2: Array) -> Array:
    """Γ(x1)·Γ(x2) / Γ(x1 + x2)."""


beta.vjp(
    x1=lambda g, x1, x2, y: g * (y * (digamma(x1) - digamma(x1 + x2))),
    x2=lambda g, x1, x2, y: g * (y * (digamma(x2) - digamma(x1 + x2))),
)


@_scipy_ufunc(domain={"x1": (0, None), "x2": (0, None)})
def betaln(x1: Array, x2: Array) -> Array:
    """log |B(x1, x2)|."""


betaln.vjp(
    x1=lambda g, x1, x2: g * (digamma(x1) - digamma(x1 + x2)),
    x2=lambda g, x1, x2: g * (digamma(x2) - digamma(x1 + x2)),
)


@_scipy_ufunc()
def expit(x: Array) -> Array:
    """1 / (1 + exp(-x))."""


expit.vjp(x=lambda g, x: e.over_cosh_squared(g * 0.25, x * 0.5))


@_scipy_ufunc(domain={"x": (0, 1)})
def logit(x: Array) -> Array:
    """log(x / (1 - x)), 0 < x < 1."""


logit.vjp(x=lambda g, x: g / (x * (1 - x)))


@_scipy_ufunc()
def log_expit(x: Array) -> Array:
    """log(1 / (1 + exp(-x))), without overflow."""


log_expit.vjp(x=lambda g, x: g * expit(-x))


@_scipy_ufunc(domain={"x2": (0, None)})
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


@_scipy_ufunc(domain={"x2": (-1, None)})
def xlog1py(x1: Array, x2: Array) -> Array:
    """x1·log(1 + x2), 0 where x1 is 0."""


xlog1py.vjp(
    x1=lambda g, x2: g * e.log1p(x2),
    x2=lambda g, x1, x2: g * (x1 / _inside(x1, x2 + 1)),
)


@_scipy_ufunc(domain={"x": (0, None)})
def entr(x: Array) -> Array:
    """-x·log(x), 0 at 0."""


entr.vjp(x=lambda g, x: -(g * (e.log(x) + 1)))


@_scipy_ufunc(domain={"x1": (0, None), "x2": (0, None)})
def rel_entr(x1: Array, x2: Array) -> Array:
    """x1·log(x1 / x2)."""


rel_entr.vjp(x1=lambda g, x1, x2: g * (e.log(x1 / x2) + 1), x2=lambda g, x1, x2: -(g * (x1 / x2)))


@_scipy_ufunc(domain={"x1": (0, None), "x2": (0, None)})
def kl_div(x1: Array, x2: Array) -> Array:
    """x1·log(x1 / x2) - x1 + x2."""


kl_div.vjp(x1=lambda g, x1, x2: g * e.log(x1 / x2), x2=lambda g, x1, x2: g * (1 - x1 / x2))


@_scipy_ufunc()
def special_i0(x: Array) -> Array:
    """The modified Bessel function of the first kind, of order 0."""


special_i0.vjp(x=lambda g, x: g * i1(x))


@_scipy_ufunc()
def i1(x: Array) -> Array:
    """The modified Bessel function of the first kind, of order 1."""


i1.vjp(x=lambda g, x: g * ((special_i0(x) + iv(2, x)) / 2))


@_scipy_ufunc()
def i0e(x: Array) -> Array:
    """exp(-|x|)·I₀(x)."""


def _i0e_rule(g: Array, x: Array) -> Array:
    x = _in_double(x)
    return g * (i1e(x) - e.signum(x) * i0e(x))


i0e.vjp(x=_i0e_rule)


@_scipy_ufunc()
def i1e(x: Array) -> Array:
    """exp(-|x|)·I₁(x)."""


def _i1e_rule(g: Array, x: Array) -> Array:
    x = _in_double(x)
    return g * ((i0e(x) + ive(2, x)) / 2 - e.signum(x) * i1e(x))


i1e.vjp(x=_i1e_rule)


@_scipy_ufunc()
def iv(order: Array, x: Array) -> Array:
    """The modified Bessel function of the first kind, of a given order."""


iv.vjp(order=_refuse_order, x=lambda g, order, x: g * ((iv(order - 1, x) + iv(order + 1, x)) / 2))


@_scipy_ufunc()
def ive(order: Array, x: Array) -> Array:
    """exp(-|Re x|)·I_v(x)."""


def _ive_rule(g: Array, order: Array, x: Array) -> Array:
    x = _in_double(x)
    slope = g * ((ive(order - 1, x) + ive(order + 1, x)) / 2)
    # the factor exp(-|Re x|) follows the real part alone
    return slope - e.signum(e.real(x)) * e.real(g * ive(order, x))


ive.vjp(order=_refuse_order, x=_ive_rule)


@_scipy_ufunc(domain={"x": (0, None)})
def k0(x: Array) -> Array:
    """The modified Bessel function of the second kind, of order 0; x > 0."""


k0.vjp(x=lambda g, x: -(g * k1(x)))


@_scipy_ufunc(domain={"x": (0, None)})
def k1(x: Array) -> Array:
    """The modified Bessel function of the second kind, of order 1; x > 0."""


k1.vjp(x=lambda g, x: -(g * ((k0(x) + kv(2, x)) / 2)))


@_scipy_ufunc(domain={"x": (0, None)})
def kv(order: Array, x: Array) -> Array:
    """The modified Bessel function of the second kind; x > 0."""


kv.vjp(
    order=_refuse_order, x=lambda g, order, x: -(g * ((kv(order - 1, x) + kv(order + 1, x)) / 2))
)


@_scipy_ufunc()
def j0(x: Array) -> Array:
    """The Bessel function of the first kind, of order 0."""


j0.vjp(x=lambda g, x: -(g * j1(x)))


@_scipy_ufunc()
def j1(x: Array) -> Array:
    """The Bessel function of the first kind, of order 1."""


j1.vjp(x=lambda g, x: g * ((j0(x) - jv(2, x)) / 2))


@_scipy_ufunc()
def jv(order: Array, x: Array) -> Array:
    """The Bessel function of the first kind, of a given order."""


jv.vjp(order=_refuse_order, x=lambda g, order, x: g * ((jv(order - 1, x) - jv(order + 1, x)) / 2))


@_scipy_ufunc(domain={"x": (0, None)})
def y0(x: Array) -> Array:
    """The Bessel function of the second kind, of order 0; x > 0."""


y0.vjp(x=lambda g, x: -(g * y1(x)))


@_scipy_ufunc(domain={"x": (0, None)})
def y1(x: Array) -> Array:
    """The Bessel function of the second kind, of order 1; x > 0."""


y1.vjp(x=lambda g, x: g * ((y0(x) - yv(2, x)) / 2))


@_scipy_ufunc(domain={"x": (0, None)})
def yv(order: Array, x: Array) -> Array:
    """The Bessel function of the second kind; x > 0."""


yv.vjp(order=_refuse_order, x=lambda g, order, x: g * ((yv(order - 1, x) - yv(order + 1, x)) / 2))


@_scipy_ufunc()
def ndtr(x: Array) -> Array:
    """The normal distribution function, P(Z <= x)."""


ndtr.vjp(x=lambda g, x: g * (e.exp(x * x * -0.5) / _ROOT_TAU))


@_scipy_ufunc()
def log_ndtr(x: Array) -> Array:
    """log P(Z <= x), exact for very negative x."""


def _log_ndtr_rule(g: Array, x: Array, y: Array) -> Array:
    # Far below 0 exp(-x²/2 - y) would lose the digits that x² has before the point.
    below = (2 / _ROOT_TAU) / erfcx(e.minimum(x, 0) * -math.sqrt(0.5))
    return g * e.where(e.less(x, 0), below, e.exp(x * x * -0.5 - y) / _ROOT_TAU)


log_ndtr.vjp(x=_log_ndtr_rule)


@_scipy_ufunc(domain={"x": (0, 1)})
def ndtri(x: Array) -> Array:
    """The inverse of ndtr, 0 < x < 1."""


ndtri.vjp(x=lambda g, y: g * (e.exp(y * y * 0.5) * _ROOT_TAU))


@_scipy_ufunc()
def exp10(x: Array) -> Array:
    """10ˣ."""


exp10.vjp(x=lambda g, y: g * (y * _LN10))


@_scipy_ufunc(domain={"x": (0, None)})
def gammainc(order: Array, x: Array) -> Array:
    """The lower incomplete gamma function P(a, x), a > 0, x >= 0."""


gammainc.vjp(order=_refuse_order, x=lambda g, order, x: g * _gamma_density(order, x))


@_scipy_ufunc(domain={"x": (0, None)})
def gammaincc(order: Array, x: Array) -> Array:
    """The upper incomplete gamma function 1 - P(a, x)."""


gammaincc.vjp(order=_refuse_order, x=lambda g, order, x: -(g * _gamma_density(order, x)))


def _gamma_density(order: Array, x: Array) -> Array:
    """The derivative of `gammainc` in x: the density of the gamma distribution."""
    return e.exp(xlogy(order - 1, x) - x - gammaln(order))


@_scipy_ufunc(domain={"x": (0, None)})
def boxcox(x: Array, order: Array) -> Array:
    """(x^λ - 1) / λ, or log x where λ is 0; x > 0."""


boxcox.vjp(x=lambda g, x, order: g * e.power(x, order - 1), order=_refuse_order)


@primitive(domain={"x": (0, None)})
def polygamma(xp: Namespace, n: Array, x: Array) -> Array:
    """The n-th derivative of `digamma`, n = 0, 1, …; x > 0."""
    return devices.special(xp).polygamma(n, x).astype(x.dtype)


polygamma.vjp(n=_refuse_order, x=lambda g, n, x: g * polygamma(n + 1, x))
polygamma.batch(elementwise_rule)
