"""Machine code of recurrent layers against float64, and against the rule written in operations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd import ops
from tapegrad.autograd.kernels import machine, over_time, recurrent, vector_functions
from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.threads import get_num_threads
from tapegrad.autograd.kernels.vector_code import KernelCode, lanes_of, ready
from tapegrad.nn.recurrent.steps import gru_step, lstm_step

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs the fast extra: llvmlite")

FLOAT = np.dtype(np.float32)


def arguments_of(steps, samples, inputs, size, seed=0, dtype=FLOAT):
    """Numbers of ordinary size, and weights with which rounding does not grow over time."""
    rng = np.random.default_rng(seed)
    state = (samples, size)
    shapes = [(steps, samples, inputs), (inputs + size, 4 * size), (4 * size,), state, state]
    x, weight, *rest = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    return x, weight / np.sqrt(inputs + size).astype(dtype), *rest


def close(found, expected, limit):
    found = np.asarray(found)
    assert found.shape == expected.shape
    assert np.max(np.abs(found - expected), initial=0) <= limit * np.max(
        np.abs(expected), initial=1
    )


@pytest.mark.parametrize("name", ["sigmoid_of", "tanh_of"])
def test_functions_of_float64_are_right_to_some_units_in_the_last_place(name):
    k = KernelCode("x y n", np.dtype(float))
    x, y, n = k["x y n"]
    function = getattr(vector_functions, name)
    k.loop(n, lambda i: k.store(function(k.load(x, i)), y, i), step=k.lanes)
    small = np.geomspace(1e-300, 1, 4000)
    edges = [0.0, -0.0, 708.0, -708.0, 1e300, -1e300, np.inf, -np.inf]
    numbers = np.concatenate([np.linspace(-40, 40, 40001), small, -small, edges])
    numbers = np.resize(numbers, -(-len(numbers) // k.lanes) * k.lanes)
    found = np.empty_like(numbers)
    ready(k)(address(numbers), address(found), len(numbers))
    wide = numbers.astype(np.longdouble)
    exact = np.tanh(wide) if name == "tanh_of" else np.exp(-np.logaddexp(0, -wide))
    normal = np.abs(exact) > 1e-307
    units = np.abs(found - exact)[normal] / np.spacing(np.abs(exact[normal]).astype("d"))
    assert np.max(units) <= 4
    assert np.max(np.abs(found - exact)[~normal], initial=0) < 1e-307
    numbers[:2] = np.nan, -np.nan
    ready(k)(address(numbers), address(found), len(numbers))
    assert np.isnan(found[:2]).all()


@pytest.mark.parametrize("name", ["sigmoid_of", "tanh_of"])
def test_functions_are_right_to_some_units_in_the_last_place(name):
    k = KernelCode("x y n", FLOAT)
    x, y, n = k["x y n"]
    function = getattr(vector_functions, name)
    k.loop(n, lambda i: k.store(function(k.load(x, i)), y, i), step=k.lanes)
    numbers = np.concatenate(
        [np.linspace(-20, 20, 40000), np.geomspace(1e-30, 1, 4000), -np.geomspace(1e-30, 1, 4000),
         [0.0, -0.0, 90.0, -90.0, 1e30, -1e30, np.inf, -np.inf]]
    ).astype("f")  # fmt: skip
    numbers = np.resize(numbers, -(-len(numbers) // k.lanes) * k.lanes)
    found = np.empty_like(numbers)
    ready(k)(address(numbers), address(found), len(numbers))
    wide = numbers.astype("d")
    exact = np.tanh(wide) if name == "tanh_of" else np.exp(-np.logaddexp(0, -wide))
    normal = np.abs(exact) > 1e-37
    units = np.abs(found - exact)[normal] / np.spacing(np.abs(exact[normal]).astype("f"))
    assert np.max(units) <= 4
    assert np.max(np.abs(found - exact)[~normal], initial=0) < 1e-37
    numbers[:2] = np.nan, -np.nan
    ready(k)(address(numbers), address(found), len(numbers))
    assert np.isnan(found[:2]).all()


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_the_logarithm_of_1_to_3_is_right_to_some_units_in_the_last_place(dtype):
    k = KernelCode("x y n", np.dtype(dtype))
    x, y, n = k["x y n"]
    k.loop(n, lambda i: k.store(vector_functions.log_to_three(k.load(x, i)), y, i), step=k.lanes)
    near = 1 + np.geomspace(np.finfo(dtype).eps, 1, 4000)
    numbers = np.concatenate([np.linspace(1, 3, 40000), near]).astype(dtype)
    numbers = np.resize(numbers, -(-len(numbers) // k.lanes) * k.lanes)
    found = np.empty_like(numbers)
    ready(k)(address(numbers), address(found), len(numbers))
    exact = np.log(numbers.astype(np.longdouble))
    units = np.abs(found - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert np.max(units) <= 4
    numbers[:2] = np.nan, -np.nan
    ready(k)(address(numbers), address(found), len(numbers))
    assert np.isnan(found[:2]).all()


def gru_arguments_of(*sizes, dtype=FLOAT):
    x, weight, bias, h, _ = arguments_of(*sizes, dtype=dtype)
    three = 3 * h.shape[1]
    return x, weight[:, :three].copy(), bias[:three].copy(), h


@given(
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 20), st.integers(1, 40)),
    seed=st.integers(0, 9),
)
@example(sizes=(11, 40, 3, 33), seed=0)  # with products of our own
@pytest.mark.parametrize("name", ["gru_over_time", "gru_reset_after_over_time"])
def test_a_gru_and_its_gradient_are_those_in_float64(name, sizes, seed):
    gru = getattr(ops, name)
    x, weight, bias, h = gru_arguments_of(*sizes, seed)
    shift = [bias[: h.shape[1]] * 2] if name == "gru_reset_after_over_time" else []
    given = (x, weight, bias, *shift, h)
    assert recurrent.fits(*given)
    results, pull = tg.vjp(gru, given)
    exact, wide_pull = tg.vjp(gru, tuple(a.astype("d") for a in given))
    for one, wanted in zip(results, exact, strict=True):
        assert np.asarray(one).dtype == FLOAT
        close(one, np.asarray(wanted), 2e-5)
    by_y = tg.vjp(lambda *a: gru(*a)[0], given)[1]
    wide_by_y = tg.vjp(lambda *a: gru(*a)[0], tuple(a.astype("d") for a in given))[1]
    rng = np.random.default_rng(seed)
    g = [rng.normal(size=np.shape(y)).astype("f") for y in results]
    for found, expected in (
        (by_y(g[0]), wide_by_y(g[0].astype("d"))),  # by machine code
        (pull(g), wide_pull([a.astype("d") for a in g])),  # with the gates', by operations
    ):
        for one, wanted in zip(found, expected, strict=True):
            assert one.dtype == FLOAT
            close(one, np.asarray(wanted), 2e-4)


@given(
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 20), st.integers(1, 40)),
    which=st.sampled_from([(0,), (1,), (0, 1)]),
    seed=st.integers(0, 9),
)
@example(sizes=(11, 20, 3, 33), which=(0, 1), seed=0)  # several products with the input
def test_an_lstm_and_its_gradient_are_those_in_float64(sizes, which, seed):
    given = arguments_of(*sizes, seed)
    assert recurrent.fits(*given)
    wide = tuple(a.astype("d") for a in given)
    results, pull = tg.vjp(ops.lstm_over_time, given)
    exact, wide_pull = tg.vjp(ops.lstm_over_time, wide)
    for one, wanted in zip(results, exact, strict=True):
        assert np.asarray(one).dtype == FLOAT
        close(one, np.asarray(wanted), 2e-5)
    rng = np.random.default_rng(seed)
    g = [
        rng.normal(size=np.shape(y)).astype("f") if n in which else np.zeros(np.shape(y), "f")
        for n, y in enumerate(results)
    ]
    for one, wanted in zip(pull(g), wide_pull([a.astype("d") for a in g]), strict=True):
        assert one.dtype == FLOAT
        close(one, np.asarray(wanted), 1e-4)


NAMES = ["lstm", "gru", "gru_reset_after"]
SIZES = [(3, 5, 4, 7), (11, 20, 9, 40)]  # with products by BLAS, and of our own


def all_arguments_of(name, *sizes, dtype):
    given = (arguments_of if name == "lstm" else gru_arguments_of)(*sizes, dtype=dtype)
    if name == "gru_reset_after":
        return (*given[:3], given[2][: given[3].shape[1]] * 2, given[3])
    return given


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_float64_gives_what_the_plain_body_and_the_rule_in_operations_give(name, sizes):
    function, wide = getattr(ops, f"{name}_over_time"), np.dtype(float)
    given = all_arguments_of(name, *sizes, dtype=wide)
    assert recurrent.fits(*given)
    results, pull = tg.vjp(lambda *a: function(*a)[0], given)
    body = function.primitive.body(np, *given)
    np.testing.assert_array_equal(results, function(*given)[0])
    close(results, body[0], 1e-13)
    g = np.random.default_rng(1).normal(size=results.shape)
    # with a cotangent for the gates the rule goes by operations
    by_steps = tg.vjp(function, given)[1]([g, *(np.zeros_like(a) for a in body[1:])])
    for one, wanted in zip(pull(g), by_steps, strict=True):
        close(one, wanted, 1e-12)


@pytest.fixture
def threads():
    before = tg.get_num_threads()
    yield tg.set_num_threads
    tg.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_threads_gives_the_same_bits(name, dtype, threads, monkeypatch):
    monkeypatch.setattr(over_time, "SHARED", 1)
    monkeypatch.setattr(over_time, "get_num_threads", lambda: pieces.append(1) or get_num_threads())
    function, pieces = getattr(ops, f"{name}_over_time"), []
    given = all_arguments_of(name, *SIZES[1], dtype=np.dtype(dtype))

    def everything(count):
        threads(count)
        y, pull = tg.vjp(lambda *a: function(*a)[0], given)
        return [y, *function(*given), *pull(y)]

    alone = everything(1)
    for count in (2, 3):
        for one, wanted in zip(everything(count), alone, strict=True):
            np.testing.assert_array_equal(one, wanted)
    assert pieces


@pytest.mark.skipif(
    not machine.is_available() or lanes_of(FLOAT) < 8, reason="BLAS makes the products"
)
@pytest.mark.parametrize("name", NAMES)
def test_the_steps_of_a_small_layer_are_no_calls_of_numpy_unless_they_are_few(name, monkeypatch):
    calls = []
    by_blas = over_time.by_blas
    monkeypatch.setattr(over_time, "by_blas", lambda *a: calls.append(1) or by_blas(*a))
    function = getattr(ops, f"{name}_over_time")
    for steps, asks in ((40, False), (5, True)):
        given = all_arguments_of(name, steps, 2, 3, 4, dtype=FLOAT)
        y, pull = tg.vjp(lambda *a: function(*a)[0], given)
        assert bool(calls) is asks
        calls.clear()
        pull(y)
        assert bool(calls) is asks


@pytest.mark.parametrize("steps", [5, 40])  # with products by BLAS, and of our own
@pytest.mark.parametrize("name", NAMES)
def test_a_weight_may_lie_in_memory_as_it_likes(name, steps):
    function = getattr(ops, f"{name}_over_time")
    x, weight, *rest = all_arguments_of(name, steps, 3, 4, 20, dtype=FLOAT)

    def run(weight):
        y, pull = tg.vjp(lambda *a: function(*a)[0], (x, weight, *rest))
        return [y, *pull(y)]

    wide = np.zeros((2 * weight.shape[0], 3 * weight.shape[1]), FLOAT)
    gaps, reverse = wide[::2, ::3], wide[: len(weight)][::-1, : weight.shape[1]]
    for other in (np.asfortranarray(weight), gaps, reverse):
        other[...] = weight
        for one, wanted in zip(run(other), run(weight), strict=True):
            np.testing.assert_array_equal(one, wanted)
    flat = np.broadcast_to(weight[:, :1], weight.shape)
    for one, wanted in zip(run(flat), run(flat.copy()), strict=True):
        np.testing.assert_array_equal(one, wanted)


def test_the_gradient_by_machine_code_is_asked_for_what_is_tracked(monkeypatch):
    asked = []
    original = recurrent.lstm_gradient
    monkeypatch.setattr(
        recurrent, "lstm_gradient", lambda *args: asked.append(args[-1]) or original(*args)
    )
    layer, x = nn.SeqLSTM(3, 5), np.ones((4, 2, 3), "f")
    np.sum(layer(x)).backward()
    by_data = layer.weight.grad.numpy().copy()
    layer.zeroGradParameters()
    leaf = tg.Parameter(x)
    np.sum(layer(leaf)).backward()
    assert asked == [False, True]
    np.testing.assert_array_equal(layer.weight.grad.numpy(), by_data)
    assert np.abs(leaf.grad.numpy()).min() > 0


@pytest.mark.parametrize("kind", ["f", "d", "e"])
@pytest.mark.parametrize("cls", [nn.SeqLSTM, nn.SeqGRU])
def test_shut_gates_are_a_loop_that_resets_the_state(cls, kind):
    """A masked layer is one operation; each step of the loop multiplies the state by 0 or 1."""
    layer = cls(3, 5).type(np.dtype(kind))
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(7, 4, 3)).astype(kind), rng.uniform(size=(7, 4)) < 0.4
    mask[-1, 0] = True  # the last state of this sample is 0
    states = [rng.normal(size=(4, 5)).astype(kind) for _ in range(2 if cls is nn.SeqLSTM else 1)]
    v = rng.normal(size=(7, 4, 5)).astype(kind)
    nothing = np.zeros(1, kind)

    def step(part, states):
        weight = layer.weight[3:]
        if cls is nn.SeqLSTM:
            return lstm_step(part + states[0] @ weight, states[1])
        return [gru_step(part, states[0], [weight[:, :10], weight[:, 10:]])]

    def loop(leaf, *states):
        outputs = []
        for t in range(7):
            states = step(leaf[t] @ layer.weight[:3] + layer.bias, states)
            states = [np.where(mask[t][:, None], nothing, state) for state in states]
            outputs.append(states[0])
        return np.stack(outputs), *states

    def run(leaf, *states):
        y, last = layer([leaf, list(states) if len(states) > 1 else states[0]], mask)
        return y, *(last if len(states) > 1 else [last])

    def results(function):
        leaves = [tg.Parameter(a) for a in (x, *states)]
        layer.zeroGradParameters()
        y, *last = function(*leaves)
        (np.sum(y * v) + sum(np.sum(state) for state in last)).backward()
        gradients = [*(p.grad for p in leaves), layer.gradWeight, layer.gradBias]
        return [a.numpy().copy() for a in (y, *last, *gradients)]

    found = results(run)
    for one, other in zip(found, results(loop), strict=True):
        close(one, other, {"f": 1e-5, "d": 1e-12, "e": 2e-2}[kind])
    y, *last = found[: 1 + len(states)]
    assert not y[mask].any()
    assert not any(state[mask[-1]].any() for state in last)
    assert not found[1 + len(states)][mask].any()  # the gradient of x
    x[mask] = np.nan  # whatever stands at padding
    np.testing.assert_array_equal(run(x, *states)[0].numpy(), y)


def gru_by_steps(layer, ending, x, h, mask):
    """PyTorch's equations; a padded step gives 0 and leaves the state as it is."""
    size = layer.hidden_features
    none = [np.zeros(1, x.dtype)] * 2
    names = [f"bias_{kind}{ending}" for kind in ("ih", "hh")]
    biases = [layer.weights[name] for name in names] if names[0] in layer.weights else none
    matrices = [layer.weights[f"weight_{kind}{ending}"].T for kind in ("ih", "hh")]
    outputs = []
    steps = range(len(x))
    for t in reversed(steps) if ending.endswith("_reverse") else steps:
        a, b = x[t] @ matrices[0] + biases[0], h @ matrices[1] + biases[1]
        reset, update = (
            ops.sigmoid(a[:, k * size : (k + 1) * size] + b[:, k * size : (k + 1) * size])
            for k in range(2)
        )
        new = np.tanh(a[:, 2 * size :] + reset * b[:, 2 * size :])
        padded = mask[t][:, None]
        h = np.where(padded, h, (1 - update) * new + update * h)
        outputs.append(np.where(padded, np.zeros(1, x.dtype), h))
    return np.stack(outputs[::-1] if ending.endswith("_reverse") else outputs), h


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["f", "d", "e"])
@pytest.mark.parametrize("padded", [0, 0.4])
def test_a_gru_of_several_layers_is_its_equations_with_and_without_padding(padded, kind, bias):
    layer = nn.RNNLayer("gru", 3, 5, num_layers=2, bidirectional=True, bias=bias)
    layer = layer.type(np.dtype(kind))
    rng = np.random.default_rng(0)
    x, h0 = rng.normal(size=(6, 2, 3)).astype(kind), rng.normal(size=(4, 2, 5)).astype(kind)
    mask, v = rng.uniform(size=(6, 2)) < padded, rng.normal(size=(6, 2, 10)).astype(kind)

    def at_once(x, h):
        return layer([x, h], mask) if padded else layer([x, h])

    def by_steps(x, h):
        last = []
        for depth in range(2):
            runs = [
                gru_by_steps(layer, f"_l{depth}{end}", x, h[2 * depth + k], mask)
                for k, end in enumerate(("", "_reverse"))
            ]
            x = np.concatenate([y for y, _ in runs], axis=-1)
            last += [h for _, h in runs]
        return x, np.stack(last)

    def results(function):
        leaves = [tg.Parameter(a) for a in (x, h0)]
        layer.zeroGradParameters()
        y, last = function(*leaves)
        (np.sum(y * v) + 2 * np.sum(last)).backward()
        gradients = [p.grad for p in (*leaves, *layer.weights.values())]
        return [a.numpy().copy() for a in (y, last, *gradients)]

    found = results(at_once)
    for one, wanted in zip(found, results(by_steps), strict=True):
        close(one, wanted, {"f": 1e-5, "d": 1e-12, "e": 2e-2}[kind])
    assert not found[0][mask].any()
    x[mask] = np.nan  # whatever stands at padding
    np.testing.assert_array_equal(at_once(x, h0)[0].numpy(), found[0])


