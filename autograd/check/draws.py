"""Draws: the source of the random choices of one example.

A case is a function of a `Draws`: it asks for shapes and options by name, and for arrays, whose
entries all come from one seed.  Single entries are not choices: drawing them one by one is slow,
and most bugs depend on shapes, which are choices and shrink.  The same case runs on random numbers
(`Draws(seed)`), on the choices of another example, as given or as far as they fit (`RecordedDraws`,
`NearbyDraws`), or on Hypothesis (`strategies.py` overrides two methods).

Regimes: "ordinary" Gaussian data; "grid" small integers, full of ties and zeros; "constant" one
value everywhere; "large" Gaussian data times a thousand; "saturated" numbers of size 4 to 14, where
1 − tanh² and its like round to 0 in float32 and not in float64; "degenerate" ordinary data, but for
matrices that are made of their eigen- or singular values (`spectrum`), some of which are equal.
Among a law's examples some are, without being asked for, of one sign, "negative" and "positive",
and where constants are asked for some are "zero" everywhere; arrays inside an interval are ordinary
there.  In some of a law's examples one axis is longer than 8, 16 or 64.

In a case of complex arguments, `array`, `normal` and `uniform` give complex arrays for all
arguments or for every other one, because a real argument beside complex ones has a rule of its own:
its cotangent is the real part.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["REGIMES", "SEEDS", "Draws", "NearbyDraws", "RecordedDraws", "check_names"]

# Kinds of drawn numbers: ordinary ones, a few grid points with ties, all equal, huge and tiny.
REGIMES = ("ordinary", "grid", "constant", "large")
SIGNED = ("negative", "positive")
WIDE = ((9, 14), (17, 24), (65, 70))  # lengths of an axis, in some examples
WIDEST = WIDE[-1][1]
# The examples where the long axis is the first of all (True) or the second, and not any of both:
# among 25 examples each of two axes is longer than 64 once.
FIRST_AXIS_AT: dict[int | None, bool] = {7: False, 15: True, 23: True}
LONG = 2500  # more ones than float16 counts one by one
SEEDS = 2**32  # seeds of examples are smaller


def check_names(names: str) -> str:
    """`names` unchanged.  Raises ValueError where one of them does not describe an axis."""
    for axis in names.split():
        if not re.fullmatch(r"\w+(?:[*+]\w+)*\??", axis):
            raise ValueError(
                f"{axis!r} is no axis of a shape: write a name, a number, or a sum or product of "
                "them without blanks, such as N, 3, H+2, 2*C; a trailing ? for one that may miss"
            )
    return names


class Draws:
    """The random choices for one example; equal seeds make equal choices.

    regimes: the kinds of data that `regime` is drawn from, the first more often than the others
    empties: whether every axis that may be empty is empty
    turn:    the number of the example: examples 0, 1, … take the regimes in turn instead, and those
             of one sign
    long:    whether every axis that may be empty is long, but for time
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        regimes: Sequence[str] = ("ordinary",),
        empties: bool = False,
        turn: int | None = None,
        long: bool = False,
    ) -> None:
        self._choices = np.random.default_rng([seed, 1])
        self._named: dict[str, int] = {}
        self._present: dict[str, bool] = {}
        self.choices_made: list[int] = []  # all choices so far, as `RecordedDraws` takes them
        self.empties = empties
        self.long = long
        self.spectra = 0  # how many matrices were made of their spectrum
        self.complex = False  # a `Case` of complex arguments sets it
        self._turns: list[bool] = []  # whether each of the next arrays is complex
        self.seed = self._draw_seed(seed)
        self.rng = np.random.default_rng(self.seed)
        self._asked = tuple(regimes)
        kinds = [*regimes, regimes[0]]
        if turn is not None or self.repeats:
            kinds += _unasked(regimes)
        if turn is None:
            self.regime = self.choice(kinds)
        else:
            if len(regimes) == 1:
                self._next_integer(0, 1)  # as ever, so that equal seeds make equal examples
            position = _position(turn, len(regimes), len(kinds))
            self.choices_made.append(position)
            self.regime = kinds[position]
        self._turn = turn
        self._passed = False  # an axis that might have been long
        self._wide = None if turn is None or empties or long else _length_of(turn)

    @property
    def unasked(self) -> bool:
        """Are the data of a regime that nobody asked for, so that nothing need be proved there?"""
        return self.regime not in self._asked

    # What a source of choices provides -----------------------------------------------------------

    repeats = False  # whether the choices are those of another example

    def _next_integer(self, low: int, high: int) -> int:
        return int(self._choices.integers(low, high + 1))

    def _next_length(self, low: int, high: int) -> int:
        """The length of an axis; in some examples one of them is long."""
        if self._wide is not None:
            drawn = self._passed or bool(self._choices.integers(2))
            if self._passed or FIRST_AXIS_AT.get(self._turn, drawn):
                (low, high), self._wide = self._wide, None
            self._passed = True
        return self._next_integer(low, high)

    def _draw_seed(self, seed: int) -> int:
        self.choices_made.append(seed)
        return seed

    # Choices -------------------------------------------------------------------------------------

    def integer(self, low: int, high: int) -> int:
        """An integer in low … high, both included; smaller is simpler."""
        self.choices_made.append(self._next_integer(low, high))
        return self.choices_made[-1]

    def choice(self, options: Sequence[Any]) -> Any:
        """One of `options`; earlier is simpler."""
        return options[self.integer(0, len(options) - 1)] if len(options) > 1 else options[0]

    # Sizes and shapes ----------------------------------------------------------------------------

    def size(
        self,
        name: str,
        low: int = 1,
        high: int = 4,
        *,
        may_be_empty: bool = False,
        may_be_long: bool = False,
    ) -> int:
        """The size called `name`, which stays the same within an example.

        may_be_long: whether some examples may have a size far above `high`
        """
        if name not in self._named:
            if may_be_empty and self.empties:
                self._named[name] = 0
            elif may_be_empty and self.long and name != "T":
                self._named[name] = LONG
            elif may_be_long:
                self._named[name] = self._length(low, high)
            else:
                self._named[name] = self.integer(low, high)
        return self._named[name]

    def _length(self, low: int, high: int) -> int:
        self.choices_made.append(self._next_length(low, high))
        return self.choices_made[-1]

    def shape(self, names: str | None = None, *, most: int = 3) -> tuple[int, ...]:
        """A shape of named sizes, ``"N? C H W"``; without names, any shape of at most `most` axes.

        Sizes of one name are equal within the example, and an axis ``N?``, which may be missing, is
        missing from all shapes or from none.  N and T may be empty, as batch axes may.  An axis may
        also be a number or a sum or product: ``"N 3 H+2 2*C"``.
        """
        if names is None:
            axes = self.integer(0, most)
            sizes = [self._length(1, 4) for _ in range(axes)]
            if self.empties:
                sizes = [*sizes, 0] if not sizes else [0, *sizes[1:]]
            if self.long and sizes:
                sizes[0] = LONG
            return tuple(sizes)
        return tuple(
            self._axis_size(axis.rstrip("?"))
            for axis in check_names(names).split()
            if not axis.endswith("?") or self.present(axis.rstrip("?"))
        )

    def present(self, name: str) -> bool:
        """Does this example have the axis ``name?``?"""
        if name not in self._present:
            self._present[name] = self.choice([False, True])
        return self._present[name]

    def let(self, name: str, size: int) -> int:
        """Set the size called `name`, for instance to an option of the constructor."""
        self._named[name] = size
        return size

    def _axis_size(self, axis: str) -> int:
        return sum(math.prod(map(self._factor, term.split("*"))) for term in axis.split("+"))

    def _factor(self, text: str) -> int:
        if text.isdigit():
            return int(text)
        return self.size(text, may_be_empty=text in ("N", "T"), may_be_long=True)

    def broadcastable(self, count: int, *, most: int = 3) -> list[tuple[int, ...]]:
        """`count` shapes that broadcast with each other; the first need not be the largest."""
        full = self.shape(most=most)
        shapes = []
        for _ in range(count):
            kept = full[self.integer(0, len(full)) :]
            shapes.append(tuple(1 if self.integer(0, 3) == 3 else n for n in kept))
        shapes[self.integer(0, count - 1)] = full
        return shapes

    # Arrays --------------------------------------------------------------------------------------

    def array(
        self,
        shape: tuple[int, ...],
        low: float | None = None,
        high: float | None = None,
        *,
        large: float = 1000.0,
        distinct: bool = False,
        real: bool = False,
        cut: bool = False,
    ) -> np.ndarray:
        """A float64 array in the current regime, inside the open interval (low, high).

        large:    how large entries get in the regime of that name
        distinct: no ties in any regime (for functions whose *shape* of result depends on ties)
        real:     whether the array stays real in a case of complex arguments
        cut:      whether the function has a branch cut outside the real axis
        Complex entries (complex128) may lie anywhere.  With an interval or `cut` they keep a
        distance of 1/4 from both axes, on which all branch cuts and poles of NumPy's functions lie.
        """
        if not real and self._is_complex():
            if low is not None or high is not None or cut:
                return self._off_axis(shape, large) + 1j * self._off_axis(shape, large)
            parts = [self._real(shape, None, None, large, distinct) for _ in range(2)]
            return np.asarray(parts[0] + 1j * parts[1])
        return self._real(shape, low, high, large, distinct)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Gaussian entries in every regime."""
        if self._is_complex():
            return np.asarray(
                self.rng.standard_normal(shape) + 1j * self.rng.standard_normal(shape)
            )
        return np.asarray(self.rng.standard_normal(shape))

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        """Entries in low … high in every regime; the imaginary parts of complex ones, too."""
        if self._is_complex():
            return np.asarray(
                self.rng.uniform(low, high, shape) + 1j * self.rng.uniform(low, high, shape)
            )
        return np.asarray(self.rng.uniform(low, high, shape))

    def _is_complex(self) -> bool:
        """Is the next array complex?  In a complex example all are, or every other one."""
        if not self.complex:
            return False
        if not self._turns:
            self._turns = self.choice([[True], [True], [True, False], [False, True]])
        now, *later = self._turns
        self._turns = [*later, now]
        return now

    def _off_axis(self, shape: tuple[int, ...], large: float) -> np.ndarray:
        size = self._real(shape, None, None, large, distinct=False)
        return np.asarray(np.copysign(0.25 + np.abs(size), np.where(size == 0, 1, size)))

    def _real(
        self,
        shape: tuple[int, ...],
        low: float | None,
        high: float | None,
        large: float,
        distinct: bool,
    ) -> np.ndarray:
        rng = self.rng
        regime = "ordinary" if distinct and self.regime != "large" else self.regime
        if low is None and high is None:
            if regime == "grid":
                return rng.integers(-2, 3, shape).astype(np.float64)
            if regime == "constant":
                return np.full(shape, float(rng.integers(-2, 3)))
            if regime == "saturated":
                return np.array(rng.uniform(4.0, 14.0, shape) * rng.choice([-1.0, 1.0], shape))
            if regime == "zero":
                return np.zeros(shape)
            scale = large if regime == "large" else 1.0
            drawn = np.array(scale * rng.standard_normal(shape))
            if regime in SIGNED:
                return np.asarray(np.copysign(drawn, -1.0 if regime == "negative" else 1.0))
            return drawn
        if low is None or high is None:
            offset = np.exp(rng.standard_normal(shape))  # away from the border, never on it
            if regime == "grid":
                offset = rng.integers(1, 4, shape).astype(np.float64)
            elif regime == "constant":
                offset = np.full(shape, float(rng.integers(1, 4)))
            elif regime == "large":
                offset = offset * large
            elif regime == "saturated":
                offset = rng.uniform(4.0, 14.0, shape)
            return np.array(low + offset if low is not None else high - offset)
        share = rng.uniform(0.05, 0.95, shape)
        if regime == "grid":
            share = rng.integers(1, 8, shape) / 8
        elif regime == "constant":
            share = np.full(shape, rng.integers(1, 8) / 8)
        return np.array(low + (high - low) * share)

    def spectrum(self, n: int, *, zero: bool = False) -> np.ndarray:
        """n positive numbers that are far apart, 2, 4, 6, …, for eigen- and singular values.

        zero: whether one may be 0 in the regime "degenerate", where some are equal
        """
        self.spectra += 1
        values = 2.0 * np.arange(1, n + 1)
        if self.regime != "degenerate" or n < 2:
            return values
        kind = self.choice(["pair", "all", "zero"] if zero else ["pair", "all"])
        if kind == "zero":
            values[0] = 0.0
        else:
            values[: n if kind == "all" else 2] = 2.0
        return values

    def rotations(self, shape: tuple[int, ...]) -> np.ndarray:
        """Orthogonal or unitary matrices; one of two examples has unit matrices."""
        if self.choice([True, False]):
            return np.broadcast_to(np.eye(shape[-1]), shape).copy()
        turned = self.normal(shape)
        return np.asarray(np.linalg.qr(turned)[0]) if turned.size else turned

    def integers(self, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        """An int64 array with entries in low … high − 1."""
        return np.asarray(self.rng.integers(low, max(high, low + 1), shape), np.int64)

    def booleans(self, shape: tuple[int, ...]) -> np.ndarray:
        """A boolean array."""
        return np.asarray(self.rng.integers(0, 2, shape), bool)

    def axis(self, ndim: int) -> int:
        """An axis of an array with `ndim` ≥ 1 axes, counted from either end."""
        axis = self.integer(0, ndim - 1)
        return self.choice([axis, axis - ndim])

    def axes(self, ndim: int) -> int | tuple[int, ...] | None:
        """A value for the `axis=` of a reduction: None, one axis, or several."""
        if ndim == 0:
            return None
        kind = self.choice(["one", "all", "several"])
        if kind == "all":
            return None
        if kind == "one":
            return self.axis(ndim)
        chosen = [axis for axis in range(ndim) if self.choice([True, False])]
        return tuple(chosen) if chosen else (0,)


def _unasked(regimes: Sequence[str]) -> list[str]:
    """The regimes that a law's examples have beside those that it asks for."""
    if regimes[0] != "ordinary":
        return []
    return [*SIGNED, "zero"] if "constant" in regimes else [*SIGNED]


