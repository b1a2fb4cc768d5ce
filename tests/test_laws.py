"""Every law on every subject: one test item per pair, found without being listed.

Primitives come from the registry, modules, criterions and optimizers from `__all__`; `cases.py`
says how to draw examples.  `pytest -k its_gradient_is_the_derivative` runs one law everywhere,
`pytest -k conv2d` every law on one subject.  Unresolved verdicts (kinks, noise) prove nothing: where
they are more than a fifth, the pair counts as unchecked, and that is a failure.
"""

from __future__ import annotations

import cases
import pytest
from hypothesis import settings
from tapegrad import nn, optim
from tapegrad.autograd.check import (
    CRITERION_LAWS,
    MODULE_LAWS,
    OPTIMIZER_LAWS,
    PRIMITIVE_LAWS,
    CriterionTrial,
    LawError,
    ModuleTrial,
    OptimizerTrial,
    PrimitiveTrial,
    applies_to_primitive,
    operations,
    run_law,
)

def obeys(subject, law, make_trial):
    """Run a law on a subject; the table of exceptions is strict."""
    examples = settings.default.max_examples
    reason = cases.EXCEPTIONS.get((subject, law.name))
    if reason is None:
        run_law(law, make_trial, examples=examples)
        return
    with pytest.raises(LawError):
        run_law(law, make_trial, examples=examples)


def public(package, kind):
    """The names in a package's `__all__` that are of a kind."""
    return {name for name in package.__all__ if kind(getattr(package, name))}


def is_layer(found):
    """A module class with forward code, criterions aside."""
    return (
        isinstance(found, type)
        and issubclass(found, nn.Module)
        and not issubclass(found, nn.Criterion)
        and found.updateOutput is not nn.Module.updateOutput
    )


def is_criterion(found):
    """A criterion class with forward code."""
    return (
        isinstance(found, type)
        and issubclass(found, nn.Criterion)
        and found.updateOutput is not nn.Module.updateOutput
    )


def is_optimizer(found):
    """A rule in Torch7's functional form."""
    return hasattr(found, "options") and hasattr(found, "state_names")


SUBJECTS = {
    "operation": (set(operations()), cases.OPERATIONS),
    "module": (public(nn, is_layer), cases.MODULES),
    "criterion": (public(nn, is_criterion), cases.CRITERIONS),
    "optimizer": (public(optim, is_optimizer), cases.OPTIMIZERS),
}


@pytest.mark.parametrize("kind", SUBJECTS)
def test_every_subject_has_a_case_and_every_case_a_subject(kind):
    found, known = SUBJECTS[kind]
    assert found, f"no {kind} was discovered"
    missing, stale = sorted(found - known.keys()), sorted(known.keys() - found)
    assert not missing, f"no case in tests/cases.py: {missing}"
    assert not stale, f"cases without a subject: {stale}"


def test_every_exception_names_a_subject_and_a_law():
    names = {name for found, _ in SUBJECTS.values() for name in found}
    laws = {law.name for table in TABLES for law in table}
    for subject, law in cases.EXCEPTIONS:
        assert subject in names, f"an exception for {subject}, which is gone"
        assert law in laws, f"an exception for the law {law}, which is gone"


TABLES = (PRIMITIVE_LAWS, MODULE_LAWS, CRITERION_LAWS, OPTIMIZER_LAWS)


def always(law, subject):  # noqa: ARG001  # every law is about every such subject
    return True


def pairs(kind, laws, applies=always):
    found, known = SUBJECTS[kind]
    return [
        pytest.param(subject, law, id=f"{subject}-{law.name}")
        for subject in sorted(found & known.keys())
        for law in laws
        if applies(law, subject)
    ]


@pytest.mark.parametrize(
    ("name", "law"), pairs("operation", PRIMITIVE_LAWS, applies_to_primitive)
)
def test_operation_obeys(name, law):
    obeys(name, law, lambda draws: PrimitiveTrial(name, cases.OPERATIONS[name], draws))


@pytest.mark.parametrize(("name", "law"), pairs("module", MODULE_LAWS))
def test_module_obeys(name, law):
    obeys(name, law, lambda draws: ModuleTrial(name, cases.MODULES[name], draws))


@pytest.mark.parametrize(("name", "law"), pairs("criterion", CRITERION_LAWS))
def test_criterion_obeys(name, law):
    obeys(name, law, lambda draws: CriterionTrial(name, cases.CRITERIONS[name], draws))


@pytest.mark.parametrize(("name", "law"), pairs("optimizer", OPTIMIZER_LAWS))
def test_optimizer_obeys(name, law):
    function = getattr(optim, name)
    obeys(
        name, law, lambda draws: OptimizerTrial(name, function, cases.OPTIMIZERS[name], draws)
    )
