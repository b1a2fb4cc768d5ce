"""Anomaly mode: every planted NaN and Inf is named by operation, line and module; nothing else is.

A planted birth is one line of a table, so the line that must be named is that of its lambda; it is
run as a bare function and inside a nested module.
"""

from __future__ import annotations

import gc
import warnings
from contextlib import nullcontext
from pathlib import Path

import cases
import numpy as np
import pytest

import tapegrad as tg
from tapegrad import AnomalyError, Parameter, Tensor, detect_anomaly, grad, nn, ops, optim
from tapegrad.autograd import InPlaceError, Primitive, ReplayError, is_recording
from tapegrad.autograd.check.criterions import CriterionTrial
from tapegrad.autograd.check.draws import REGIMES, Draws
from tapegrad.autograd.check.modules import ModuleTrial
from tapegrad.autograd.core.mode import observer
from tapegrad.autograd.core.specialize import public_function
from tapegrad.autograd.core.tree import leaves

# ruff: noqa: E501, E731, PLW0108  # a planted birth is a lambda on one line, whose number is tested

HERE = Path(__file__).name
F32 = np.float32


def learned(*values, dtype=np.float64, shape=None):
    return Parameter(np.array(values, dtype).reshape(shape or (len(values),)))


def single(*values, shape=None):
    return learned(*values, dtype=F32, shape=shape)


def centred(x):
    return x - x.mean()


MASK = np.array([-np.inf, -np.inf])

# what happens, where it is one line; the operation; what it makes
FORWARD = {
    "log of 0": (lambda: np.log(learned(0, 1)), "log", "Inf"),
    "log of -1": (lambda: np.log(learned(1, -1)), "log", "NaN"),
    "log2 of 0": (lambda: np.log2(learned(0)), "log2", "Inf"),
    "log10 of 0": (lambda: np.log10(learned(0)), "log10", "Inf"),
    "log1p of -1": (lambda: np.log1p(learned(-1)), "log1p", "Inf"),
    "0/0": (lambda: learned(0, 1) / learned(0, 1), "divide", "NaN"),
    "1/0 by a number": (lambda: learned(1) / 0, "divide", "Inf"),
    "1/0 by an array": (lambda: learned(1) / np.zeros(1), "divide", "Inf"),
    "reciprocal of 0": (lambda: np.reciprocal(learned(0)), "reciprocal", "Inf"),
    "sqrt of -1": (lambda: np.sqrt(learned(-1)), "sqrt", "NaN"),
    "exp overflows": (lambda: np.exp(single(89)), "exp", "Inf"),
    "exp2 overflows": (lambda: np.exp2(single(128)), "exp2", "Inf"),
    "expm1 overflows": (lambda: np.expm1(single(89)), "expm1", "Inf"),
    "sinh overflows": (lambda: np.sinh(learned(1e3)), "sinh", "Inf"),
    "cosh overflows": (lambda: np.cosh(learned(1e3)), "cosh", "Inf"),
    "square overflows": (lambda: single(1e20) ** 2, "square", "Inf"),
    "root of -1 as a power": (lambda: learned(-1) ** 0.5, "power", "NaN"),
    "0 to the power -1": (lambda: learned(0) ** -1.0, "power", "Inf"),
    "arcsin of 2": (lambda: np.arcsin(learned(2)), "arcsin", "NaN"),
    "arccos of 2": (lambda: np.arccos(learned(2)), "arccos", "NaN"),
    "arccosh of 0.5": (lambda: np.arccosh(learned(0.5)), "arccosh", "NaN"),
    "arctanh of 1": (lambda: np.arctanh(learned(1)), "arctanh", "Inf"),
    "sum overflows": (lambda: np.sum(single(3e38, 3e38)), "sum", "Inf"),
    "mean overflows": (lambda: np.mean(single(3e38, 3e38)), "mean", "Inf"),
    "cumsum overflows": (lambda: np.cumsum(single(3e38, 3e38)), "cumsum", "Inf"),
    "product overflows": (lambda: single(1e20) * single(1e20), "multiply", "Inf"),
    "sum of two overflows": (lambda: single(3e38) + single(3e38), "add", "Inf"),
    "difference overflows": (lambda: single(3e38) - single(-3e38), "subtract", "Inf"),
    "matrix product": (lambda: single(1e20, shape=(1, 1)) @ single(1e20), "matmul", "Inf"),
    "einsum": (lambda: np.einsum("i,i->", single(1e20), single(1e20)), "contract", "Inf"),
    "Inf - Inf": (lambda: learned(1) * np.inf - np.inf, "subtract", "NaN"),
    "0 · Inf": (lambda: learned(0) * np.inf, "multiply", "NaN"),
    "softmax of -inf": (lambda: ops.softmax(learned(1, 2) + MASK), "softmax", "NaN"),
    "log_softmax of -inf": (lambda: ops.log_softmax(learned(1, 2) + MASK), "log_softmax", "NaN"),
    "std of equal numbers": (lambda: centred(learned(1, 1)) / learned(1, 1).std(), "divide", "NaN"),
    "float64 to float32": (lambda: learned(1e300).astype(F32), "cast", "Inf"),
    "float64 to float16": (lambda: learned(1e5).astype(np.float16), "cast", "Inf"),
    "logdet of 0": (lambda: np.linalg.slogdet(learned(0, shape=(1, 1)))[1], "slogdet_parts", "Inf"),
    "det overflows": (lambda: np.linalg.det(np.diag(learned(1e200, 1e200))), "det", "Inf"),
    "hypot overflows": (lambda: np.hypot(single(3e38), single(3e38)), "hypot", "Inf"),
    "norm overflows": (lambda: np.linalg.norm(single(1e20, 1e20)), "square", "Inf"),
    "variance overflows": (lambda: np.var(single(3e38, -3e38)), "square", "Inf"),
    "sine of Inf": (lambda: np.sin(learned(np.inf)), "sin", "NaN"),
    "remainder of 0": (lambda: np.remainder(learned(1), learned(0)), "remainder", "NaN"),
    "the where trap": (lambda: np.where([True], 0.0, np.log(learned(0))), "log", "Inf"),
    "lgamma at a pole": (lambda: ops.gammaln(learned(0)), "gammaln", "Inf"),
    "untracked": (lambda: np.log(Tensor([0.0])), "log", "Inf"),
    "a complex number": (lambda: np.log(learned(0, dtype=complex)), "log", "Inf"),
}

