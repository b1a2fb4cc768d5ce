"""Forward mode: tangents pushed, streamed and recorded, alone and mixed with sweeps."""

import itertools
import tracemalloc

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import devices
from tapegrad.autograd import ops
from tapegrad.autograd.core.declaration import primitives
from tapegrad.autograd.forward.streaming import Stream
from tapegrad.autograd.ops.batch_rules import elementwise_rule
from tapegrad.autograd.transforms.variables import BoundCall

X = np.array([0.3, -0.8, 1.1])
V = np.array([1.0, 0.5, -2.0])


def forward(fn):
    """The derivative of a function of one number, by forward mode."""
    return lambda x: tg.jvp(fn, x, np.ones(()))[1]


def close(a, b):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-12, atol=1e-14)


# Orders -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modes", list(itertools.product([forward, tg.grad], repeat=3)))
def test_orders_to_three_mix_in_any_order(modes):
    x = np.array(0.7)

    def fn(x):
        return np.sin(x * x) * np.exp(x) / np.sqrt(x + 1)

    derivative, expected = fn, tg.grad(tg.grad(tg.grad(fn)))(x)
    for mode in modes:
        derivative = mode(derivative)
    close(derivative(x), expected)


@pytest.mark.parametrize("modes", list(itertools.product([forward, tg.grad], repeat=2)))
def test_an_inner_derivative_does_not_take_the_outer_variable_for_its_own(modes):
    inner, outer = modes
    x = np.array(3.0)
    # d/dx [x · d/dy (x + y)] = 1;  d/dx [x · d/dy (x·y)] = 2x, at y = 2
    close(outer(lambda x: x * inner(lambda y: x + y)(2.0))(x), 1.0)
    close(outer(lambda x: x * inner(lambda y: x * y)(2.0))(x), 6.0)
    # the inner derivative is taken where the outer variable is
    close(outer(lambda x: inner(lambda y: y * y * x)(x))(x), 12.0)


@pytest.mark.parametrize("first", [forward, tg.grad])
@pytest.mark.parametrize("second", [forward, tg.grad])
@pytest.mark.parametrize("third", [forward, tg.grad])
def test_three_levels_use_each_others_variables(first, second, third):
    # ∂³/∂x∂y∂z of x²y³z at x = y = z = w, as a function of w, whose own derivative is left out
    def by_z(x, y):
        return first(lambda z: x * x * y**3 * z)(1.5)

    def by_y(x):
        return second(lambda y: by_z(x, y))(2.0)

    close(third(by_y)(np.array(1.25)), 2 * 1.25 * 3 * 4.0)


def test_hvp_and_jacobians_of_gradients_agree():
    def fn(x):
        return np.sum(np.tanh(np.outer(x, x)) @ x)

    along = tg.hessian(fn)(X) @ V
    close(tg.hvp(fn, X, V), along)
    close(tg.grad(lambda x: np.sum(tg.grad(fn)(x) * V))(X), along)
    close(tg.grad(lambda x: tg.jvp(fn, x, V)[1])(X), along)
    close(tg.jvp(tg.grad(fn), X, V)[1], along)


def test_a_jacobian_is_the_same_by_rows_and_by_columns():
    w = np.linspace(-1, 1, 12).reshape(4, 3)

    def wide(x):
        return {"many": np.tanh(w @ x), "one": np.sum(x * x), "count": np.argmax(x)}

    found = tg.jacobian(wide)(X)
    close(found["many"], (1 - np.tanh(w @ X) ** 2)[:, None] * w)
    close(found["one"], 2 * X)
    assert not found["count"].any()

    def twice(x):
        return np.concatenate([np.exp(1j * x), np.conj(x) * 1j])

    close(tg.jacobian(twice)(X), [*np.diag(1j * np.exp(1j * X)), *np.diag([1j] * 3)])
    z = X + 1j * V
    close(tg.jacobian(lambda z: np.concatenate([z * z, np.exp(z)]))(z),
          [*np.diag(2 * z), *np.diag(np.exp(z))])  # fmt: skip


# What functions do --------------------------------------------------------------------------------


