"""The results of a check: probes, reports, and the errors that carry them.

A `Probe` holds the evidence as data: both numbers, the error bar, the step, the Taylor rate and the
wrong entries.  `str` of a report is the text that a person reads in a CI log.  Both errors are
AssertionErrors, because a broken law is a failed test and test runners treat it as such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from tapegrad.devices import TapegradError

__all__ = ["GradientError", "LawError", "Probe", "Report", "ReportEntry", "certainty"]

# From best to worst; "kink" and "noisy" are unresolved: nothing was proved.
_SEVERITY = {"ok": 0, "kink": 1, "noisy": 1, "wrong": 2}


@dataclass(frozen=True)
class ReportEntry:
    """One wrong entry of a gradient: which argument, which index (several where values tie)."""

    argument: str
    indices: tuple[tuple[int, ...], ...]
    analytic: float
    numeric: float

    def __str__(self) -> str:
        entries = ", ".join(
            self.argument + (str(list(i)) if i else "") for i in self.indices[:4]
        ) + (", …" if len(self.indices) > 4 else "")
        tied = " (tied, moved together)" if len(self.indices) > 1 else ""
        return f"{entries}{tied}: analytic {self.analytic:.6g}, numeric {self.numeric:.6g}"


@dataclass(frozen=True)
class Probe:
    """One comparison of ⟨gradient, direction⟩ with a difference quotient along that direction.

    `verdict` is "ok", "wrong", "kink" (the slope jumps here, no derivative exists) or "noisy" (the
    error bar is too wide to decide).  `error` is the half-width of the numeric value's own error
    bar.  `taylor_rate` is the order at which |φ(t) − φ(0) − t·analytic| vanishes: 2 for a right
    gradient, 1 for a wrong one, 0 for a jump; it is measured only where the values disagree.
    """

    kind: str
    verdict: str
    analytic: float
    numeric: float
    error: float
    tolerance: float
    step: float
    evaluations: int
    taylor_rate: float | None = None
    note: str = ""
    entries: tuple[ReportEntry, ...] = ()
    diagnosis: tuple[str, ...] = ()

    @property
    def resolved(self) -> bool:
        """Did the probe prove anything?"""
        return self.verdict in ("ok", "wrong")

    def __str__(self) -> str:
        line = (
            f"{self.kind}: {self.verdict}; analytic {self.analytic:.10g}, "
            f"numeric {self.numeric:.10g} ± {self.error:.1e}"
        )
        if self.taylor_rate is not None:
            line += f" (Taylor rate {self.taylor_rate:.2f}, a right gradient has 2)"
        lines = [line + (f"; {self.note}" if self.note else "")]
        lines += [f"    {sentence}" for sentence in self.diagnosis]
        lines += [f"    {entry}" for entry in self.entries[:8]]
        if len(self.entries) > 8:
            lines.append(f"    … and {len(self.entries) - 8} more wrong entries")
        return "\n".join(lines)


@dataclass(frozen=True)
class Report:
    """The probes of one subject; `str` lists them with the worst first.

    `verdict` is "wrong" if any probe is wrong, else "ok" if any is ok, else that of the first
    unresolved probe.
    """

    subject: str
    probes: tuple[Probe, ...]
    findings: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> str:
        """One of "ok", "wrong", "kink", "noisy"."""
        if self.findings:
            return "wrong"
        verdicts = [probe.verdict for probe in self.probes]
        if "wrong" in verdicts:
            return "wrong"
        if "ok" in verdicts or not verdicts:
            return "ok"
        return verdicts[0]

    @property
    def ok(self) -> bool:
        """Did at least one probe prove the gradient right, and none prove it wrong?"""
        return self.verdict == "ok"

    @property
    def unresolved(self) -> int:
        """The number of probes that decided nothing."""
        return sum(not probe.resolved for probe in self.probes)

    @property
    def wrong(self) -> tuple[Probe, ...]:
        """The probes that proved the gradient wrong."""
        return tuple(probe for probe in self.probes if probe.verdict == "wrong")

    def raise_if_wrong(self) -> Report:
        """Raise `GradientError` where the verdict is "wrong"; else return the report itself."""
        if self.verdict == "wrong":
            raise GradientError(str(self), report=self)
        return self

    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.verdict}"]
        lines += [f"  {finding}" for finding in self.findings]
        worst_first: Sequence[Probe] = sorted(
            self.probes, key=lambda probe: -_SEVERITY[probe.verdict]
        )
        lines += ["  " + str(probe).replace("\n", "\n  ") for probe in worst_first]
        return "\n".join(lines)


# How many error bars analytic and numeric value are apart, at least -> a word for it.
_SURE = ((1e4, "certain"), (100.0, "nearly certain"), (8.0, "likely"))


def certainty(report: Report | None) -> str:
    """How sure the worst wrong probe of a report is, in words; "" where nothing was measured."""
    wrong = () if report is None else report.wrong
    if not wrong:
        return ""
    probe = wrong[0]
    if math.isnan(probe.numeric):
        return "how sure: certain, it is seen without measuring"
    if not math.isfinite(probe.analytic):
        return (
            "how sure: certain, the function is finite on both sides and its slope there is "
            f"{probe.numeric:.6g} ± {probe.error:.1e}"
        )
    gap = abs(probe.analytic - probe.numeric)
    bars = gap / probe.error if probe.error else math.inf
    word = next((word for least, word in _SURE if bars >= least), "weak")
    apart = f"{bars:.2g} error bars" if math.isfinite(bars) else "more than any error bar"
    text = f"how sure: {word}, analytic and numeric value are {apart} apart"
    if probe.taylor_rate is not None and probe.taylor_rate < 1.5:
        text += (
            "; what the gradient leaves over falls as the step does, that of a right one falls as "
            "its square"
        )
    return text


class LawError(TapegradError, AssertionError):
    """A law does not hold; the message names the subject, the law and the evidence."""

    def __init__(self, message: str, report: Report | None = None):
        super().__init__(message)
        self.report = report


class GradientError(LawError):
    """An analytic gradient differs from the numeric one beyond the numeric one's error bar."""