# parameters; a function of them in one line; its cotangent (None: ones); whose rule, for which
# operand, makes what
REVERSE = {
    "sqrt at 0": ([learned(0, 1)], lambda p: np.sqrt(p), None, "sqrt", "x", "Inf"),
    "cbrt at 0": ([learned(0)], lambda p: np.cbrt(p), None, "cbrt", "x", "Inf"),
    "norm by hand at 0": ([learned(0, 0)], lambda p: np.sqrt((p**2).sum()), None, "sqrt", "x", "Inf"),
    "x^0.5 at 0": ([learned(0)], lambda p: p**0.5, None, "power", "x1", "Inf"),
    "x^p at 0": ([learned(0), learned(0.5)], lambda p, q: p**q, None, "power", "x1", "Inf"),
    "arcsin at 1": ([learned(1)], lambda p: np.arcsin(p), None, "arcsin", "x", "Inf"),
    "arccos at 1": ([learned(1)], lambda p: np.arccos(p), None, "arccos", "x", "Inf"),
    "arccosh at 1": ([learned(1)], lambda p: np.arccosh(p), None, "arccosh", "x", "Inf"),
    "angle of 0": ([learned(0)], lambda p: np.arctan2(p, np.zeros(1)), None, "arctan2", "x1", "NaN"),
    "1/x near 0": ([single(1), single(1e-30)], lambda p, q: p / q, None, "divide", "x2", "Inf"),
    "log near 0": ([single(1e-45)], lambda p: np.log(p), None, "log", "x", "Inf"),
    "product": ([single(1)], lambda p: p * F32(1e30), [1e30], "multiply", "x1", "Inf"),
    "matmul": ([single(1e-9)], lambda p: p @ single(1e30, shape=(1, 1)), [1e30], "matmul", "x1", "Inf"),
    "broadcast sum": ([single(1)], lambda p: p + np.zeros(2, F32), [3e38, 3e38], "add", "x1", "Inf"),
    "cast back": ([single(1)], lambda p: p.astype(np.float64), [1e300], "cast", "x", "Inf"),
    "the where trap": ([learned(0)], lambda p: np.where(p > 0, np.sqrt(p), 0), None, "sqrt", "x", "NaN"),
    "one of a list": ([learned(0)], lambda p: np.stack([p + 1, np.sqrt(p)]), None, "sqrt", "x", "Inf"),
    "x log y at 0": ([learned(0), learned(0)], lambda p, q: ops.xlogy(p, q), None, "xlogy", "x1", "Inf"),
    "two cotangents": ([single(1)], lambda p: p * F32(1) + p * F32(1), [3e38], "multiply", "x1", "Inf"),
}  # fmt: skip


