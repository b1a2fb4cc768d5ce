"""tapegrad.autograd.check: the laws, a tool that proves or refutes derivatives."""

from tapegrad.autograd.check.criterions import CRITERION_LAWS, CriterionTrial
from tapegrad.autograd.check.draws import REGIMES, Draws
from tapegrad.autograd.check.gradients import CheckError, check_gradients
from tapegrad.autograd.check.laws import Law, Laws
from tapegrad.autograd.check.modules import MODULE_LAWS, Layer, ModuleTrial
from tapegrad.autograd.check.optimizers import OPTIMIZER_LAWS, OptimizerTrial, Setting
from tapegrad.autograd.check.primitives import (
    PRIMITIVE_LAWS,
    Call,
    PrimitiveTrial,
    applies_to_primitive,
    operations,
)
from tapegrad.autograd.check.report import Entry, GradientError, LawError, Probe, Report
from tapegrad.autograd.check.strategies import HypothesisDraws, UncheckedError, run_law

__all__ = [
    # a function
    "check_gradients",
    "CheckError",
    "Entry",
    "GradientError",
    "LawError",
    "Probe",
    "Report",
    "UncheckedError",
    # laws, and what they are about
    "Law",
    "Laws",
    "CRITERION_LAWS",
    "MODULE_LAWS",
    "OPTIMIZER_LAWS",
    "PRIMITIVE_LAWS",
    "applies_to_primitive",
    "operations",
    # examples
    "Call",
    "Layer",
    "Setting",
    "CriterionTrial",
    "ModuleTrial",
    "OptimizerTrial",
    "PrimitiveTrial",
    "Draws",
    "HypothesisDraws",
    "REGIMES",
    "run_law",
]