def on_both_ways(fn, x, v):
    """The tangents of fn, streamed and recorded, which must be equal."""
    streamed = tg.jvp(fn, x, v)[1]
    call = BoundCall(fn, (x,), {}, (0,))
    recorded = call.tangents(call.course(), [v])
    parts = streamed if isinstance(streamed, (list, tuple)) else [streamed]
    for a, b in zip(parts, recorded, strict=True):
        np.testing.assert_array_equal(a, b)
    return streamed


def test_structures_go_in_and_out():
    x, v = {"a": X, "b": (2.0, [X])}, {"b": (1.0, [V]), "a": V}
    value, along = tg.jvp(
        lambda d: {"sum": d["a"] * d["b"][0], "pair": (d["b"][1][0],)}, (x,), (v,)
    )
    close(value["sum"], 2 * X)
    close(along["sum"], 2 * V + X)
    close(along["pair"][0], V)
    assert isinstance(along["pair"], tuple)


def test_what_does_not_move_has_the_tangent_zero():
    value, along = tg.jvp(lambda x: [np.argmax(x), x > 0, x * 0 + 1, ops.zeros_like(x)], X, V)
    assert value[0] == 2
    for part, t in zip(value, along, strict=True):
        assert t.shape == np.shape(part)
        assert t.dtype == np.float64
        assert not t.any()


def test_results_have_memory_of_their_own():
    v = V.copy()
    _, (same, row, wide) = tg.jvp(lambda x: [x, x[1:], np.broadcast_to(x, (2, 3))], X, v)
    for t in (same, row, wide):
        t += 1
    close(v, V)
    close(same, V + 1)
    close(wide, [V + 1] * 2)


def test_writes_and_views_move_what_they_change():
    def fn(x):
        y = np.zeros_like(x)
        for i in range(3):
            y[i] = x[i] * x[2 - i]
        view = y[1:]
        view[0] *= 2.0
        y += x
        return y

    close(on_both_ways(fn, X, V), tg.jacobian(fn)(X) @ V)
    expected = np.array([V[0] * X[2] + X[0] * V[2], 4 * X[1] * V[1], V[0] * X[2] + X[0] * V[2]])
    close(on_both_ways(fn, X, V), expected + V)

    def through_parts(x):
        z = x * (1 + 2j)
        z.imag[1] = x[0]
        z.T[0] = x[2]
        return z * z

    z, dz = X * (1 + 2j), V * (1 + 2j)
    z[1], dz[1] = X[1] + 1j * X[0], V[1] + 1j * V[0]
    z[0], dz[0] = X[2], V[2]
    close(on_both_ways(through_parts, X, V), 2 * z * dz)


def test_calls_with_several_results_and_lists_of_arrays():
    def fn(x):
        a, b = np.split(np.concatenate([x, 2 * x, X]), [4])
        w, v = np.linalg.eigh(np.outer(x, x) + np.diag([1.0, 2.0, 3.0]))
        return [a * a, np.cumprod(b), w, np.abs(v), np.einsum("i,j,k->jk", x, X, x)]

    found = on_both_ways(fn, X, V)
    step = 1e-6
    for along, plus, minus in zip(found, fn(X + step * V), fn(X - step * V), strict=True):
        np.testing.assert_allclose(along, (plus - minus) / (2 * step), rtol=1e-7, atol=1e-9)


def test_complex_functions_move_by_their_differential():
    def fn(z):
        return [np.abs(z), np.conj(z) * z, np.sign(z), np.angle(z), np.fft.fft(z), z.imag]

    z, dz = X + 1j * V, V - 0.3j * X
    found = on_both_ways(fn, z, dz)
    step = 1e-6
    for along, plus, minus in zip(found, fn(z + step * dz), fn(z - step * dz), strict=True):
        np.testing.assert_allclose(along, (plus - minus) / (2 * step), rtol=1e-7, atol=1e-9)


