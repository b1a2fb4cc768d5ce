"""check_module and check_criterion: one call, a decorator, an attribute; and their messages."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.autograd import Parameter, Tensor, ops
from tapegrad.autograd.check import (
    MODULE_LAWS,
    CheckError,
    Draws,
    LawError,
    RecordedDraws,
    Subject,
    UncheckedError,
    array,
    booleans,
    case_of,
    check,
    check_criterion,
    check_module,
    criterion_case,
    examine,
    floats,
    indices,
    ints,
    module_case,
    one_of,
    register_case,
    run_law,
)


class Scaled(nn.Module):
    law_case = {  # noqa: RUF012  # written as users write it
        "input": "N? n",
        "n": range(1, 6),
        "wrong": "N n+1",
        "batchwise": "split",
    }
    promotes = True  # tanh of 8-bit integers is float16

    def __init__(self, n):
        self.weight = Parameter(np.ones(n))

    def updateOutput(self, x):
        if x.shape[-1] != self.weight.shape[0]:
            raise ValueError(f"last axis of x is {x.shape[-1]}, n is {self.weight.shape[0]}")
        return ops.tanh(x) * self.weight


class IgnoresScale(Scaled):
    law_case = Scaled.law_case

    def accGradParameters(self, input, gradOutput, scale=1):
        super().accGradParameters(input, gradOutput, 1)


def test_one_call_holds_every_law_and_counts_what_it_did():
    summary = check_module(Scaled, input="N? n", n=ints(1, 5), wrong="N n+1", batchwise="split")
    counted = summary.counts()
    assert summary.ok
    assert counted["holds"] == len(MODULE_LAWS) - counted.get("not covered", 0)
    assert counted["examples"] > 100
    assert counted["gradients proved"] > 25


@pytest.mark.extra
def test_what_a_case_leaves_out_is_counted_as_not_covered():
    summary = check_module(Scaled, input="N n", n=ints(1, 5))
    assert summary.counts()["not covered"] == 4
    assert "(the case declares no wrong input)" in str(summary)


def test_a_broken_law_comes_with_the_smallest_example_and_lines_that_reproduce_it():
    with pytest.raises(LawError) as caught:
        check_module(IgnoresScale, input="N? n", n=ints(1, 5))
    text = str(caught.value)
    assert "BROKEN: IgnoresScale: accumulated gradients are linear in scale" in text
    assert "example: IgnoresScale on float64(1,) in " in text
    law, choices = re.search(r"law='(\w+)', choices=\[(.*?)\]", text).groups()
    choices = [int(choice) for choice in choices.split(",")]
    with pytest.raises(LawError, match=r"gradient of parameter 0 with scale 0\.5"):
        check_module(IgnoresScale, input="N? n", n=ints(1, 5), law=law, choices=choices)


@pytest.mark.extra
def test_a_hand_written_gradient_has_no_second_order_and_that_is_said():
    outcomes = check_module(IgnoresScale, input="N n", n=ints(1, 2), raise_error=False).outcomes
    [second] = [o for _, o in outcomes if o.law.name == "its_second_derivatives_are_right"]
    assert second.verdict == "not covered"
    assert list(second.reasons) == [
        "a gradient written by hand has no second derivative and no replay"
    ]


@pytest.mark.extra
def test_criterions_are_checked_with_their_targets():
    labels = indices("N", below="C")
    assert check_criterion(nn.CrossEntropyCriterion, input="N C", target=labels).ok

    class Wrong(nn.MSECriterion):
        def updateGradInput(self, input, target):
            super().updateGradInput(input, target)
            self.gradInput = Tensor(2 * self.gradInput.numpy())
            return self.gradInput

    with pytest.raises(LawError, match="analytic is twice numeric everywhere"):
        check_criterion(Wrong, input="N? C", target="N? C")


# Declaring a case ---------------------------------------------------------------------------------


@check_module(input="N? n", n=ints(1, 3))
class Decorated(Scaled):
    pass


@pytest.mark.extra
def test_the_decorator_gives_a_class_its_case_and_leaves_it_as_it_is():
    assert Decorated(3).weight.shape == (3,)
    assert case_of(Decorated)(Draws(1)).module.weight.size <= 3
    assert check([Subject("Decorated", "module", Decorated, case_of(Decorated))]).ok


def test_the_decorator_makes_a_test_of_a_function():
    @check_module(input="N n", n=ints(1, 2), law="nan_stays_nan")
    def test_scaled(n):
        return Scaled(n)

    assert test_scaled.__name__ == "test_scaled"
    test_scaled()

    @check_module(input="N n", n=ints(1, 2), law="accumulated_gradients_are_linear_in_scale")
    def test_wrong(n):
        return IgnoresScale(n)

    with pytest.raises(LawError):
        test_wrong()


def test_a_class_without_a_case_is_unchecked_and_a_subclass_does_not_inherit_one():
    class Child(Scaled):
        pass

    assert case_of(Child) is None
    summary = check([Subject("Child", "module", Child, case_of(Child))])
    assert not summary.ok
    assert "unchecked: Child has no case" in str(summary)
    register_case(Child, input="N n", n=[1, 2])
    assert case_of(Child) is not None


def test_exceptions_are_strict():
    law = "accumulated_gradients_are_linear_in_scale"
    excepted = {"input": "N n", "n": ints(1, 2), "exceptions": {law: "for a test"}, "law": law}
    summary = check_module(IgnoresScale, **excepted)
    assert summary.counts()["excepted"] == 1
    with pytest.raises(LawError, match="it holds: remove the exception"):
        check_module(Scaled, **excepted)


def test_randomness_is_what_the_case_says():
    law = "it_is_random_only_if_its_case_says_so"
    spec = {"input": "N n", "law": law}
    assert check_module(nn.Dropout, stochastic=True, **spec).ok
    with pytest.raises(LawError, match="no random number was drawn"):
        check_module(nn.Tanh, stochastic=True, **spec)
    with pytest.raises(LawError, match="say stochastic=True in the case"):
        check_module(nn.Dropout, **spec)


def test_sizes_are_shared_between_inputs_options_and_targets():
    case = criterion_case(
        lambda c, flag, rate, mode: (c, flag, rate, mode),
        input={"a": "N? c", "b": [array("c*2 3", 0, 1), "N? c+1"]},
        target=indices("N?", below="c"),
        c=ints(2, 4),
        flag=booleans(),
        rate=floats(0, 1),
        mode=one_of("same", "valid"),
    )
    seen = set()
    for seed in range(30):
        layer = case(Draws(seed))
        c, flag, rate, mode = layer.module
        seen.add((flag, mode))
        assert layer.input["a"].shape[-1] == c
        assert layer.input["b"][0].shape == (2 * c, 3)
        assert layer.input["b"][1].shape == (*layer.target.shape, c + 1)
        assert layer.input["a"].ndim == layer.target.ndim + 1
        assert ((layer.input["b"][0] > 0) & (layer.input["b"][0] < 1)).all()
        assert (layer.target < c).all()
        assert 0 <= rate <= 1
    assert len(seen) == 4


def test_an_example_is_made_again_from_its_choices():
    case = module_case(Scaled, input="N? n", n=ints(1, 5))
    first = Draws(7)
    layer = case(first)
    again = case(RecordedDraws(first.choices_made))
    np.testing.assert_array_equal(layer.input, again.input)
    with pytest.raises(ValueError, match="the recorded choices do not fit the case"):
        case(RecordedDraws(first.choices_made[:-1]))


@pytest.mark.parametrize(
    ("action", "match"),
    [
        (lambda: check_module(Scaled, input="N -n", n=1), "'-n' is no axis of a shape"),
        (lambda: check_module(Scaled, input="N n", n=1, law="no"), "there is no law 'no'"),
        (lambda: check_module(Scaled, input="N n", batchwise="x"), "batchwise='x' is none of"),
        (lambda: register_case(Scaled, {"n": 1}), "says nothing about input="),
        (lambda: register_case(Scaled, 3), "the case of Scaled is int"),
        (lambda: check_module(Scaled, input="N n", n=1, choices=[0]), "say law= too"),
    ],
)
def test_a_wrong_case_gets_a_message(action, match):
    with pytest.raises((ValueError, TypeError), match=match):
        action()


# What cannot be checked ---------------------------------------------------------------------------


class ReturnsAnArray(nn.Module):
    def updateOutput(self, x):
        return x.detach().numpy()


class ReturnsText(nn.Module):
    def updateOutput(self, x):
        return f"{x.shape}"


class ChangesItsShape(nn.Module):
    calls = 0

    def updateOutput(self, x):
        self.calls += 1
        return x[: self.calls]


class DrawsUnseeded(nn.Module):
    rng = np.random.default_rng()

    def __deepcopy__(self, memo):
        return self

    def updateOutput(self, x):
        return x * float(self.rng.random())


class Raises(nn.Module):
    def updateOutput(self, x):
        if x.shape[0] > 2:
            raise ZeroDivisionError("inside")
        return x * 2


IMPOSSIBLE = {
    "another type": (ReturnsText, r"forward returned str in call 1"),
    "an array": (ReturnsAnArray, r"updateOutput returned ndarray, whose gradient is lost"),
    "another shape": (
        ChangesItsShape,
        r"forward\(float64\(\d, \d\)\) returned shapes \[.*\] in call \d and \[.*\] in call \d",
    ),
    "another value": (DrawsUnseeded, r"is not deterministic: .* in calls \d and \d"),
    "an error": (Raises, r"raised in call 1: Raises in \w+ mode.forward\(float64\(3, 1\)\)"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_cannot_be_checked_is_said_once_with_the_call_that_showed_it(what):
    kind, match = IMPOSSIBLE[what]
    summary = check_module(kind, input="N n", raise_error=False)
    assert summary.counts()["broken"] == 1
    assert re.search(match, str(summary)), summary


@pytest.mark.parametrize(
    ("kind", "error"), [(ReturnsText, CheckError), (ReturnsAnArray, TypeError)]
)
def test_a_layer_that_returns_no_tensor_is_an_error_in_any_law(kind, error):
    subject = Subject(kind.__name__, "module", kind, module_case(kind, input="N n"))
    outcome = subject.examine(MODULE_LAWS["nan_stays_nan"])
    assert isinstance(outcome.error, error)


def test_unresolved_examples_are_unchecked_unless_the_case_says_kinks():
    class Rounds(nn.Module):
        def updateOutput(self, x):
            return (x + 1e12) - 1e12

    law = MODULE_LAWS["its_gradients_are_the_derivatives"]
    subject = Subject("Rounds", "module", Rounds, module_case(Rounds, input="N n"))
    with pytest.raises(UncheckedError, match=r"unchecked: \d+ of \d+ examples are unresolved"):
        run_law(law, subject.trial)
    outcome = examine(law, subject.trial, kinks=True)
    assert outcome.verdict == "unchecked", "noise is not a kink"


class Shift(nn.Module):
    def __init__(self, n):
        self.bias = Parameter(np.zeros(n))

    def updateOutput(self, input):
        return input + self.bias


class LearnsAlthoughFrozen(Shift):
    """Its gradInput is right, and its parameter's gradient is added to by hand, always."""

    def updateGradInput(self, input, gradOutput):
        self.bias.grad = Tensor(np.ones(self.bias.shape))
        return super().updateGradInput(input, gradOutput)


class FreezesNothing(Shift):
    def freeze(self, *names):
        return self


@pytest.mark.parametrize("made", [LearnsAlthoughFrozen, FreezesNothing])
def test_a_parameter_that_learns_although_it_is_frozen_is_found(made):
    law = "freezing_stops_the_parameters_and_nothing_else"
    with pytest.raises(LawError, match="frozen"):
        check_module(made, input="N n", n=ints(1, 4), law=law)
    assert check_module(Shift, input="N n", n=ints(1, 4), law=law).ok