class Birth(nn.Module):
    """Runs a planted line as its forward code."""

    def __init__(self, function, parameters=()):
        self.function = function
        self.own = list(parameters)

    def updateOutput(self, x):
        return self.function(*self.own)


def nested(function, parameters=()):
    """A planted line in a module in a module."""
    inner = nn.Sequential(nn.Tanh(), Birth(function, parameters))
    return nn.Sequential(nn.Identity(), inner)


NESTED = "Sequential[1].Sequential[1].Birth"
X = np.zeros((1, 1), F32)


def line_of(function):
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"


def named(error, operation, where, module="", phase="forward", kind=None, argument=None):
    """The error names all this, in its attributes and in its words."""
    found = (error.operation, error.where, error.module, error.phase)
    assert found == (operation, where, module, phase)
    assert error.kind == (kind or error.kind)
    assert error.argument == (error.argument if argument is None else argument)
    text = str(error)
    assert text.startswith(f"{where}: ")
    for word in (operation, module, error.kind, error.argument):
        assert word in text
    return text


def caught(action):
    with pytest.raises(AnomalyError) as found, detect_anomaly():
        action()
    return found.value


def test_there_are_enough_planted_births():
    assert 2 * (len(FORWARD) + len(REVERSE)) >= 100


@pytest.mark.parametrize("name", FORWARD)
def test_a_forward_birth_is_named(name):
    function, operation, kind = FORWARD[name]
    error = caught(function)
    named(error, operation, line_of(function), kind=kind)
    assert error.born


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("stateful", [True, False])
def test_a_forward_birth_in_a_module_is_named(name, stateful):
    function, operation, kind = FORWARD[name]
    model = nested(function)
    error = caught(lambda: (model.forward if stateful else model)(X))
    named(error, operation, line_of(function), NESTED, kind=kind)


def cotangent(y, given):
    return np.ones(y.shape, y.dtype) if given is None else np.array(given, y.dtype)


@pytest.mark.parametrize("name", REVERSE)
def test_a_birth_in_the_reverse_is_named(name):
    parameters, function, g, operation, argument, kind = REVERSE[name]

    def run():
        y = function(*parameters)
        y.backward(cotangent(y, g))

    error = caught(run)
    named(error, operation, line_of(function), "", "reverse", kind, argument)


@pytest.mark.parametrize("name", REVERSE)
def test_a_birth_in_the_reverse_of_a_module_is_named(name):
    parameters, function, g, operation, argument, kind = REVERSE[name]
    model = nested(function, parameters)

    def run():
        y = model.forward(X)
        model.backward(X, cotangent(y, g))

    named(caught(run), operation, line_of(function), NESTED, "reverse", kind, argument)


@pytest.mark.parametrize("name", ["sqrt at 0", "x^0.5 at 0", "arcsin at 1"])
@pytest.mark.parametrize(
    "reverse",
    [
        lambda f, x: grad(lambda x: f(x).sum())(x),
        lambda f, x: tg.vjp(f, x)[1](np.ones(x.shape)),
        lambda f, x: tg.jacobian(lambda x: f(x[:1]))(x[[0, 0]]),  # by a row
        lambda f, x: grad(lambda x: f(x).sum())(Tensor(x)),
    ],
)
def test_a_birth_in_a_transformation_is_named(name, reverse):
    parameters, function, _, operation, argument, kind = REVERSE[name]
    error = caught(lambda: reverse(function, parameters[0].data[:1]))
    named(error, operation, line_of(function), "", "reverse", kind, argument)


