"""Elliptic integrals and functions: Legendre's by hypergeometric functions, Carlson's, Jacobi's.

Derivatives in the parameter m of the incomplete ones are Carlson's R_D, which keeps its digits at
m = 0, where the textbook formulas divide 0 by 0.  R_D has no further derivative here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.scipy_ufuncs import declare_ufunc
from tapegrad.autograd.scipy.ufuncs.common import COINCIDENT, joined
from tapegrad.autograd.scipy.ufuncs.hypergeometric import hyp2f1

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "ellipe",
    "ellipeinc",
    "ellipj",
    "ellipk",
    "ellipkinc",
    "ellipkm1",
    "elliprc",
    "elliprd",
    "elliprf",
    "elliprg",
    "elliprj",
]

elliprd = declare_ufunc(
    __name__,
    "elliprd",
    "Carlson's R_D(x1, x2, x3), degenerate and symmetric in x1 and x2.",
    x1=COINCIDENT,
    x2=COINCIDENT,
    x3=COINCIDENT,
)
elliprf = declare_ufunc(
    __name__,
    "elliprf",
    "Carlson's symmetric integral R_F(x1, x2, x3).",
    x1=lambda g, x1, x2, x3: g * (elliprd(x2, x3, x1) / -6),
    x2=lambda g, x1, x2, x3: g * (elliprd(x3, x1, x2) / -6),
    x3=lambda g, x1, x2, x3: g * (elliprd(x1, x2, x3) / -6),
)
elliprc = declare_ufunc(
    __name__,
    "elliprc",
    "Carlson's degenerate R_C(x1, x2) = R_F(x1, x2, x2).",
    x1=lambda g, x1, x2: g * (elliprd(x2, x2, x1) / -6),
    x2=lambda g, x1, x2: g * (elliprd(x1, x2, x2) / -3),
)
elliprg = declare_ufunc(
    __name__,
    "elliprg",
    "Carlson's symmetric integral of the second kind R_G(x1, x2, x3).",
    x1=COINCIDENT,
    x2=COINCIDENT,
    x3=COINCIDENT,
)
elliprj = declare_ufunc(
    __name__,
    "elliprj",
    "Carlson's symmetric integral of the third kind R_J(x1, x2, x3, p).",
    x1=COINCIDENT,
    x2=COINCIDENT,
    x3=COINCIDENT,
    p=COINCIDENT,
)


def _ellipk_slope(m: Array) -> Array:
    """dK/dm."""
    return math.pi / 8 * hyp2f1(1.5, 1.5, 2.0, m)


def _ellipe_slope(m: Array) -> Array:
    """dE/dm."""
    return -math.pi / 8 * hyp2f1(0.5, 1.5, 2.0, m)


ellipk = declare_ufunc(
    __name__,
    "ellipk",
    "The complete elliptic integral of the first kind, of the parameter m < 1.",
    m=lambda g, m: g * _ellipk_slope(m),
)
ellipkm1 = declare_ufunc(
    __name__,
    "ellipkm1",
    "The complete elliptic integral of the first kind, of m = 1 - p; p > 0.",
    p=lambda g, p: -(g * _ellipk_slope(1 - p)),
)
ellipe = declare_ufunc(
    __name__,
    "ellipe",
    "The complete elliptic integral of the second kind, of the parameter m <= 1.",
    m=lambda g, m: g * _ellipe_slope(m),
)


def _turns(phi: Array) -> tuple[Array, Array, Array]:
    """The half turns in φ, and sin and cos² of what is left, between -π/2 and π/2."""
    turns = e.rint(phi / math.pi)
    rest = phi - math.pi * turns
    return turns, e.sin(rest), e.square(e.cos(rest))


def _ellipkinc_slope(phi: Array, m: Array) -> Array:
    """∂F(φ, m)/∂m."""
    turns, sine, cosine = _turns(phi)
    delta = 1 - m * e.square(sine)
    return sine**3 / 6 * elliprd(cosine, 1.0, delta) + 2 * turns * _ellipk_slope(m)


def _ellipeinc_slope(phi: Array, m: Array) -> Array:
    """∂E(φ, m)/∂m."""
    turns, sine, cosine = _turns(phi)
    delta = 1 - m * e.square(sine)
    return 2 * turns * _ellipe_slope(m) - sine**3 / 6 * elliprd(cosine, delta, 1.0)


ellipkinc = declare_ufunc(
    __name__,
    "ellipkinc",
    "The incomplete elliptic integral of the first kind, F(φ, m).",
    phi=lambda g, phi, m: g / e.sqrt(1 - m * e.square(e.sin(phi))),
    m=lambda g, phi, m: g * _ellipkinc_slope(phi, m),
)
ellipeinc = declare_ufunc(
    __name__,
    "ellipeinc",
    "The incomplete elliptic integral of the second kind, E(φ, m).",
    phi=lambda g, phi, m: g * e.sqrt(1 - m * e.square(e.sin(phi))),
    m=lambda g, phi, m: g * _ellipeinc_slope(phi, m),
)


def _jacobi_u(g: Any, m: Array, y: Any) -> Array:
    sn, cn, dn, _ = y
    return joined(g, lambda: cn * dn, lambda: -sn * dn, lambda: -m * sn * cn, lambda: dn)


def _jacobi_m(g: Any, m: Array, y: Any) -> Array:
    """All four follow the amplitude φ, which changes with m so that F(φ, m) = u stays."""
    sn, cn, dn, phi = y
    turn = -dn * _ellipkinc_slope(phi, m)
    return joined(
        g,
        lambda: cn * turn,
        lambda: -sn * turn,
        lambda: (e.square(sn) + 2 * m * sn * cn * turn) / (-2 * dn),
        lambda: turn,
    )


ellipj = declare_ufunc(
    __name__,
    "ellipj",
    "Jacobi's elliptic functions [sn, cn, dn, φ] of u and the parameter 0 <= m < 1.",
    several=True,
    u=_jacobi_u,
    m=_jacobi_m,
)
