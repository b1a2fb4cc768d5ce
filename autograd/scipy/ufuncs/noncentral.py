"""Noncentral distribution functions: chi-square, F and t, and their inverses.

A noncentral variable is a mixture over a Poisson number, of mean nc/2, of central ones.  So what
happens in nc, and in x, is told by the same function at other degrees of freedom.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.bessel import ive
from tapegrad.autograd.ops.scipy_ufuncs import declare_ufunc
from tapegrad.autograd.ops.special import gammaln, xlogy
from tapegrad.autograd.scipy.ufuncs.common import INVERSE, PARAMETER

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "chndtr",
    "chndtridf",
    "chndtrinc",
    "chndtrix",
    "ncfdtr",
    "ncfdtri",
    "ncfdtridfd",
    "ncfdtridfn",
    "ncfdtrinc",
    "nctdtr",
    "nctdtridf",
    "nctdtrinc",
    "nctdtrit",
]


def _in_double(x: Array) -> Array:
    """x in float64: the rules are differences of nearly equal numbers."""
    return e.cast(x, dtype=np.float64) if x.dtype.kind == "f" else x


def _chi_square_x(x: Array, df: Array, nc: Array) -> Array:
    """The density: exp(-(√x - √nc)²/2)/2 · (x/nc)^(df/4 - 1/2) · ive(df/2 - 1, √(nc·x))."""
    order = df / 2 - 1
    gap = e.sqrt(x) - e.sqrt(nc)
    logs = xlogy(order / 2, x / nc) - e.square(gap) / 2
    return e.exp(logs) * ive(order, e.sqrt(nc * x)) / 2


def _chi_square_nc(x: Array, df: Array, nc: Array) -> Array:
    """The derivative of `chndtr` in nc."""
    x = _in_double(x)
    return (chndtr(x, df + 2, nc) - chndtr(x, df, nc)) / 2


chndtr = declare_ufunc(
    __name__,
    "chndtr",
    "The distribution function of noncentral chi-square; df, nc > 0.",
    x=lambda g, x, df, nc: g * _chi_square_x(x, df, nc),
    df=PARAMETER,
    nc=lambda g, x, df, nc: g * _chi_square_nc(x, df, nc),
)
chndtrix = declare_ufunc(
    __name__,
    "chndtrix",
    "The x with chndtr(x, df, nc) = p.",
    p=lambda g, df, nc, y: g / _chi_square_x(y, df, nc),
    df=PARAMETER,
    nc=lambda g, df, nc, y: -(g * _chi_square_nc(y, df, nc) / _chi_square_x(y, df, nc)),
)
chndtrinc = declare_ufunc(
    __name__,
    "chndtrinc",
    "The nc with chndtr(x, df, nc) = p.",
    x=lambda g, x, df, y: -(g * _chi_square_x(x, df, y) / _chi_square_nc(x, df, y)),
    df=PARAMETER,
    p=lambda g, x, df, y: g / _chi_square_nc(x, df, y),
)
chndtridf = declare_ufunc(
    __name__, "chndtridf", "The df with chndtr(x, df, nc) = p.", x=INVERSE, p=INVERSE, nc=INVERSE
)


def _f_at(more: int, dfn: Array, dfd: Array, nc: Array, f: Array) -> Array:
    """`ncfdtr` of more degrees of freedom, at the same beta variable."""
    f = _in_double(f)
    return ncfdtr(dfn + more, dfd, nc, f * dfn / (dfn + more))


def _f_x(dfn: Array, dfd: Array, nc: Array, f: Array) -> Array:
    """The density, by I_z(a, b) - I_z(a + 1, b) = z^a (1 - z)^b / (a·B(a, b))."""
    f = _in_double(f)
    second = _f_at(2, dfn, dfd, nc, f)
    first = dfn * (ncfdtr(dfn, dfd, nc, f) - second)
    return (first + nc * (second - _f_at(4, dfn, dfd, nc, f))) / (2 * f)


def _f_nc(dfn: Array, dfd: Array, nc: Array, f: Array) -> Array:
    """The derivative of `ncfdtr` in nc."""
    f = _in_double(f)
    return (_f_at(2, dfn, dfd, nc, f) - ncfdtr(dfn, dfd, nc, f)) / 2


ncfdtr = declare_ufunc(
    __name__,
    "ncfdtr",
    "The distribution function of noncentral F; f > 0.",
    dfn=PARAMETER,
    dfd=PARAMETER,
    nc=lambda g, dfn, dfd, nc, f: g * _f_nc(dfn, dfd, nc, f),
    f=lambda g, dfn, dfd, nc, f: g * _f_x(dfn, dfd, nc, f),
)
ncfdtri = declare_ufunc(
    __name__,
    "ncfdtri",
    "The f with ncfdtr(dfn, dfd, nc, f) = p.",
    dfn=PARAMETER,
    dfd=PARAMETER,
    nc=lambda g, dfn, dfd, nc, y: -(g * _f_nc(dfn, dfd, nc, y) / _f_x(dfn, dfd, nc, y)),
    p=lambda g, dfn, dfd, nc, y: g / _f_x(dfn, dfd, nc, y),
)
ncfdtrinc = declare_ufunc(
    __name__,
    "ncfdtrinc",
    "The nc with ncfdtr(dfn, dfd, nc, f) = p.",
    dfn=PARAMETER,
    dfd=PARAMETER,
    p=lambda g, dfn, dfd, f, y: g / _f_nc(dfn, dfd, y, f),
    f=lambda g, dfn, dfd, f, y: -(g * _f_x(dfn, dfd, y, f) / _f_nc(dfn, dfd, y, f)),
)
ncfdtridfd = declare_ufunc(
    __name__,
    "ncfdtridfd",
    "The dfd with ncfdtr(dfn, dfd, nc, f) = p.",
    dfn=INVERSE,
    p=INVERSE,
    nc=INVERSE,
    f=INVERSE,
)
ncfdtridfn = declare_ufunc(
    __name__,
    "ncfdtridfn",
    "The dfn with ncfdtr(dfn, dfd, nc, f) = p.",
    p=INVERSE,
    dfd=INVERSE,
    nc=INVERSE,
    f=INVERSE,
)


def _t_x(df: Array, nc: Array, t: Array) -> Array:
    """The density: df/t · (F(df + 2, nc, t·√(1 + 2/df)) - F(df, nc, t)); in closed form near 0."""
    t = _in_double(t)
    near = e.absolute(t) < 1e-8
    away = e.where(near, 1.0, t)
    further = nctdtr(df + 2, nc, away * e.sqrt(1 + 2 / df))
    half = df / 2
    log = gammaln(half + 0.5) - gammaln(half) - e.square(nc) / 2
    at_zero = e.exp(log) / e.sqrt(math.pi * df)
    return e.where(near, at_zero, df / away * (further - nctdtr(df, nc, away)))


nctdtr = declare_ufunc(
    __name__,
    "nctdtr",
    "The distribution function of noncentral t.",
    df=PARAMETER,
    nc=PARAMETER,
    t=lambda g, df, nc, t: g * _t_x(df, nc, t),
)
nctdtrit = declare_ufunc(
    __name__,
    "nctdtrit",
    "The t with nctdtr(df, nc, t) = p.",
    df=PARAMETER,
    nc=PARAMETER,
    p=lambda g, df, nc, y: g / _t_x(df, nc, y),
)
nctdtridf = declare_ufunc(
    __name__, "nctdtridf", "The df with nctdtr(df, nc, t) = p.", p=INVERSE, nc=INVERSE, t=INVERSE
)
nctdtrinc = declare_ufunc(
    __name__, "nctdtrinc", "The nc with nctdtr(df, nc, t) = p.", df=INVERSE, p=INVERSE, t=INVERSE
)
