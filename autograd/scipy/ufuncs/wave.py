"""Mathieu, parabolic cylinder and spheroidal wave functions, which come with their derivatives.

Each returns [the function, its derivative]; the derivative of that is what the function's own
differential equation says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.scipy_ufuncs import declare_ufunc
from tapegrad.autograd.scipy.ufuncs.common import PARAMETER, VALUE, WHOLE, joined

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "mathieu_a",
    "mathieu_b",
    "mathieu_cem",
    "mathieu_modcem1",
    "mathieu_modcem2",
    "mathieu_modsem1",
    "mathieu_modsem2",
    "mathieu_sem",
    "obl_ang1",
    "obl_ang1_cv",
    "obl_cv",
    "obl_rad1",
    "obl_rad1_cv",
    "obl_rad2",
    "obl_rad2_cv",
    "pbdv",
    "pbvv",
    "pbwa",
    "pro_ang1",
    "pro_ang1_cv",
    "pro_cv",
    "pro_rad1",
    "pro_rad1_cv",
    "pro_rad2",
    "pro_rad2_cv",
]

# Parabolic cylinder functions ---------------------------------------------------------------------


def _parabolic(name: str, formula: str, factor: Callable[[Any, Any], Any]) -> Any:
    """The function whose second derivative is factor(v, x) times itself."""
    return declare_ufunc(
        __name__,
        name,
        formula,
        several=True,
        double=True,  # in single precision some are NaN
        v=PARAMETER,
        x=lambda g, v, x, y: joined(g, lambda: y[1], lambda: factor(v, x) * y[0]),
    )


pbdv = _parabolic(
    "pbdv",
    "The parabolic cylinder function D_v(x), and its derivative.",
    lambda v, x: e.square(x) / 4 - v - 0.5,
)
pbvv = _parabolic(
    "pbvv",
    "The parabolic cylinder function V_v(x), and its derivative.",
    lambda v, x: e.square(x) / 4 - v - 0.5,
)
pbwa = _parabolic(
    "pbwa",
    "The parabolic cylinder function W(v, x), and its derivative.",
    lambda v, x: v - e.square(x) / 4,
)

# Mathieu functions --------------------------------------------------------------------------------

mathieu_a = declare_ufunc(
    __name__, "mathieu_a", "The characteristic value of even Mathieu functions.", m=WHOLE, q=VALUE
)
mathieu_b = declare_ufunc(
    __name__, "mathieu_b", "The characteristic value of odd Mathieu functions.", m=WHOLE, q=VALUE
)


def _mathieu(name: str, formula: str, value: Any, *, radial: bool = False) -> Any:
    """A Mathieu function: y'' = (2q·cos 2x - a)·y, the radial one y'' = (a - 2q·cosh 2x)·y."""

    def slope(g: Any, m: Array, q: Array, x: Array, y: Any) -> Array:
        a = value(m, q)
        if radial:
            return joined(g, lambda: y[1], lambda: (a - 2 * q * e.cosh(2 * x)) * y[0])
        degree = math.pi / 180
        return joined(
            g,
            lambda: degree * y[1],
            lambda: degree * (2 * q * e.cos(2 * degree * x) - a) * y[0],
        )

    return declare_ufunc(
        __name__, name, formula, several=True, double=True, m=WHOLE, q=PARAMETER, x=slope
    )


mathieu_cem = _mathieu(
    "mathieu_cem",
    "The even Mathieu function of x degrees, and its derivative in radians.",
    mathieu_a,
)
mathieu_sem = _mathieu(
    "mathieu_sem",
    "The odd Mathieu function of x degrees, and its derivative in radians.",
    mathieu_b,
)
mathieu_modcem1 = _mathieu(
    "mathieu_modcem1",
    "The even modified Mathieu function of the first kind, and its derivative.",
    mathieu_a,
    radial=True,
)
mathieu_modcem2 = _mathieu(
    "mathieu_modcem2",
    "The even modified Mathieu function of the second kind, and its derivative.",
    mathieu_a,
    radial=True,
)
mathieu_modsem1 = _mathieu(
    "mathieu_modsem1",
    "The odd modified Mathieu function of the first kind, and its derivative.",
    mathieu_b,
    radial=True,
)
mathieu_modsem2 = _mathieu(
    "mathieu_modsem2",
    "The odd modified Mathieu function of the second kind, and its derivative.",
    mathieu_b,
    radial=True,
)

# Spheroidal wave functions ------------------------------------------------------------------------

pro_cv = declare_ufunc(
    __name__, "pro_cv", "The characteristic value of prolate functions.", m=WHOLE, n=WHOLE, c=VALUE
)
obl_cv = declare_ufunc(
    __name__, "obl_cv", "The characteristic value of oblate functions.", m=WHOLE, n=WHOLE, c=VALUE
)


def _angular(sign: int) -> Callable[..., Array]:
    """y'' of ((1 - x²)·y')' + (λ - sign·c²x² - m²/(1 - x²))·y = 0."""

    def second(m: Array, c: Array, value: Array, x: Array, y: Any) -> Array:
        square = e.square(x)
        inner = value - sign * c * c * square - m * m / (1 - square)
        return (2 * x * y[1] - inner * y[0]) / (1 - square)

    return second


def _radial(sign: int) -> Callable[..., Array]:
    """y'' of ((x² - sign)·y')' - (λ - c²x² + sign·m²/(x² - sign))·y = 0."""

    def second(m: Array, c: Array, value: Array, x: Array, y: Any) -> Array:
        square = e.square(x)
        inner = value - c * c * square + sign * m * m / (square - sign)
        return (inner * y[0] - 2 * x * y[1]) / (square - sign)

    return second


def _spheroidal(name: str, formula: str, second: Callable[..., Array], value: Any) -> Any:
    """A spheroidal function and its derivative, of the characteristic value of m, n and c."""
    return declare_ufunc(
        __name__,
        name,
        formula,
        several=True,
        double=True,  # in single precision SciPy may not come to an end
        m=WHOLE,
        n=WHOLE,
        c=PARAMETER,
        x=lambda g, m, n, c, x, y: joined(
            g, lambda: y[1], lambda: second(m, c, value(m, n, c), x, y)
        ),
    )


def _with_value(name: str, formula: str, second: Callable[..., Array]) -> Any:
    """The same function, of a characteristic value that is given."""
    return declare_ufunc(
        __name__,
        name,
        formula,
        several=True,
        double=True,  # in single precision SciPy may not come to an end
        m=WHOLE,
        n=WHOLE,
        c=PARAMETER,
        cv=PARAMETER,
        x=lambda g, m, c, cv, x, y: joined(g, lambda: y[1], lambda: second(m, c, cv, x, y)),
    )


_PROLATE = "The prolate spheroidal function of the {} kind, and its derivative; {}."
_OBLATE = "The oblate spheroidal function of the {} kind, and its derivative; {}."
_INSIDE, _OUTSIDE, _POSITIVE = "|x| < 1", "x > 1", "x >= 0"

pro_ang1 = _spheroidal("pro_ang1", _PROLATE.format("first angular", _INSIDE), _angular(1), pro_cv)
pro_rad1 = _spheroidal("pro_rad1", _PROLATE.format("first radial", _OUTSIDE), _radial(1), pro_cv)
pro_rad2 = _spheroidal("pro_rad2", _PROLATE.format("second radial", _OUTSIDE), _radial(1), pro_cv)
obl_ang1 = _spheroidal("obl_ang1", _OBLATE.format("first angular", _INSIDE), _angular(-1), obl_cv)
obl_rad1 = _spheroidal("obl_rad1", _OBLATE.format("first radial", _POSITIVE), _radial(-1), obl_cv)
obl_rad2 = _spheroidal("obl_rad2", _OBLATE.format("second radial", _POSITIVE), _radial(-1), obl_cv)
pro_ang1_cv = _with_value("pro_ang1_cv", _PROLATE.format("first angular", _INSIDE), _angular(1))
pro_rad1_cv = _with_value("pro_rad1_cv", _PROLATE.format("first radial", _OUTSIDE), _radial(1))
pro_rad2_cv = _with_value("pro_rad2_cv", _PROLATE.format("second radial", _OUTSIDE), _radial(1))
obl_ang1_cv = _with_value("obl_ang1_cv", _OBLATE.format("first angular", _INSIDE), _angular(-1))
obl_rad1_cv = _with_value("obl_rad1_cv", _OBLATE.format("first radial", _POSITIVE), _radial(-1))
obl_rad2_cv = _with_value("obl_rad2_cv", _OBLATE.format("second radial", _POSITIVE), _radial(-1))
