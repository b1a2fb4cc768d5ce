"""Planted faults in what people do are found, by the state machines or by the law of settings.

`pytest -m planted` hunts all of them, as `pytest -m extra` does.
"""

from __future__ import annotations

import pytest
from planted.uses import USES, hunt_use, planted

FEW = ("a validation of nothing is 0", "states of one sample are broadcast")
EXAMPLES = {"modules": 20, "attention": 10, "trainer": 40, "recurrent": 6}  # in a round
OF_A_LAW = 5


def must_be_found(name):
    use = USES[name]
    examples = EXAMPLES.get(use.finder, OF_A_LAW)
    assert hunt_use(use, examples=examples, rounds=10) is not None, "not found"


@pytest.mark.parametrize("name", USES)
def test_a_fault_in_use_can_be_planted_and_is_taken_out(name):
    with planted(USES[name]) as functions:
        assert all(function.__code__.co_filename == "<planted>" for function in functions)
    assert all(function.__code__.co_filename != "<planted>" for function in functions)


@pytest.mark.parametrize("name", FEW)
def test_a_fault_in_use_is_found(name):
    must_be_found(name)


@pytest.mark.planted
@pytest.mark.extra
@pytest.mark.parametrize("name", USES)
def test_every_fault_in_use_is_found(name):
    must_be_found(name)
