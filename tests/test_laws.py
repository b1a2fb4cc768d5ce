"""Every law on every subject: one test item per pair, found without being listed.

Primitives come from the registry, modules, criterions and optimizers from `__all__`; `cases.py`
says how to draw examples.  `pytest -k its_gradient_is_the_derivative` runs one law everywhere,
`pytest -k conv2d` every law on one subject.  Unresolved verdicts (kinks, noise) prove nothing: where
they are more than a fifth, the pair counts as unchecked, and that is a failure.
"""

from __future__ import annotations

import warnings

import cases
import pytest
from hypothesis import given, settings, strategies as st
from tapegrad.autograd.check import (
    PRIMITIVE_LAWS,
    HypothesisDraws,
    LawError,
    PrimitiveTrial,
    Report,
    applies_to_primitive,
    operations,
)

UNRESOLVED = 0.2


def run_law(subject, law, make_trial):
    """Run a law on drawn examples; raise LawError with the smallest example that breaks it."""
    reports = []
    examples = max(2, round(settings.default.max_examples * law.effort))

    @settings(max_examples=examples, database=None)
    @given(st.data())
    def on_examples(data):
        draws = HypothesisDraws(data, regimes=law.regimes, empties=law.empties)
        trial = make_trial(draws)
        try:
            # what NumPy says about overflow at large values is not what is tested here
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                found = law.check(trial)
        except Exception as error:
            error.add_note(f"law:     {law.sentence}")
            error.add_note(f"example: {trial!r}, {draws.regime} data, seed {draws.seed}")
            raise
        if isinstance(found, Report):
            reports.append(found)

    on_examples()
    open_verdicts = [report for report in reports if not report.ok]
    if len(open_verdicts) > UNRESOLVED * len(reports):
        pytest.fail(
            f"{subject}: unchecked, {len(open_verdicts)} of {len(reports)} examples unresolved; "
            f"the last: {open_verdicts[-1]}"
        )


def obeys(subject, law, make_trial):
    """As `run_law`, with the table of exceptions, which is strict."""
    reason = cases.EXCEPTIONS.get((subject, law.name))
    if reason is None:
        run_law(subject, law, make_trial)
        return
    with pytest.raises(LawError):
        run_law(subject, law, make_trial)


def pairs(subjects, laws, applies):
    return [
        pytest.param(subject, law, id=f"{subject}-{law.name}")
        for subject in sorted(subjects)
        for law in laws
        if applies(law, subject)
    ]


def test_every_operation_has_a_case():
    missing = operations().keys() - cases.OPERATIONS.keys()
    assert not missing, f"no case in tests/cases.py: {sorted(missing)}"


def test_every_case_has_an_operation():
    stale = cases.OPERATIONS.keys() - operations().keys()
    assert not stale, f"cases without an operation: {sorted(stale)}"


@pytest.mark.parametrize(
    ("name", "law"),
    pairs(operations().keys() & cases.OPERATIONS.keys(), PRIMITIVE_LAWS, applies_to_primitive),
)
def test_operation_obeys(name, law):
    obeys(name, law, lambda draws: PrimitiveTrial(name, cases.OPERATIONS[name], draws))
