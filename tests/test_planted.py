"""Planted bugs are found and named, correct layers are not accused; a sample of both.

`pytest -m planted` runs all of them with 100 examples, as `pytest -m extra` does, and
`benchmarks/laws.py` prints the figures.  Nothing here is tolerated: a bug that is missed fails the
suite.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from planted.bugs import BUGS
from planted.held_out import HELD_OUT, HELD_OUT_LAYERS
from planted.hunting import hunt, label, laws_of, smallest
from planted.layers import LAYERS
from planted.tape import RIGHT, WRONG_RULES, WrongRule, hunt_rule

from tapegrad.autograd.check.probing import probe

FEW, MANY = 25, 100


def must_be_found(bug, examples):
    found = hunt(bug.kind, bug.make, examples=examples)
    assert found is not None, "not found"
    if bug.argument and found.report is not None:
        assert label(bug.kind, bug.argument) in found.places, found.message
        assert found.names_an_entry, found.message


def must_be_found_on_the_tape(wrong, examples):
    found = hunt_rule(wrong, examples=examples)
    assert found is not None, "not found"
    if wrong.second_order_only:
        assert "first order: wrong" not in found.message
    elif found.report is not None:
        names = list(RIGHT[wrong.kind][0])
        if len(names) == 1 and "symmetry of the second order: wrong" in found.message:
            return  # whose probe is along two directions: it names no entry, and none is needed
        assert f"argument {names.index(wrong.argument)}[" in found.message


def named(things):
    return [pytest.param(thing, id=thing.name) for thing in things]


def test_there_are_enough_bugs_of_enough_kinds():
    assert len(BUGS) + len(WRONG_RULES) >= 200
    assert len({bug.kind.name for bug in BUGS}) >= 40
    assert len({bug.name for bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize("bug", named(BUGS[::25]))
def test_a_planted_bug_is_found_and_named(bug):
    must_be_found(bug, FEW)


@pytest.mark.parametrize("bug", named(HELD_OUT))
def test_a_held_out_bug_is_found_and_named(bug):
    must_be_found(bug, FEW)


@pytest.mark.extra
@pytest.mark.parametrize("name", HELD_OUT_LAYERS)
def test_a_held_out_layer_is_not_accused(name):
    assert hunt(HELD_OUT_LAYERS[name], examples=FEW) is None


@pytest.mark.parametrize("wrong", named(WRONG_RULES[::3]))
def test_a_wrong_rule_is_found_and_named(wrong):
    must_be_found_on_the_tape(wrong, FEW)


@pytest.mark.planted
@pytest.mark.extra
@pytest.mark.parametrize("bug", named(BUGS))
def test_every_planted_bug_is_found_and_named(bug):
    must_be_found(bug, MANY)


@pytest.mark.planted
@pytest.mark.extra
@pytest.mark.parametrize("wrong", named(WRONG_RULES))
def test_every_wrong_rule_is_found_and_named(wrong):
    must_be_found_on_the_tape(wrong, MANY)


@pytest.mark.planted
@pytest.mark.extra
@pytest.mark.parametrize("name", LAYERS)
def test_no_correct_layer_is_accused(name):
    assert hunt(LAYERS[name], examples=MANY) is None


@pytest.mark.planted
@pytest.mark.extra
@pytest.mark.parametrize("name", RIGHT)
def test_no_correct_rule_is_accused(name):
    right = WrongRule(name, name, "", "", tuple(RIGHT[name][2].items()))
    assert hunt_rule(right, examples=MANY) is None


@pytest.mark.parametrize("bug", named(BUGS[:240:80]))
def test_a_failure_shrinks_to_a_small_example(bug, figures):
    started = time.perf_counter()
    [law] = [law for law in laws_of(bug.kind) if law.name == "its_gradients_are_the_derivatives"]
    error = smallest(bug.kind, law.name, bug.make)
    figures(f"smallest example of {bug.name!r}: {time.perf_counter() - started:.2f} s")
    assert error is not None
    assert label(bug.kind, bug.argument) in str(error)


@pytest.mark.parametrize("off", [1.0, 0.01])
def test_one_wrong_entry_in_a_512_by_512_jacobian_is_found_and_named(off):
    n, found, trials = 512, 0, 20
    for seed in range(trials):
        rng = np.random.default_rng([seed, n])
        x, w = rng.standard_normal(n), rng.standard_normal((n, n))
        i, j = rng.integers(n, size=2)
        wrong = w.copy()
        wrong[i, j] *= 1 + off

        def evaluate(point, w=w):
            return [w @ point[0]]

        def pull(point, g, wrong=wrong):
            return [wrong.T @ g[0]]

        [result] = probe(evaluate, pull, [x], rng, names=["x"])
        found += result.verdict == "wrong" and f"x[{j}]" in str(result)
    assert found >= 19
