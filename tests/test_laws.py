"""Every law on every subject, found without being listed: one test item for each subject.

Primitives come from the registry, modules, criterions and optimizers from `__all__`;
`tests/cases/`, or the subject itself, says how to draw examples.
`pytest -k conv2d` runs every law on one subject, `pytest -k obeys --law its_gradient` one law on
every subject.  (An item for each pair would be twenty thousand items, and pytest takes longer for
an item than most laws do.)  Unresolved verdicts (kinks, noise) prove nothing: where they are more
than a fifth, the pair counts as unchecked, and that is a failure.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import cases
import numpy as np
import pytest
from cases import complex_numbers
from hypothesis import settings

from tapegrad import nn, optim
from tapegrad.autograd import Parameter
from tapegrad.autograd.check import (
    LAWS,
    Case,
    Draws,
    Law,
    LawProfile,
    NotCovered,
    Subject,
    Summary,
    case_of,
    discover,
    modules,
    must,
    must_be_equal,
    operations,
    optimizers,
    primitives,
)
from tapegrad.autograd.check.subjects import FIRST
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn import mxnet

TABLES = LAWS.values()
PUBLIC = [subject for room in (nn, mxnet, optim) for subject in discover(room, public=True)]
# The default run has an example of each law; `pytest -m extra` has the second ones, and more.
PROFILE = LawProfile(
    settings.default.max_examples, derandomize=settings.default.derandomize, least=1
)
DEEP = LawProfile(settings.get_profile("deep").max_examples)


def subjects(kind, table):
    """Subjects of a kind, with a case of `tests/cases/`, else their own; None where neither is."""
    if kind == "primitive":
        found = [(name, f"tapegrad.autograd.ops:{name}", op) for name, op in operations().items()]
    else:
        found = [(s.short, s.name, s.target) for s in PUBLIC if s.kind == kind]
    return {
        name: Subject(path, kind, target, case_from(name, target, table), path=kind != "primitive")
        for name, path, target in sorted(found)
    }


def case_from(name, target, table):
    if name in table:
        return Case(table[name], exceptions=exceptions_of(name))
    own = case_of(target)
    return None if own is None else replace(own, exceptions=exceptions_of(name))


def exceptions_of(*names):
    return {law: why for (subject, law), why in cases.EXCEPTIONS.items() if subject in names}


TABLE = {
    "primitive": "OPERATIONS",
    "module": "MODULES",
    "criterion": "CRITERIONS",
    "optimizer": "OPTIMIZERS",
}
CASES = {kind: getattr(cases, table) for kind, table in TABLE.items()}
SUBJECTS = {kind: subjects(kind, table) for kind, table in CASES.items()}

# Operations with complex arguments: what concerns numbers, not memory, garbage or replay; and how
# many times a law's share of examples.  Real and complex arguments meet in several ways, each of
# which may lead to another dtype.
COMPLEX_LAWS = {
    "its_gradient_is_the_derivative": 1,
    "pushed_tangents_agree_with_its_gradient": 1,
    "it_equals_numpy": 4,
    "tracking_fewer_arguments_changes_no_gradient": 1,
    "float32_agrees_with_float64": 1,
    "strict_arrays_agree_with_numpy": 1,
}
DEEP_COMPLEX_LAWS = {"its_second_derivative_is_right": 1}


def complex_subjects():
    found = {}
    for name, subject in SUBJECTS["primitive"].items():
        if subject.case is None or name in (complex_numbers.REASONS | cases.WITHOUT_LAWS):
            continue
        draw = complex_numbers.CASES.get(name, subject.case.draw)
        exceptions = exceptions_of(name, f"{name} (complex)")
        case = Case(draw, exceptions=exceptions, complex=True)
        target = complex_numbers.PHASE_FREE.get(name, subject.target)
        found[f"{name} (complex)"] = Subject(subject.name, "primitive", target, case, path=False)
    return found


COMPLEX = complex_subjects()


@pytest.mark.parametrize("kind", SUBJECTS)
def test_every_subject_has_a_case_and_every_case_a_subject(kind):
    found, known = SUBJECTS[kind], CASES[kind]
    assert found, f"no {kind} was discovered"
    missing = [
        f"{name} has no case: write one in {cases.case_file(found[name].target)}"
        for name in sorted(found.keys() - known.keys())
        if case_of(found[name].target) is None and name not in cases.WITHOUT_LAWS
    ]
    assert not missing, "\n".join(missing)
    stale = [
        f"{name} is gone: take its case out of {cases.FILES[TABLE[kind], name]}"
        for name in sorted(known.keys() - found.keys())
    ]
    assert not stale, "\n".join(stale)
    elsewhere = [
        f"the case of {name} stands in {stands}, and belongs into {belongs}"
        for name in sorted(known)
        if (stands := cases.FILES[TABLE[kind], name])
        != (belongs := cases.case_file(found[name].target))
    ]
    assert not elsewhere, "\n".join(elsewhere)
    assert all(cases.subject(TABLE[kind], name) is found[name].target for name in known)


@pytest.mark.parametrize(
    ("kind", "name", "file"),
    [
        ("primitive", "tanh", "tests/cases/ops/elementwise.py"),
        ("primitive", "logsumexp", "tests/cases/ops/reduction.py"),
        ("module", "SpatialMaxPooling", "tests/cases/nn/pooling.py"),
        ("module", "SeqLSTM", "tests/cases/nn/recurrent.py"),
        ("criterion", "MSECriterion", "tests/cases/nn/criterions.py"),
        ("primitive", "optimizer_step", "tests/cases/optim.py"),
    ],
)
def test_what_has_no_case_fails_and_says_where_to_write_one(kind, name, file, monkeypatch):
    monkeypatch.delitem(CASES[kind], name)
    with pytest.raises(AssertionError, match=f"{name} has no case: write one in {file}"):
        test_every_subject_has_a_case_and_every_case_a_subject(kind)


def test_every_exception_names_a_subject_and_a_law():
    names = {name for found in (*SUBJECTS.values(), COMPLEX) for name in found}
    laws = {law.name for table in TABLES for law in table}
    for subject, law in cases.EXCEPTIONS:
        assert subject in names, f"an exception for {subject}, which is gone"
        assert law in laws, f"an exception for the law {law}, which is gone"


def items(found):
    return [
        pytest.param(subject, id=name)
        for name, subject in found.items()
        if subject.case is not None and name not in cases.WITHOUT_LAWS
    ]


def often(found):
    """The items but SciPy's rare ufuncs, each of which tests/test_scipy_ufuncs.py tries."""
    rare = "special_"
    return [item for item in items(found) if not item.id.startswith(rare) or item.id in COMMON]


