"""Summary: the outcomes of laws, and the report that a stranger understands.

Each cause is told once: what failed, on which example, how sure that is, what to do, and how to see
it again.  Laws that are broken at the same argument, or by the same error, are counted apart and
named in one line, "also breaks"; others that the same subject breaks follow in another.
Conventions, and what was not covered, are counted and named apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tapegrad.autograd.check.report import LawError

if TYPE_CHECKING:
    from tapegrad.autograd.check.report import Report
    from tapegrad.autograd.check.running import Outcome
    from tapegrad.autograd.check.subjects import Subject

__all__ = ["ADVICE", "NO_CASE", "NOT_FINITE", "Summary", "advice", "says_not_finite"]

NO_CASE = (
    "unchecked: {name} has no case, so no law was held against it. Declare one in the class, "
    'law_case = {{"input": "N? n_in", "n_in": range(1, 6)}}, or with '
    "tapegrad.autograd.check.register_case"
)
VERDICTS = (
    "holds", "broken", "also broken", "unchecked", "obsolete exception", "convention", "excepted",
    "not covered",
)  # fmt: skip

# Law -> what whoever wrote the function does about it; a test compares the names.
ADVICE = {
    "equal_calls_give_equal_results": (
        "call it once by hand with arrays of the shapes above: the shapes that the check was given "
        "may not be those that the function takes"
    ),
    "inputs_are_left_alone": "work on a copy, or say inplace=True if that is what it is for",
    "gradients_share_no_memory": "return a copy: whoever adds to a gradient changes only that",
    "results_do_not_depend_on_earlier_calls": (
        "look for a cache or a buffer that a later call overwrites or that holds an old value; "
        "statistics move in training mode only: ask self.training"
    ),
    "its_gradient_is_the_derivative": (
        "derive the entry above by hand and compare it with the backward; if an input has no "
        "gradient on purpose, say constant= with its name"
    ),
    "its_second_derivative_is_right": (
        "the backward is differentiated here: a value in it that was detached, or saved as a "
        "number, is a constant to the second order"
    ),
    "its_gradient_is_linear_in_the_cotangent": (
        "a backward multiplies by the cotangent and does nothing else with it"
    ),
    "memory_layout_does_not_matter": (
        "compiled code that walks through memory needs contiguous arrays: make them so first"
    ),
    "float32_agrees_with_float64": (
        "look for a constant or a cast in the other precision, and for sums that cancel"
    ),
    "nan_stays_nan": "a comparison with NaN is False: a branch or a mask may have hidden it",
    "an_empty_batch_is_fine": "the last batch of a loop may be empty: return empty results",
}
GRADIENT = "its_gradient_is_the_derivative"
FIRST_CALL = "equal_calls_give_equal_results"


NOT_FINITE = (
    "what to do: the results are NaN or infinite on these data. Say where it is defined: "
    'array("N C", 0, None) for an input, domains={"name": (0, None)} for an argument or a parameter'
)


def says_not_finite(error: BaseException | None) -> bool:
    """Was nothing proved because results were NaN or infinite?"""
    return "not finite" in str(error) or "no finite values" in str(error)


def advice(law: str, error: BaseException) -> str:
    """What to do about a broken law, "" where nothing general can be said."""
    if law == FIRST_CALL and isinstance(error, LawError):
        return ""  # it says that itself
    return f"what to do: {ADVICE[law]}" if law in ADVICE else ""


@dataclass(repr=False)
class Summary:
    """The outcomes of the laws of one or more subjects; its text is the report."""

    outcomes: list[tuple[Subject, Outcome]] = field(default_factory=list)
    unchecked: list[Subject] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Does every law hold, and does every subject have a case?"""
        return not self.unchecked and all(outcome.ok for _, outcome in self.outcomes)

    def counts(self) -> dict[str, int]:
        """The numbers of laws with each verdict, of examples, and of gradients proved or not.

        Broken laws that only repeat another one's cause are counted as "also broken".
        """
        counted: dict[str, int] = dict.fromkeys(VERDICTS, 0)
        repeats = {
            id(other) for _, cause, others in self.causes() for other in others
            if _is_repeat(cause, other)
        }  # fmt: skip
        for _, outcome in self.outcomes:
            counted["also broken" if id(outcome) in repeats else outcome.verdict] += 1
        counted = {verdict: count for verdict, count in counted.items() if count}
        if self.unchecked:
            counted["subjects without a case"] = len(self.unchecked)
        counted["examples"] = sum(outcome.examples for _, outcome in self.outcomes)
        reports = [report for _, outcome in self.outcomes for report in outcome.reports]
        counted["gradients proved"] = sum(report.ok for report in reports)
        counted["unresolved"] = sum(not report.ok for report in reports)
        return counted

    def causes(self) -> list[tuple[Subject, Outcome, list[Outcome]]]:
        """Each subject that fails, the outcome that tells the cause, and its other failures.

        Laws are in the order in which one takes the others for granted, so the first is the cause,
        but for those in `_CONSEQUENCES`.
        """
        found: dict[int, tuple[Subject, Outcome, list[Outcome]]] = {}
        for subject, outcome in self.outcomes:
            if outcome.ok:
                continue
            if id(subject) in found:
                found[id(subject)][2].append(outcome)
            else:
                found[id(subject)] = (subject, outcome, [])
        return [_broken_first(*cause) for cause in found.values()]

    def raise_errors(self) -> Summary:
        """Raise LawError with the report unless `ok`; else return the summary itself."""
        if not self.ok:
            bad = [cause for _, cause, _ in self.causes()]
            cause = next((outcome.error for outcome in bad if outcome.error), None)
            raise LawError(str(self), getattr(cause, "report", None)) from cause
        return self

    def __str__(self) -> str:
        counted = self.counts()
        lines = [", ".join(f"{count} {what}" for what, count in counted.items() if count)]
        lines += [NO_CASE.format(name=subject.name) for subject in self.unchecked]
        for subject, outcome, others in self.causes():
            lines += [f"{outcome.verdict.upper()}: {subject.name}: {outcome.law.sentence}"]
            lines += ["    " + line for line in _describe_error(outcome).splitlines()]
            repeats = [other for other in others if _is_repeat(outcome, other)]
            rest = [other for other in others if other not in repeats]
            if repeats:
                named = "; ".join(other.law.sentence for other in repeats)
                lines.append(f"    also breaks, by the same cause: {named}")
            if rest:
                named = "; ".join(f"{o.law.sentence} ({_first_words(o)})" for o in rest)
                lines.append(f"    perhaps by the same cause, each alone with law=: {named}")
        lines += self._unproved()
        for word, reasons_of in _WORDS.items():
            for name, sentences in self._grouped(word, reasons_of).items():
                lines.append(f"{word}: {name}: {'; '.join(sentences)}")
        return "\n".join(lines)

    __repr__ = __str__  # the last line of a notebook's cell shows the report

    def _unproved(self) -> list[str]:
        """A line for each subject about whose gradient little was proved, with the reason."""
        lines = []
        for subject, outcome in self.outcomes:
            if outcome.law.name != GRADIENT or outcome.verdict not in ("holds", "not covered"):
                continue
            why = "; ".join(outcome.reasons)
            if outcome.verdict == "not covered":
                lines.append(f"no gradient was proved: {subject.name}: {why}")
            elif 2 * sum(outcome.reasons.values()) > outcome.examples:
                proved = f"{len(outcome.reports)} of {outcome.examples} examples"
                lines.append(f"few gradients were proved: {subject.name}: {proved}; {why}")
            else:
                continue
            if "not finite" in why:
                lines.append(f"    {NOT_FINITE}")
        return lines

    def _grouped(self, verdict: str, reasons_of: str) -> dict[str, list[str]]:
        """For each subject the laws of one verdict, those with one reason in one line."""
        found: dict[str, dict[str, list[str]]] = {}
        for subject, outcome in self.outcomes:
            if outcome.verdict == verdict:
                held = getattr(outcome, reasons_of)
                why = held if isinstance(held, str) else "; ".join(held)
                laws = found.setdefault(subject.name, {})
                laws.setdefault(why or "no example was drawn", []).append(outcome.law.sentence)
        return {
            name: [f"{', '.join(laws)} ({why})" for why, laws in reasons.items()]
            for name, reasons in found.items()
        }


