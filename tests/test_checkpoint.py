"""Checkpoints: equal gradients of every order, less memory, and errors instead of wrong numbers."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import devices, nn
from tapegrad.autograd import (
    CheckpointError,
    InPlaceError,
    Parameter,
    Tensor,
    checkpoint,
    checkpoint_sequential,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    no_grad,
    ops,
    replay,
    value_and_grad,
    vjp,
)
from tapegrad.autograd.transforms.run_log import RunLog

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 4)) / 2
X = RNG.normal(size=4)


def layer(x):
    return np.tanh(W @ x) * x


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def close(a, b):
    """Equal, but for the order in which the uses of one array are added up."""
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-13)


# Derivatives --------------------------------------------------------------------------------------


def test_every_order_equals_that_of_the_plain_function() -> None:
    inside = checkpoint(layer)
    assert inside.__name__ == "layer"

    def plain(x):
        return np.sum(np.exp(layer(layer(x))))

    def kept(x):
        return np.sum(np.exp(inside(inside(x))))

    for _ in range(4):
        close(grad(kept)(X), grad(plain)(X))
        plain, kept = (
            lambda x, f=plain: np.sum(np.sin(grad(f)(x))),
            lambda x, f=kept: np.sum(np.sin(grad(f)(x))),
        )


def test_products_jacobian_and_hessian() -> None:
    inside, v = checkpoint(layer), RNG.normal(size=4)
    close(jacobian(inside)(X), jacobian(layer)(X))
    close(jvp(inside, X, v)[1], jacobian(layer)(X) @ v)
    h = hessian(lambda x: np.sum(layer(x) ** 2))(X)
    close(hessian(lambda x: np.sum(inside(x) ** 2))(X), h)
    product = hvp(lambda x: np.sum(inside(x) ** 2), X, v)
    close(product, h @ v)
    value, pull = vjp(inside, X)
    same(value, layer(X))
    same(pull(v), pull(v))  # two reverse sweeps, two reruns


def test_gradients_reach_what_the_function_closes_over() -> None:
    p, x = Parameter(W), Parameter(X)
    scale = x * 2  # tracked, and no leaf

    @checkpoint
    def inside(y):
        return np.tanh(p @ y) * scale

    np.sum(inside(x) * inside(np.ones(4))).backward()
    found = p.grad.numpy(), x.grad.numpy()
    p.grad = x.grad = None
    np.sum(np.tanh(p @ x) * scale * (np.tanh(p @ np.ones(4)) * scale)).backward()
    for a, b in zip(found, (p.grad.numpy(), x.grad.numpy()), strict=True):
        close(a, b)


def test_a_captured_variable_of_an_outer_derivative() -> None:
    def f(x, inside):
        scale = np.exp(x)
        return np.sum(inside(lambda y: y * scale + x)(x * x))

    first, second = grad(f), grad(lambda x, inside: np.sum(grad(f)(x, inside) ** 2))
    for g in first, second:
        close(g(X, checkpoint), g(X, lambda h: h))


def test_one_tensor_as_argument_and_captured_counts_each_use_once() -> None:
    x = Parameter(3.0, dtype=np.float64)
    y = checkpoint(lambda a, b: a * b * x)(x, x)
    y.backward()
    assert x.grad.item() == 27.0
    assert grad(grad(lambda x: checkpoint(lambda a: a * x * x)(x)))(2.0) == 12.0


def test_structures_keywords_and_several_results() -> None:
    @checkpoint
    def inside(pair, *, factor, name, bare):
        assert name == "n"
        assert type(bare) is np.ndarray
        a, rest = pair
        return {"p": a * rest["b"] * factor, "q": [np.sin(a), None], "n": 7, "c": Tensor(bare)}

    def loss(a, b, use):
        out = inside((a, {"b": b}), factor=Tensor(2.0), name="n", bare=np.ones(2))
        assert out["n"] == 7
        assert not out["c"].tracked
        return np.sum(out["p"] if use else out["q"][0])

    a, b = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    found = grad(loss, (0, 1))(a, b, use=True)
    same(found, [2 * b, 2 * a])
    found = grad(loss, (0, 1))(a, b, use=False)  # only one of two results is used
    same(found, [np.cos(a), 0 * b])


def test_results_that_are_arguments_or_captured_pass_through() -> None:
    x = Parameter(np.array([1.0, 2.0]))
    y = x * 3
    a, b, c = checkpoint(lambda t: (t, y, x))(x)
    assert y.tracked
    np.sum(a + 10 * b + 100 * c).backward()
    same(x.grad.numpy(), [131.0, 131.0])


def test_nested_checkpoints_and_derivatives_inside() -> None:
    def inner(x):
        return np.sin(x) * x

    def outer(wrap):
        def f(x):
            slope = grad(lambda y: np.sum(wrap(inner)(y) ** 2))(x)  # a derivative inside
            constant = grad(lambda w: np.sum(w * w * x))(np.ones(4))  # of a bare array, inside
            return wrap(inner)(slope) + constant

        return lambda x: np.sum(wrap(f)(x) ** 2)

    for order in 1, 2:
        plain, kept = outer(lambda f: f), outer(checkpoint)
        if order == 2:
            plain, kept = (
                (lambda x, f=f: np.sum(np.sin(grad(f)(x)))) for f in (outer(lambda f: f), kept)
            )
        close(grad(kept)(X), grad(plain)(X))


def test_modes() -> None:
    calls = []

    def inside(x):
        calls.append(x.tracked)
        return x * x

    p = Parameter(np.ones(2))
    with no_grad():
        assert not checkpoint(inside)(p).tracked
    assert not checkpoint(inside)(Tensor(np.ones(2))).tracked
    assert calls == [True, False]
    y = checkpoint(inside)(p)
    with no_grad():
        y.backward(np.ones(2))
    same(p.grad.numpy(), [2.0, 2.0])
    assert len(calls) == 4


# State --------------------------------------------------------------------------------------------


def test_random_numbers_are_drawn_again_and_once() -> None:
    stream = devices.Generator(seed=3)

    def inside(x):
        kept = ops.bernoulli(generator=stream, p=0.5, shape=x.shape, dtype=x.dtype)
        return x * x * kept * stream.normal(x.shape, np.float64)  # a draw that is no primitive

    def run(wrap):
        stream.seed(3)
        x = Parameter(np.arange(1.0, 30.0))
        y = np.sum(wrap(inside)(x) + wrap(inside)(x))
        between = stream.uniform((), np.float64)
        y.backward()
        return y.item(), x.grad.numpy(), between, stream.uniform((), np.float64)

    for a, b in zip(run(checkpoint), run(lambda f: f), strict=True):
        close(a, b)


def network(wrap=lambda module: module):
    nn.manual_seed(1)
    return nn.Sequential(
        wrap(nn.Sequential(nn.Linear(5, 6), nn.BatchNormalization(6), nn.Tanh(), nn.Dropout(0.3))),
        wrap(nn.Sequential(nn.Linear(6, 6), nn.BatchNormalization(6), nn.ReLU())),
        nn.Linear(6, 2),
    )


@pytest.mark.parametrize("stateful", [True, False])
def test_a_network_trains_with_equal_bits(stateful) -> None:
    x, target = RNG.normal(size=(8, 5)).astype(np.float32), RNG.integers(0, 2, 8)

    def train(model):
        criterion, losses = nn.CrossEntropyCriterion(), []
        nn.manual_seed(2)
        for _ in range(5):
            model.zeroGradParameters()
            if stateful:
                losses.append(criterion.forward(model.forward(x), target).item())
                slope = model.backward(x, criterion.backward(model.output, target))
            else:
                loss = criterion(model(x), target)
                loss.backward()
                losses.append(loss.item())
                slope = None
            model.updateParameters(0.1)
        return losses, slope, model.state_dict()

    plain, kept = train(network()), train(network(nn.Checkpoint))
    assert plain[0] == kept[0]
    if stateful:
        same(plain[1].numpy(), kept[1].numpy())
    for a, b in zip(plain[2].values(), kept[2].values(), strict=True):
        same(a, b)


def test_state_that_is_read_and_written_is_wound_back() -> None:
    count, whole = Tensor(np.zeros(())), Tensor(np.zeros(4))

    def inside(x):
        ops.accumulate(count, 1.0)
        ops.accumulate(Tensor(whole.numpy()[1:3]), 1.0)  # a view
        return x * x * (count + 0) * (whole + 1)

    x = Parameter(np.ones(4))
    y = checkpoint(inside)(x) + checkpoint(inside)(x)
    np.sum(y).backward()
    same(x.grad.numpy(), [6.0, 16.0, 16.0, 6.0])
    assert count.item() == 2.0
    same(whole.numpy(), [0.0, 2.0, 2.0, 0.0])
    # The writes that a rerun makes and undoes are not held against other derivatives.
    y = checkpoint(inside)(x)
    z = np.sum(x * whole)
    np.sum(y).backward()
    z.backward()


def test_a_view_and_then_its_owner_are_wound_back() -> None:
    whole, x = Tensor(np.arange(4.0)), Parameter(np.ones(4))

    def inside(x):
        ops.accumulate(Tensor(whole.numpy()[1:3]), 1.0)
        ops.accumulate(whole, 1.0)
        return x * (whole + 0)

    np.sum(checkpoint(inside)(x)).backward()
    same(x.grad.numpy(), [1.0, 3.0, 4.0, 4.0])
    same(whole.numpy(), [1.0, 3.0, 4.0, 4.0])


def test_a_view_with_the_id_of_an_array_that_is_gone_is_wound_back() -> None:
    memory, log, views = np.zeros(4), RunLog(), []
    array = np.ones(4)
    log._note_write(array)
    number = id(array)
    del array
    while len(views) < 100 and number not in map(id, views):
        views.append(memory[:2])
    assert id(views[-1]) == number
    log._note_write(views[-1])
    memory[:2] = 7
    with log.undoing_writes(taped=False):
        assert list(memory) == [0, 0, 0, 0]
    assert list(memory) == [7, 7, 0, 0]


def test_replay_of_a_step_with_checkpoints_equals_it() -> None:
    x, target = RNG.normal(size=(8, 5)).astype(np.float32), RNG.integers(0, 2, 8)

    def trained(make):
        model, criterion = network(nn.Checkpoint), nn.CrossEntropyCriterion()
        model.zeroGradParameters()

        def step(x, target):
            model.zeroGradParameters()
            loss = criterion(model(x), target)
            loss.backward()
            model.updateParameters(0.1)
            return loss

        step = make(step)
        nn.manual_seed(2)
        losses = [step(Tensor(x), Tensor(target)).item() for _ in range(6)]
        return losses, model.state_dict(), getattr(step, "recorded", 0)

    eager, replayed = trained(lambda step: step), trained(replay)
    assert replayed[2] == 1
    assert eager[0] == replayed[0]
    for a, b in zip(eager[1].values(), replayed[1].values(), strict=True):
        same(a, b)


def test_modules_inside_a_checkpoint_keep_nothing() -> None:
    inner = nn.Linear(3, 3)
    model = nn.Sequential(nn.Checkpoint(nn.Sequential(inner, nn.Tanh())), nn.Linear(3, 1))
    x = np.ones((2, 3), np.float32)
    model.backward(x, model.forward(x) * 0 + 1)
    assert inner.output.size == inner.gradInput.size == 0
    assert model.modules[0].gradInput.shape == (2, 3)
    assert np.any(inner.gradWeight.numpy())


def test_a_module_that_checkpoints_its_own_code() -> None:
    class Block(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(3, 3).double()

        def updateOutput(self, x):
            return checkpoint(lambda y: np.tanh(self.linear.forward(y)))(x)

    block, x, g = Block(), RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))
    block.forward(x)
    slope = block.backward(x, g)
    y = np.tanh(x @ block.linear.weight.numpy().T + block.linear.bias.numpy())
    np.testing.assert_allclose(slope.numpy(), g * (1 - y * y) @ block.linear.weight.numpy())
    assert block.linear.output.size == 0


def test_a_forward_that_fails_in_a_checkpoint_changes_no_state() -> None:
    norm = nn.BatchNormalization(3)
    model = nn.Sequential(nn.Checkpoint(nn.Sequential(norm, nn.Dropout(), nn.Linear(4, 1))))
    before, state = norm.state_dict(), devices.generator().get_state()
    with pytest.raises(nn.ShapeError, match=r"Sequential\[0\].Checkpoint\[0\].Sequential\[2\]"):
        model.forward(RNG.normal(size=(4, 3)).astype(np.float32))
    for name, value in norm.state_dict().items():
        same(value, before[name])
    assert devices.generator().get_state() == state


# What is not repeatable ---------------------------------------------------------------------------


def test_another_run_is_an_error_that_names_it() -> None:
    p, other = Parameter(np.ones(3)), Parameter(np.ones(3))
    box = {"w": p, "n": 2, "factor": 1.0, "shape": 3, "all": True}

    def inside(x):
        y = x[: box["shape"]] * box["w"][: box["shape"]]
        for _ in range(box["n"]):
            y = np.sin(y)
        y = np.sum(y) * box["factor"]
        return y if box["all"] else y.detach()

    changes = {
        ("w", other): r"checkpoint\(inside\).*another tracked Tensor \(3,\)",
        ("n", 3): r"call \d was sum, now it is sin",
        ("n", 1): r"call \d was sin, now it is sum",
        ("shape", 2): r"call 0 was take_slice, now it is another shape",
        ("factor", 1.5): "other values",
        ("all", False): "returned 0 tracked arrays, before 1",
    }
    for (key, value), message in changes.items():
        y, kept = checkpoint(inside)(p), box[key]
        y.backward()
        box[key] = value
        with pytest.raises(CheckpointError, match=message):
            y.backward()
        box[key] = kept
        y.backward()


def test_numpys_own_random_numbers_are_noticed() -> None:
    rng = np.random.default_rng(0)
    y = checkpoint(lambda x: x * rng.normal(size=50))(Parameter(np.ones(50)))
    with pytest.raises(CheckpointError, match="other values"):
        y.backward(np.ones(50))


def test_a_write_to_what_it_reads_is_noticed() -> None:
    p, bias, x = Parameter(np.ones(3)), Parameter(np.zeros(3)), Parameter(np.ones(3))
    for written in p, bias, x:  # the bias is not saved by any call: adding saves nothing
        y = np.sum(checkpoint(lambda x: np.sin(x * p + bias))(x))
        ops.accumulate(written.detach(), 1e-9)
        with pytest.raises(InPlaceError):
            y.backward()
    y = np.sum(checkpoint(lambda x: np.sin(x * p + bias))(x))
    ops.accumulate(Tensor(np.ones(2)), 1.0)  # something else
    y.backward()


def test_exceptions_leave_nothing_behind() -> None:
    stream, count, fail = devices.Generator(seed=0), Tensor(np.zeros(2)), [False]

    def inside(x):
        ops.accumulate(count, 1.0)
        noise = ops.normal(generator=stream, shape=x.shape, dtype=x.dtype)
        if fail[0]:
            raise ZeroDivisionError
        return x * noise * x

    p = Parameter(np.ones(2))
    y = checkpoint(inside)(p)
    fail[0], state = True, stream.get_state()
    with pytest.raises(ZeroDivisionError):
        y.backward(np.ones(2))
    assert stream.get_state() == state
    same(count.numpy(), [1.0, 1.0])
    assert p.grad is None
    with pytest.raises(ZeroDivisionError):
        checkpoint(inside)(p)
    fail[0] = False
    stream.set_state(state)
    y.backward(np.ones(2))
    assert p.grad is not None
    assert stream.get_state() == state
    assert grad(lambda x: x * x)(3.0) == 6.0  # still in the ordinary mode


# Memory -------------------------------------------------------------------------------------------


def test_nothing_inside_is_kept_and_there_are_no_cycles() -> None:
    model = nn.Sequential(nn.Checkpoint(nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Tanh())))
    inside: list[object] = []

    def f(x):
        y = np.sin(x)
        inside.append(weakref.ref(y._bare))
        return np.sin(y)

    gc.collect()
    gc.disable()
    try:
        p = Parameter(np.ones(3))
        y = checkpoint(f)(p)
        assert inside[0]() is None
        y.backward(np.ones(3))
        grad(grad(lambda x: np.sum(checkpoint(f)(x))))
        assert all(reference() is None for reference in inside)
        x = np.ones((2, 3), np.float32)
        model.backward(x, model.forward(x).numpy())
        model(x).backward(np.ones((2, 3), np.float32))
        reference = weakref.ref(model)
        del model, y
        assert reference() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_threads_do_not_disturb_the_comparison() -> None:
    def work():
        p = Parameter(np.ones(5))
        for _ in range(200):
            y = np.sum(checkpoint(lambda x: np.sin(np.cos(x)))(p))
            y.backward()
        results.append(p.grad.numpy())

    results: list[np.ndarray] = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        same(result, results[0])


def peak(run):
    run()
    gc.collect()
    tracemalloc.start()
    try:
        result = run()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.extra
def test_two_hundred_layers_take_at_most_a_quarter_of_the_memory() -> None:
    nn.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(200)]
    x = RNG.normal(size=(1024, 64)).astype(np.float32)

    def loss(x, run):
        return np.mean(run(x) ** 2)

    def plain(x):
        for each in layers:
            x = each(x)
        return x

    def measured(run):
        def step():
            for each in layers:
                each.zeroGradParameters()
            value, slope = (y.numpy() for y in value_and_grad(loss)(x, run))
            loss(Tensor(x), run).backward()
            gradients = [g.numpy().copy() for each in layers for g in each.parameters()[1]]
            return value, slope, gradients

        return peak(step)

    most, expected = measured(plain)
    least, found = measured(lambda x: checkpoint_sequential(layers, x))
    assert least <= most / 4, (least, most)
    same(found[0], expected[0])
    same(found[1], expected[1])
    for a, b in zip(found[2], expected[2], strict=True):
        same(a, b)


def test_segments() -> None:
    calls = []

    def f(x):
        calls.append(1)
        return np.sin(x)

    for segments in None, 1, 3, 7:
        same(
            grad(lambda x, n=segments: np.sum(checkpoint_sequential([f] * 7, x, n)))(X),
            grad(lambda x: np.sum(f(f(f(f(f(f(f(x)))))))))(X),
        )
    assert len(calls) == 4 * (14 + 7)
    assert checkpoint_sequential([], 3) == 3
    for wrong in 0, 8:
        with pytest.raises(ValueError, match=f"segments={wrong}, it must be 1 to 7"):
            checkpoint_sequential([f] * 7, X, wrong)
    assert tg.checkpoint is checkpoint


def test_strict_arrays_are_checkpointed():
    def run(wrapped):
        tg.manual_seed(3)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNormalization(4), nn.Dropout(0.5)).double()
        model.to("strict")
        generator = devices.Generator("strict", 5)
        x = Parameter(np.random.default_rng(0).standard_normal((6, 3)), device="strict")

        def inside(x):
            noise = tg.ops.uniform(generator=generator, shape=x.shape, dtype=np.float64)
            y = np.zeros_like(x)
            y[1:] = x[:-1] * noise[1:]
            return np.tanh(model[1](model[0](y)))

        loss = np.sum(wrapped(inside)(x) ** 2)
        loss.backward()
        return [loss, x.grad, *(p.grad for p in model.parameters()[0] if p.grad is not None)]

    plain, kept = run(lambda f: f), run(checkpoint)
    assert len(plain) == 6
    for a, b in zip(plain, kept, strict=True):
        assert str(b.device) == "strict"
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
