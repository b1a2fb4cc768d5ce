"""tapegrad.autograd.check: the laws, a tool that proves or refutes derivatives."""

from tapegrad.autograd.check.draws import REGIMES, Draws
from tapegrad.autograd.check.gradients import CheckError, check_gradients
from tapegrad.autograd.check.laws import Law, Laws
from tapegrad.autograd.check.primitives import (
    PRIMITIVE_LAWS,
    Call,
    PrimitiveTrial,
    applies_to_primitive,
    operations,
)
from tapegrad.autograd.check.report import Entry, GradientError, LawError, Probe, Report
from tapegrad.autograd.check.strategies import HypothesisDraws

__all__ = [
    "Call",
    "CheckError",
    "Draws",
    "Entry",
    "GradientError",
    "HypothesisDraws",
    "Law",
    "LawError",
    "Laws",
    "PRIMITIVE_LAWS",
    "PrimitiveTrial",
    "Probe",
    "REGIMES",
    "Report",
    "applies_to_primitive",
    "check_gradients",
    "operations",
]
