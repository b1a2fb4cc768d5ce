"""Bodies and rules that run as one loop: as the body and the rule say, for any rows and settings.

The primitives are found by themselves: every one whose body or rule was declared to be fused.
"""

from __future__ import annotations

import itertools
import math
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from cases import OPERATIONS

import tapegrad as tg
from tapegrad.autograd import ops, primitives
from tapegrad.autograd.check import Draws
from tapegrad.autograd.compiling import eager
from tapegrad.autograd.kernels import machine
from tapegrad.autograd.ops import fused_bodies
from tapegrad.autograd.ops.fused_bodies import fused_elementwise, fused_primitives

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs the `fast` extra")

NAMES = sorted(fused_primitives())
ELEMENTWISE = sorted(fused_elementwise())
SHAPES = [(16,), (40,), (3, 16), (5, 33), (2, 3, 7), (9, 2), (1, 70)]
UNFIT = [(), (1,), (15,), (1, 1), (4, 1), (0,), (3, 0)]  # too few entries, or columns
SPECIAL = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 6.0, 20.0, 88.0, -88.0, 1e4, -1e4, 1e-30, -1e-30]
ULP = np.finfo(np.float32).eps


@pytest.fixture(autouse=True)
def always_fused():
    """Loops of our own for arrays of any size."""
    before, fused_bodies.LEAST[0] = fused_bodies.LEAST[0], 1
    yield
    fused_bodies.LEAST[0] = before


def arguments_of(name, shape, seed=0):
    rng = np.random.default_rng(seed)
    primitive = primitives()[name].primitive
    arrays = [(3 * rng.normal(size=shape)).astype("f") for _ in primitive.arguments]
    for place, argument in enumerate(primitive.arguments):
        if primitive.domain.get(argument) == (0, 1):  # a target near the sigmoid would cancel
            arrays[place] = rng.integers(0, 2, shape).astype("f")
    if name == "where":
        arrays[0] = arrays[0] > 0
    return arrays


def settings_of(name):
    """Some settings that the cases draw for a primitive; axes are the last one here."""
    found = []
    for seed in range(12):
        settings = dict(OPERATIONS[name](Draws(seed)).settings)
        if "axis" in settings:
            settings["axis"] = -1
        if settings not in found:
            found.append(settings)
    return found


@pytest.fixture
def kernels(monkeypatch):
    """How many calls ran as kernels, without those of tanh and the like in a body or a rule."""
    ran = []
    original = eager.run_kernel

    def counted(primitive, *args):
        y = original(primitive, *args)
        if primitive.name not in ELEMENTWISE:
            ran.append(y is not None)
        return y

    monkeypatch.setattr("tapegrad.autograd.ops.fused_bodies.kernel_runner", lambda: counted)
    return ran