COMMON = {"special_i0"}


@pytest.fixture
def chosen(request):
    """Which laws `--law` asks for: those whose name contains it."""
    text = request.config.getoption("--law")
    return lambda law: text in law.name


def obeys(laws, chosen, profile=PROFILE):
    """Hold laws against a subject, [(subject, law, how many times the examples), …]."""
    summary = Summary()
    for subject, law, times in laws:
        if not chosen(law) or (law.deep and profile is PROFILE):
            continue
        outcome = subject.examine(law, replace(profile, examples=times * profile.examples))
        summary.outcomes.append((subject, outcome))
        if not outcome.ok and law.name in FIRST:
            break
    summary.raise_errors()


def laws_of(subject):
    return [(subject, law, 1) for law in subject.laws()]


# Third derivatives: of everything whose second one is right, on a few examples of ordinary data.
THIRD = Law("its_third_derivative_is_right", lambda trial: trial.check(order=3), deep=True)


def has_third(subject):
    second = "its_second_derivative_is_right"
    return second not in subject.case.exceptions and any(
        law.name == second for law in subject.laws()
    )


def test_third_derivatives_are_checked_everywhere():
    """What is left out has an exception for its second derivative, and is a handful."""
    found = {**SUBJECTS["primitive"], **COMPLEX}
    names = [name for name, subject in found.items() if subject.case and has_third(subject)]
    families = {operations()[name.removesuffix(" (complex)")].__module__ for name in names}
    assert len(families) >= 20
    assert len([name for name in names if name.endswith(" (complex)")]) >= 250
    assert len(names) >= 600


def is_flat(trial):
    """Beside ordinary data its values do not change: a slope there would be a gradient cut off."""
    if trial.derives or getattr(trial.function, "fact", False):
        return NotCovered("it has a derivative, or gives facts about arrays")
    moves = [1e-7 * np.cos(1.0 + np.arange(x.size)).reshape(x.shape) for x in trial.point]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        before = trial.values()
        after = trial.values([x + u for x, u in zip(trial.point, moves, strict=True)])
    for i, (b, a) in enumerate(zip(before, after, strict=True)):
        if b.dtype.kind == "f" and b.shape == a.shape:
            # `spacing` itself is of the order of the last place
            gaps = np.abs(a - b)
            must(not (gaps[np.isfinite(gaps)] > 1e-12).any(), f"result {i} is not flat")
            must_be_equal(np.isfinite(a), np.isfinite(b), f"whether result {i} is finite")
    return None