@pytest.mark.parametrize("name", ["sqrt at 0", "x^0.5 at 0", "arcsin at 1"])
@pytest.mark.parametrize(
    "forward", [lambda f, x: tg.jvp(f, x, np.ones(x.shape)), lambda f, x: tg.jacobian(f)(x)]
)
def test_a_birth_in_a_tangent_is_named(name, forward):
    parameters, function, _, operation, _, kind = REVERSE[name]
    error = caught(lambda: forward(function, parameters[0].data[:1]))
    named(error, operation, line_of(function), "", "tangent", kind)


# The second derivative ----------------------------------------------------------------------------


def test_a_birth_of_the_second_order_names_the_line_whose_derivative_it_is():
    power = lambda x: x**1.5
    error = caught(lambda: grad(grad(power))(0.0))
    named(error, "power", line_of(power), "", "reverse", "Inf", "x1")


def test_a_birth_in_an_inner_reverse_names_the_line_too():
    root = lambda x: np.sqrt(x)
    error = caught(lambda: grad(lambda x: grad(root)(x * 1.0))(0.0))
    named(error, "sqrt", line_of(root), "", "reverse", "Inf", "x")


# Layers and criterions ----------------------------------------------------------------------------


def image(value):
    return np.full((2, 3), value, F32)


LAYERS = {
    "Log": (nn.Log, -1, "log", "NaN"),
    "Exp": (nn.Exp, 100, "exp", "Inf"),
    "Square": (nn.Square, 1e20, "square", "Inf"),
    "Power": (lambda: nn.Power(0.5), -1, "power", "NaN"),
    "SoftMax": (nn.SoftMax, -np.inf, "softmax", "NaN"),
    "Sum": (lambda: nn.Sum(1), 3e38, "sum", "Inf"),
    "MulConstant": (lambda: nn.MulConstant(1e30), 1e10, "multiply", "Inf"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_birth_in_a_layer_names_its_path_and_the_line_that_called_the_model(name):
    make, value, operation, kind = LAYERS[name]
    model = nn.Sequential(nn.Identity(), nn.Concat(1, nn.Identity(), nn.Sequential(make())))
    run = lambda: model.forward(image(value))
    path = f"Sequential[1].Concat[1].Sequential[0].{name}"
    named(caught(run), operation, line_of(run), path, kind=kind)


def test_a_birth_in_a_criterion_is_named():
    model, criterion = nn.Identity(), nn.MSECriterion()
    run = lambda: criterion.forward(model.forward(image(1e30)), image(0))
    named(caught(run), "square", line_of(run), "MSECriterion", kind="Inf")


def test_a_birth_in_a_criterions_reverse_is_named():
    criterion = nn.MSECriterion()
    p = single(1e15, 1e15)
    run = lambda: criterion(p * F32(1), np.zeros(2, F32))
    error = caught(lambda: run().backward(np.array(1e25, F32)))
    named(error, "square", line_of(run), "MSECriterion", "reverse", "Inf", "x")


def test_a_graph_of_modules_and_attributes_give_paths():
    class Model(nn.Module):
        def __init__(self):
            self.body = {"first": nn.Log()}

        def updateOutput(self, x):
            return self.body["first"](x)

    x = nn.node(nn.Identity())
    graph = nn.gModule(x, Model()(x))
    error = caught(lambda: graph.forward(image(-1)))
    assert error.module == "gModule[1].Model.body.first.Log"


def test_a_hand_written_gradient_is_named_with_its_module():
    class Wrong(nn.Module):
        def updateOutput(self, x):
            return x * 1

        def updateGradInput(self, input, gradOutput):
            self.gradInput = Tensor(np.full(input.shape, np.nan, F32))
            return self.gradInput

    model = nn.Sequential(nn.Linear(3, 3), Wrong())
    run = lambda: model.forward(image(1))

    def step():
        model.backward(image(1), run())

    error = caught(step)
    named(error, "Wrong", line_of(run), "Sequential[1].Wrong", "reverse", "NaN", "0")


@pytest.mark.parametrize("device", ["cpu", "strict"])
def test_a_hand_written_gradient_that_is_right_runs(device):
    class Doubled(nn.Linear):
        def accGradParameters(self, input, gradOutput, scale=1):
            super().accGradParameters(input, gradOutput, 2 * scale)

    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), Doubled(3, 2), nn.Tanh()).to(device)
    x, g = (Tensor(np.ones((2, n), F32), device=device) for n in (3, 2))
    found = []
    for mode in (nullcontext, detect_anomaly):
        model.zeroGradParameters()
        with mode():
            model.forward(x)
            model.backward(x, g)
        found.append([g.numpy().tobytes() for g in model.parameters()[1]])
    assert found[0] == found[1]