def lstm_by_steps(layer, ending, x, h, c, mask):
    """PyTorch's equations; a padded step gives 0 and leaves both states as they are."""
    none = [np.zeros(1, x.dtype)] * 2
    names = [f"bias_{kind}{ending}" for kind in ("ih", "hh")]
    biases = [layer.weights[name] for name in names] if names[0] in layer.weights else none
    matrices = [layer.weights[f"weight_{kind}{ending}"].T for kind in ("ih", "hh")]
    outputs = []
    steps = range(len(x))
    for t in reversed(steps) if ending.endswith("_reverse") else steps:
        total = x[t] @ matrices[0] + biases[0] + h @ matrices[1] + biases[1]
        i, f, g, o = ops.split(total, 4, -1)
        cell = ops.sigmoid(f) * c + ops.sigmoid(i) * np.tanh(g)
        padded = mask[t][:, None]
        h = np.where(padded, h, ops.sigmoid(o) * np.tanh(cell))
        c = np.where(padded, c, cell)
        outputs.append(np.where(padded, np.zeros(1, x.dtype), h))
    return np.stack(outputs[::-1] if ending.endswith("_reverse") else outputs), h, c


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["f", "d", "e"])
@pytest.mark.parametrize("padded", [0, 0.4])
def test_an_lstm_of_several_layers_is_its_equations_with_and_without_padding(padded, kind, bias):
    layer = nn.RNNLayer("lstm", 3, 5, num_layers=2, bidirectional=True, bias=bias)
    layer = layer.type(np.dtype(kind))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3, 3)).astype(kind)
    states = [rng.normal(size=(4, 3, 5)).astype(kind) for _ in range(2)]
    mask, v = rng.uniform(size=(6, 3)) < padded, rng.normal(size=(6, 3, 10)).astype(kind)
    mask[:, 1] = padded > 0  # a sample that is padding alone keeps the states that were given

    def at_once(x, *states):
        y, last = layer([x, list(states)], mask) if padded else layer([x, list(states)])
        return y, *last

    def by_steps(x, *states):
        last = []
        for depth in range(2):
            runs = [
                lstm_by_steps(
                    layer, f"_l{depth}{end}", x, *(s[2 * depth + k] for s in states), mask
                )
                for k, end in enumerate(("", "_reverse"))
            ]
            x = np.concatenate([y for y, *_ in runs], axis=-1)
            last += [rest for _, *rest in runs]
        return x, *(np.stack(parts) for parts in zip(*last, strict=True))

    def results(function):
        leaves = [tg.Parameter(a) for a in (x, *states)]
        layer.zeroGradParameters()
        y, h, c = function(*leaves)
        (np.sum(y * v) + np.sum(h) + 2 * np.sum(c)).backward()
        gradients = [p.grad for p in (*leaves, *layer.weights.values())]
        return [a.numpy().copy() for a in (y, h, c, *gradients)]

    found = results(at_once)
    for one, wanted in zip(found, results(by_steps), strict=True):
        close(one, wanted, {"f": 1e-5, "d": 1e-12, "e": 2e-2}[kind])
    assert not found[0][mask].any()
    assert not found[3][mask].any()  # the gradient of x
    x[mask] = np.nan  # whatever stands at padding
    np.testing.assert_array_equal(at_once(x, *states)[0].numpy(), found[0])


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_after"])
def test_second_derivatives_and_batches_go_by_operations(name):
    function = getattr(ops, f"{name}_over_time")
    given = (arguments_of if name == "lstm" else gru_arguments_of)(3, 2, 2, 3)
    if name == "gru_reset_after":
        given = (*given[:3], given[2][:3] * 2, given[3])
    v = tuple(np.ones_like(a) for a in given)

    def loss(*a):
        return np.sum(function(*a)[0] ** 2)

    numbers = tuple(range(len(given)))
    exact = tg.vjp(tg.grad(loss, numbers), tuple(a.astype("d") for a in given))[1](
        tuple(a.astype("d") for a in v)
    )
    found = tg.vjp(tg.grad(loss, numbers), given)[1](v)
    for one, wanted in zip(found, exact, strict=True):
        close(one, np.asarray(wanted), 1e-4)
    xs = np.stack([given[0], given[0] * 2])
    mapped = tg.vmap(lambda x: function(x, *given[1:])[0])(xs)
    for one, x in zip(mapped, xs, strict=True):
        close(one, np.asarray(function(x, *given[1:])[0]), 1e-5)


def test_nan_goes_as_far_as_time_does():
    given = arguments_of(4, 3, 2, 8)
    given[0][1, 2, 0] = np.nan
    y = np.asarray(ops.lstm_over_time(*given)[0])
    assert np.isnan(y[1:, 2]).all()
    assert np.isfinite(y[:, :2]).all()
    assert np.isfinite(y[0]).all()
