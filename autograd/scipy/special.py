"""tapegrad.scipy.special: all of scipy.special that has a derivative.

SciPy's ufuncs take Tensors themselves, and are handed on as they are.  The functions here are those
that SciPy wrote as ordinary functions, which no protocol reaches.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tapegrad import devices
from tapegrad.autograd.ops import bessel
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops import special as functions
from tapegrad.autograd.ops.activation import log_softmax as _log_softmax
from tapegrad.autograd.ops.activation import softmax as _softmax
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.batch_rules import elementwise_rule, leading_axes_rule
from tapegrad.autograd.ops.integral_functions import sinc
from tapegrad.autograd.ops.reduction import logsumexp as _logsumexp
from tapegrad.autograd.ops.special import polygamma
from tapegrad.autograd.scipy.declaring import operation
from tapegrad.autograd.scipy.ufuncs import hypergeometric

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Axes, Namespace, Operand

__all__ = [
    "comb",
    "factorial",
    "lambertw",
    "log_softmax",
    "logsumexp",
    "multigammaln",
    "perm",
    "polygamma",
    "sinc",
    "softmax",
    "spherical_in",
    "spherical_jn",
    "spherical_kn",
    "spherical_yn",
    "zeta",
]


def __getattr__(name: str) -> Any:
    """SciPy's ufunc of that name, which takes Tensors."""
    found = getattr(import_module("scipy.special"), name, None)
    if isinstance(found, np.ufunc):
        return found
    raise AttributeError(
        f"tapegrad.scipy.special has no {name}: "
        + ("scipy.special has no derivative of it here" if found else "nor has scipy.special")
    )