def close(found, expected, units=8, least=1e-3):
    """Equal to some units in the last place of the result, or of `least` if that is more."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(all="ignore"):
        error = np.where(same, 0, np.abs(found.astype("d") - expected.astype("d")))
        scale = np.maximum(np.abs(expected), least)
        assert (same | (error <= units * ULP * scale)).all(), (found, expected)


def largest(x, settings):
    """The size of what is added up in a row, of which a result may be a small difference."""
    return np.max(np.abs(x), axis=-1, keepdims=True) if "axis" in settings else 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_fused_body_gives_what_the_body_gives(name, kernels):
    function = primitives()[name]
    for shape, settings in itertools.product(SHAPES, settings_of(name)):
        arrays = arguments_of(name, shape)
        with np.errstate(all="ignore"):
            expected = function.primitive.body(np, *arrays, **settings)
            close(function(*arrays, **settings), expected, least=largest(arrays[0], settings))
    assert all(kernels)


@pytest.mark.parametrize("name", NAMES)
def test_a_fused_rule_gives_what_the_rule_gives(name, kernels):
    function = primitives()[name]
    for shape, settings in itertools.product(SHAPES, settings_of(name)):
        arrays = tuple(arguments_of(name, shape, 1))
        g = np.random.default_rng(2).normal(size=shape).astype("f")
        with np.errstate(all="ignore"):
            pull = tg.vjp(lambda *a, s=settings: function(*a, **s), arrays)[1]
            found = pull(g)[0]
            tracked = tg.grad(lambda v, p=pull: np.sum(p(v)[0] * 1))  # recorded: by the rule
            recorded = tg.vjp(pull, (g,))[0][0]
        close(found, recorded, 16, least=np.maximum(np.abs(g), largest(g, settings)))
        assert tracked is not None
    assert all(kernels)
    assert len(kernels) >= 2 * len(SHAPES)


@pytest.mark.parametrize("name", NAMES)
def test_zeros_ties_far_values_and_nan_are_as_in_the_body(name, kernels):
    function = primitives()[name]
    values = [*SPECIAL, np.inf, -np.inf, np.nan]
    for settings in settings_of(name):
        x = np.array([*values, *values], "f")
        if "axis" in settings:
            x = np.stack([np.array([v, 1.0, 0.5, -2.0], "f") for v in values])
        arrays = [x, *arguments_of(name, x.shape)[1:]]
        g = np.ones_like(x)
        with np.errstate(all="ignore"):
            close(function(*arrays, **settings), function.primitive.body(np, *arrays, **settings))
            pull = tg.vjp(lambda *a, s=settings: function(*a, **s), tuple(arrays))[1]
            found, recorded = pull(g)[0], tg.vjp(pull, (g,))[0][0]
        finite = np.isfinite(x) if "axis" not in settings else np.isfinite(x).all(-1)
        close(np.asarray(found)[finite], np.asarray(recorded)[finite], 16)
    assert all(kernels)


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_serves_every_number_of_rows(name, monkeypatch):
    compiled = []
    original = machine.compiled_kernels
    monkeypatch.setattr(
        machine, "compiled_kernels", lambda texts: compiled.append(list(texts)) or original(texts)
    )
    monkeypatch.setattr(eager, "_forms", {})
    function = primitives()[name]
    for rows in (1, 2, 7, 30):
        function(*arguments_of(name, (rows, 48)))
    assert len({text for texts in compiled for text in texts}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_few_entries_run_by_the_body(name):
    function = primitives()[name]
    for shape, settings in itertools.product(UNFIT, settings_of(name)):
        if "axis" in settings and 0 in (shape or (0,)):
            continue
        arrays = arguments_of(name, shape)
        with np.errstate(all="ignore"):
            close(function(*arrays, **settings), function.primitive.body(np, *arrays, **settings))


def test_other_arrays_run_by_the_body(kernels):
    x = np.random.default_rng(0).normal(size=(6, 8))
    for other in (x, x.astype(np.float16), x[::2], x.T):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(ops.gelu(other), ops.gelu.primitive.body(np, other))
    assert not any(kernels[1:])
    exact = ops.leaky_relu(x, slope=0.1)  # arithmetic is the same in float64
    np.testing.assert_array_equal(exact, np.where(x > 0, x, x * 0.1))


def test_arrays_with_gaps_or_another_order_run_as_copies(kernels):
    wide = np.random.default_rng(0).normal(size=(6, 5, 32)).astype("f")
    for x in (wide[::2], wide[..., :20], wide.T, wide.transpose(1, 2, 0), wide[::-1, :, ::2]):
        y = ops.gelu(x)
        close(y, ops.gelu(x.copy()))
        order = [np.argsort([-abs(s) for s in a.strides], kind="stable") for a in (x, y)]
        np.testing.assert_array_equal(*order)  # as it would lie by NumPy's steps
        for axis in (0, 1, -1):
            softmax = ops.softmax(x, axis)
            close(softmax, ops.softmax.primitive.body(np, x, axis=axis))
            pull = ops.softmax.primitive.rules["x"].function
            for g in (x + 1, (x + 1).T.copy().T, np.broadcast_to(np.float32(2), x.shape)):
                expected = softmax * (g - (softmax * g).sum(axis, keepdims=True))
                close(pull(g, softmax, axis), expected, least=1)
        out = np.empty_like(x)
        ops.gelu.primitive.body_for(np)(np, x, out=out)
        np.testing.assert_array_equal(out, y)
    assert any(kernels)


def test_small_arrays_run_by_the_body(kernels):
    fused_bodies.LEAST[0] = 4096
    ops.gelu(np.ones(100, "f"))
    assert not kernels


def test_derivatives_of_fused_rules_are_right_to_the_third_order():
    x = np.random.default_rng(0).normal(size=50).astype("f")
    for name in ("gelu", "silu", "soft_plus", "mish", "log_sigmoid"):
        f = getattr(ops, name)
        third = tg.elementwise_grad(tg.elementwise_grad(tg.elementwise_grad(f)))
        fused = third(x)
        fused_bodies.LEAST[0] = 1 << 40
        close(np.asarray(fused) + 1, np.asarray(third(x)) + 1, 100)
        fused_bodies.LEAST[0] = 1


def test_replay_and_compile_give_the_bits_of_a_fused_call():
    x = np.random.default_rng(0).normal(size=(30, 40)).astype("f")

    def step(x):
        return tg.value_and_grad(lambda x: np.sum(ops.gelu(x) * ops.softmax(x)))(x)

    value, gradient = step(x)
    for run in (tg.replay(step), tg.compile(step)):
        for _ in range(4):
            v, g = run(x)
            assert float(v) == pytest.approx(float(value), rel=1e-6)
            close(g.numpy() + 1, np.asarray(gradient) + 1)
    replayed = tg.replay(step)
    expected = step(tg.Tensor(x))[1].numpy()  # of a Tensor, whose gradient is recorded, too
    for _ in range(3):
        np.testing.assert_array_equal(replayed(x)[1].numpy(), expected)


def test_threads_may_call_one_kernel():
    from concurrent.futures import ThreadPoolExecutor

    x = np.random.default_rng(0).normal(size=(64, 1000)).astype("f")
    expected = ops.softmax(x)
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(ops.softmax, [x] * 40):
            np.testing.assert_array_equal(y, expected)


def test_pieces_on_several_threads_give_equal_bits(monkeypatch):
    monkeypatch.setattr(eager, "PIECE", 64)
    x = np.random.default_rng(0).normal(size=(37, 29)).astype("f")
    flat = x.reshape(-1)[: 16 * 64 + 5]

    def selected(x):
        return ops.where(x > 0, x, 0.5)  # a truth is a byte, and the number is one for all pieces

    for function, array in (
        (ops.softmax, x), (ops.gelu, x), (ops.gelu, flat), (ops.silu, flat), (selected, flat),
    ):  # fmt: skip
        alone = function(array)
        tg.set_num_threads(3)
        try:
            np.testing.assert_array_equal(function(array), alone)
        finally:
            tg.set_num_threads(1)


def test_a_result_may_be_given():
    x = np.random.default_rng(0).normal(size=(4, 33)).astype("f")
    body = ops.gelu.primitive.body_for(np)
    out = np.empty_like(x)
    assert body(np, x, out=out) is out
    np.testing.assert_array_equal(out, ops.gelu(x))


def test_gelu_has_its_digits_in_the_tail_too():
    """3 (2 + x²) units in the last place: rounding x² moves its exponential by as much."""
    x = np.linspace(-13, 13, 100_001).astype("f")
    wide = x.astype("d")
    exact = wide * np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in wide])
    unit = np.spacing(np.maximum(np.abs(exact.astype("f")), np.float32(2.0**-126))).astype("d")
    with fused_bodies.fused_at_any_size():
        error = np.abs(np.asarray(ops.gelu(x)) - exact) / unit
    assert np.max(error / (2 + wide * wide)) <= 3


@pytest.mark.parametrize(("function", "exact"), [(ops.erf, math.erf), (ops.erfc, math.erfc)])
def test_the_error_function_has_its_digits_in_the_tail_too(function, exact):
    x = np.linspace(-9.3, 9.3, 40_001).astype("f")
    values = np.array([exact(v) for v in x.astype("d")])
    unit = np.spacing(np.maximum(np.abs(values.astype("f")), np.float32(2.0**-126))).astype("d")
    assert np.max(np.abs(np.asarray(function(x)) - values) / unit) < 6


@pytest.fixture
def elementwise_runs(monkeypatch):
    """The names of the elementwise functions that ran as kernels."""
    ran = []
    original = eager.run_kernel

    def noted(primitive, *args):
        y = original(primitive, *args)
        if y is not None:
            ran.append(primitive.name)
        return y

    monkeypatch.setattr("tapegrad.autograd.ops.fused_bodies.kernel_runner", lambda: noted)
    return ran


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_elementwise_function_gives_what_numpy_gives(name, elementwise_runs):
    function = primitives()[name]
    body = function.primitive.body
    for shape in SHAPES:
        drawn = arguments_of(name, shape)
        arrays = [a if a.dtype == bool else 0.3 * a for a in drawn]  # the domain of log1p
        if name == "log1p":
            arrays = [np.abs(a) for a in arrays]
        expected = body(np, *[a.astype("d") for a in arrays]).astype("f")
        close(function(*arrays), expected, 3, least=1e-30)
        out = np.empty_like(expected)
        found = function.primitive.body_for(np)(np, *arrays, out=out) if shape == (16,) else out
        assert found is out
    assert elementwise_runs == [name] * (len(SHAPES) + 1)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_far_values_and_warnings_of_an_elementwise_function_are_numpys(name):
    function = primitives()[name]
    body = function.primitive.body
    values = np.array([*SPECIAL, np.inf, -np.inf, np.nan, 2.0], "f")
    others = arguments_of(name, values.shape)[1:]
    with np.errstate(all="ignore"):
        close(function(values, *others), body(np, values, *others))
    if name == "over_cosh_squared":
        others = [values]  # the numbers that decide
    for value in values:
        x = np.full(40, value)
        arrays = [x, *[np.full(40, value) for _ in others]]
        is_silent = name in ("tanh", "over_cosh_squared")
        with _no_warnings() if is_silent or not _warns(body, arrays) else pytest.warns():
            found = function(*arrays)
        with np.errstate(all="ignore"):
            close(found, body(np, *arrays))


def _warns(body, arrays):
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        body(np, *arrays)
    return bool(noted)


@contextmanager
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_result_that_is_not_finite_may_be_written_over_its_operand():
    x = np.linspace(0, 200, 64).astype("f")
    with np.errstate(all="ignore"):
        expected = np.cosh(x)
        found = ops.cosh.primitive.direct(x, out=x)
    assert found is x
    assert np.isinf(x[-1])
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_tanhs_rule_has_the_digits_of_the_body_far_out(elementwise_runs):
    x = np.linspace(-40, 40, 1000).astype("f")
    found = tg.elementwise_grad(np.tanh)(x)
    exact = 1 / np.cosh(x.astype("d")) ** 2
    assert np.max(np.abs(found - exact) / exact) < 8 * ULP
    assert elementwise_runs == ["tanh", "over_cosh_squared"]


def test_a_recorded_step_runs_large_functions_as_eager_calls_do(elementwise_runs):
    x = np.random.default_rng(0).normal(size=(30, 40)).astype("f")

    def step(x):
        return np.tanh(x)

    expected = step(tg.Tensor(x)).numpy()
    for run in (tg.replay(step), tg.compile(step, fuse=False)):
        elementwise_runs.clear()
        for _ in range(4):
            np.testing.assert_array_equal(np.asarray(run(x)), expected)
        assert elementwise_runs == ["tanh"] * 4


@pytest.fixture
def stretched_runs(monkeypatch):
    """Of each call of a kernel with a stretched operand, whether one ran."""
    ran, original = [], eager.run_kernel

    def noted(primitive, operands, *args):
        y = original(primitive, operands, *args)
        if any(isinstance(o, np.ndarray) and o.size > 1 and not any(o.strides) for o in operands):
            ran.append(y is not None)
        return y

    monkeypatch.setattr("tapegrad.autograd.ops.fused_bodies.kernel_runner", lambda: noted)
    return ran


@pytest.mark.parametrize("name", ["gelu", "tanh", "threshold", "log_softmax"])
def test_the_cotangent_of_a_sum_runs_as_one_loop_as_well(name, stretched_runs):
    """It is one number, stretched, which the loop reads once; by steps it took ten times."""
    values = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    x, function = tg.Parameter(values), getattr(ops, name)
    function(x).sum().backward()
    assert stretched_runs == [name != "log_softmax"]  # whose sum needs all of them
    expected = tg.grad(lambda x: function(x).sum())(values.astype(np.float64))
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5, atol=1e-4)


def test_a_stretched_number_is_not_taken_for_its_sum(stretched_runs):
    one = np.broadcast_to(np.float32(1), (5, 40))
    found = ops.softmax(one)
    np.testing.assert_allclose(found, np.full((5, 40), 1 / 40), rtol=1e-6)
    assert stretched_runs == [False]


def test_two_operands_that_are_one_array_do_not_decide_for_later_calls():
    x = np.random.default_rng(0).normal(size=(5, 41)).astype("f")
    pull = ops.silu.primitive.rules["x"].function
    squared = pull(x, x)
    np.testing.assert_array_equal(pull(x.copy(), x), squared)
    close(pull(2 * x, x), 2 * squared)
    assert not np.array_equal(pull(x + 1, x), squared)


WHERE = [
    ("f", "f"), ("f", 0.1), (0.1, "f"), (3, "f"), ("f", -0.0),
    ("d", "d"), ("d", 0.1), (np.nan, "d"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), WHERE, ids=str)
def test_where_selects_the_bits_that_numpy_selects(first, second, elementwise_runs):
    rng = np.random.default_rng(0)
    specials = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40])

    def operand(kind, shape):
        if not isinstance(kind, str):
            return kind
        a = rng.normal(size=shape).astype(kind)
        a.reshape(-1)[: specials.size] = specials[: a.size]
        return a

    shapes = [
        ((7, 9), (7, 9), (7, 9)), ((7, 9), (1, 9), (7, 1)), ((9,), (7, 9), (1, 1)),
        ((1, 1), (7, 9), (7, 9)), ((7, 9), (1, 1), (7, 9)), ((3, 1, 1), (1, 4, 1), (2,)),
    ]  # fmt: skip
    for of_condition, *of_others in shapes:
        condition = rng.random(of_condition) < 0.5
        others = [operand(k, s) for k, s in zip((first, second), of_others, strict=True)]
        expected = np.where(condition, *others)
        found = ops.where(condition, *others)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    turned = [np.asfortranarray(operand(k, (7, 9))) for k in (first, second)]
    condition = np.asfortranarray(rng.random((7, 9)) < 0.5)
    np.testing.assert_array_equal(ops.where(condition, *turned), np.where(condition, *turned))
    assert elementwise_runs
    assert set(elementwise_runs) == {"where"}


def test_a_selection_that_no_loop_fits_is_numpys(elementwise_runs):
    condition = np.arange(40) % 3 == 0
    for first, second in ((1, 2), (np.arange(40), 1.5), (np.ones(40, "f"), np.ones(40, "d")),
                          (condition, np.ones(40, "f")), (np.ones(40, "f"), 1j)):  # fmt: skip
        found, expected = ops.where(condition, first, second), np.where(condition, first, second)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(ops.where(np.arange(40.0), 1.0, np.zeros(40)), np.arange(40) > 0)
    assert elementwise_runs == ["where"]  # truths are numbers beside numbers


def test_another_number_makes_no_other_kernel_of_where(monkeypatch):
    monkeypatch.setattr(eager, "_forms", {})
    x = np.linspace(-1, 1, 50).astype("f")
    for number in (0.5, 2.0, np.inf):
        np.testing.assert_array_equal(ops.where(x > 0, x, number), np.where(x > 0, x, number))
    assert len(eager._forms) == 1
