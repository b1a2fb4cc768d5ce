"""The tape: derivatives of NumPy code, to any order, and what goes wrong when it must."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from tapegrad import nn, optim
from tapegrad.autograd import (
    InPlaceError,
    Parameter,
    Tensor,
    composites,
    enable_grad,
    grad,
    is_recording,
    no_grad,
    ops,
    primitive,
    primitives,
    value_and_grad,
    vjp,
)
from tapegrad.autograd.reverse.sweep import cotangents, nodes_on_paths
from tapegrad.autograd.transforms.variables import variable

RNG = np.random.default_rng(0)


# Derivatives -----------------------------------------------------------------------------------


def test_gradient_of_numpy_code_is_an_array_for_an_array() -> None:
    x = RNG.normal(size=(3, 4))
    w = RNG.normal(size=(4, 2))
    g = grad(lambda x: np.sum(np.tanh(x) @ w))(x)
    assert type(g) is np.ndarray
    np.testing.assert_allclose(g, (1 - np.tanh(x) ** 2) * w.sum(axis=1), rtol=1e-13)


def test_gradient_is_a_tensor_for_a_tensor() -> None:
    g = grad(lambda x: (x * x).sum())(Tensor([1.0, 2.0]))
    assert isinstance(g, Tensor)
    assert not g.tracked  # nothing behind it can be differentiated any more
    np.testing.assert_array_equal(g.numpy(), [2, 4])
    w = Parameter(np.ones(2))
    value, g = value_and_grad(lambda x: (w * x * x).sum())(Tensor([1.0, 2.0]))
    assert value.tracked
    assert g.tracked


def test_derivatives_of_sine_to_order_five() -> None:
    f = np.sin
    for expected in (np.cos(0.3), -np.sin(0.3), -np.cos(0.3), np.sin(0.3), np.cos(0.3)):
        f = grad(f)
        assert f(0.3) == pytest.approx(expected, rel=1e-13)


def test_nested_derivatives_do_not_confuse_their_variables() -> None:
    # d/dx [x · d/dy (x + y)] = 1; confusing x with y would give 2.
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(3.0) == 1.0
    # an inner derivative at a bare array that closes over an outer variable
    inner = grad(lambda a: grad(lambda y: a * y * y)(np.array(3.0)))
    assert inner(2.0) == 6.0


def test_gradient_penalty_reaches_parameters() -> None:
    w = Parameter(np.array([0.5, 0.4, 0.3]))
    x = Tensor([0.5, -1.0, 2.0])
    slope = grad(lambda x: np.sum(np.tanh(w * x)))(x)
    np.sum(slope**2).backward()

    def penalty(w: np.ndarray) -> float:
        t = np.tanh(w * x.numpy())
        return float(np.sum((w * (1 - t * t)) ** 2))

    for i, step in enumerate(np.eye(3) * 1e-6):
        numeric = (penalty(w.numpy() + step) - penalty(w.numpy() - step)) / 2e-6
        assert w.grad is not None
        assert w.grad.numpy()[i] == pytest.approx(numeric, rel=1e-7)


def test_arguments_and_results_keep_their_structure() -> None:
    arguments = {"a": np.ones(3), "b": [np.arange(3.0), (np.array(2.0),)], "c": None}
    value, g = value_and_grad(lambda p: np.sum(p["a"] * p["b"][0]) * p["b"][1][0])(arguments)
    assert value == 6.0
    np.testing.assert_array_equal(g["a"], [0, 2, 4])
    np.testing.assert_array_equal(g["b"][0], [2, 2, 2])
    assert g["b"][1][0] == 3.0
    assert g["c"] is None


def test_argnums_choose_arguments() -> None:
    def f(x: Tensor, y: Tensor, *, k: float) -> Tensor:
        return k * x * y

    assert grad(f, 1)(2.0, 3.0, k=5.0) == 10.0
    assert grad(f, (0, 1))(2.0, 3.0, k=5.0) == (15.0, 10.0)
    assert grad(f, -1)(2.0, 3.0, k=1.0) == 2.0
    with pytest.raises(TypeError, match="argnums=2"):
        grad(f, 2)(2.0, 3.0, k=1.0)


def test_vjp_of_several_results_can_be_pulled_twice() -> None:
    (y, z), pull = vjp(lambda x: (x * x, np.exp(x)), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(y, [1, 4])
    np.testing.assert_allclose(z, np.exp([1.0, 2.0]))
    for _ in range(2):
        g = pull((np.ones(2), np.zeros(2)))
        np.testing.assert_array_equal(g, [2, 4])


def test_cotangents_of_nodes_that_lie_below_one_another() -> None:
    p, q = Parameter(np.array([1.0, 2.0])), Parameter(np.array([3.0, 4.0]))
    x = variable(Tensor(np.array([5.0, 6.0])))
    low = x * x
    high = low * p
    out = high * q
    targets = [high._node, low._node, x._node]
    found = cotangents([(out._node, np.ones(2))], targets)
    expected = [q.numpy(), p.numpy() * q.numpy(), 2 * x.numpy() * p.numpy() * q.numpy()]
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(g, e)
    # Without other parameters on the way every path leads to a target.
    out = low * 3.0
    assert nodes_on_paths([out._node], {low._node, x._node}, x._node.serial) is None
    found = cotangents([(out._node, np.ones(2))], targets[1:])
    np.testing.assert_array_equal(found[1], 6 * x.numpy())
    assert cotangents([(out._node, np.ones(2))], [p._node, x._node])[0] is None


def test_backward_accumulates_into_grad() -> None:
    p = Parameter(np.array([1.0, 2.0]))
    assert p.grad is None
    for times in (1, 2):
        (p * p).sum().backward()
        assert p.grad is not None
        np.testing.assert_array_equal(p.grad.numpy(), np.array([2.0, 4.0]) * times)
    (p * 3).backward(np.array([1.0, 0.0]))
    np.testing.assert_array_equal(p.grad.numpy(), [7, 8])


def test_a_gradient_never_shares_memory_with_what_was_passed() -> None:
    seed = np.ones(3)
    _, pull = vjp(lambda x: x + 0, np.zeros(3))
    assert not np.shares_memory(pull(seed), seed)
    g = grad(np.sum)(np.zeros(3))
    g += 1  # a broadcast view would refuse


def test_unused_arguments_get_zeros() -> None:
    unused, used = grad(lambda x, y: y.sum(), (0, 1))(np.ones(2), np.ones(2))
    np.testing.assert_array_equal(unused, [0, 0])
    np.testing.assert_array_equal(used, [1, 1])


def test_integer_data_is_refused_and_python_numbers_are_numbers() -> None:
    assert grad(lambda x: x * x)(3) == 6.0
    with pytest.raises(TypeError, match="int64"):
        grad(lambda x: x.sum())(np.arange(3))
    with pytest.raises(TypeError, match="floating point"):
        Parameter(np.arange(3))


def test_dtypes_are_kept_on_the_way_back() -> None:
    p = Parameter(np.ones(3, np.float32))
    (p * np.ones(3)).sum().backward()
    assert p.grad is not None
    assert p.grad.dtype == np.float32


def test_nan_stays_nan() -> None:
    x = np.array([1.0, np.nan])
    for f in (np.tanh, ops.relu, ops.sigmoid, lambda x: np.maximum(x, 0), ops.softmax, np.max):
        assert np.isnan(f(Tensor(x)).numpy()).any()
        assert np.isnan(grad(lambda x, f=f: np.sum(f(x)) * x[1])(x)).any()


# Modes -----------------------------------------------------------------------------------------


def test_no_grad_and_enable_grad_nest() -> None:
    p = Parameter(np.ones(2))
    with no_grad():
        assert not is_recording()
        assert not (p * 2).tracked
        with enable_grad():
            assert (p * 2).tracked
    assert (p * 2).tracked


def test_no_grad_of_one_thread_is_not_that_of_another() -> None:
    seen: list[bool] = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_recording()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_calls_on_bare_arrays_return_bare_arrays() -> None:
    assert type(ops.tanh(np.ones(2))) is np.ndarray
    assert type(np.stack([Tensor([1.0]), np.ones(1)])) is Tensor
    assert not (Tensor([1.0]) * 2).tracked


# Size and memory -------------------------------------------------------------------------------


def test_a_hundred_thousand_calls_deep() -> None:
    p = Parameter(np.array([0.5]))
    x = p * 1.0
    for _ in range(50_000):
        x = x * 1.0
        x = x + 0.0
    x.backward()
    assert p.grad is not None
    assert p.grad.numpy() == [1.0]
    reference = weakref.ref(x)
    del x  # freeing a deep tape must not recurse either
    assert reference() is None


@pytest.mark.extra
def test_training_leaves_no_cycles_and_no_growth() -> None:
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNormalization(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    )
    criterion = nn.CrossEntropyCriterion()
    x, t = RNG.normal(size=(16, 4)).astype(np.float32), RNG.integers(0, 3, 16)
    flat, gradient = model.getParameters()
    state: dict[str, object] = {}

    def feval(_: Tensor) -> tuple[Tensor, Tensor]:
        model.zeroGradParameters()
        loss = criterion.forward(model.forward(x), t)
        model.backward(x, criterion.backward(model.output, t))
        return loss, gradient

    def plain() -> None:
        criterion(model(x), t).backward()

    def steps(count: int) -> None:
        for _ in range(count):
            optim.adam(feval, flat, {}, state)
            plain()

    steps(20)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        steps(1500)  # until Python's and NumPy's free lists are as full as they get
        before, _ = tracemalloc.get_traced_memory()
        steps(1000)
        after, _ = tracemalloc.get_traced_memory()
        assert gc.collect() == 0
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < 4_000  # 4 bytes a step; one kept array would be 100


def test_what_no_rule_names_is_not_kept_alive() -> None:
    p = Parameter(np.ones(1000))
    middle = p + 1
    reference = weakref.ref(middle._bare)
    y = middle + 1
    del middle
    assert reference() is None
    y.backward(np.ones(1000))


def test_dropping_a_model_frees_it_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        model.backward(np.ones((2, 3)), model.forward(np.ones((2, 3))).numpy())
        reference = weakref.ref(model)
        del model
        assert reference() is None
    finally:
        gc.enable()


def test_an_exception_in_a_rule_leaves_nothing_behind() -> None:
    p = Parameter(np.ones(2))
    y = p * 2
    with pytest.raises(ValueError, match="shape"):
        y.backward(np.ones(3))
    assert p.grad is None
    y.backward(np.ones(2))
    assert p.grad is not None
    np.testing.assert_array_equal(p.grad.numpy(), [2, 2])


# Bad input -------------------------------------------------------------------------------------


def test_a_numpy_function_without_a_primitive_is_named() -> None:
    x = Tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=r"numpy\.histogram2d"):
        np.histogram2d(x, x)
    with pytest.raises(TypeError, match=r"numpy\.isnat"):
        np.isnat(x)


def test_an_option_that_is_not_supported_is_named() -> None:
    x = Tensor(np.ones((2, 2)))
    with pytest.raises(TypeError, match="where"):
        np.exp(x, where=np.ones((2, 2), bool))
    with pytest.raises(TypeError, match="order='a'"):
        np.sort(x, order="a")
    with pytest.raises(TypeError, match="out"):
        np.exp(x, out=np.ones((2, 2)))
    np.sum(x, axis=0, dtype=None, keepdims=True)


def test_conversion_of_a_tracked_tensor_is_refused() -> None:
    p = Parameter(np.ones(2))
    with pytest.raises(TypeError, match=r"\.numpy\(\)"):
        np.asarray(p)
    array = np.ones(2)
    with pytest.raises(TypeError, match=r"y = …"):
        array += p
    np.testing.assert_array_equal(np.asarray(Tensor([1.0])), [1.0])


def test_a_write_to_a_saved_array_is_noticed() -> None:
    p = Parameter(np.ones(3))
    a = Tensor(np.array([1.0, 2.0, 3.0]))
    y = p * a
    a[0] = 9.0
    with pytest.raises(InPlaceError, match="multiply"):
        y.backward(np.ones(3))
    view = a[1:]
    z = p * a
    view += 1
    with pytest.raises(InPlaceError, match="multiply"):
        z.backward(np.ones(3))
    (p + a).backward(np.ones(3))  # add saves nothing


def test_writes_to_untracked_tensors_work() -> None:
    t = Tensor(np.zeros((2, 3)))
    t[0] = 5
    t[1, [0, 2]] = Tensor([1.0, 2.0])
    t *= 2
    t -= 1
    np.testing.assert_array_equal(t.numpy(), [[9, 9, 9], [1, -1, 3]])
    p = Parameter(np.ones(2))
    with no_grad():
        p -= 0.5
    np.testing.assert_array_equal(p.numpy(), [0.5, 0.5])
    assert p.tracked


def test_backward_on_something_untracked_says_so() -> None:
    with pytest.raises(ValueError, match="not tracked"):
        Tensor([1.0]).backward()
    with pytest.raises(ValueError, match="one entry"):
        (Parameter(np.ones(2)) * 2).backward()


def test_grad_of_something_without_a_number_says_so() -> None:
    with pytest.raises(ValueError, match="returned shape"):
        grad(lambda x: x)(np.ones(2))
    with pytest.raises(TypeError, match="returned str, which is no Tensor, array or number"):
        grad(lambda x: "3.0")(np.ones(2))


# Declaring a primitive -------------------------------------------------------------------------


def test_a_declaration_with_a_mistake_fails_at_once() -> None:
    def body(xp, x, w, *, axis=0):  # a body as a user writes it
        return x * w

    try:
        declared = primitive(body)
        with pytest.raises(TypeError, match="nothing about w"):
            declared.vjp(x=lambda g, w: g * w)
        with pytest.raises(TypeError, match="no argument 'z'"):
            declared.vjp(x=lambda g, w: g * w, w=None, z=None)
        with pytest.raises(TypeError, match="names q"):
            declared.vjp(x=lambda g, q: g, w=None)
        with pytest.raises(TypeError, match="take `g` first"):
            declared.vjp(x=lambda w: w, w=None)
        with pytest.raises(TypeError, match="exists already"):
            primitive(body)
    finally:
        primitives_registry().pop("body", None)


def test_every_operation_is_in_the_namespace_of_operations() -> None:
    declared = {
        name
        for name, function in {**primitives(), **composites()}.items()
        if function.__module__.startswith("tapegrad.autograd.ops.")
    }
    named_otherwise = {
        "numpy_pad",  # what np.pad runs: it has options that `pad` has not
        "shape",  # `ops.shape` is a file
    }
    assert declared - named_otherwise <= set(ops.__all__)


def primitives_registry() -> dict[str, object]:
    import sys

    from tapegrad.autograd import primitive as _  # noqa: F401  # the module behind the function

    return sys.modules["tapegrad.autograd.core.declaration"]._registry


def test_a_users_primitive_is_differentiable_to_any_order() -> None:
    try:

        @primitive
        def cube_of(xp, x):  # a body as a user writes it
            """x³, elementwise."""
            return x * x * x

        cube_of.vjp(x=lambda g, x: 3 * g * x * x)
        assert grad(cube_of)(2.0) == 12.0
        assert grad(grad(grad(cube_of)))(2.0) == 6.0
        assert "cube_of" in primitives()
    finally:
        primitives_registry().pop("cube_of", None)


def test_a_joint_rule_serves_several_arguments() -> None:
    try:

        @primitive
        def weighted(xp, x, w):  # a body as a user writes it
            """x·w, elementwise."""
            return x * w

        @weighted.joint_vjp("x", "w")
        def rule(g, x, w):  # a rule as a user writes it
            return g * w, g * x

        assert grad(weighted, (0, 1))(2.0, 5.0) == (5.0, 2.0)
        assert grad(weighted, 1)(2.0, 5.0) == 2.0
        assert grad(grad(lambda x: weighted(x, x)))(2.0) == 2.0
    finally:
        primitives_registry().pop("weighted", None)


def test_another_backend_can_have_its_own_body() -> None:
    try:

        @primitive
        def doubled(xp, x):  # a body as a user writes it
            """2x, elementwise."""
            return x + x

        @doubled.on("cuda")
        def on_cuda(xp, x):  # a body as a user writes it
            raise AssertionError("not for NumPy")

        doubled.vjp(x=lambda g: g + g)
        assert doubled(np.array([2.0])) == [4.0]
    finally:
        primitives_registry().pop("doubled", None)


# Tensor ----------------------------------------------------------------------------------------


def test_a_tensor_answers_as_an_ndarray_does() -> None:
    a = RNG.normal(size=(3, 4))
    t = Tensor(a)
    pairs = [
        (t.T, a.T),
        (t[1:, ::2], a[1:, ::2]),
        (t[[0, 2], 1], a[[0, 2], 1]),
        (t[a > 0], a[a > 0]),
        (t[None, ..., 0], a[None, ..., 0]),
        (2 - t, 2 - a),
        (2 / t, 2 / a),
        (abs(t) ** 1.5, abs(a) ** 1.5),
        (2**t, 2**a),
        (a @ t.T, a @ a.T),
        (t % 1, a % 1),
        (t // 1, a // 1),
        (-t, -a),
        (t > 0, a > 0),
        ((t > 0) & ~(t > 1), (a > 0) & ~(a > 1)),
        (t.mean(axis=0, keepdims=True), a.mean(axis=0, keepdims=True)),
        (t.std(axis=1, ddof=1), a.std(axis=1, ddof=1)),
        (t.reshape(2, -1), a.reshape(2, -1)),
        (t.astype(np.float32), a.astype(np.float32)),
        (t.astype(int), a.astype(int)),
        (np.moveaxis(t, 0, 1), np.moveaxis(a, 0, 1)),
        (np.clip(t, -0.5, 0.5), np.clip(a, -0.5, 0.5)),
        (np.concatenate([t, a], axis=1), np.concatenate([a, a], axis=1)),
        (np.einsum("ij,kj->ik", t, t), np.einsum("ij,kj->ik", a, a)),
        (np.tensordot(t, t, axes=([0], [0])), np.tensordot(a, a, axes=([0], [0]))),
        (np.var(t), np.var(a)),
        (np.prod(t, axis=1), np.prod(a, axis=1)),
        (np.cumsum(t, axis=1), np.cumsum(a, axis=1)),
        (np.tile(t, (2, 1)), np.tile(a, (2, 1))),
        (np.repeat(t, 2, axis=0), np.repeat(a, 2, axis=0)),
        (np.pad(t, ((1, 0), (0, 2))), np.pad(a, ((1, 0), (0, 2)))),
        (np.trace(t[:, :3]), np.trace(a[:, :3])),
        (np.outer(t[0], t[1]), np.outer(a[0], a[1])),
        (np.take(t, [0, 2], axis=1), np.take(a, [0, 2], axis=1)),
        (np.squeeze(t[:1]), np.squeeze(a[:1])),
    ]
    for ours, theirs in pairs:
        assert isinstance(ours, Tensor)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-14)
    assert np.shape(t) == (3, 4)
    assert np.ndim(t) == 2
    assert len(t) == 3
    assert np.allclose(t, a)
    assert not np.allclose(t, a + 1)
    assert [row.shape for row in t] == [(4,)] * 3
    assert float(t[0, 0]) == a[0, 0]
    assert f"{t[0, 0]:.3f}" == f"{a[0, 0]:.3f}"
    assert "tracked" in repr(Parameter(a) * 2)
    assert np.result_type(t, np.float32) == np.float64


def test_einsum_gradients_of_many_operands() -> None:
    arrays = [RNG.normal(size=s) for s in ((2, 3), (3, 4), (4, 5), (5, 2))]
    f = lambda *xs: np.sum(np.einsum("ab,bc,cd,de->ae", *xs) ** 2)  # noqa: E731  # short
    gradients = grad(f, (0, 1, 2, 3))(*arrays)
    product = np.linalg.multi_dot(arrays)
    np.testing.assert_allclose(gradients[0], 2 * product @ np.linalg.multi_dot(arrays[1:]).T)
    for text, shapes in {
        "ii->i": [(3, 3)],
        "ii": [(3, 3)],
        "...ij,...jk": [(2, 3, 4), (4, 5)],
        "i,j,k->": [(2,), (3,), (4,)],
        "ijj,j->i": [(2, 3, 3), (3,)],
        "bij,bjk->bik": [(2, 3, 4), (2, 4, 2)],
        "ij,ij->": [(3, 4), (3, 4)],
    }.items():
        given = [RNG.normal(size=s) for s in shapes]
        np.testing.assert_allclose(
            np.einsum(text, *[Tensor(x) for x in given]).numpy(), np.einsum(text, *given)
        )
    with pytest.raises(ValueError, match="operands"):
        np.einsum("ij,jk", Tensor(np.ones((2, 2))))


def test_three_operands_of_which_some_are_omitted_run_by_a_function_of_their_own(monkeypatch):
    x, bias = Parameter(np.arange(8.0).reshape(2, 4)), Parameter(np.ones(4))
    ops.normalize(x, axes=(1,))  # it is made at the first call
    monkeypatch.setitem(ops.normalize.__globals__, "_apply", None)
    y = ops.normalize(x, None, bias, axes=(1,))
    np.testing.assert_allclose(y.numpy().mean(1), 1)
    np.sum(y).backward()
    np.testing.assert_allclose(bias.grad.numpy(), 2)
    np.testing.assert_allclose(x.grad.numpy(), 0, atol=1e-12)
