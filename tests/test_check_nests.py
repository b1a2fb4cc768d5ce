"""check_vjp of nests, complex and integer arrays, constants and domains; and wrong uses of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest

from tapegrad.autograd.check import LawError, UsageError, array, check_vjp, indices, ints
from tapegrad.autograd.check.frameworks.nests import flat_nest

GRADIENT = "its_gradient_is_the_derivative"


@dataclass
class Layer:
    w: np.ndarray
    b: np.ndarray | None


def dense(p, x):
    return {"y": x @ p["w"] + p["b"][0], "none": None, "largest": np.argmax(x, -1)}


def dense_vjp(g, p, x):
    return {"b": [g["y"].sum(0)], "w": x.T @ g["y"]}, g["y"] @ p["w"].T


def only(summary):
    [(_, outcome)] = summary.outcomes
    return outcome


def test_a_nest_is_flat_and_comes_back():
    nest = {"a": [1, (2, None)], "b": Layer(3, None)}
    flat = flat_nest(nest, "x")
    assert flat.leaves == [1, 2, 3]
    assert flat.paths == ["x['a'][0]", "x['a'][1][0]", "x['b'].w"]
    assert flat.rebuild([4, 5, 6]) == {"a": [4, (5, None)], "b": Layer(6, None)}


@pytest.mark.extra
def test_dicts_and_lists_in_and_out():
    assert check_vjp(dense, dense_vjp, {"w": "I O", "b": ["O"]}, "N+1 I").ok


@pytest.mark.extra
def test_a_wrong_gradient_in_a_nest_is_named_by_its_path():
    def wrong(g, p, x):
        found, of_x = dense_vjp(g, p, x)
        return {**found, "b": [2 * found["b"][0]]}, of_x

    with pytest.raises(LawError, match=r"p\['b'\]\[0\]: analytic is twice numeric everywhere"):
        check_vjp(dense, wrong, {"w": "I O", "b": ["O"]}, "N+1 I", law=GRADIENT)


def test_a_gradient_in_another_form_than_its_argument_is_named():
    with pytest.raises(LawError, match="gradient of dense for the argument p has another form"):
        check_vjp(dense, lambda g, p, x: ([x], x), {"w": "I O", "b": ["O"]}, "N+1 I", law=GRADIENT)


def complex_numbers(d):
    return d.normal((3,)) + 1j * d.normal((3,))


def test_complex_gradients_are_those_of_the_real_part_of_the_product():
    square = {"law": GRADIENT, "raise_error": False}
    right = check_vjp(lambda z: z * z, lambda g, z: 2 * z * g, complex_numbers, **square)
    assert only(right).verdict == "holds"
    wrong = check_vjp(lambda z: z * z, lambda g, z: 2 * z.conj() * g, complex_numbers, **square)
    assert only(wrong).verdict == "broken"


def test_integer_results_have_nothing_to_differentiate():
    summary = check_vjp(np.argmax, lambda g, x: None, "N+1 C", law=GRADIENT)
    assert only(summary).verdict == "not covered"
    assert summary.counts()["gradients proved"] == 0
    assert "there is nothing to differentiate" in str(summary)


def divided(x, scale):
    return x / np.sqrt(scale)


def test_a_constant_has_no_gradient_and_a_domain_bounds_an_argument():
    case = {"constant": "scale", "domains": {"scale": (0, None)}, "law": GRADIENT}
    assert check_vjp(divided, lambda g, x, s: (g / np.sqrt(s), None), "N", "N", **case).ok
    with pytest.raises(LawError, match="x: analytic is minus numeric everywhere"):
        check_vjp(divided, lambda g, x, s: (-g / np.sqrt(s), None), "N", "N", **case)


def test_data_outside_of_the_domain_prove_nothing_and_the_report_says_what_to_do():
    summary = check_vjp(
        lambda x: np.sqrt(x - 50), lambda g, x: g / np.sqrt(x - 50) / 2, "N",
        law=GRADIENT, raise_error=False,
    )  # fmt: skip
    assert summary.counts()["gradients proved"] == 0
    assert "no gradient was proved: lambda x: np.sqrt(x - 50): " in str(summary)
    assert "what to do: the results are NaN or infinite" in str(summary)


def test_a_domain_that_few_data_meet_is_told():
    summary = check_vjp(np.sqrt, lambda g, x: g / np.sqrt(x) / 2, "4 C+3", law=GRADIENT)
    assert re.search(r"few gradients were proved: sqrt: \d+ of 25 examples", str(summary))
    assert "what to do: the results are NaN or infinite" in str(summary)


def test_neighbours_of_data_at_the_border_of_the_domain_leave_nothing_unchecked():
    def rule(g, x):
        return 1.5 * g * np.sqrt(x)

    for seed in range(1, 6):
        summary = check_vjp(lambda x: x**1.5, rule, "N+1 C+3", law=GRADIENT, seed=seed)
        [(_, outcome)] = summary.outcomes
        assert outcome.verdict in ("holds", "not covered")


def powered(x, axis=0, p=1):
    return x**p


WRONG_USES = {
    "an option": (lambda: check_vjp(np.tanh, lambda g, x: g, "N", p=3), "takes no option 'p'"),
    "two inputs": (
        lambda: check_vjp(lambda x: x, lambda g, x: g, "N", "N"), "cannot be called with 2 inputs",
    ),
    "a constant": (
        lambda: check_vjp(divided, lambda g, x, s: (g, None), "N", "N", constant="label"),
        "divided has no argument or parameter 'label'; it has: x, scale",
    ),
    "a domain": (
        lambda: check_vjp(divided, lambda g, x, s: (g, None), "N", "N", domains={"s": (0, 1)}),
        "no argument or parameter 's'",
    ),
    "keyword arguments by position": (
        lambda: check_vjp(powered, lambda g, x, axis, p=1: (g, None), "N", {"p": 2}),
        r"the input \{'p': 2\} would be passed as 'axis': .* by name, p=2",
    ),
    "batchwise": (
        lambda: check_vjp(np.tanh, lambda g, x: g, "N", batchwise="perhaps"),
        "batchwise='perhaps' is none of None, 'split', 'evaluate'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_USES)
def test_a_wrong_use_is_a_type_error_that_names_it(what):
    use, match = WRONG_USES[what]
    with pytest.raises(UsageError, match=match) as caught:
        use()
    assert isinstance(caught.value, TypeError)


def test_options_whose_names_are_those_of_the_check():
    def shifted(x, *, seed):
        return x + seed

    options = {"seed": ints(1, 3)}
    assert check_vjp(shifted, lambda g, x, *, seed: 1 * g, "N", options=options, law=GRADIENT).ok


def test_a_bounded_array_and_labels_still_say_what_they_did():
    def picked(x, i):
        return np.log(x)[i]

    def picked_vjp(g, x, i):
        found = np.zeros_like(x)
        np.add.at(found, i, g)
        return found / x, None

    assert check_vjp(picked, picked_vjp, array("C", 0, None), indices("N", below="C")).ok
