"""Every law on every subject: one test item per pair, found without being listed.

Primitives come from the registry, modules, criterions and optimizers from `__all__`; `cases.py`
says how to draw examples.  `pytest -k its_gradient_is_the_derivative` runs one law everywhere,
`pytest -k conv2d` every law on one subject.  Unresolved verdicts (kinks, noise) prove nothing:
where they are more than a fifth, the pair counts as unchecked, and that is a failure.
"""

from __future__ import annotations

import cases
import pytest
from hypothesis import settings

from tapegrad import nn, optim
from tapegrad.autograd.check import (
    LAWS,
    Case,
    Law,
    Profile,
    Subject,
    discover,
    modules,
    operations,
    optimizers,
    primitives,
)

TABLES = LAWS.values()
PUBLIC = [*discover(nn, public=True), *discover(optim, public=True)]
PROFILE = Profile(settings.default.max_examples, derandomize=settings.default.derandomize)


def subjects(kind, table):
    """Subjects of a kind, with the cases of `cases.py`; those without a case have None."""
    if kind == "primitive":
        found = [(name, f"tapegrad.autograd.ops:{name}", op) for name, op in operations().items()]
    else:
        found = [(s.short, s.name, s.target) for s in PUBLIC if s.kind == kind]
    return {
        name: Subject(path, kind, target, case_from(name, table), path=kind != "primitive")
        for name, path, target in sorted(found)
    }


def case_from(name, table):
    if name not in table:
        return None
    exceptions = {law: why for (subject, law), why in cases.EXCEPTIONS.items() if subject == name}
    return Case(table[name], exceptions=exceptions)


CASES = {
    "primitive": cases.OPERATIONS,
    "module": cases.MODULES,
    "criterion": cases.CRITERIONS,
    "optimizer": cases.OPTIMIZERS,
}
SUBJECTS = {kind: subjects(kind, table) for kind, table in CASES.items()}


@pytest.mark.parametrize("kind", SUBJECTS)
def test_every_subject_has_a_case_and_every_case_a_subject(kind):
    found, known = SUBJECTS[kind], CASES[kind]
    assert found, f"no {kind} was discovered"
    missing, stale = sorted(found.keys() - known.keys()), sorted(known.keys() - found.keys())
    assert not missing, f"no case in tests/cases.py: {missing}"
    assert not stale, f"cases without a subject: {stale}"


def test_every_exception_names_a_subject_and_a_law():
    names = {name for found in SUBJECTS.values() for name in found}
    laws = {law.name for table in TABLES for law in table}
    for subject, law in cases.EXCEPTIONS:
        assert subject in names, f"an exception for {subject}, which is gone"
        assert law in laws, f"an exception for the law {law}, which is gone"


def pairs(kind):
    return [
        pytest.param(subject, law, id=f"{name}-{law.name}")
        for name, subject in SUBJECTS[kind].items()
        if subject.case is not None
        for law in subject.laws()
    ]


def obeys(subject, law):
    """Hold a law against a subject, as `pytest --laws` and `tapegrad check` do."""
    subject.examine(law, PROFILE).raise_error()


@pytest.mark.parametrize(("subject", "law"), pairs("primitive"))
def test_operation_obeys(subject, law):
    obeys(subject, law)


@pytest.mark.parametrize(("subject", "law"), pairs("module"))
def test_module_obeys(subject, law):
    obeys(subject, law)


@pytest.mark.parametrize(("subject", "law"), pairs("criterion"))
def test_criterion_obeys(subject, law):
    obeys(subject, law)


@pytest.mark.parametrize(("subject", "law"), pairs("optimizer"))
def test_optimizer_obeys(subject, law):
    obeys(subject, law)


# The same trials on a GPU, where there is one: `pytest -m cuda`.

DEVICE_LAWS = {
    "primitive": primitives.agree_on_device,
    "module": modules.agree_on_device,
    "criterion": modules.agree_on_device,
    "optimizer": optimizers.agree_on_device,
}


def on_device(kind):
    """Those for which the law of strict arrays holds; a GPU's arrays are as strict."""
    return [
        pytest.param(subject, id=name)
        for name, subject in SUBJECTS[kind].items()
        if subject.case is not None
        and any(law.name == "strict_arrays_agree_with_numpy" for law in subject.laws())
        and (name, "strict_arrays_agree_with_numpy") not in cases.EXCEPTIONS
    ]


def agrees_on_cuda(subject):
    agree = DEVICE_LAWS[subject.kind]
    law = Law("cuda_arrays_agree_with_numpy", lambda trial: agree(trial, "cuda:0"))
    subject.examine(law, Profile(25)).raise_error()


@pytest.mark.cuda
@pytest.mark.parametrize("subject", on_device("primitive"))
def test_operation_on_a_gpu_agrees_with_numpy(subject):
    agrees_on_cuda(subject)


@pytest.mark.cuda
@pytest.mark.parametrize("subject", on_device("module"))
def test_module_on_a_gpu_agrees_with_numpy(subject):
    agrees_on_cuda(subject)


@pytest.mark.cuda
@pytest.mark.parametrize("subject", on_device("criterion"))
def test_criterion_on_a_gpu_agrees_with_numpy(subject):
    agrees_on_cuda(subject)


@pytest.mark.cuda
@pytest.mark.parametrize("subject", on_device("optimizer"))
def test_optimizer_on_a_gpu_agrees_with_numpy(subject):
    agrees_on_cuda(subject)
