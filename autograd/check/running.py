"""examine, run_law, rerun_law: check a law on drawn examples of a subject.

An `Outcome` counts examples, gradients proved, unresolved verdicts, and examples to which the law
does not apply.  Nothing is skipped silently: a law that applied to no example is "not covered", and
one with more than a fifth of its verdicts unresolved is "unchecked".  Only "holds" is a pass.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tapegrad.autograd.check.conventions import convention_of
from tapegrad.autograd.check.draws import SEEDS, Draws, NearbyDraws, RecordedDraws
from tapegrad.autograd.check.gradients import UsageError
from tapegrad.autograd.check.laws import Convention, NotCovered, Uncovered
from tapegrad.autograd.check.report import LawError, Report
from tapegrad.autograd.check.shrinking import shrink

if TYPE_CHECKING:
    from tapegrad.autograd.check.laws import Law

__all__ = [
    "PROFILES",
    "Failure",
    "LawProfile",
    "Outcome",
    "UncheckedError",
    "Watch",
    "examine",
    "rerun_law",
    "run_law",
]

UNRESOLVED = 0.2
FEW = 25  # among fewer examples a single kink may be more than a fifth: then more are drawn
_STRIDE = 0x9E3779B1  # odd, so that no two examples of a law have one seed
_FLAKY = (
    "the same example failed in one run and not in another: something is not deterministic, or "
    "remembers earlier calls"
)


class UncheckedError(LawError):
    """Too many examples ended in "kink" or "noisy", so the law proved too little to pass."""


@dataclass(frozen=True)
class LawProfile:
    """The number of examples of a law, and whether every run draws the same ones.

    examples: the number for a law of effort 1; a law of less effort gets its share
    least:    the number that each law gets, however small its share is
    """

    examples: int
    derandomize: bool = True
    least: int = 2


# How many examples a law draws, and how often, by the name of a profile.
PROFILES = {
    "pr": LawProfile(25),
    "ci": LawProfile(100),
    "nightly": LawProfile(10_000, derandomize=False),
}


@dataclass
class Outcome:
    """The outcome of one law on one subject.

    examples:     the number of examples that were drawn
    reports:      the reports of examples that were probed numerically
    reasons:      why the law did not apply to an example -> the number of such examples
    error:        what the smallest failing example raised
    choices:      the choices of that example, for `rerun_law`
    example:      a description of that example
    exception:    why the law need not hold here (if it does hold, that is an error)
    kinks:        whether examples at kinks are accepted
    conventions:  a known convention by which an example differs from the law -> how many do
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
    conventions: dict[str, int] = field(default_factory=dict)

    @property
    def unresolved(self) -> list[Report]:
        """The reports that proved nothing."""
        allowed = ("ok", "kink") if self.kinks else ("ok",)
        return [report for report in self.reports if report.verdict not in allowed]

    @property
    def undecided(self) -> bool:
        """Did more than a fifth of the probed examples, or all those off a kink, prove nothing?"""
        kinked = self.kinks and not any(report.ok for report in self.reports)
        count, probed = len(self.unresolved), len(self.reports)
        return bool(probed) and (count > UNRESOLVED * probed or kinked)

    @property
    def verdict(self) -> str:
        """One of: holds, broken, unchecked, convention, not covered, excepted, obsolete exception.

        "convention" where no example breaks the law but by a known convention, and one does.
        """
        if self.exception:
            excepted = self.error is not None and not isinstance(self.error, UncheckedError)
            return "excepted" if excepted else "obsolete exception"
        if isinstance(self.error, UncheckedError):
            return "unchecked"
        if self.error is not None:
            return "broken"
        if self.conventions:
            return "convention"
        if sum(self.reasons.values()) >= self.examples:
            return "not covered"
        return "holds"

    @property
    def ok(self) -> bool:
        """Is nothing wrong?  True for the verdicts holds, convention, not covered, excepted."""
        return self.verdict in ("holds", "convention", "not covered", "excepted")

    def raise_error(self) -> None:
        """Raise the error of the smallest failing example, unless `ok`."""
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
    seed: int | None = 0,
    kinks: bool = False,
) -> list[Report]:
    """Check a law on drawn examples; the reports of those that were probed numerically.

    The arguments are those of `examine`.
    Raises what the smallest failing example raises, mostly LawError, with the example as a note;
    UncheckedError where more than a fifth of the verdicts are unresolved, of 25 examples at least.
    """
    outcome = examine(law, make_trial, examples=examples, seed=seed, kinks=kinks)
    outcome.raise_error()
    return outcome.reports


def rerun_law(law: Law, make_trial: Callable[[Draws], Any], choices: Sequence[int]) -> Any:
    """Check a law on the example that the given choices make; raises what the law raises."""
    draws = RecordedDraws(choices, **law.draws)
    with _quietly():
        return law.check(make_trial(draws))