def _position(turn: int, asked: int, count: int) -> int:
    """Which of `count` kinds of data example `turn` has: those asked for first, all in turn.

    The kinds are those asked for, the first of them again, and those that nobody asked for.
    """
    order = [*range(asked), *range(asked + 1, count), asked]
    return order[turn % count]


def _length_of(turn: int) -> tuple[int, int] | None:
    """The limits of one axis of example `turn` where it is long: examples 4, 7, 15, 23, …"""
    if turn == 4:  # laws of little effort have five examples
        return WIDE[0]
    return WIDE[(2, 1, 2, 0)[turn // 8 % 4]] if turn % 8 == 7 else None


class RecordedDraws(Draws):
    """A `Draws` that repeats the recorded choices of an example, for the same case.

    Raises ValueError where a choice does not fit, because the case has changed since.
    """

    repeats = True

    def __init__(self, choices: Sequence[int], **options: Any) -> None:
        self._recorded = iter(choices)
        super().__init__(0, **options)

    def _next_integer(self, low: int, high: int) -> int:
        value = next(self._recorded, None)
        if value is None or not low <= value <= high:
            raise ValueError(
                f"the recorded choices do not fit the case: {value} where an integer in "
                f"{low} … {high} was asked for. Has the case changed since they were recorded?"
            )
        return value

    def _next_length(self, low: int, high: int) -> int:
        return self._next_integer(low, max(high, WIDEST))

    def _draw_seed(self, seed: int) -> int:
        return self.integer(0, SEEDS - 1)


class NearbyDraws(Draws):
    """A `Draws` that takes given choices as far as they fit.

    One that is out of range becomes the nearest that is in range, and what is missing the smallest.
    """

    repeats = True

    def __init__(self, choices: Sequence[int], **options: Any) -> None:
        self._wanted = iter(choices)
        super().__init__(0, **options)

    def _next_integer(self, low: int, high: int) -> int:
        return min(max(next(self._wanted, low), low), high)

    def _next_length(self, low: int, high: int) -> int:
        return self._next_integer(low, max(high, WIDEST))

    def _draw_seed(self, seed: int) -> int:
        return self.integer(0, SEEDS - 1)