def test_a_rule_that_takes_a_derivative_itself_is_transposed():
    """`jacobian` pushes tangents when the function has ended: no derivative is around the rule."""
    cube = tg.custom_vjp(lambda x: x**3)
    cube.vjp(x=lambda g, x: tg.vjp(lambda z: z**3, (x,))[1](g)[0])
    close(tg.jacobian(cube)(X), np.diag(3 * X**2))
    close(tg.hessian(lambda x: np.sum(np.sin(cube(x))))(X), tg.jacobian(tg.grad(sine_of_cube))(X))


def sine_of_cube(x):
    return np.sum(np.sin(x**3))


def test_a_custom_gradient_is_transposed_or_has_a_rule_of_its_own():
    @tg.custom_vjp
    def doubled(x):
        return np.exp(x)

    doubled.vjp(x=lambda g, y: 2 * g * y)
    close(on_both_ways(doubled, X, V), 2 * np.exp(X) * V)
    close(tg.jvp(forward(doubled), np.array(0.5), 1.0)[1], 4 * np.exp(0.5))
    doubled.jvp(x=lambda t, y: 3 * t * y)  # another factor shows that it is used
    close(on_both_ways(doubled, X, V), 3 * np.exp(X) * V)
    close(tg.grad(lambda x: doubled(x).sum())(X), 2 * np.exp(X))


def test_checkpoints_and_random_draws_are_those_of_the_function():
    def fn(x):
        return np.tanh(x) * ops.normal(devices.generator(), (3,), np.float64) + x

    def checked(x):
        return tg.checkpoint(fn)(x)

    tg.manual_seed(3)
    draw = (fn(X) - X) / np.tanh(X)
    for drawing in (fn, checked):
        tg.manual_seed(3)
        close(tg.jvp(drawing, X, V)[1], draw * (1 - np.tanh(X) ** 2) * V + V)
        tg.manual_seed(3)
        twice = forward(lambda x, drawing=drawing: tg.jvp(drawing, x * X, V)[1])
        assert np.isfinite(twice(1.0)).all()
    close(
        on_both_ways(tg.checkpoint(lambda x: np.sin(x) * x), X, V), (np.cos(X) * X + np.sin(X)) * V
    )


def test_batches_of_tangents_and_tangents_of_batches():
    w = np.arange(9.0).reshape(3, 3) / 5

    def fn(x):
        return np.tanh(w @ x) * x.sum()

    along = tg.vmap(lambda x, v: tg.jvp(fn, x, v)[1])(np.stack([X, V]), np.stack([V, X]))
    close(along, [tg.jvp(fn, X, V)[1], tg.jvp(fn, V, X)[1]])
    close(tg.jvp(tg.vmap(fn), np.stack([X, V]), np.stack([V, X]))[1], along)
    of_products = tg.vmap(tg.grad(lambda x: tg.jvp(fn, x, V)[1].sum()))(np.stack([X, V]))
    close(of_products[0], tg.grad(lambda x: tg.jvp(fn, x, V)[1].sum())(X))


def test_a_parameter_behind_the_function_is_behind_the_tangent():
    p = tg.Parameter(np.array([0.5, 1.5, -0.5]))

    def fn(x):
        y = np.sin(x)  # streamed, before the Parameter is met
        return y * p * p

    _, along = tg.jvp(fn, X, V)
    close(along.detach().numpy(), np.cos(X) * V * p.numpy() ** 2)
    along.sum().backward()
    close(p.grad, 2 * p.numpy() * np.cos(X) * V)
    with tg.no_grad():
        assert isinstance(tg.jvp(fn, X, V)[1], np.ndarray)


def test_no_grad_inside_cuts_tangents():
    def fn(x):
        with tg.no_grad():
            weight = np.exp(x)
        return weight * x + tg.stop_gradient(x)

    close(on_both_ways(fn, X, V), np.exp(X) * V)


def test_a_tensor_of_an_earlier_run_is_a_constant():
    kept = []

    def fn(x):
        kept.append(x * 2)
        return x * kept[0]

    tg.jvp(fn, X, V)
    close(tg.jvp(fn, V, X)[1], X * 2 * X)


def test_an_error_in_the_function_leaves_no_mode_behind():
    def fn(x):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        tg.jvp(fn, X, V)
    assert not np.exp(tg.Tensor(X)).tracked
    close(tg.grad(lambda x: np.sum(x * x))(X), 2 * X)