FLAT = Law("what_is_declared_without_a_derivative_is_flat", is_flat, effort=0.5)


def laws_of_operation(subject, only=None):
    laws = [(subject, law, 1) for law in subject.laws() if only is None or law.name in only]
    if has_third(subject):
        laws.append((subject, THIRD, 1))
    if any(law.name == "memory_layout_does_not_matter" for law in subject.laws()):
        laws.append((subject, FLAT, 1))
    return [(subject, law, (only or {}).get(law.name, times)) for subject, law, times in laws]


@pytest.mark.parametrize("subject", often(SUBJECTS["primitive"]))
def test_operation_obeys(subject, chosen):
    obeys(laws_of_operation(subject), chosen)


@pytest.mark.parametrize("subject", often(COMPLEX))
def test_operation_of_complex_numbers_obeys(subject, chosen):
    obeys(laws_of_operation(subject, COMPLEX_LAWS), chosen)


@pytest.mark.parametrize("name", sorted(complex_numbers.REASONS))
def test_what_is_real_by_nature_refuses_complex_numbers(name):
    assert name in SUBJECTS["primitive"], (
        f"{name} is gone: take it out of tests/cases/complex_numbers.py"
    )
    case = Case(cases.OPERATIONS[name], complex=True)
    calls = [case(Draws(seed)) for seed in range(5)]
    arrays = [[a for a in leaves(list(c.args)) if isinstance(a, np.ndarray)] for c in calls]
    if complex_numbers.REASONS[name] == "of integers, truths or shapes":
        assert all(a.dtype.kind in "biu" for given in arrays for a in given)
        return
    refused = 0
    for call, given in zip(calls, arrays, strict=True):
        if not any(a.dtype.kind == "c" for a in given):
            continue
        refused += 1
        arguments = map_leaves(
            lambda a: Parameter(a) if isinstance(a, np.ndarray) and a.dtype.kind in "fc" else a,
            list(call.args),
        )
        with pytest.raises(TypeError):
            operations()[name](*arguments, **call.settings)
    assert refused


@pytest.mark.parametrize("subject", items(SUBJECTS["module"]))
def test_module_obeys(subject, chosen):
    obeys(laws_of(subject), chosen)


@pytest.mark.parametrize("subject", items(SUBJECTS["criterion"]))
def test_criterion_obeys(subject, chosen):
    obeys(laws_of(subject), chosen)


@pytest.mark.parametrize("subject", items(SUBJECTS["optimizer"]))
def test_optimizer_obeys(subject, chosen):
    obeys(laws_of(subject), chosen)


# Deeper: many more examples of every law.


@pytest.mark.extra
@pytest.mark.parametrize("subject", items(SUBJECTS["primitive"]))
def test_many_more_examples_of_an_operation_obey(subject, chosen):
    obeys(laws_of_operation(subject), chosen, DEEP)


@pytest.mark.extra
@pytest.mark.parametrize("subject", items(COMPLEX))
def test_many_more_examples_of_complex_numbers_obey(subject, chosen):
    obeys(laws_of_operation(subject, {**COMPLEX_LAWS, **DEEP_COMPLEX_LAWS}), chosen, DEEP)


@pytest.mark.extra
@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(*item.values, id=f"{kind}-{item.id}")
        for kind in ("module", "criterion", "optimizer")
        for item in items(SUBJECTS[kind])
    ],
)
def test_many_more_examples_obey(subject, chosen):
    obeys(laws_of(subject), chosen, DEEP)


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
        and name not in cases.WITHOUT_LAWS
        and any(law.name == "strict_arrays_agree_with_numpy" for law in subject.laws())
        and (name, "strict_arrays_agree_with_numpy") not in cases.EXCEPTIONS
    ]


def agrees_on_cuda(subject):
    agree = DEVICE_LAWS[subject.kind]
    law = Law("cuda_arrays_agree_with_numpy", lambda trial: agree(trial, "cuda:0"))
    subject.examine(law, LawProfile(25)).raise_error()


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