def logsumexp(
    a: Operand,
    axis: Axes = None,
    b: Operand | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """log Σ b·exp(a) over `axis`, without overflow; b broadcasts with a, and is 1 if it is None.

    return_sign: whether to return [log |Σ|, the sign of Σ]; without it a negative sum is NaN
    """
    a = as_operand(a)
    if b is None and not return_sign:
        return _logsumexp(a, axis=axis, keepdims=keepdims)
    weight = as_operand(1.0 if b is None else b)
    dead = e.equal(weight, 0)  # -inf in the sum, whatever a is there
    a = e.where(dead, -np.inf, a)
    weight = e.where(dead, 1.0, weight)
    size = e.absolute(weight)
    shifted = a + e.log(size)
    top = r.max(shifted.detach() if hasattr(shifted, "detach") else shifted, axis, True)
    top = e.where(e.isfinite(top), top, 0.0)
    total = r.sum(e.exp(a - top) * weight, axis=axis, keepdims=keepdims)
    if not keepdims:
        top = s.squeeze(top, axis=axis) if axis is not None else s.reshape(top, ())
    empty = e.equal(total, 0)
    size = e.where(empty, 1.0, e.absolute(total) if return_sign else total)
    y = e.where(empty, -np.inf, e.log(size) + top)
    return (y, e.sign(total)) if return_sign else y


def softmax(x: Operand, axis: Any = None) -> Tensor:
    """exp(x) / Σ exp(x), the sum over `axis`, all axes if it is None."""
    return _over(_softmax, as_operand(x), axis)


def log_softmax(x: Operand, axis: Any = None) -> Tensor:
    """x - log Σ exp(x), the sum over `axis`, all axes if it is None."""
    return _over(_log_softmax, as_operand(x), axis)


def _over(function: Any, x: Any, axis: Any) -> Any:
    """A function along one axis, over several or all of them."""
    if isinstance(axis, int):
        return function(x, axis=axis)
    ndim = len(x.shape)
    axes = tuple(range(ndim)) if axis is None else tuple(k % ndim for k in axis)
    if not axes:
        return function(s.reshape(x, (1,)), axis=0).reshape(())
    order = [k for k in range(ndim) if k not in axes] + list(axes)
    moved = s.transpose(x, tuple(order))
    flat = s.reshape(moved, (*moved.shape[: ndim - len(axes)], -1))
    back = s.reshape(function(flat, axis=-1), moved.shape)
    return s.transpose(back, tuple(int(k) for k in np.argsort(order)))


def multigammaln(a: Operand, d: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension d; 2a > d - 1."""
    a = as_operand(a)
    total = e.multiply(0.0, a) + d * (d - 1) / 4 * math.log(math.pi)
    for j in range(d):
        total = total + functions.gammaln(a - j / 2)
    return total


def factorial(n: Operand, exact: bool = False) -> Tensor:
    """Γ(n + 1), and 0 of negative n.  Raises TypeError for `exact`, which is of whole numbers."""
    _refuse_exact(exact)
    n = as_operand(n)
    return e.where(e.less(n, 0), 0.0, functions.gamma(e.maximum(n, 0) + 1))


def comb(N: Operand, k: Operand, exact: bool = False, repetition: bool = False) -> Tensor:
    """The number of ways to choose k of N, in real numbers; 0 unless 0 <= k <= N.

    repetition: whether one may be chosen several times
    Raises TypeError for `exact`, which is of whole numbers.
    """
    _refuse_exact(exact)
    N, k = as_operand(N), as_operand(k)
    if repetition:
        return comb(N + k - 1, k)
    there = e.less_equal(k, N) & e.greater_equal(N, 0) & e.greater_equal(k, 0)
    return e.where(there, hypergeometric.binom(e.where(there, N, 1.0), e.where(there, k, 1.0)), 0.0)


def perm(N: Operand, k: Operand, exact: bool = False) -> Tensor:
    """N! / (N - k)!, in real numbers; 0 unless 0 <= k <= N.

    Raises TypeError for `exact`, which is of whole numbers.
    """
    _refuse_exact(exact)
    N, k = as_operand(N), as_operand(k)
    there = e.less_equal(k, N) & e.greater_equal(N, 0) & e.greater_equal(k, 0)
    k = e.where(there, k, 1.0)
    return e.where(there, hypergeometric.poch(e.where(there, N, 1.0) - k + 1, k), 0.0)


def _refuse_exact(exact: bool) -> None:
    if exact:
        raise TypeError("exact=True is of whole numbers, which have no derivative: leave it out")


def _refuse_exponent(g: Array) -> NoReturn:
    raise TypeError("the derivative of zeta(x, q) in x is not known here: pass x.detach()")


@operation()
def _hurwitz(xp: Namespace, x: Array, q: Array) -> Array:
    """Hurwitz's ζ(x, q) = Σ 1/(k + q)^x over k = 0, 1, …; x > 1, q > 0."""
    return devices.special(xp).zeta(x, q)


_hurwitz.vjp(x=_refuse_exponent, q=lambda g, x, q: -(g * (x * _hurwitz(x + 1, q))))
_hurwitz.batch(elementwise_rule)


def zeta(x: Operand, q: Operand | None = None) -> Tensor:
    """Hurwitz's ζ(x, q) = Σ 1/(k + q)^x over k = 0, 1, …; Riemann's where q is None."""
    return _hurwitz(x, 1.0 if q is None else q)


@operation()
def _lambert(xp: Namespace, z: Array, *, k: int = 0, tol: float = 1e-8) -> Array:
    """The branch k of Lambert's W, w·exp(w) = z: complex."""
    return devices.special(xp).lambertw(z, k, tol)


_lambert.vjp(z=lambda g, y: g * (e.exp(-y) / (1 + y)))
_lambert.batch(leading_axes_rule)


def lambertw(z: Operand, k: int = 0, tol: float = 1e-8) -> Tensor:
    """The branch k of Lambert's W, the solution of w·exp(w) = z; complex, as SciPy's."""
    return _lambert(as_operand(z), k=k, tol=tol)


def _spherical(function: Any, n: Any, z: Any, derivative: bool, slope: Any) -> Any:
    """√(π/(2z)) times a Bessel function of order n + 1/2, or its derivative."""
    if derivative:
        return slope()
    return e.sqrt(math.pi / (2 * as_operand(z))) * function(n + 0.5, z)


def spherical_jn(n: Any, z: Operand, derivative: bool = False) -> Tensor:
    """The spherical Bessel function j_n(z), or its derivative; z > 0."""
    return _spherical(
        bessel.jv, n, z, derivative, lambda: n / z * spherical_jn(n, z) - spherical_jn(n + 1, z)
    )


def spherical_yn(n: Any, z: Operand, derivative: bool = False) -> Tensor:
    """The spherical Bessel function y_n(z), or its derivative; z > 0."""
    return _spherical(
        bessel.yv, n, z, derivative, lambda: n / z * spherical_yn(n, z) - spherical_yn(n + 1, z)
    )


def spherical_in(n: Any, z: Operand, derivative: bool = False) -> Tensor:
    """The modified spherical Bessel function i_n(z), or its derivative; z > 0."""
    return _spherical(
        bessel.iv, n, z, derivative, lambda: n / z * spherical_in(n, z) + spherical_in(n + 1, z)
    )


def spherical_kn(n: Any, z: Operand, derivative: bool = False) -> Tensor:
    """The modified spherical Bessel function k_n(z), or its derivative; z > 0."""
    return _spherical(
        bessel.kv, n, z, derivative, lambda: n / z * spherical_kn(n, z) - spherical_kn(n + 1, z)
    )
