"""Holding a law against drawn examples: what ran, what came of it, and how to see it again.

An `Outcome` counts: examples, gradients proved, unresolved verdicts, examples the law is not about.
Nothing is skipped silently: a law that was about none of its examples is "not covered", one whose
verdicts are unresolved in more than a fifth is "unchecked", and only "holds" is good news.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check.draws import Draws, RecordedDraws
from tapegrad.autograd.check.laws import NotCovered
from tapegrad.autograd.check.report import LawError, Report
from tapegrad.autograd.check.strategies import HypothesisDraws

if TYPE_CHECKING:
    from tapegrad.autograd.check.laws import Law

__all__ = ["PROFILES", "Outcome", "Profile", "UncheckedError", "examine", "rerun_law", "run_law"]

UNRESOLVED = 0.2
_HYPOTHESIS_NOTES = ("Failing test case", "Falsifying example", "Explanation", "You can reproduce")


class UncheckedError(LawError):
    """Too many examples ended in "kink" or "noisy": nothing was proved, so nothing is passed."""


@dataclass(frozen=True)
class Profile:
    """How many examples, and whether a run draws the same ones every time."""

    examples: int
    derandomize: bool = True


PROFILES = {
    "pr": Profile(25),
    "ci": Profile(100),
    "nightly": Profile(10_000, derandomize=False),
}


@dataclass
class Outcome:
    """What came of one law on one subject.

    examples:     how many were drawn
    reports:      of those that were probed numerically
    reasons:      why the law was not about an example, with how often
    error:        what the smallest failing example raised
    choices:      of that example, for `rerun_law`
    example:      in words
    exception:    why the law is allowed not to hold here (such exceptions are strict)
    """

    law: Law
    examples: int = 0
    reports: list[Report] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    error: BaseException | None = None
    choices: tuple[int, ...] = ()
    example: str = ""
    exception: str = ""
    kinks: bool = False

    @property
    def unresolved(self) -> list[Report]:
        """The reports that proved nothing."""
        allowed = ("ok", "kink") if self.kinks else ("ok",)
        return [report for report in self.reports if report.verdict not in allowed]

    @property
    def verdict(self) -> str:
        """What to say: holds, broken, unchecked, not covered, excepted or obsolete exception."""
        if self.exception:
            excepted = self.error is not None and not isinstance(self.error, UncheckedError)
            return "excepted" if excepted else "obsolete exception"
        if isinstance(self.error, UncheckedError):
            return "unchecked"
        if self.error is not None:
            return "broken"
        if sum(self.reasons.values()) >= self.examples:
            return "not covered"
        return "holds"

    @property
    def ok(self) -> bool:
        """Whether nothing is to be done about it."""
        return self.verdict in ("holds", "not covered", "excepted")

    def raise_error(self) -> None:
        """Raise what the smallest failing example raised, unless all is well."""
        if self.verdict == "obsolete exception":
            raise LawError(
                f"{self.law.sentence}: declared an exception ({self.exception}), and it holds. "
                "Remove the exception."
            )
        if not self.ok and self.error is not None:
            raise self.error


def run_law(
    law: Law,
    make_trial: Callable[[Draws], Any],
    *,
    examples: int = 25,
    seed: int | None = None,
    kinks: bool = False,
) -> list[Report]:
    """Hold a law against drawn examples; the reports of those that were probed numerically.

    The arguments are those of `examine`.
    Raises what the smallest failing example raises, mostly LawError, with the example as a note;
    UncheckedError where more than a fifth of the verdicts are unresolved.
    """
    outcome = examine(law, make_trial, examples=examples, seed=seed, kinks=kinks)
    outcome.raise_error()
    return outcome.reports


def rerun_law(law: Law, make_trial: Callable[[Draws], Any], choices: Sequence[int]) -> Any:
    """One law on the one example that these choices make; raises what it raises."""
    draws = RecordedDraws(choices, regimes=law.regimes, empties=law.empties)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return law.check(make_trial(draws))


def examine(
    law: Law,
    make_trial: Callable[[Draws], Any],
    *,
    examples: int = 25,
    seed: int | None = None,
    kinks: bool = False,
) -> Outcome:
    """Hold a law against drawn examples; nothing is raised that the law itself raises.

    law:        what must hold
    make_trial: a trial from a `Draws`, such as ``lambda d: ModuleTrial(name, case, d)``
    examples:   how many for a law of effort 1; a law of less effort gets its share
    seed:       of the examples; when omitted, as the current Hypothesis profile says
    kinks:      the function is flat or broken almost everywhere it is looked at (a rounding, a
                step): examples at kinks are fine, if others are proved
    """
    import hypothesis
    from hypothesis import HealthCheck, Phase

    outcome = Outcome(law, kinks=kinks)
    failed: dict[str, Any] = {}

    def make(drawn: Draws) -> tuple[Any, Draws]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                return make_trial(drawn), drawn
            except Exception as error:
                _note(error, None, drawn)
                raise

    def _note(error: BaseException, trial: Any, drawn: Draws) -> None:
        shown = _described(trial, drawn)
        failed.update(error=error, choices=tuple(drawn.made), example=shown)
        error.add_note(f"law:     {law.sentence}")
        error.add_note(f"example: {shown}")

    def hold(pair: tuple[Any, Draws]) -> None:
        trial, drawn = pair
        try:
            # what NumPy says about overflow in large data is not what is tested here
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                found = law.check(trial)
        except Exception as error:
            _note(error, trial, drawn)
            raise
        outcome.examples += 1
        if isinstance(found, Report):
            outcome.reports.append(found)
        elif isinstance(found, NotCovered):
            outcome.reasons[found.reason] = outcome.reasons.get(found.reason, 0) + 1

    @hypothesis.settings(
        max_examples=max(2, round(examples * law.effort)),
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        # no explaining: it traces every line, which takes seconds, and names lines of the checker
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[
            HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example
        ],
    )  # fmt: skip
    @hypothesis.given(_trials()(law, make))
    def on_examples(pair: tuple[Any, Draws]) -> None:
        hold(pair)  # short: Hypothesis reads and parses this function's source for each law

    if seed is not None:
        on_examples = hypothesis.seed(seed)(on_examples)
    try:
        on_examples()
    except Exception as error:
        if not failed:
            raise
        outcome.error, outcome.choices = failed["error"], failed["choices"]
        outcome.example = failed["example"]
        notes = [*getattr(outcome.error, "__notes__", [])]
        # Hypothesis describes the example too, by objects that no reader can make
        notes = [note for note in notes if not note.startswith(_HYPOTHESIS_NOTES)]
        if error is not outcome.error:
            notes.append(
                "the same example failed in one run and not in another: something is not "
                "deterministic, or remembers earlier calls"
            )
        outcome.error.__notes__ = notes
        return outcome
    unresolved = outcome.unresolved
    kinked = kinks and not any(report.ok for report in outcome.reports)
    if outcome.reports and (len(unresolved) > UNRESOLVED * len(outcome.reports) or kinked):
        last = unresolved[-1] if unresolved else outcome.reports[-1]
        count = len(unresolved) if unresolved else len(outcome.reports)
        outcome.error = UncheckedError(
            f"unchecked: {count} of {len(outcome.reports)} examples are unresolved, the last: "
            f"{last}"
        )
    return outcome


@functools.cache
def _trials() -> Callable[..., Any]:
    """The strategy of trials: they are made inside it, where Hypothesis's own `draw` is at hand."""
    from hypothesis import strategies

    # once for all laws: Hypothesis parses the function
    @strategies.composite
    def trials(draw: Any, law: Law, make: Callable[[Draws], Any]) -> Any:
        return make(HypothesisDraws(draw, regimes=law.regimes, empties=law.empties))

    return trials


def _described(trial: Any, drawn: Draws) -> str:
    shown = "no trial could be made" if trial is None else repr(trial)
    regime, seed = getattr(drawn, "regime", "?"), getattr(drawn, "seed", "?")
    return f"{shown}, {regime} data, seed {seed}"
