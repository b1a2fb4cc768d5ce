"""The checker is checked: it finds and names what is wrong, and never accuses what is right.

The wrong rules below are deliberate and stay.  None of them is registered: a registered primitive
would be found by the laws, which would rightly fail.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import re

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.check import (
    MODULE_LAWS,
    PRIMITIVE_LAWS,
    CheckError,
    Draws,
    GradientError,
    LawError,
    Laws,
    Layer,
    ModuleTrial,
    PrimitiveTrial,
    TrialCall,
    UncheckedError,
    check_gradients,
    modules,
    primitives,
    run_law,
)
from tapegrad.autograd.check.laws import join_laws
from tapegrad.autograd.check.probing import probe
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.specialize import public_function


def operation(body, **rules):
    """A primitive with these rules that no registry knows."""
    primitive = Primitive(body)
    primitive.vjp(**rules)
    return public_function(primitive, body)


def report_of(fn, *inputs, **options):
    return check_gradients(fn, *inputs, raise_error=False, **options)


# Wrong derivatives are found, and the report says where and how -----------------------------------

RNG = np.random.default_rng(0)
MATRIX, SQUARE = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 3))


def twice_in_the_last_row():
    def wrong_tanh(xp, x):
        return xp.tanh(x)

    def rule(g, y):
        right = g - g * (y * y)
        return ops.concatenate([right[:-1], right[-1:] * 2])

    return operation(wrong_tanh, x=rule)


def wrong_only_in_second_order():
    def three_squares(xp, x):
        return 3 * xp.square(x)

    slope = operation(three_squares, x=lambda g, x: g * (5 * x))

    def cube(xp, x):
        return x * x * x

    return operation(cube, x=lambda g, x: g * slope(x))


def gradient_to_every_tie():
    def greedy_max(xp, x):
        return xp.max(x, axis=0)

    return operation(greedy_max, x=lambda g, x, y: ops.where(x == y, g, 0))


def scaled(factor):
    def square(xp, x):
        return x * x

    return operation(square, x=lambda g, x: g * (factor * x))


def transposed():
    def product(xp, x, w):
        return xp.matmul(x, w)

    return operation(
        product, x=lambda g, w: g @ w.T, w=lambda g, x: ops.transpose(ops.transpose(x) @ g)
    )


def shifted():
    def weighted(xp, x):
        return x * xp.arange(1.0, 1.0 + x.size)

    return operation(weighted, x=lambda g: ops.flip(g * np.arange(1.0, 5.0), 0))


def nan_at_zero():
    def magnitude(xp, x):
        return xp.abs(x)

    return operation(magnitude, x=lambda g, x: g * (x / ops.absolute(x)))


WRONG = {
    "a factor in some entries": (
        twice_in_the_last_row(), [MATRIX], 1,
        ["first order: wrong",
         "x: wrong in 3 of 12 entries, only where index on axis 0 is the last",
         "x: there, analytic is twice numeric", "x[3, "],
    ),
    "second order only": (
        wrong_only_in_second_order(), [MATRIX], 2,
        ["second order: wrong", "first order: ok"],
    ),
    "every tie": (
        gradient_to_every_tie(), [np.array([[1.0], [2.0], [2.0]])], 1,
        ["x: the gradient goes to every tie", "x[1, 0], x[2, 0] (tied, moved together)"],
    ),
    "twice": (scaled(4), [MATRIX], 1, ["x: analytic is twice numeric everywhere"]),
    "half": (scaled(1), [MATRIX], 1, ["x: analytic is half of numeric everywhere"]),
    "the sign": (scaled(-2), [MATRIX], 1, ["x: analytic is minus numeric everywhere"]),
    "one per cent": (scaled(2.02), [MATRIX], 1, ["x: analytic is 1.01 times numeric everywhere"]),
    "missing": (scaled(0), [MATRIX], 1, ["x: analytic is zero everywhere, numeric is not"]),
    "transposed": (transposed(), [SQUARE, SQUARE + 1], 1, ["w: analytic is numeric transposed"]),
    "reversed": (shifted(), [MATRIX[:, 0]], 1, ["x: analytic is numeric reversed along axis 0"]),
    "NaN": (nan_at_zero(), [np.array([0.0, 1.0, -2.0])], 1, ["NaN where the function is finite"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_rule_is_accused_and_localised(what, seed):
    function, inputs, order, texts = WRONG[what]
    with pytest.raises(GradientError) as caught:
        check_gradients(function, *inputs, order=order, seed=seed)
    for text in texts:
        assert text in str(caught.value)
    assert caught.value.report.verdict == "wrong"


def test_first_order_is_blind_to_a_rule_that_is_wrong_in_second_order_only():
    assert report_of(wrong_only_in_second_order(), MATRIX, order=1).verdict == "ok"


def test_ordinary_data_do_not_show_a_gradient_that_goes_to_every_tie():
    assert report_of(gradient_to_every_tie(), MATRIX).verdict == "ok"


@pytest.mark.extra
def test_one_entry_off_by_a_per_cent_in_a_large_matrix_is_found_and_named():
    w = np.random.default_rng(1).standard_normal((200, 200))

    def product(xp, x, w):
        return xp.matmul(x, w)

    factor = np.ones(w.shape)
    factor[13, 57] = 1.01

    def rule(g, x):
        return ops.outer(x, g) * factor

    function = operation(product, x=lambda g, w: w @ g, w=rule)
    found = 0
    for seed in range(10):
        report = report_of(
            function, np.random.default_rng(seed).standard_normal(200), w, seed=seed, probes=1
        )
        found += "w[13, 57]" in str(report)
    assert found >= 8


@pytest.mark.parametrize("law", ["its_gradient_is_the_derivative", "nan_stays_nan"])
def test_the_laws_catch_a_wrong_primitive_and_shrink_to_a_small_example(law):
    def clipped(xp, x):
        return xp.where(x > 0, 2 * x, 0)  # NaN becomes 0

    function = operation(clipped, x=lambda g, y: ops.where(y > 0, g, 0))
    with pytest.raises(LawError) as caught:
        run_law(
            PRIMITIVE_LAWS[law],
            lambda d: PrimitiveTrial(
                "clipped", lambda d: TrialCall([d.array(d.shape())]), d, function
            ),
            examples=50,
        )
    [example] = [note for note in caught.value.__notes__ if note.startswith("example")]
    sizes = re.search(r"clipped\(float64\((.*?)\)\)", example).group(1)
    assert math.prod(int(n) for n in sizes.split(",") if n.strip()) <= 2, example


def test_float32_inside_a_float64_function_is_noticed():
    def rounded(xp, x):
        return xp.tanh(x.astype(np.float32)).astype(np.float64)

    function = operation(rounded, x=lambda g, y: g - g * (y * y))
    law = PRIMITIVE_LAWS["float64_results_carry_no_float32_noise"]
    trial = PrimitiveTrial("rounded", lambda d: TrialCall([d.array((6,))]), Draws(3), function)
    with pytest.raises(LawError, match="float32 somewhere inside"):
        law.check(trial)


# Broken promises of modules -----------------------------------------------------------------------


class Overwrites(nn.Linear):
    def accGradParameters(self, input, gradOutput, scale=1):
        self.weight.grad = scale * np.outer(gradOutput.numpy(), input.numpy())
        self.bias.grad = scale * gradOutput.numpy()


class IgnoresScale(nn.Linear):
    def accGradParameters(self, input, gradOutput, scale=1):
        super().accGradParameters(input, gradOutput, 1)


class ScalesGradInput(nn.Linear):
    def updateGradInput(self, input, gradOutput):
        super().updateGradInput(input, gradOutput)
        self.gradInput = Tensor(self.gradInput.numpy() * 2)
        return self.gradInput


class WritesToItsInput(nn.Module):
    def updateOutput(self, x):
        y = ops.tanh(x)
        x.data[...] = 0.5
        return y


class RemembersItsFirstInput(nn.Module):
    mean = None

    def updateOutput(self, x):
        if self.mean is None:
            self.mean = float(np.mean(x.detach().numpy()))
        return x - self.mean


class CountsInEvaluation(nn.Module):
    def __init__(self):
        self.count = nn.Buffer(np.zeros(()))

    def updateOutput(self, x):
        self.count.assign(self.count + 1)
        return x * self.count


class ComputesInFloat32(nn.Linear):
    def updateOutput(self, x):
        return super().updateOutput(x).astype(np.float64)


class DropsNaN(nn.Module):
    def updateOutput(self, x):
        return ops.where(x > 0, x, 0)


class MixesItsBatch(nn.Module):
    def updateOutput(self, x):
        return x - ops.mean(x, axis=0, keepdims=True)


class KeepsCycles(nn.Module):
    def updateOutput(self, x):
        ring = []
        ring.append(ring)
        return ops.tanh(x)


class CallsNumPy(nn.Module):
    def updateOutput(self, x):
        return x * np.ones(x.shape)


BROKEN = {
    "gradients_accumulate_into_what_is_there": lambda: Overwrites(3, 2),
    "accumulated_gradients_are_linear_in_scale": lambda: IgnoresScale(3, 2),
    "its_gradients_are_the_derivatives": lambda: ScalesGradInput(3, 2),
    "inputs_grad_outputs_and_parameters_are_left_alone": WritesToItsInput,
    "results_do_not_depend_on_earlier_calls": RemembersItsFirstInput,
    "evaluation_is_deterministic_and_changes_nothing": CountsInEvaluation,
    "float32_agrees_with_float64": lambda: ComputesInFloat32(3, 2),
    "nan_stays_nan": DropsNaN,
    "a_batch_is_its_samples_stacked": MixesItsBatch,
    "it_leaves_no_cyclic_garbage": KeepsCycles,
    "strict_arrays_agree_with_numpy": CallsNumPy,
}


class WritesToWhatItIsGiven(nn.Module):
    def updateOutput(self, x):
        x[...] = x / (1 + np.abs(x))
        return x * 2


def single(make, batched=False):
    shape = (4, 3) if batched else (3,)
    return lambda d: Layer(make(), d.array(shape), batch="always" if batched else None)


@pytest.mark.parametrize("name", BROKEN)
def test_the_laws_catch_a_module_that_breaks_a_promise(name):
    batched = name == "a_batch_is_its_samples_stacked"
    with pytest.raises((LawError, RuntimeError, TypeError)):
        run_law(
            MODULE_LAWS[name],
            lambda d: ModuleTrial("broken", single(BROKEN[name], batched), d),
            examples=25,
        )


def test_a_write_into_the_input_of_a_plain_call_is_caught():
    law = MODULE_LAWS["inputs_grad_outputs_and_parameters_are_left_alone"]
    trial = ModuleTrial("broken", single(WritesToWhatItIsGiven), Draws(0))
    with pytest.raises(LawError, match="input of a plain call"):
        law.check(trial)


def test_the_report_on_a_module_names_argument_and_entry():
    law = MODULE_LAWS["its_gradients_are_the_derivatives"]
    trial = ModuleTrial("broken", single(lambda: ScalesGradInput(3, 2)), Draws(0))
    with pytest.raises(GradientError) as caught:
        law.check(trial)
    assert "input: analytic is twice numeric everywhere" in str(caught.value)
    assert "parameter" not in str(caught.value).split("input:", 1)[1]


def test_a_module_with_a_hand_written_gradient_that_is_right_passes():
    class ByHand(nn.Module):
        def updateOutput(self, x):
            return x * x

        def updateGradInput(self, input, gradOutput):
            self.gradInput = Tensor(2 * input.numpy() * gradOutput.numpy())
            return self.gradInput

    reports = run_law(
        MODULE_LAWS["its_gradients_are_the_derivatives"],
        lambda d: ModuleTrial("ByHand", single(ByHand), d),
        examples=10,
    )
    assert all(report.ok for report in reports)


# Right and difficult: nobody is accused -----------------------------------------------------------


def relu(x):
    return np.maximum(x, 0)


def relu_pull(x, g):
    return g * (x > 0)


def largest(x):
    return x.max(axis=0)


def largest_pull(x, g):
    found = np.zeros_like(x)
    found[x.argmax(axis=0), np.arange(x.shape[1])] = g
    return found


def median(x):
    return np.atleast_1d(np.median(x))


def median_pull(x, g):
    found = np.zeros_like(x)
    found[np.argsort(x, kind="stable")[len(x) // 2]] = g[0]
    return found


def norm(x):
    return np.atleast_1d(np.sqrt(np.sum(x * x)))


def norm_pull(x, g):
    return g * x / np.maximum(np.sqrt(np.sum(x * x)), 1e-300)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_pull(x, g):
    y = softmax(x)
    return y * (g - np.sum(g * y))


def normalized(x):
    c = x - x.mean(axis=0)
    return c / np.sqrt(np.mean(c * c, axis=0) + 1e-5)


def normalized_pull(x, g):
    c = x - x.mean(axis=0)
    inverse = 1 / np.sqrt(np.mean(c * c, axis=0) + 1e-5)
    z = c * inverse
    return inverse * (g - g.mean(axis=0) - z * np.mean(g * z, axis=0))


DISTANCES = (0.0, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


def about(values, distance):
    return lambda r: r.choice(values, (5, 3)) + distance * r.standard_normal((5, 3))


def row(make):
    return lambda r: make(r)[:, 0]


DIFFICULT = {
    **{f"relu {d} from 0": (relu, relu_pull, about([0.0, 1.0], d)) for d in DISTANCES},
    **{
        f"largest {d} from a tie": (largest, largest_pull, about([-1.0, 0.0, 2.0], d))
        for d in DISTANCES
    },
    **{
        f"median {d} from ties": (median, median_pull, row(about([-1.0, 0.0, 1.0], d)))
        for d in DISTANCES
    },
    **{
        f"norm of vectors of length {d}": (norm, norm_pull, lambda r, d=d: d * r.standard_normal(4))
        for d in (1e-12, 1e-9, 1e-6, 1e-3)
    },
    **{
        f"{name} at {size:g}": (f, pull, lambda r, s=size: s * r.standard_normal((4, 3)))
        for size in (1e3, 1e6, 1e9)
        for name, f, pull in (
            ("square", lambda x: x * x, lambda x, g: 2 * x * g),
            ("sine", np.sin, lambda x, g: g * np.cos(x)),
            ("softmax", softmax, softmax_pull),
            ("tanh", np.tanh, lambda x, g: g * (1 - np.tanh(x) ** 2)),
            ("normalization", normalized, normalized_pull),
        )
    },
    **{
        f"cancellation of {size:g}": (
            lambda x, s=size: (x + s) - s, lambda x, g: g, lambda r: r.standard_normal(4)
        )
        for size in (1e3, 1e6, 1e9, 1e10, 1e11, 1e12, 1e13)
    },
    "normalization of constants": (normalized, normalized_pull, lambda r: np.full((4, 3), 2.0)),
    "normalization of small integers": (normalized, normalized_pull, about([0.0, 1.0, 2.0], 0)),
    "the root at and near 0": (
        np.sqrt,
        lambda x, g: g / (2 * np.sqrt(x)),
        lambda r: np.abs(r.standard_normal(5)) * r.choice([0, 1e-9, 1e-3, 1.0], 5),
    ),
    "the logarithm near 0": (
        np.log, lambda x, g: g / x, lambda r: 10.0 ** -r.integers(0, 12, 5) * (1 + r.random(5))
    ),
    "exp(20 x)": (
        lambda x: np.exp(20 * x),
        lambda x, g: 20 * g * np.exp(20 * x),
        lambda r: r.standard_normal(4),
    ),
    "floor": (np.floor, lambda x, g: 0 * g, lambda r: r.standard_normal(20)),
    "floor of integers": (np.floor, lambda x, g: 0 * g, about([-1.0, 0.0, 3.0], 0)),
    "a constant": (lambda x: 0 * x + 3, lambda x, g: 0 * g, lambda r: r.standard_normal(3)),
    "log-softmax that is exactly 0": (
        lambda x: x - x.max() - np.log(np.sum(np.exp(x - x.max()))),
        lambda x, g: g - softmax(x) * np.sum(g),
        lambda r: 1000 * r.standard_normal(4),
    ),
    "float32": (
        np.tanh,
        lambda x, g: g * (1 - np.tanh(x) ** 2),
        lambda r: r.standard_normal(6).astype(np.float32),
    ),
}  # fmt: skip


@pytest.mark.extra
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("what", DIFFICULT)
def test_a_right_gradient_is_never_accused(what):
    function, pull, draw = DIFFICULT[what]
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found = probe(
            lambda point: [np.asarray(function(*point))],
            lambda point, g: [np.asarray(pull(*point, *g))],
            [draw(rng)],
            rng,
        )
        for result in found:
            assert result.verdict != "wrong", f"seed {seed}: {result}"


RESOLVED = [name for name in DIFFICULT if name.endswith(("from 0.01", "at 1000", "float32"))]


@pytest.mark.parametrize("what", [*RESOLVED, "relu 0.0 from 0", "median 0.0 from ties"])
def test_most_verdicts_on_ties_and_large_values_are_resolved(what):
    function, pull, draw = DIFFICULT[what]
    verdicts = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        found = probe(
            lambda point: [np.asarray(function(*point))],
            lambda point, g: [np.asarray(pull(*point, *g))],
            [draw(rng)],
            rng,
        )
        verdicts.append(any(result.verdict == "ok" for result in found))
    assert np.mean(verdicts) > 0.6


# What it says when it cannot check ----------------------------------------------------------------


def test_a_function_that_returns_no_tensor_is_named():
    with pytest.raises(CheckError, match=r"takes_it_out returned float in call 1"):
        check_gradients(lambda x: float(x.sum().detach().numpy()), MATRIX, name="takes_it_out")


def test_a_function_whose_output_shape_depends_on_values_is_named():
    def positive(x):
        return x[x.detach().numpy() > np.median(x.detach().numpy()) + 0.01]

    edge = np.array([0.0, 0.0, 0.0099, 1.0])
    with pytest.raises(CheckError, match=r"positive returned shapes \[\(1,\)\] in its first call"):
        check_gradients(positive, edge)


def test_a_function_that_draws_unseeded_numbers_is_named():
    rng = np.random.default_rng()
    with pytest.raises(CheckError, match="gave different values in two calls on the same inputs"):
        check_gradients(lambda x: x * rng.standard_normal(), MATRIX)


def test_a_call_without_floating_point_input_is_named():
    with pytest.raises(CheckError, match="no floating point input"):
        check_gradients(lambda i: i, np.arange(3))


def test_an_error_inside_the_function_is_passed_on():
    def fails(x):
        raise ZeroDivisionError("inside")

    with pytest.raises(ZeroDivisionError, match="inside"):
        check_gradients(fails, MATRIX)


def test_more_than_a_fifth_of_unresolved_examples_is_unchecked():
    def coarse(xp, x):
        return (x + 1e12) - 1e12

    function = operation(coarse, x=lambda g: g)
    law = PRIMITIVE_LAWS["its_gradient_is_the_derivative"]
    with pytest.raises(UncheckedError, match=r"unchecked: \d+ of \d+ examples are unresolved"):
        run_law(
            law,
            lambda d: PrimitiveTrial("coarse", lambda d: TrialCall([d.array((3,))]), d, function),
            examples=20,
        )


# What it accepts ----------------------------------------------------------------------------------


def test_nests_integers_and_numbers_are_accepted():
    def mixed(table, index, factor, flag):
        return {"a": table["x"][0][index] * factor, "b": [np.tanh(table["x"][1])], "n": index}

    table = {"x": [MATRIX, np.float64(0.5)]}
    report = check_gradients(mixed, table, Tensor(np.array([0, 2, 2])), 1.5, True, order=3)
    assert report.ok
    assert [p.kind for p in report.probes if p.verdict != "ok"] == []


def test_arguments_are_named_as_their_author_would():
    def wrong(table, weights):
        return scaled(3)(table["w"][1]) + weights.sum()

    report = report_of(wrong, {"w": [SQUARE, SQUARE + 1]}, MATRIX)
    assert "table['w'][1]: analytic is 1.5 times numeric everywhere" in str(report)


def test_float32_inputs_are_checked_in_float64():
    assert check_gradients(np.tanh, MATRIX.astype(np.float32)).probes[0].error < 1e-6


def test_reports_of_equal_seeds_are_equal():
    assert str(report_of(np.tanh, MATRIX, seed=3)) == str(report_of(np.tanh, MATRIX, seed=3))


# Every law is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize(("room", "table"), [(modules, MODULE_LAWS), (primitives, PRIMITIVE_LAWS)])
def test_every_law_that_a_file_of_the_room_declares_is_in_the_rooms_table(room, table):
    files = [
        importlib.import_module(info.name)
        for info in pkgutil.iter_modules(room.__path__, room.__name__ + ".")
    ]
    tables = [found for file in files for found in vars(file).values() if isinstance(found, Laws)]
    assert len(tables) >= 5
    assert {law for laws in tables for law in laws} == set(table)


def test_two_laws_of_one_name_cannot_be_joined():
    tables = Laws("module"), Laws("module")
    for table in tables:

        @table()
        def it_holds(trial):
            pass

    with pytest.raises(ValueError, match="it_holds already"):
        join_laws("module", *tables)