# Laws that stand before the derivatives, and whose failure explains no other.
_CONSEQUENCES = ("gradients_share_no_memory", "grad_input_shares_no_memory")
# The verdicts that are told without a failure -> the attribute of an outcome that has the reasons.
_WORDS = {"convention": "conventions", "excepted": "exception", "not covered": "reasons"}


def _broken_first(
    subject: Subject, first: Outcome, others: list[Outcome]
) -> tuple[Subject, Outcome, list[Outcome]]:
    """A broken law tells more than one that proved nothing, and some laws tell least."""
    every = [first, *others]
    broken = [outcome for outcome in every if outcome.verdict == "broken"]
    causes = [outcome for outcome in broken if outcome.law.name not in _CONSEQUENCES]
    cause = next(iter([*causes, *broken]), first)
    return subject, cause, [outcome for outcome in every if outcome is not cause]


def _is_repeat(cause: Outcome, other: Outcome) -> bool:
    """Does a broken law only repeat the cause: the same error, or the same argument's gradient?"""
    if other.verdict != "broken" or cause.verdict != "broken":
        return False
    if not isinstance(cause.error, LawError):
        return _kind_of_error(cause) == _kind_of_error(other)
    return cause.law.name == GRADIENT and bool(_accused(cause) & _accused(other))


def _kind_of_error(outcome: Outcome) -> tuple[type, str]:
    """The class of an error and its first line without numbers, which differ between examples."""
    return type(outcome.error), re.sub(r"\d+", "0", _first_words(outcome))


def _accused(outcome: Outcome) -> set[str]:
    """The names of the arguments whose gradients are wrong."""
    report: Report | None = getattr(outcome.error, "report", None)
    if report is not None:
        return {entry.argument for probe in report.wrong for entry in probe.entries}
    return set(
        re.findall(r"gradient of (.+?)(?:,? (?:in|for|of|tracked|has)\b|:|,)", str(outcome.error))
    )


def _first_words(outcome: Outcome) -> str:
    """The first line of what a law says, shortened."""
    lines = str(outcome.error or outcome.verdict).strip().splitlines() or [outcome.verdict]
    return lines[0] if len(lines[0]) <= 90 else lines[0][:89] + "…"


def _describe_error(outcome: Outcome) -> str:
    """The error of an outcome with its notes, as text."""
    error = outcome.error
    if error is None:
        return f"declared an exception ({outcome.exception}), and it holds: remove the exception"
    kind = "" if isinstance(error, LawError) else f"{type(error).__name__}: "
    return "\n".join([kind + str(error), *getattr(error, "__notes__", [])])