# What comes in ------------------------------------------------------------------------------------


def test_nan_in_the_data_is_said_to_come_in():
    run = lambda x: x * 2 + 1
    error = caught(lambda: run(Tensor([1.0, np.nan])))
    text = named(error, "multiply", line_of(run), kind="NaN", argument="operand x1")
    assert not error.born
    assert "the first at [1]" in text


def test_nan_in_a_setting_is_said_to_come_in():
    error = caught(lambda: np.pad(learned(1), 1, constant_values=np.nan))
    assert (error.operation, error.argument, error.born) == ("pad", "setting value", False)
    with detect_anomaly():
        assert np.isinf(np.pad(learned(1), 1, constant_values=-np.inf).numpy()[0])


def test_nan_in_a_parameter_is_said_to_come_in_by_its_name():
    model = nn.Sequential(nn.Tanh(), nn.Linear(3, 2))
    model[1].bias.data[1] = np.nan
    error = caught(lambda: model.forward(image(1)))
    assert (error.operation, error.module) == ("affine", "Sequential[1].Linear")
    assert error.argument == "bias (operand bias)"
    assert not error.born


def test_nan_in_a_gradient_that_is_passed_in_is_said_to_come_in():
    y = learned(1, 2) * 2
    error = caught(lambda: y.backward(np.array([1, np.nan])))
    assert (error.operation, error.phase, error.born) == ("multiply", "reverse", False)


def test_nan_that_a_call_removes_is_no_alarm():
    x = Tensor([1.0, np.nan])
    with detect_anomaly():
        y = np.where(np.isnan(x), 0.0, x)
    np.testing.assert_array_equal(y.numpy(), [1, 0])


def test_nan_among_saved_values_is_said_to_come_in():
    y = learned(1, 2) * np.array([1, np.nan])  # before the mode
    error = caught(lambda: y.backward(np.ones(2)))
    assert (error.operation, error.phase, error.born) == ("multiply", "reverse", False)
    assert error.argument == "the value of x2 that it saved"


def test_a_call_that_was_not_recorded_in_the_mode_is_named_without_its_line():
    y = np.sqrt(learned(0))
    error = caught(y.backward)
    assert (error.operation, error.where) == ("sqrt", "a line outside anomaly mode")


def test_a_value_that_a_body_keeps_is_no_excuse_for_its_rule():
    primitive = Primitive(lambda xp, x: (x * 1.0, 1 / (x - x)), aux=("slope",))
    primitive.vjp(x=lambda g, slope: g * slope)
    run = lambda x: public_function(primitive, ops.exp)(x)
    p = learned(1)
    error = caught(lambda: run(p).backward())
    named(error, "<lambda>", line_of(run), "", "reverse", "Inf", "x")


# Sums and writes ----------------------------------------------------------------------------------


def test_a_gradient_that_overflows_where_it_is_gathered_is_named():
    p = single(1)

    def run():
        for _ in range(2):
            (p * F32(1)).backward(np.full(1, 3e38, F32))

    error = caught(run)
    assert (error.operation, error.phase, error.kind) == ("accumulate", "write", "Inf")


def test_a_parameter_that_an_optimizer_lets_overflow_is_named():
    model = nn.Linear(2, 1)
    model.weight.data[...] = 3e38
    model.weight.grad = np.full((1, 2), -3e38, F32)
    error = caught(lambda: model.updateParameters(1))
    assert (error.operation, error.phase) == ("accumulate", "write")


def test_the_words_say_how_a_cotangent_overflowed_outside_of_a_rule():
    for name, words in (("two cotangents", "added to"), ("broadcast sum", "brought to")):
        parameters, function, g, *_ = REVERSE[name]
        error = caught(lambda f=function, p=parameters, g=g: f(*p).backward(np.array(g, F32)))
        assert words in str(error)


