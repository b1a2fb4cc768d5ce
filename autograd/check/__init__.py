"""tapegrad.autograd.check: laws that prove or refute derivatives, layers and optimizers.

docs/laws.md is its guide.
"""

from tapegrad.autograd.check.cases import (
    Case,
    CaseArray,
    CaseOption,
    array,
    booleans,
    case_of,
    criterion_case,
    floats,
    indices,
    ints,
    module_case,
    one_of,
    primitive_case,
    register_case,
)
from tapegrad.autograd.check.checkers import (
    check_criterion,
    check_jax,
    check_module,
    check_torch,
    check_vjp,
)
from tapegrad.autograd.check.criterions import CRITERION_LAWS, CriterionTrial
from tapegrad.autograd.check.draws import REGIMES, Draws, RecordedDraws
from tapegrad.autograd.check.function_laws import FUNCTION_LAWS
from tapegrad.autograd.check.functions import FunctionTrial, Pair
from tapegrad.autograd.check.gradients import CheckError, UsageError, check_gradients
from tapegrad.autograd.check.laws import (
    Law,
    Laws,
    NotCovered,
    must,
    must_be_close,
    must_be_equal,
)
from tapegrad.autograd.check.layouts import LAYOUTS
from tapegrad.autograd.check.modules import MODULE_LAWS, Layer, ModuleTrial
from tapegrad.autograd.check.optimizers import OPTIMIZER_LAWS, OptimizerTrial, Setting
from tapegrad.autograd.check.primitives import (
    PRIMITIVE_LAWS,
    PrimitiveTrial,
    TrialCall,
    applies_to_primitive,
    operations,
)
from tapegrad.autograd.check.report import GradientError, LawError, Probe, Report, ReportEntry
from tapegrad.autograd.check.running import (
    PROFILES,
    LawProfile,
    Outcome,
    UncheckedError,
    examine,
    rerun_law,
    run_law,
)
from tapegrad.autograd.check.strategies import HypothesisDraws
from tapegrad.autograd.check.subjects import LAWS, Subject, Summary, check, discover, find

__all__ = [
    # a function
    "check_gradients",
    "CheckError",
    "ReportEntry",
    "GradientError",
    "LawError",
    "Probe",
    "Report",
    "UncheckedError",
    "UsageError",
    # a layer
    "check_criterion",
    "check_jax",
    "check_module",
    "check_torch",
    "check_vjp",
    "Summary",
    # the subjects that a module of yours defines
    "Subject",
    "check",
    "discover",
    "find",
    # laws
    "LAWS",
    "Law",
    "Laws",
    "NotCovered",
    "must",
    "must_be_close",
    "must_be_equal",
    "CRITERION_LAWS",
    "FUNCTION_LAWS",
    "MODULE_LAWS",
    "OPTIMIZER_LAWS",
    "PRIMITIVE_LAWS",
    "applies_to_primitive",
    "operations",
    # drawn examples, and trials of a subject on one
    "TrialCall",
    "Layer",
    "Setting",
    "Pair",
    "CriterionTrial",
    "FunctionTrial",
    "ModuleTrial",
    "OptimizerTrial",
    "PrimitiveTrial",
    "Draws",
    "HypothesisDraws",
    "RecordedDraws",
    "LAYOUTS",
    "REGIMES",
    # cases: how examples are drawn, in one line
    "CaseArray",
    "Case",
    "CaseOption",
    "array",
    "booleans",
    "case_of",
    "criterion_case",
    "floats",
    "indices",
    "ints",
    "module_case",
    "one_of",
    "primitive_case",
    "register_case",
    # running a law
    "PROFILES",
    "Outcome",
    "LawProfile",
    "examine",
    "rerun_law",
    "run_law",
]
