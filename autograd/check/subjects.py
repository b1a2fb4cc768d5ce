"""Subjects: the classes and functions on which laws are checked, found in any Python module.

A subject is a class or function with its kind, its case and the laws that apply to it.  Layers are
recognised by Torch7's methods, operations by the registry of primitives, optimizers by their
options.  A class without a case is a subject too, and is reported as unchecked.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check.cases import Case, case_of
from tapegrad.autograd.check.criterions import CRITERION_LAWS, CriterionTrial
from tapegrad.autograd.check.draws import RecordedDraws
from tapegrad.autograd.check.frameworks.named import FRAMEWORKS, framework_of, named, own_case
from tapegrad.autograd.check.function_laws import FUNCTION_LAWS
from tapegrad.autograd.check.functions import FunctionTrial
from tapegrad.autograd.check.gradients import CheckError
from tapegrad.autograd.check.isolation import LIMIT, apart
from tapegrad.autograd.check.laws import Uncovered
from tapegrad.autograd.check.modules import MODULE_LAWS, ModuleTrial
from tapegrad.autograd.check.optimizers import OPTIMIZER_LAWS, OptimizerTrial
from tapegrad.autograd.check.primitives import (
    PRIMITIVE_LAWS,
    PrimitiveTrial,
    applies_to_primitive,
    operations,
)
from tapegrad.autograd.check.proofs import proof_of
from tapegrad.autograd.check.report import LawError, certainty
from tapegrad.autograd.check.running import (
    PROFILES,
    LawProfile,
    Outcome,
    Watch,
    examine,
    rerun_law,
)
from tapegrad.autograd.check.summary import (
    NO_CASE,
    NOT_FINITE,
    Summary,
    advice,
    says_not_finite,
)

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws
    from tapegrad.autograd.check.laws import Law, Laws

__all__ = [
    "FIRST",
    "LAWS",
    "NO_CASE",
    "Subject",
    "Summary",
    "check",
    "discover",
    "find",
    "kind_of",
]

# The laws by the kind of subject that they are about.
LAWS: dict[str, Laws] = {
    "module": MODULE_LAWS,
    "criterion": CRITERION_LAWS,
    "primitive": PRIMITIVE_LAWS,
    "optimizer": OPTIMIZER_LAWS,
    "function": FUNCTION_LAWS,
}

EXCEPTED = 200  # the least number of examples for a law from which a case declares an exception

# The laws that all other laws take for granted.
FIRST = ("equal_calls_give_equal_tensors", "equal_calls_give_equal_results")
# Laws that pass one input to several calls.  A layer that overwrites its input cannot satisfy them.
_NOT_IN_PLACE = {
    "inputs_grad_outputs_and_parameters_are_left_alone",
    "grad_input_shares_no_memory",
    "results_are_not_overwritten_by_the_next_call",
}


@dataclass(frozen=True)
class Subject:
    """One class or function with its laws.

    name:   its path, ``mypackage.layers:MyLayer``
    kind:   "module", "criterion", "primitive", "optimizer", or "function" with a gradient
    target: the class or function
    case:   how examples are drawn, None where no case was declared
    path:   whether `find(name)` finds it
    """

    name: str
    kind: str
    target: Any
    case: Case | None
    path: bool = True

    @property
    def short(self) -> str:
        """The name without its module."""
        return self.name.rpartition(":")[2]

    def laws(self) -> list[Law]:
        """The laws that apply to it."""
        table = LAWS[self.kind]
        if self.kind != "primitive" or self.short not in operations():
            return list(table)
        return [law for law in table if applies_to_primitive(law, self.short)]

    def trial(self, draws: Draws) -> Any:
        """A trial: the subject on one drawn example.

        Raises LawError for a subject without a case.
        """
        if self.case is None:
            raise LawError(NO_CASE.format(name=self.name))
        if self.kind == "module":
            return ModuleTrial(self.short, self.case, draws)
        if self.kind == "criterion":
            return CriterionTrial(self.short, self.case, draws)
        if self.kind == "optimizer":
            return OptimizerTrial(self.short, self.target, self.case, draws)
        if self.kind == "function":
            return FunctionTrial(self.short, self.case, draws)
        return PrimitiveTrial(self.short, self.case, draws, self.target)

    def examine(
        self,
        law: Law,
        profile: LawProfile | str = "pr",
        *,
        seed: int | None = None,
        watch: Watch | None = None,
    ) -> Outcome:
        """Check one law on drawn examples.

        seed:  the seed of the examples; when omitted, a derandomized profile makes it from the
               names
        watch: that of `running.examine`
        Raises LawError for a subject without a case.
        """
        if self.case is None:
            raise LawError(NO_CASE.format(name=self.name))
        profile = PROFILES[profile] if isinstance(profile, str) else profile
        if seed is None and profile.derandomize:
            seed = zlib.crc32(f"{self.short} {law.name}".encode())
        if self.case.inplace and law.name in _NOT_IN_PLACE:
            return Outcome(law, reasons={"the case says inplace=True": 1})
        exception = self.case.exceptions.get(law.name, "")
        # Some exceptions are needed on few examples only, and one that is not needed is an error.
        examples = max(profile.examples, EXCEPTED) if exception else profile.examples
        least = max(profile.least, 2) if exception else profile.least
        outcome = examine(
            law, self.trial, examples=examples, least=least, seed=seed, kinks=self.case.kinks,
            smallest=not exception, watch=watch,
        )  # fmt: skip
        outcome.exception = exception
        if outcome.verdict == "broken" and outcome.error is not None:
            for note in self._explanations(outcome, outcome.error):
                outcome.error.add_note(note)
        error = outcome.error
        if outcome.verdict == "unchecked" and error is not None and says_not_finite(error):
            error.add_note(NOT_FINITE)
        return outcome

    def examine_law(
        self,
        law: Law,
        profile: LawProfile | str = "pr",
        *,
        seed: int | None,
        isolate: bool | float,
    ) -> Outcome:
        """`examine`, in a process of its own where `isolate` says so."""
        [outcome] = _outcomes(self, [law], profile, seed, isolate=isolate)
        return outcome

    def _explanations(self, outcome: Outcome, error: BaseException) -> list[str]:
        """How sure a failure is, what to do, and two ways to see it again."""
        notes = [certainty(getattr(error, "report", None)), advice(outcome.law.name, error)]
        if self.kind == "function":
            try:
                trial = self.trial(RecordedDraws(outcome.choices, **outcome.law.draws))
                lines = proof_of(outcome.law.name, trial, error)
            except (Exception, Uncovered):  # noqa: BLE001  # it is reported without these lines
                lines = []
            if lines:
                notes.append("\n    ".join(["see it without tapegrad:", *lines]))
        return [note for note in [*notes, self.reproduction(outcome)] if note]

    def rerun(self, law: str, choices: Sequence[int]) -> Any:
        """Check one law on the example that `choices` make; raises what the law raises."""
        return rerun_law(LAWS[self.kind][law], self.trial, choices)

    def reproduction(self, outcome: Outcome) -> str:
        """A few lines of Python that repeat a failure."""
        choices = ", ".join(map(str, outcome.choices))
        head = ["reproduce it:", f"    # {outcome.example}"]
        if not self.path:
            return "\n".join([
                *head,
                "    # the arguments of this check, and then",
                f"    law={outcome.law.name!r}, choices=[{choices}]",
            ])  # fmt: skip
        declared = inspect.getmodule(self.case.draw) if self.case else None
        where = getattr(declared, "__name__", "")
        own = self.name.partition(":")[0]
        foreign = where and not where.startswith("tapegrad.autograd.check") and where != own
        return "\n".join([
            *head,
            *([f"    import {where}  # its case"] if foreign else []),
            "    from tapegrad.autograd.check import find",
            f"    find({self.name!r})[0].rerun({outcome.law.name!r}, [{choices}])",
        ])  # fmt: skip


def check(
    subjects: Sequence[Subject],
    profile: LawProfile | str = "pr",
    *,
    laws: Callable[[Law], bool] | None = None,
    seed: int | None = None,
    progress: Callable[[Subject, Outcome], None] | None = None,
    isolate: bool | float = False,
) -> Summary:
    """Check every law on every subject.

    laws:     selects laws, all when omitted
    seed:     the seed of the examples, instead of one made from the names
    progress: called after each law
    isolate:  whether each subject runs in a process of its own, where a crash is a broken law, and
              so is an example of over 60 seconds; or the seconds that an example may take
    If the calls of a subject fail, or differ when they should not, its other laws are not checked.
    """
    summary = Summary()
    for subject in subjects:
        if subject.case is None:
            summary.unchecked.append(subject)
            continue
        wanted = [law for law in subject.laws() if laws is None or laws(law)]
        for outcome in _outcomes(subject, wanted, profile, seed, isolate=isolate):
            law = outcome.law
            summary.outcomes.append((subject, outcome))
            if progress is not None:
                progress(subject, outcome)
            impossible = law.name in FIRST and not outcome.ok
            if impossible or isinstance(outcome.error, CheckError):
                break
    return summary


def _outcomes(
    subject: Subject,
    laws: Sequence[Law],
    profile: LawProfile | str,
    seed: int | None,
    *,
    isolate: bool | float,
) -> Iterator[Outcome]:
    def examine(law: Law, watch: Watch | None = None) -> Outcome:
        return subject.examine(law, profile, seed=seed, watch=watch)

    if isolate is not False:
        yield from apart(laws, examine, limit=LIMIT if isolate is True else isolate)
    else:
        yield from map(examine, laws)


# Finding subjects ---------------------------------------------------------------------------------


def kind_of(candidate: Any) -> str | None:
    """The kind of subject of an object, None if it is no subject, such as an abstract class."""
    if framework_of(candidate) is not None:
        return "function"
    if isinstance(candidate, type):
        if not all(
            hasattr(candidate, name) for name in ("updateOutput", "updateGradInput", "clone")
        ):
            return None
        layer: Any = candidate
        if getattr(layer.updateOutput, "abstract", False):  # set by nn on the base class
            return None
        target = "target" in inspect.signature(layer.updateGradInput).parameters
        return "criterion" if target else "module"
    if callable(candidate):
        if hasattr(candidate, "options") and hasattr(candidate, "state_names"):
            return "optimizer"
        if any(candidate is operation for operation in operations().values()):
            return "primitive"
        case = case_of(candidate)
        if case is not None and case.kind == "function":
            return "function"
    return None


def discover(module: ModuleType, *, public: bool = False) -> Iterator[Subject]:
    """Every subject that a module, or a package with its submodules, defines.

    public: use only the names in `__all__` of this module, wherever they are defined
    Private names (``_Base``, and in a file with `__all__` those that are not in it), classes
    without forward code and second names of a class that is there under its own are left out.
    """
    if public:
        for name in module.__all__:
            member = getattr(module, name)
            kind = kind_of(member)
            first = getattr(member, "__name__", name)
            second = first != name and getattr(module, first, None) is member
            if kind is not None and not second:
                yield _subject(module.__name__, name, member, kind)
        return
    parts = [module]
    below = pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + ".")
    names = [info.name for info in below if not info.name.endswith(".__main__")]
    parts += map(importlib.import_module, names)
    for part in parts:
        shown = getattr(part, "__all__", vars(part))
        for name, member in list(vars(part).items()):
            if (
                name.startswith("_")
                or name not in shown
                or getattr(member, "__module__", None) != part.__name__
            ):
                continue
            kind = kind_of(member)
            if kind is not None and getattr(member, "__name__", name) == name:
                yield _subject(part.__name__, name, member, kind)


def find(
    path: str,
    *,
    inputs: Sequence[Any] = (),
    options: Mapping[str, Any] | None = None,
    vjp: str | None = None,
) -> list[Subject]:
    """The subjects that a path names: ``mypackage.layers:MyLayer``, or all of ``mypackage.layers``.

    With ``torch:``, ``jax:`` or ``numpy:`` in front it names one class or function of any library,
    as ``torch:torch.nn.Conv2d``; of those only,

    inputs:  are the shapes of its inputs
    options: its options
    vjp:     the path of the gradient of a NumPy function
    Raises ValueError where there is none, ImportError where the module cannot be imported.
    """
    framework, _, rest = path.partition(":")
    if framework in FRAMEWORKS and {".", ":"} & set(rest):
        shown, subject, case = named(framework, rest, inputs=inputs, options=options, vjp=vjp)
        own = bool(inputs or options or vjp)
        return [Subject(f"{framework}:{shown}", "function", subject, case, path=not own)]
    if inputs or options or vjp:
        raise ValueError(
            f"{path}: shapes and options are said for a path that begins with "
            + ", ".join(f"{each}:" for each in FRAMEWORKS)
        )
    module_name, _, name = path.partition(":")
    module = importlib.import_module(module_name)
    if not name:
        subjects = list(discover(module))
        if not subjects:
            raise ValueError(f"{path} defines no module, criterion, primitive or optimizer")
        return subjects
    target: Any = module
    for part in name.split("."):
        if not hasattr(target, part):
            raise ValueError(f"{module_name} has no {name!r}")
        target = getattr(target, part)
    kind = kind_of(target)
    if kind is None:
        raise ValueError(
            f"{path} is no module with forward code, criterion, primitive or optimizer"
        )
    return [_subject(module_name, name, target, kind)]


def _subject(module_name: str, name: str, target: Any, kind: str) -> Subject:
    framework = framework_of(target) if kind == "function" else None
    case = case_of(target) if framework is None else own_case(framework, target)
    return Subject(f"{module_name}:{name}", kind, target, case)
