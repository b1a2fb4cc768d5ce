"""Softmax along an axis that is not the last, and gated halves: the kernels against the bodies."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd import ops
from tapegrad.autograd.kernels import columns, machine
from tapegrad.autograd.ops.fused_bodies import fused_at_any_size

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs the `fast` extra")

# (shape, axis): as many columns as registers hold, some more, and many
SHAPES = [((2, 3, 16), 1), ((3, 1, 17), 1), ((5, 64), 0), ((2, 7, 5, 13), 1), ((2, 3, 4, 33), -2),
          ((1, 4, 130), 1), ((3, 10, 8, 8), -3)]  # fmt: skip
SOFTMAXES = [
    (ops.softmax, columns.softmax_of_columns, columns.softmax_gradient_of_columns),
    (ops.log_softmax, columns.log_softmax_of_columns, columns.log_softmax_gradient_of_columns),
]
SPECIAL = [0.0, -0.0, 88.0, -88.0, 120.0, -1e4, 1e4, np.inf, -np.inf, np.nan, 1e-30]


def drawn(shape, seed=0):
    return (3 * np.random.default_rng(seed).normal(size=shape)).astype("f")


@pytest.mark.parametrize(("function", "forward", "backward"), SOFTMAXES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_softmax_of_columns_is_what_the_body_gives(shape, axis, function, forward, backward):
    x, g = drawn(shape), drawn(shape, 1)
    y = forward(x, axis)
    np.testing.assert_allclose(y, function.primitive.body(np, x, axis=axis), rtol=3e-6, atol=1e-6)
    dx = backward(g, y, axis)
    wide = function.primitive.rules["x"].function(g.astype("d"), y.astype("d"), axis)
    np.testing.assert_allclose(dx, wide, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("function", "forward", "backward"), SOFTMAXES)
def test_far_values_and_nan_in_a_column(function, forward, backward):
    x = drawn((4, 3, 2 * len(SPECIAL)))
    x[:, 1] = SPECIAL * 2
    x[1] = SPECIAL * 2
    x[2, :, 3] = -np.inf
    with np.errstate(all="ignore"):
        expected = function.primitive.body(np, x, axis=1)
        y = forward(x, 1)
        np.testing.assert_allclose(y, expected, rtol=3e-6, atol=1e-6)
        g = drawn(x.shape, 1)
        expected = function.primitive.rules["x"].function(g, expected, 1)
        np.testing.assert_allclose(backward(g, y, 1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 32), (3, 34), (2, 8, 40), (4, 2, 3, 17), (1, 6, 64)])
def test_gated_halves_are_what_the_body_gives(shape):
    for axis in range(len(shape)):
        if shape[axis] % 2 or np.prod(shape[axis:]) < 32:
            continue
        x = drawn(shape)
        y = columns.gated(x, axis)
        expected = ops.gated_linear.primitive.body(np, x, axis=axis)
        np.testing.assert_allclose(y, expected, rtol=2e-6, atol=1e-37)
        g = drawn(y.shape, 1)
        dx = columns.gated_gradient(g, x, axis)
        wide = tg.vjp(lambda x: ops.gated_linear(x, axis=axis), (x.astype("d"),))[1]  # noqa: B023  # called at once
        np.testing.assert_allclose(dx, wide(g.astype("d"))[0], rtol=1e-5, atol=1e-37)


def test_far_gates_close_and_open():
    b = np.array([*SPECIAL, -40, -80, 40, 80], "f")
    for a in (2.0, np.inf, np.nan, -0.0):
        x = np.concatenate([np.full(b.size, a, "f"), b])[None]
        with np.errstate(all="ignore"):
            expected = ops.gated_linear.primitive.body(np, x, axis=-1)
            np.testing.assert_allclose(_gated(x), expected, rtol=2e-6, atol=4e-38)
            if np.isfinite(a):
                found = _gated_gradient(x)
                wide = tg.vjp(ops.gated_linear, (x.astype("d"),))[1](np.ones(b.shape)[None])[0]
                finite = np.isfinite(wide)
                np.testing.assert_allclose(found[finite], wide[finite], rtol=1e-5, atol=4e-38)


def _gated(x):
    """Gated halves of a short row, by the kernel, on as many rows as make a register full."""
    wide = np.repeat(x[..., None], 16, axis=-1)
    return columns.gated(wide, 1)[..., 0]


def _gated_gradient(x):
    wide = np.repeat(x[..., None], 16, axis=-1)
    return columns.gated_gradient(np.ones((1, x.shape[1] // 2, 16), "f"), wide, 1)[..., 0]


def test_what_no_kernel_fits_is_left_to_the_body():
    x = drawn((3, 4, 40))
    for other, axis in ((x, 2), (x.astype("d"), 1), (x[:, :, ::2], 1), (x[..., :3].copy(), 1),
                        (x[:0], 1), ([1.0], 0)):  # fmt: skip
        assert columns.softmax_of_columns(other, axis) is None
        if other is not x:
            assert columns.gated(other, axis) is None
    assert columns.softmax_gradient_of_columns(x, x[:2], 1) is None
    assert columns.gated_gradient(x, x, 1) is None
    assert columns.gated_gradient(np.broadcast_to(np.float32(1), (3, 2, 40)), x, 1) is None


@pytest.mark.parametrize("function", [ops.softmax, ops.log_softmax, ops.gated_linear])
def test_primitives_run_by_the_kernels_of_columns(function, monkeypatch):
    ran = []
    for name in columns.__all__:
        original = getattr(columns, name)

        def noted(*args, original=original, name=name):
            y = original(*args)
            if y is not None:
                ran.append(name)
            return y

        monkeypatch.setattr(columns, name, noted)
    x = tg.Parameter(drawn((3, 4, 32)))
    with fused_at_any_size():
        y = function(x, axis=1)
        y.backward(tg.Tensor(drawn(y.shape)))
        y = function(tg.Tensor(x.numpy()[:, ::-1]), axis=1)
        gradient = x.grad.numpy().copy()
        x.grad = None
        function(x, axis=1).sum().backward()  # a stretched cotangent
    assert len(ran) == 5
    assert len(set(ran)) == 2
    wide = tg.vjp(lambda x: function(x, axis=1), (x.numpy().astype("d"),))[1]
    expected = wide(drawn(function(x, axis=1).shape).astype("d"))[0]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(y.numpy()).all()
