"""Hypothesis strategies for your own tests: examples of a case, and the parts of examples.

Hypothesis is imported only when a strategy is made, since the package does not depend on it.  It
chooses sizes, options, regime, dtype, layout and seed.  The entries of arrays come from the seed,
so that drawing them is fast and shrinking works on the shapes.  (Rejected: Hypothesis's own
`hypothesis.extra.numpy.arrays`, which is three times slower, and makes most entries equal.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.check.cases import CaseOption, as_option
from tapegrad.autograd.check.draws import REGIMES, SEEDS, Draws
from tapegrad.autograd.check.layouts import LAYOUTS

__all__ = [
    "DTYPES",
    "HypothesisDraws",
    "arrays",
    "draws",
    "dtypes",
    "examples",
    "layouts",
    "options",
    "regimes",
    "seeds",
    "shapes",
]

DTYPES = ("float64", "float32", "float16")


class HypothesisDraws(Draws):
    """A `Draws` whose choices Hypothesis makes.

    draw: the function that ``st.composite`` passes to its strategy, or a drawn ``st.data()`` object
    """

    def __init__(self, draw: Any, **options: Any) -> None:
        self._draw = getattr(draw, "draw", draw)
        super().__init__(0, **options)

    def _next_integer(self, low: int, high: int) -> int:
        from hypothesis import strategies as st

        return int(self._draw(st.integers(low, high)))

    def _draw_seed(self, seed: int) -> int:
        return self.integer(0, SEEDS - 1)


def draws(make: Callable[[Draws], Any] | None = None, **settings: Any) -> Any:
    """Strategy for ``make(d)`` with d a `HypothesisDraws`; `settings` are those of `Draws`.

    >>> from hypothesis import given
    >>> from tapegrad.autograd.check import strategies
    >>> @given(strategies.draws(lambda d: d.array(d.shape("N? C"))))
    ... def test_softmax_sums_to_one(x): ...
    """
    from hypothesis import strategies as st

    @st.composite
    def make_example(draw: Any) -> Any:
        source = HypothesisDraws(draw, **settings)
        return source if make is None else make(source)

    return make_example()


def examples(case: Callable[[Draws], Any], **settings: Any) -> Any:
    """Strategy for the examples of a case: a `Layer`, a `TrialCall`, a `Setting`."""
    return draws(case, **settings)


def shapes(*names: str, empties: bool = False) -> Any:
    """Strategy for shapes with named sizes; sizes of one name are equal.

    names: ``"N? C H W"``, a string for each array; one string gives a tuple, several give a list
    """
    drawn_shapes = draws(lambda d: [d.shape(text) for text in names], empties=empties)
    return drawn_shapes.map(lambda shapes: shapes[0]) if len(names) == 1 else drawn_shapes


def options(**choices: Any) -> Any:
    """Strategy for keyword arguments: a dict with one value for each option.

    choices: options such as ``ints(1, 5)`` or ``one_of("same", "valid")``, ranges, lists of
             choices, or fixed values
    """
    kinds: dict[str, CaseOption] = {name: as_option(value) for name, value in choices.items()}
    return draws(lambda d: {name: kind.draw(d) for name, kind in kinds.items()})


def regimes(*names: str) -> Any:
    """Strategy for the kind of data: ordinary, grid (with ties), constant, large."""
    from hypothesis import strategies as st

    return st.sampled_from(names or REGIMES)


def dtypes(*names: str) -> Any:
    """Strategy for floating point dtypes; shrinks to float64."""
    from hypothesis import strategies as st

    return st.sampled_from([np.dtype(name) for name in names or DTYPES])


def layouts(*names: str) -> Any:
    """Strategy for functions that store an array differently in memory and keep its values.

    names: some of `LAYOUTS`: contiguous, Fortran-ordered, gapped, reversed, read-only
    """
    from hypothesis import strategies as st

    return st.sampled_from([LAYOUTS[name] for name in names or LAYOUTS])


def seeds() -> Any:
    """Strategy for seeds; shrinks to 0."""
    from hypothesis import strategies as st

    return st.integers(0, SEEDS - 1)


def arrays(
    names: str | None = None,
    low: float | None = None,
    high: float | None = None,
    *,
    regimes: tuple[str, ...] = REGIMES,
    dtypes: tuple[str, ...] = ("float64",),
    layouts: tuple[str, ...] = ("contiguous",),
    empties: bool = False,
) -> Any:
    """Strategy for one array of named sizes, inside the open interval (low, high).

    names:   ``"N? C H W"``; any shape of at most three axes when omitted
    regimes: the kinds of data to choose from
    dtypes:  the dtypes to choose from
    layouts: the memory layouts to choose from
    empties: whether the sizes N and T are 0
    """

    def make(d: Draws) -> np.ndarray:
        array = d.array(d.shape(names), low, high).astype(d.choice(dtypes))
        return LAYOUTS[d.choice(layouts)](array)

    return draws(make, regimes=regimes, empties=empties)
