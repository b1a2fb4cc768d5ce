"""What a distribution is: a density on a support, and its distribution function, moved and scaled.

A distribution is declared by functions of the standard variable and of its shapes; location and
scale, values outside the support and the missing ones of the six functions follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.arrays import as_operand

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = ["Continuous", "Discrete"]

WRONG = "the functions of {name} take x, {shapes}loc{scale}, and not {given}"


class _Distribution:
    """The arguments of the functions of a distribution, and where its support is.

    shapes:  the names of its shape parameters, separated by blanks
    support: the ends of the standard support, numbers or functions of the shapes
    inside:  a point of the standard support, which stands in for those outside
    """

    scaled: bool

    def __init__(
        self,
        name: str,
        shapes: str,
        log_density: Callable[..., Any],
        below: Callable[..., Any],
        *,
        above: Callable[..., Any] | None = None,
        log_below: Callable[..., Any] | None = None,
        log_above: Callable[..., Any] | None = None,
        support: tuple[Any, Any] = (-np.inf, np.inf),
        inside: Any = 0.5,
    ) -> None:
        self.name = name
        self.shapes = tuple(shapes.split())
        self._log_density = log_density
        self._below = below
        self._above = above or (lambda *args: 1 - below(*args))
        self._log_below = log_below or (lambda *args: e.log(below(*args)))
        self._log_above = log_above or (lambda *args: e.log(self._above(*args)))
        self._support = support
        self._inside = inside

    def __repr__(self) -> str:
        return f"<tapegrad.scipy.stats.{self.name}>"

    def _parts(self, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The standard variable, the shapes, and the scale, from the arguments of a call."""
        names = ("x", *self.shapes, "loc", *(("scale",) if self.scaled else ()))
        if "k" in named:
            named = {"x": named["k"], **{key: v for key, v in named.items() if key != "k"}}
        values = {**dict(zip(names, given, strict=False)), **named}
        wrong = len(given) > len(names) or not set(names[: 1 + len(self.shapes)]) <= set(values)
        if wrong or not set(values) <= set(names):
            raise TypeError(
                WRONG.format(
                    name=self.name,
                    shapes="".join(f"{shape}, " for shape in self.shapes),
                    scale=" and scale" if self.scaled else "",
                    given=", ".join(map(str, values)) or "nothing",
                )
            )
        x, *shapes = (as_operand(values[key]) for key in names[: 1 + len(self.shapes)])
        loc, scale = values.get("loc", 0), values.get("scale", 1)
        if not (isinstance(loc, int) and loc == 0):
            x = x - loc
        if not (isinstance(scale, int) and scale == 1):
            x = x / scale
        return x, shapes, scale

    def _ends(self, shapes: list[Any]) -> list[Any]:
        return [end(*shapes) if callable(end) else end for end in self._support]

    def _within(self, x: Any, shapes: list[Any]) -> tuple[Any, Any, Any]:
        """x, replaced by a point inside where it is outside; where it is below; where above."""
        low, high = self._ends(shapes)
        left, right = e.less(x, low), e.greater(x, high)
        if isinstance(low, float) and isinstance(high, float) and -low == high == np.inf:
            return x, left, right
        point = self._inside(*shapes) if callable(self._inside) else self._inside
        return e.where(left | right, point, x), left, right

    def _tail(
        self,
        function: str,
        given: tuple[Any, ...],
        named: dict[str, Any],
        first: float,
        last: float,
    ) -> Tensor:
        """A function of the distribution function: `first` below the support, `last` above."""
        x, shapes, _ = self._parts(given, named)
        x, left, right = self._within(x, shapes)
        y = getattr(self, f"_{function}")(x, *shapes)
        return e.where(left, first, e.where(right, last, y))

    def cdf(self, *args: Operand, **named: Operand) -> Tensor:
        """P(X <= x), elementwise: (x, shapes …, loc[, scale])."""
        return self._tail("below", args, named, 0.0, 1.0)

    def sf(self, *args: Operand, **named: Operand) -> Tensor:
        """P(X > x), elementwise: (x, shapes …, loc[, scale])."""
        return self._tail("above", args, named, 1.0, 0.0)

    def logcdf(self, *args: Operand, **named: Operand) -> Tensor:
        """log P(X <= x), elementwise: (x, shapes …, loc[, scale])."""
        return self._tail("log_below", args, named, -np.inf, 0.0)

    def logsf(self, *args: Operand, **named: Operand) -> Tensor:
        """log P(X > x), elementwise: (x, shapes …, loc[, scale])."""
        return self._tail("log_above", args, named, 0.0, -np.inf)


class Continuous(_Distribution):
    """A distribution with a density, moved by `loc` and stretched by `scale`."""

    scaled = True

    def logpdf(self, *args: Operand, **named: Operand) -> Tensor:
        """The logarithm of the density, elementwise; -inf outside the support."""
        x, shapes, scale = self._parts(args, named)
        x, left, right = self._within(x, shapes)
        y = self._log_density(x, *shapes)
        if not (isinstance(scale, int) and scale == 1):
            y = y - e.log(as_operand(scale))
        return e.where(left | right, -np.inf, y)

    def pdf(self, *args: Operand, **named: Operand) -> Tensor:
        """The density, elementwise; 0 outside the support."""
        return e.exp(self.logpdf(*args, **named))


class Discrete(_Distribution):
    """A distribution on whole numbers, moved by `loc`."""

    scaled = False

    def logpmf(self, *args: Operand, **named: Operand) -> Tensor:
        """The logarithm of P(X = k), elementwise; -inf elsewhere than on the support."""
        k, shapes, _ = self._parts(args, named)
        k, left, right = self._within(k, shapes)
        between = e.not_equal(k, e.floor(k))
        y = self._log_density(e.floor(k), *shapes)
        return e.where(left | right | between, -np.inf, y)

    def pmf(self, *args: Operand, **named: Operand) -> Tensor:
        """P(X = k), elementwise; 0 elsewhere than on the support."""
        return e.exp(self.logpmf(*args, **named))

    def _within(self, x: Any, shapes: list[Any]) -> tuple[Any, Any, Any]:
        """As of every distribution; whole numbers have no derivative."""
        if getattr(x, "tracked", False):
            raise TypeError(f"{self.name}: k counts in whole numbers: pass k.detach()")
        return super()._within(x, shapes)
