"""The random stream that recorded runs depend on, and what records do not reach of torch/optim."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch7_records as torch7
from torch7_optim import TorchStream
from torch7_records import assert_close

from tapegrad import optim
from tapegrad.autograd import Tensor


def stream_record():
    return next(r for r in torch7.records() if r["id"] == "rng/mt19937")


def test_the_stream_is_torch7_s():
    record, stream = stream_record(), TorchStream(123)
    assert_close(stream.uniform((8,), np.float64), record["uniform8"], "uniform8")
    assert_close(stream.normal((7,), np.float64), record["normal7"], "normal7")


def solved(name, config, steps=1):
    x = Tensor(np.array([0.5, -1.0, 2.0]))
    for _ in range(steps):
        getattr(optim, name)(lambda v: (((v - 1) ** 2).sum(), 2 * (v - 1)), x, config)
    return x.numpy()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("cg", {}),
        ("lbfgs", {"lineSearch": optim.lswolfe}),
        ("lbfgs", {"learningRate": 0.5, "maxIter": 60, "maxEval": 100}),
        ("de", {"maxFEs": 4000}),
        ("cmaes", {"maxEval": 1500}),
    ],
)
def test_tensors_are_minimised_in_place(name, config):
    np.testing.assert_allclose(solved(name, config), 1, atol=1e-3)


@pytest.mark.parametrize("name", ["cg", "lbfgs", "nag", "de", "cmaes"])
def test_an_error_in_feval_puts_x_back_and_leaves_the_state(name):
    x, state, calls = np.array([0.5, -1.0, 2.0]), {}, 0

    def feval(v):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ZeroDivisionError
        return float(np.sum(v**2)), 2 * v

    with pytest.raises(ZeroDivisionError):  # noqa: PT012  # some take one call, some three
        for _ in range(3):
            before = x.copy()
            getattr(optim, name)(feval, x, {}, state)
    np.testing.assert_array_equal(x, before)


def test_a_gradient_buffer_that_is_always_the_same_is_fine():
    buffer = np.zeros(3)

    def feval(v):
        buffer[...] = 2 * (v - 1)
        return float(np.sum((v - 1) ** 2)), buffer

    for name in ("cg", "lbfgs"):
        x = np.array([0.5, -1.0, 2.0])
        getattr(optim, name)(feval, x, {"lineSearch": optim.lswolfe} if name == "lbfgs" else {})
        np.testing.assert_allclose(x, 1, atol=1e-6)


@pytest.mark.parametrize("name", ["cg", "lbfgs", "de", "cmaes", "adam", "rprop"])
def test_unknown_options_are_named(name):
    with pytest.raises(TypeError, match=rf"{name}: there is no option 'maxItre'"):
        getattr(optim, name)(lambda v: (0.0, v), np.ones(2), {"maxItre": 3})


def test_an_option_is_checked_as_it_was_declared_whatever_its_name():
    @optim.update_rule()
    def drawn(
        xp, x, g, state, *,
        pull=optim.option(0.5, at_least=0),
        share=optim.option(0.5, at_least=0, below=1),
        cap=optim.option(1.0, below=2),
        learningRate=0.1,
    ):  # fmt: skip
        return x - pull * share * cap * learningRate * g, {}

    def step(**config):
        return drawn(lambda v: (0.0, np.ones(2)), np.ones(2), config)[0]

    assert drawn.options == {"pull": 0.5, "share": 0.5, "cap": 1.0, "learningRate": 0.1}
    np.testing.assert_array_equal(step(pull=0, share=0, cap=-1), 1)
    np.testing.assert_allclose(step(learningRate=-1), 1.25)  # declared without limits
    with pytest.raises(ValueError, match=r"^drawn: pull must be at least 0, not -0\.5$"):
        step(pull=-0.5)
    with pytest.raises(ValueError, match=r"^drawn: share must lie in \[0, 1\), not 1$"):
        step(share=1)
    with pytest.raises(ValueError, match=r"^drawn: cap must be below 2, not 2$"):
        step(cap=2)
    for option in ("pull", "share", "cap"):
        with pytest.raises(ValueError, match=f"{option} must .* not nan"):
            step(**{option: math.nan})
        step(**{option: np.array(0.25)})  # an array's values are not looked at


def test_every_option_of_a_rule_is_described():
    for name in optim.__all__:
        rule = getattr(optim, name)
        if isinstance(rule, optim.UpdateRule):
            words = set(re.findall(r"\w+", rule.__doc__))
            missing = [option for option in rule.options if option not in words]
            assert not missing, f"{name}: the docstring says nothing about {missing}"


def test_rates_decays_and_betas_have_limits_in_every_rule():
    """An option that is called a rate, a decay or a beta is never declared without limits."""
    rules = [getattr(optim, name) for name in optim.__all__]
    rules = [rule for rule in rules if isinstance(rule, optim.UpdateRule)]
    assert len(rules) >= 15
    for rule in rules:
        for option in rule.options:
            if option in {"beta1", "beta2"}:
                with pytest.raises(ValueError, match=rf"{option} must lie in \[0, 1\), not 1"):
                    rule.complete_options({option: 1})
            if option.endswith(("Rate", "RateDecay", "weightDecay", "decoupledDecay", "momentum")):
                with pytest.raises(ValueError, match=f"{option} must be at least 0, not -1"):
                    rule.complete_options({option: -1})


def test_interpolation_of_values_alone_finds_a_parabola_s_minimum():
    points = [[x, (x - 0.3) ** 2, math.nan] for x in (-1.0, 0.0, 2.0)]
    assert optim.polyinterp(points) == pytest.approx(0.3)
    assert optim.polyinterp(points, 0.5, 2.0) == pytest.approx(0.5)


def test_confusion_matrix_refuses_labels_out_of_range_and_counts_nothing():
    matrix = optim.ConfusionMatrix(3)
    with pytest.raises(ValueError, match="labels are 0 to 2"):
        matrix.batchAdd([0, 3], [0, 1])
    assert matrix.mat.sum() == 0
    matrix.batchAdd([0, 1, 1], [0, 1, 2])
    np.testing.assert_allclose(matrix.f1(), [1, 2 / 3, 0])


def test_checkgrad_sees_a_wrong_gradient():
    x = np.array([0.3, -0.4])
    right, *_ = optim.checkgrad(lambda v: (float(np.sum(v**3)), 3 * v**2), x)
    wrong, *_ = optim.checkgrad(lambda v: (float(np.sum(v**3)), 3.01 * v**2), x)
    assert right < 1e-7
    assert wrong > 1e-3


def test_logger_writes_a_table_and_a_picture(tmp_path):
    logger = optim.Logger(tmp_path / "run.log")
    logger.setNames(["loss", "accuracy"]).style(["-", "+-"])
    for i in range(4):
        logger.add([1 / (i + 1), i / 4])
    logger.plot()
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert lines[0].split() == ["loss", "accuracy"]
    assert [float(v) for v in lines[4].split()] == [0.25, 0.75]
    assert (tmp_path / "run.log.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="2 names"):
        logger.add([1.0])


@pytest.mark.parametrize("step", [0.1, 1.0, 4.0, 1e6])
def test_a_line_search_comes_back_from_where_the_function_has_no_value(step):
    """f and its slope are numbers between -1 and 1 alone, NaN elsewhere."""

    def feval(x):
        with np.errstate(all="ignore"):
            f = -np.log(1 - x[0]) - np.log(1 + x[0]) + 50 * (x[0] - 0.9) ** 2
            return f, 1 / (1 - x) - 1 / (1 + x) + 100 * (x - 0.9) + 0 * f

    x = np.array([0.0])
    f, g = feval(x)
    found, slope, x, t, evaluations = optim.lswolfe(feval, x, step, -g / 90, f, g, -g @ g / 90)
    assert found < f
    assert feval(x)[0] == found
    assert abs(slope[0]) <= 0.9 * 90
    assert 0 < t < 1
    assert evaluations <= 21