# Nothing to be found ------------------------------------------------------------------------------


def masked_attention(x):
    scores = x @ x.T + np.where(np.tri(3) > 0, 0.0, -np.inf)
    return ops.softmax(scores) @ x


def test_masks_of_minus_inf_are_no_alarm():
    x = np.random.default_rng(0).normal(size=(3, 2))
    expected = grad(lambda x: np.sum(masked_attention(x) ** 2))(x)
    with detect_anomaly():
        found = grad(lambda x: np.sum(masked_attention(x) ** 2))(x)
    assert found.tobytes() == expected.tobytes()
    model = nn.MultiHeadAttention(4, 2, causal=True)
    with detect_anomaly():
        model.forward(np.ones((2, 3, 4), F32))
        model.backward(np.ones((2, 3, 4), F32), np.ones((2, 3, 4), F32))


def network():
    tg.manual_seed(5)
    return nn.Sequential(
        nn.SpatialConvolution(1, 4, 3, 3),
        nn.SpatialBatchNormalization(4),
        nn.ReLU(),
        nn.SpatialMaxPooling(2, 2),
        nn.Dropout(0.3),
        nn.View(36),
        nn.Linear(36, 3),
    )


@pytest.mark.parametrize("rule", [optim.sgd, optim.adam])
def test_a_healthy_training_step_gives_equal_bits(rule):
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(6, 1, 8, 8)).astype(F32), rng.integers(0, 3, 6)) for _ in range(4)]
    histories = []
    for mode in (nullcontext, detect_anomaly):
        model, criterion, state = network(), nn.CrossEntropyCriterion(), {}
        flat, gradient = model.getParameters()
        losses = []
        for x, t in batches:

            def feval(_, x=x, t=t, model=model, criterion=criterion, gradient=gradient):
                model.zeroGradParameters()
                loss = criterion.forward(model.forward(x), t)
                model.backward(x, criterion.backward(model.output, t))
                return loss, gradient

            with mode():
                _, [loss] = rule(feval, flat, {"learningRate": 0.1}, state)
            losses.append(float(loss))
        histories.append((losses, flat.numpy().tobytes()))
    assert histories[0] == histories[1]


def passes(trial):
    module, x, v = trial.after_forward()
    outputs = [np.array(y.numpy()) for y in leaves(module.output)]
    found = [*outputs, *trial.backward(module, x, v), *trial.gradients(module)]
    return [a.tobytes() for a in found]


KINDS = [(ModuleTrial, cases.MODULES), (CriterionTrial, cases.CRITERIONS)]
DRAWN = [(trial, name, case) for trial, table in KINDS for name, case in table.items()]


@pytest.mark.extra
@pytest.mark.parametrize(("trial", "name", "case"), DRAWN, ids=[name for _, name, _ in DRAWN])
def test_every_healthy_layer_and_criterion_gives_equal_bits(trial, name, case):
    for seed in range(2):
        expected = passes(trial(name, case, Draws(seed, regimes=REGIMES)))
        with detect_anomaly():
            assert passes(trial(name, case, Draws(seed, regimes=REGIMES))) == expected


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_arrays_are_arrays_with_equal_bits(order):
    w = Parameter(np.array([0.3, -0.2]))

    def f(x):
        return np.sum(np.tanh(x * w) ** 2 / (1 + np.exp(x)))

    slope = grad(f) if order == 1 else grad(lambda x: np.sum(grad(f)(x) ** 2))
    x = np.array([0.5, -1.0])
    expected = slope(x)
    with detect_anomaly():
        found = slope(x)
    assert type(found) is type(expected)
    assert tg.Tensor(found).numpy().tobytes() == tg.Tensor(expected).numpy().tobytes()


def test_a_gradient_is_owned_in_the_mode_too():
    with detect_anomaly():
        g = grad(np.sum)(np.ones(3))
    g[0] = 5
    np.testing.assert_array_equal(g, [5, 1, 1])


# The mode -----------------------------------------------------------------------------------------


def test_what_is_not_looked_for_passes():
    with detect_anomaly(inf=False), np.errstate(all="ignore"):
        np.log(learned(0))
    with detect_anomaly(nan=False), np.errstate(all="ignore"):
        np.log(learned(-1))
    with pytest.raises(AnomalyError), detect_anomaly(inf=False):
        np.log(learned(-1))