def examine(
    law: Law,
    make_trial: Callable[[Draws], Any],
    *,
    examples: int = 25,
    least: int = 2,
    seed: int | None = 0,
    kinks: bool = False,
    smallest: bool = True,
    watch: Watch | None = None,
) -> Outcome:
    """Check a law on drawn examples; an error of the law is stored in the outcome, not raised.

    law:        the law
    make_trial: makes a trial from a `Draws`, such as ``lambda d: ModuleTrial(name, case, d)``
    examples:   the number of examples for a law of effort 1; a law of less effort gets its share
    least:      the number of examples for a law of however little effort
    seed:       the seed of the examples; None for a fresh one
    kinks:      whether the function is flat or broken almost everywhere (a rounding, a step), so
                that examples at kinks are accepted if others are proved
    smallest:   whether the smallest failing example is looked for after the first
    watch:      is told each example before it is run, and a failure before a smaller is looked for
    """
    outcome = Outcome(law, kinks=kinks)
    first = secrets.randbelow(SEEDS) if seed is None else seed
    turns = max(least, round(examples * law.effort))
    turn = -1
    while (turn := turn + 1) < turns or (turn < FEW and outcome.undecided):
        own = (first + _STRIDE * turn) % SEEDS  # equal seeds of two laws share no other example
        drawn = Draws(own, **law.draws, turn=turn)
        result, failure = _hold(law, make_trial, drawn, watch)
        if failure is not None:
            if smallest:
                if watch is not None:
                    watch.failure(failure)
                failure = _smallest(law, make_trial, failure, watch)
            _describe(law, failure)
            outcome.error, outcome.choices = failure.error, failure.choices
            outcome.example = failure.example
            return outcome
        outcome.examples += 1
        if isinstance(result, Report) and not result.ok and drawn.unasked:
            reason = f"nothing is proved on {drawn.regime} data"
            outcome.reasons[reason] = outcome.reasons.get(reason, 0) + 1
        elif isinstance(result, Report):
            outcome.reports.append(result)
        elif isinstance(result, NotCovered):
            outcome.reasons[result.reason] = outcome.reasons.get(result.reason, 0) + 1
        elif isinstance(result, Convention):
            reason = str(result)
            outcome.conventions[reason] = outcome.conventions.get(reason, 0) + 1
    if outcome.undecided:
        unresolved = outcome.unresolved
        last = unresolved[-1] if unresolved else outcome.reports[-1]
        count = len(unresolved) if unresolved else len(outcome.reports)
        outcome.error = UncheckedError(
            f"unchecked: {count} of {len(outcome.reports)} examples are unresolved, the last: "
            f"{last}"
        )
        known = convention_of(law, make_trial(Draws(first, **law.draws)), outcome.error)
        if known:
            outcome.error = None
            outcome.conventions[known] = count
    return outcome


@dataclass(frozen=True)
class Failure:
    """What one example raised, the choices that make it, and its description."""

    error: BaseException
    choices: tuple[int, ...]
    example: str


class Watch(Protocol):
    """Is told what comes next, in case that the process does not survive it."""

    def example(self, choices: Sequence[int], text: str) -> None:
        """The choices and the text of the example that is run next."""

    def failure(self, failure: Failure) -> None:
        """What failed, before a smaller example is looked for."""


def _hold(
    law: Law, make_trial: Callable[[Draws], Any], drawn: Draws, watch: Watch | None
) -> tuple[Any, Failure | None]:
    """What a law returns for one example, or how it fails there."""
    trial = None
    try:
        with _quietly():
            if watch is not None:
                watch.example(drawn.choices_made, "while the example was made")
            trial = make_trial(drawn)
            if watch is not None:
                watch.example(drawn.choices_made, _describe_example(trial, drawn))
            return law.check(trial), None
    except UsageError:  # of whoever asks for the check
        raise
    except Convention as convention:
        return convention, None
    except Uncovered as reason:
        return NotCovered(str(reason)), None
    except (Exception, SystemExit) as error:  # noqa: BLE001  # what the subject raises is its failure
        known = convention_of(law, trial, error)
        if known:
            return Convention(known), None
        return None, Failure(error, tuple(drawn.choices_made), _describe_example(trial, drawn))


def _smallest(
    law: Law, make_trial: Callable[[Draws], Any], failure: Failure, watch: Watch | None
) -> Failure:
    """The smallest example that fails as the given one does."""
    found = {failure.choices: failure}

    def attempt(choices: tuple[int, ...]) -> tuple[int, ...] | None:
        drawn = NearbyDraws(choices, **law.draws)
        _, smaller = _hold(law, make_trial, drawn, watch)
        if smaller is None or type(smaller.error) is not type(failure.error):
            return None
        found[smaller.choices] = smaller
        return smaller.choices

    if attempt(failure.choices) is None:
        failure.error.add_note(_FLAKY)
        return failure
    try:
        return found[shrink(failure.choices, attempt)]
    except Exception as error:  # noqa: BLE001  # what was found is not lost to the search for less
        failure.error.add_note(f"no smaller example: {type(error).__name__}: {error}")
        return failure


def _describe(law: Law, failure: Failure) -> None:
    failure.error.add_note(f"law:     {law.sentence}")
    failure.error.add_note(f"example: {failure.example}")


@contextmanager
def _quietly() -> Iterator[None]:
    """NumPy's warnings about overflow in large data do not matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _describe_example(trial: Any, drawn: Draws) -> str:
    try:
        shown = "no trial could be made" if trial is None else repr(trial)
    except Exception as error:  # noqa: BLE001  # the text of what a user hands over
        shown = f"an example whose text raises {type(error).__name__}"
    regime, seed = getattr(drawn, "regime", "?"), getattr(drawn, "seed", "?")
    return f"{shown}, {regime} data, seed {seed}"
