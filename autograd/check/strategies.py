"""Hypothesis behind a `Draws`: the same cases, with examples that shrink.

Hypothesis is imported when an example is drawn and not before: the package does not depend on it.
It chooses sizes, options, regime and seed; entries come from the seed, so that an example costs
what its arrays cost, and shrinking works on what a reader wants small: the shapes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check.draws import Draws
from tapegrad.autograd.check.report import LawError, Report

if TYPE_CHECKING:
    from tapegrad.autograd.check.laws import Law

__all__ = ["HypothesisDraws", "UncheckedError", "run_law"]

UNRESOLVED = 0.2


class UncheckedError(LawError):
    """Too many examples ended in "kink" or "noisy": nothing was proved, so nothing is passed."""


class HypothesisDraws(Draws):
    """A `Draws` whose choices are Hypothesis's (`data` is a drawn ``st.data()`` object)."""

    def __init__(self, data: Any, **options: Any) -> None:
        self._data = data
        super().__init__(0, **options)

    def integer(self, low: int, high: int) -> int:
        """An integer in low … high; Hypothesis shrinks it towards low."""
        from hypothesis import strategies as st

        # Not `data.draw`: that lists every choice, and the message shows the example anyway.
        return int(self._data.conjecture_data.draw(st.integers(low, high)))

    def choice(self, options: Sequence[Any]) -> Any:
        """One of `options`; Hypothesis shrinks towards the first."""
        return options[self.integer(0, len(options) - 1)] if len(options) > 1 else options[0]

    def _draw_seed(self, seed: int) -> int:
        return self.integer(0, 2**32 - 1)


def run_law(law: Law, make_trial: Callable[[Draws], Any], *, examples: int = 25) -> list[Report]:
    """Hold a law against drawn examples; the reports of those that were probed numerically.

    law:        what must hold
    make_trial: a trial from a `Draws`, such as ``lambda d: ModuleTrial(name, case, d)``
    examples:   how many for a law of effort 1; a law of less effort gets its share
    Raises what the smallest failing example raises, mostly LawError, with the example as a note;
    UncheckedError where more than a fifth of the verdicts are unresolved.
    """
    from hypothesis import given, settings
    from hypothesis import strategies as st

    reports: list[Report] = []

    @settings(max_examples=max(2, round(examples * law.effort)), database=None)
    @given(st.data())
    def on_examples(data: Any) -> None:
        trial = None
        example = HypothesisDraws(data, regimes=law.regimes, empties=law.empties)
        try:
            # what NumPy says about overflow in large data is not what is tested here
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                trial = make_trial(example)
                found = law.check(trial)
        except Exception as error:
            error.add_note(f"law:     {law.sentence}")
            error.add_note(f"example: {trial!r}, {example.regime} data, seed {example.seed}")
            raise
        if isinstance(found, Report):
            reports.append(found)

    on_examples()
    unresolved = [report for report in reports if not report.ok]
    if len(unresolved) > UNRESOLVED * len(reports):
        raise UncheckedError(
            f"unchecked: {len(unresolved)} of {len(reports)} examples are unresolved, the last: "
            f"{unresolved[-1]}"
        )
    return reports
