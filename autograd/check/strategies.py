"""Hypothesis behind a `Draws`: the same cases, with examples that shrink.

Hypothesis is imported when an example is drawn and not before: the package does not depend on it.
It chooses sizes, options, regime and seed; entries come from the seed, so that an example costs
what its arrays cost, and shrinking works on what a reader wants small: the shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapegrad.autograd.check.draws import Draws

__all__ = ["HypothesisDraws", "draws"]


class HypothesisDraws(Draws):
    """A `Draws` whose choices are Hypothesis's (`data` is a drawn ``st.data()`` object)."""

    def __init__(self, data: Any, **options: Any) -> None:
        self._data = data
        super().__init__(0, **options)

    def integer(self, low: int, high: int) -> int:
        """An integer in low … high; Hypothesis shrinks it towards low."""
        from hypothesis import strategies as st

        return int(self._data.draw(st.integers(low, high)))

    def choice(self, options: Sequence[Any]) -> Any:
        """One of `options`; Hypothesis shrinks towards the first."""
        return options[self.integer(0, len(options) - 1)] if len(options) > 1 else options[0]

    def _draw_seed(self, seed: int) -> int:
        return self.integer(0, 2**32 - 1)


def draws(**options: Any) -> Any:
    """A strategy for `Draws` (options: `regimes`, `empties`), for use under ``@given``."""
    from hypothesis import strategies as st

    return st.builds(lambda data: HypothesisDraws(_Quiet(data), **options), st.data())


class _Quiet:
    """Draws without listing every choice in the failure message; the laws print the example."""

    def __init__(self, data: Any) -> None:
        self._conjecture = data.conjecture_data

    def draw(self, strategy: Any) -> Any:
        return self._conjecture.draw(strategy)