def test_a_recorded_step_with_tangents_runs_again():
    step = tg.replay(lambda x, v: tg.jvp(lambda x: np.tanh(x) * x[0], x, v)[1])
    for x, v in [(X, V), (V, X), (X, X), (V, V)]:
        close(step(tg.Tensor(x), tg.Tensor(v)).numpy(),
              tg.jvp(lambda x: np.tanh(x) * x[0], x, v)[1])  # fmt: skip
    compiled = tg.compile(lambda x, v: tg.jvp(lambda x: np.tanh(x) * x[0], x, v)[1])
    for x, v in [(X, V), (V, X), (X, X)]:
        close(compiled(x, v), tg.jvp(lambda x: np.tanh(x) * x[0], x, v)[1])


def test_memory_does_not_grow_with_the_length_of_the_run():
    x = np.ones(50_000)

    def peak(steps):
        def fn(y):
            for _ in range(steps):
                y = np.sin(y) * y
            return y

        tracemalloc.start()
        tg.jvp(fn, x, x)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(1)
    assert peak(30) < peak(3) + x.nbytes


def test_simple_calls_have_functions_of_their_own_while_streaming(monkeypatch):
    asked = []
    interpret = Stream.interpret

    def noted(self, primitive, operands, settings, aux):
        asked.append(primitive.name)
        return interpret(self, primitive, operands, settings, aux)

    monkeypatch.setattr(Stream, "interpret", noted)
    tg.jvp(lambda x: np.tanh(2 * x[1:] - np.sum(x)) @ x[:2], X, V)
    assert asked == []
    tg.jvp(np.linalg.slogdet, np.diag(X), np.diag(V))
    assert asked == ["slogdet_parts"]


# Declarations -------------------------------------------------------------------------------------


def how_pushed(p, argument):
    """How the tangent of an argument of a primitive is pushed: by whose rule."""
    if argument in p.jvp_rules:
        return "its own"
    return "its vjp rule" if p.elementwise else "transposed"


def test_every_primitive_pushes_tangents_and_most_by_a_rule(record_property):
    counts = dict.fromkeys(("its own", "its vjp rule", "transposed"), 0)
    for name, function in primitives().items():
        p = function.primitive
        for argument, rule in p.rules.items():
            if rule is None:
                assert argument not in p.jvp_rules
                continue
            how = how_pushed(p, argument)
            push = p.plan(tuple(_flags(p, argument))).push_for((0,))
            assert (push.the_rest == ()) == (how != "transposed"), (name, argument)
            counts[how] += 1
        if p.rules and p.batch_rule is not None and p.batch_rule.function is elementwise_rule:
            assert p.elementwise or p.jvp_rules or p.several, (
                f"{name} has the batching rule of elementwise primitives: declare it so, "
                "@primitive(elementwise=True), or give it a jvp rule"
            )
    record_property("tangents", str(counts))
    assert counts["transposed"] < 0.2 * sum(counts.values()), counts


def _flags(p, argument):
    for name in p.arguments:
        yield (name == argument,) if name in p.lists else name == argument


def test_a_rule_for_tangents_is_checked_when_it_is_declared():
    def scaled(x, c, *, power):
        return x * c**power

    scaled_for_test = tg.custom_vjp(scaled)
    with pytest.raises(TypeError, match=r"'x' has no rule of scaled\.vjp"):
        scaled_for_test.jvp(x=lambda t: t)
    scaled_for_test.vjp(x=lambda g, c, power: g * c**power, c=None)
    with pytest.raises(TypeError, match="must take `t` first"):
        scaled_for_test.jvp(x=lambda g, c: g * c)
    with pytest.raises(TypeError, match=r"names x, which its rule .* does not save"):
        scaled_for_test.jvp(x=lambda t, x: t * x)
    with pytest.raises(TypeError, match="'c' has no rule"):
        scaled_for_test.jvp(c=lambda t: t)
    scaled_for_test.jvp(x=lambda t, c, power: t * c**power)
    close(on_both_ways(lambda x: scaled_for_test(x, 2.0, power=3), X, V), 8 * V)