def test_an_inner_block_has_its_own_options_and_the_outer_ones_come_back():
    with detect_anomaly():
        with detect_anomaly(nan=False, inf=False), np.errstate(all="ignore"):
            np.log(learned(0))
        with pytest.raises(AnomalyError):
            np.log(learned(0))
        with tg.no_grad():
            assert not is_recording()
            with pytest.raises(AnomalyError), detect_anomaly():
                np.log(learned(0))
            assert not is_recording()
    assert observer() is None


def test_it_ends_cleanly_after_an_exception_and_keeps_nothing():
    before = np.geterr()
    with pytest.raises(AnomalyError), detect_anomaly():
        np.sqrt(learned(0)).backward()
    assert observer() is None
    assert np.geterr() == before
    with np.errstate(all="ignore"):
        assert np.isinf(np.log(learned(0)).numpy())
    with detect_anomaly():
        y = np.tanh(learned(1))
        with pytest.raises(AnomalyError):
            (np.sqrt(learned(0)) * y).backward()
        with pytest.raises(AnomalyError) as found:  # what follows is not taken for the reverse
            np.log(learned(0))
    assert found.value.phase == "forward"


def test_it_keeps_no_tape_alive():
    from tapegrad.autograd.debug.anomaly import _sites

    gc.collect()
    before = len(_sites)
    with detect_anomaly():
        y = np.tanh(learned(1)) * 2
        assert len(_sites) == before + 2
        del y
    assert len(_sites) == before


def test_it_is_a_decorator():
    @detect_anomaly(inf=False)
    def run(x):
        """Doc."""
        return np.log(x) if x.size else run(x + 1)

    assert run.__name__ == "run"
    assert run(learned(1)).tracked
    with pytest.raises(AnomalyError):
        run(learned(-1))
    assert observer() is None


def test_numpy_does_not_warn_of_what_is_raised():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AnomalyError), detect_anomaly():
            np.log(learned(0))
        with pytest.warns(RuntimeWarning), detect_anomaly(inf=False):
            np.log(learned(0))


def test_the_message_shows_what_was_there():
    error = caught(lambda: np.log(Tensor(np.array([[1.0, 2.0], [3.0, 0.0]]))))
    assert str(error).endswith(
        "log makes the first Inf: its result, float64 (2, 2), holds 1 Inf among 4, the first at "
        "[1, 1], x is 0.0 there."
    )
    root = learned(4, 0)
    error = caught(lambda: np.sqrt(root).sum().backward())
    assert "the cotangent of its result is 1.0 there, y is 0.0 there" in str(error)
    assert "it began in divide, which the rule calls" in str(error)


@pytest.mark.parametrize(
    ("function", "operation", "kind"),
    [
        (lambda x: np.log(x), "log", "Inf"),
        (lambda x: x / x, "divide", "NaN"),
        (lambda x: np.exp(x + 1000.0), "exp", "Inf"),
        (lambda x: np.einsum("i,i->", x, 1 / x), "divide", "Inf"),
    ],
)
def test_births_on_strict_arrays_are_named(function, operation, kind):
    error = caught(lambda: function(Tensor([0.0, 1.0], device="strict")))
    named(error, operation, line_of(function), kind=kind)


def test_births_in_the_reverse_on_strict_arrays_are_named():
    p = Parameter(np.zeros(2), device="strict")
    run = lambda: np.sqrt(p)
    error = caught(lambda: run().sum().backward())
    named(error, "sqrt", line_of(run), "", "reverse", "Inf", "x")
    model = nn.Sequential(nn.Linear(3, 2), nn.Log()).to("strict")
    model[0].weight.data[...] = model[0].bias.data[...] = 0
    error = caught(lambda: model.forward(Tensor(image(1), device="strict")))
    assert error.module == "Sequential[1].Log"


@pytest.mark.cuda
def test_births_on_a_gpu_are_named():
    p = Parameter(np.zeros(2), device="cuda")
    run = lambda: np.sqrt(p)
    error = caught(lambda: run().sum().backward())
    named(error, "sqrt", line_of(run), "", "reverse", "Inf", "x")
    with detect_anomaly():
        y = run() * p
        p.data[...] = 1
        with pytest.raises(InPlaceError, match="multiply saved"):
            y.backward(np.ones(2))


# Replay -------------------------------------------------------------------------------------------


def test_the_recorder_outside_is_told_of_everything():
    def step(x):
        with detect_anomaly():
            y = np.tanh(x * w)
            y.sum().backward()
        return y

    w = learned(1, 2)
    w.grad = np.zeros(2)
    run = tg.replay(step)
    for i in range(1, 5):
        run(np.ones(2))
        np.testing.assert_allclose(w.grad.numpy(), i * (1 - np.tanh([1, 2]) ** 2))
    assert run.recorded == 1
    with pytest.raises(ReplayError, match="float"):
        tg.replay(detect_anomaly()(lambda x: x * float(x.sum())))(np.ones(2))


def test_a_guard_reaches_the_recorder_through_the_mode():
    model = nn.Dropout(0.5)
    run = tg.replay(detect_anomaly()(model.__call__))
    x = np.ones((4, 4))
    for _ in range(3):
        run(x)
    model.evaluate()
    np.testing.assert_array_equal(run(x).numpy(), x)


def test_a_replayed_step_is_judged_too():
    run = tg.replay(lambda x: np.log(x))
    for _ in range(4):
        run(np.ones(2))
    assert run.recorded == 1
    error = caught(lambda: run(np.zeros(2)))
    assert error.operation == "log"


# Behind the tape's back ---------------------------------------------------------------------------


def test_an_array_changed_behind_the_tape_is_caught_with_line_and_name():
    p, x = learned(1, 2), np.array([3.0, 4.0])
    product = lambda: p * x
    with detect_anomaly():
        y = product()
        x[0] = 5
        with pytest.raises(InPlaceError) as found:
            y.sum().backward()
    text = str(found.value)
    assert text.startswith(f"{line_of(product)}: multiply saved x2, an array of shape (2,)")


@pytest.mark.parametrize(
    ("function", "place"),
    [
        (lambda p: (np.exp(p), "its result"), lambda p, y: y.data),
        (lambda p: (p**3, "x1"), lambda p, y: p.data),
        (lambda p: (np.stack([p, p])[0] * p, "x1"), lambda p, y: p.data),
    ],
)
def test_results_and_parameters_changed_behind_the_tape_are_caught(function, place):
    p = learned(0.5, 0.25)
    with detect_anomaly():
        y, name = function(p)
        place(p, y)[...] = 7
        with pytest.raises(InPlaceError, match="went past the tape"):
            y.sum().backward()
    assert name


def test_what_a_body_keeps_for_its_rule_is_watched_too():
    p = learned(1, 3, 2)
    with detect_anomaly():
        y = nn.SpatialMaxPooling(1, 3)(p.reshape(1, 3, 1))
        node = y._node
        while node.plan.primitive.aux == ():
            node = node.parents
        [name] = node.plan.primitive.aux
        node.saved[node.plan.names.index(name)][...] = 0
        with pytest.raises(InPlaceError, match=f"saved {name}"):
            y.sum().backward()


def test_in_a_module_the_changed_array_is_named_with_its_path():
    model = nn.Sequential(nn.Tanh(), nn.Linear(3, 2))
    x = image(1)
    with detect_anomaly():
        model.forward(x)
        model[1].weight.data[0, 0] = 3
        with pytest.raises(InPlaceError, match=r"affine in Sequential\[1\]\.Linear saved"):
            model.backward(x, np.ones((2, 2), F32))


def test_unchanged_arrays_that_are_written_with_the_same_bits_pass():
    p = learned(1, 2)
    with detect_anomaly():
        y = np.tanh(p) * p
        p.data[...] = p.data.copy()
        y.sum().backward()


def test_a_write_through_a_tensor_names_the_call_and_the_write():
    p, x = learned(1, 2), Tensor([3.0, 4.0])
    product = lambda: p * x
    write = lambda: x.__setitem__(0, 5.0)
    with detect_anomaly():
        y = product()
        write()
        with pytest.raises(InPlaceError) as found:
            y.sum().backward()
    text = str(found.value)
    assert f"The call is at {line_of(product)}" in text
    assert f"the write at {line_of(write)}" in text
    assert HERE in text
