"""`per_sample_grad` and `vmap` against the loop over samples, and what they refuse.

That every primitive's batching rule agrees with the loop is a law
(`autograd/check/primitives/batches.py`); which primitives have none is said here, each with its
reason.
"""

import inspect

import numpy as np
import pytest

from tapegrad import (
    Parameter,
    Tensor,
    autograd,
    custom_vjp,
    devices,
    grad,
    hessian,
    jacobian,
    jvp,
    nn,
    no_grad,
    ops,
    optim,
    per_sample_grad,
    replay,
    value_and_grad,
    vmap,
)
from tapegrad.autograd import BatchingError, primitives
from tapegrad.autograd.check.laws import must_leave_no_cycles
from tapegrad.autograd.transforms.sample import Single

B = 5

WITHOUT_RULE = {
    "accumulate": "it writes",
    "assign": "it writes",
    "assign_at": "it writes",
    "optimizer_step": "it writes",
    "nearest_centroid": "its rule trains centroids by all rows of a call, not by one sample",
    **dict.fromkeys(
        (
            "detected_rows",
            "detections",
            "frcnn_detections",
            "proposed_regions",
            "pyramid_regions",
        ),
        "how many rows come out depends on the entries",
    ),
    "packbits": "bits of the flattened array share bytes",
    "unpackbits": "the inverse of packbits",
    "replace_gradients": "it hands the gradients to a function of the user's, for all arrays",
    "watch_gradient": "it hands the gradient to a function of the user's, which reads values",
}


def test_every_primitive_has_a_batching_rule_or_a_reason():
    assert nn.__all__  # their primitives are declared
    assert optim.__all__
    own = {
        name: f.primitive
        for name, f in primitives().items()
        if f.__module__.startswith("tapegrad.")
    }
    without = {name for name, primitive in own.items() if primitive.batch_rule is None}
    assert without == WITHOUT_RULE.keys(), (
        "declare a batching rule, `name.batch(rule)`, beside the primitive (ops/batch_rules.py has "
        "the usual ones), or give a reason in WITHOUT_RULE"
    )
    assert all(own[name].mutates for name, why in WITHOUT_RULE.items() if why == "it writes")


# Gradients of each sample -------------------------------------------------------------------------


def drawn(*shapes, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def bare(tree):
    return [x.numpy() if isinstance(x, Tensor) else x for x in autograd.core.tree.leaves(tree)]


def looped(loss, args, in_axes, argnums=0):
    """The gradients of samples one after the other, stacked."""
    rows = []
    for i in range(B):
        one = [
            a if axis is None else autograd.core.tree.map_leaves(lambda x, i=i: x[i], a)
            for a, axis in zip(args, in_axes, strict=True)
        ]
        rows.append(bare(grad(loss, argnums)(*one)))
    return [np.stack(parts) for parts in zip(*rows, strict=True)]


def agrees(loss, args, in_axes, argnums=0, tolerance=1e-12):
    found = bare(per_sample_grad(loss, argnums, in_axes=in_axes)(*args))
    expected = looped(loss, args, in_axes, argnums)
    assert len(found) == len(expected) > 0
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert f.dtype == e.dtype
        assert np.any(e), "a gradient of 0 proves nothing"
        np.testing.assert_allclose(f, e, rtol=tolerance, atol=tolerance)


LABELS = np.array([2, 0, 1, 1, 2])


def regression(w, x, y):
    return (x @ w - y) ** 2


def perceptron(parameters, x, label):
    w1, b1, w2 = parameters
    return -ops.log_softmax(np.tanh(x @ w1 + b1) @ w2)[label]


def embedded(table, words, label):
    return -ops.log_softmax(table[words].mean(axis=0))[label]


def recurrent(weights, xs):
    w, u = weights
    h = np.zeros(3)
    for x in xs:
        h = np.tanh(w @ h + u @ x)
    return (h * h).sum()


def images(kernels, x, label):
    k1, k2, w = kernels
    y = ops.max_pool2d(ops.relu(ops.conv2d(x[None], k1, padding=1)), kernel=2)
    y = ops.avg_pool2d(np.tanh(ops.conv2d(y, k2, groups=2)), kernel=2)
    return -ops.log_softmax(y.reshape(-1) @ w)[label]


def definite(a, x):
    """A positive definite matrix that depends on a and on x."""
    return a @ a.T + np.eye(3) * 3 + np.outer(x, x)


LOSSES = {
    "regression": (regression, drawn((3,), (B, 3), (B,)), (None, 0, 0)),
    "perceptron": (
        perceptron,
        [drawn((4, 6), (6,), (6, 3)), *drawn((B, 4)), LABELS],
        (None, 0, 0),
    ),
    "embedding": (
        embedded,
        [*drawn((7, 3)), np.arange(B * 4).reshape(B, 4) ** 2 % 7, LABELS],
        (None, 0, 0),
    ),
    "recurrent": (recurrent, [drawn((3, 3), (3, 2)), *drawn((B, 6, 2))], (None, 0)),
    "convolution": (
        images,
        [drawn((4, 2, 3, 3), (2, 2, 2, 2), (2, 3)), *drawn((B, 2, 6, 6)), LABELS],
        (None, 0, 0),
    ),
    "solve": (
        lambda a, x: (np.linalg.solve(definite(a, x), x) ** 2).sum(),
        drawn((3, 3), (B, 3)),
        (None, 0),
    ),
    "solve with one matrix": (
        lambda a, x: (np.linalg.solve(a, x) ** 2).sum(),
        drawn((3, 3), (B, 3)),
        (None, 0),
    ),
    "determinant": (
        lambda a, x: np.log(np.linalg.det(definite(a, x))),
        drawn((3, 3), (B, 3)),
        (None, 0),
    ),
    "cholesky": (
        lambda a, x: np.sin(np.linalg.cholesky(definite(a, x))).sum(),
        drawn((3, 3), (B, 3)),
        (None, 0),
    ),
    "einsum": (
        lambda w, x, y: np.einsum("i,ijk,j,k->", x, w, y, y) ** 2,
        drawn((2, 3, 3), (B, 2), (B, 3)),
        (None, 0, 0),
    ),
    "einsum with a diagonal": (
        lambda w, x: np.einsum("ii,i->", w @ w, x) ** 2,
        drawn((3, 3), (B, 3)),
        (None, 0),
    ),
    "statistics": (
        lambda w, x: np.std(np.sort(w * x)) + np.median(w * x) ** 2 + np.prod(np.cumsum(w * x)),
        drawn((4,), (B, 4)),
        (None, 0),
    ),
    "a mask of np.where": (
        lambda w, x: np.where(x > 0, w * x, 0).sum() ** 2 + np.max(w * x),
        drawn((4,), (B, 4)),
        (None, 0),
    ),
    "an index from argmax": (
        lambda w, x: (w * x)[np.argmax(x)] * (w @ x),
        drawn((4,), (B, 4)),
        (None, 0),
    ),
    "indices between slices": (
        lambda w, i, j: (
            (w[i, :, j] ** 2).sum() + (w[:, i, 1:, j] ** 3).sum() + w[..., i].sum() ** 2
        ),
        [*drawn((3, 3, 4, 3)), np.arange(B * 2).reshape(B, 2) % 3, np.arange(B) % 3],
        (None, 0, 0),
    ),
    "another axis of samples": (
        lambda w, x: (np.tanh(x @ w) ** 2).sum(),
        drawn((3, 2), (4, B, 3)),
        (None, 1),
    ),
    "with respect to the sample": (
        lambda x, w: (np.tanh(x @ w) ** 2).sum(),
        drawn((B, 4, 3), (3, 2)),
        (0, None),
    ),
    "complex": (
        lambda w, x: (np.abs(np.fft.fft(w * x) * (1 + 2j)) ** 3).sum(),
        drawn((4,), (B, 4)),
        (None, 0),
    ),
}


def moved(args, in_axes):
    """The arguments with their samples in front, for the loop."""
    return [
        a if not axis else np.moveaxis(a, axis, 0) for a, axis in zip(args, in_axes, strict=True)
    ]


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_loop(name):
    loss, args, axes = LOSSES[name]
    if axes == (None, 1):
        found = per_sample_grad(loss, in_axes=axes)(*args)
        [expected] = looped(loss, moved(args, axes), (None, 0))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        return
    agrees(loss, args, axes)


@pytest.mark.parametrize("name", ["regression", "perceptron", "embedding", "convolution", "solve"])
def test_float32_stays_float32(name):
    loss, args, axes = LOSSES[name]
    single = autograd.core.tree.map_leaves(
        lambda x: x.astype(np.float32) if x.dtype == np.float64 else x, list(args)
    )
    agrees(loss, single, axes, tolerance=2e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_second_derivatives_pass_through(name):
    """The gradient of the sum of all squared gradients, by one sweep over the batch's own."""
    loss, args, axes = LOSSES[name]
    leading = moved(args, axes)
    shared = axes[0] is None

    def squares(first):
        gradients = per_sample_grad(loss, in_axes=axes)(first, *args[1:])
        return sum((np.abs(g) ** 2).sum() for g in autograd.core.tree.leaves(gradients))

    def one_by_one(first):
        total = 0
        for i in range(B):
            rest = [
                a if axis is None else a[i] for a, axis in zip(leading[1:], axes[1:], strict=True)
            ]
            own = first if shared else first[i]
            gradients = grad(loss)(own, *rest)
            total = total + sum(
                (np.abs(g) ** 2).sum() for g in autograd.core.tree.leaves(gradients)
            )
        return total

    found, expected = bare(grad(squares)(args[0])), bare(grad(one_by_one)(args[0]))
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-8, atol=1e-8 * np.abs(e).max())
    assert any(np.any(e) for e in expected)


def test_several_arguments_and_nests_keep_their_structure():
    [a, b, c], [x] = drawn((3,), (3,), (2, 3)), drawn((B, 3))

    def loss(first, x, second):
        y = first["a"] * x + first["more"][0]
        return (np.tanh(second @ y) ** 2).sum()

    first = {"a": a, "more": (b, None)}
    found = per_sample_grad(loss, (0, 2))(first, x, c)
    assert isinstance(found, tuple)
    assert list(found[0]) == ["a", "more"]
    assert isinstance(found[0]["more"], tuple)
    assert found[0]["more"][1] is None
    expected = looped(loss, (first, x, c), (None, 0, None), (0, 2))
    for f, e in zip(bare(found), expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-12)


def test_a_gradient_that_samples_share_is_repeated_and_owned():
    w, x = drawn((3,), (B, 3))
    found = per_sample_grad(lambda w, x: (w * w).sum() + x.sum())(w, x)
    assert found.flags.writeable
    np.testing.assert_array_equal(found, np.tile(2 * w, (B, 1)))
    independent = per_sample_grad(lambda w, x: x.sum() + 0 * w.detach().sum())(w, x)
    np.testing.assert_array_equal(independent, np.zeros((B, 3)))
    first, second = per_sample_grad(lambda u, v, x: ((u + v) * x).sum(), (0, 1))(w, w, x)
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, x)


def test_arrays_give_arrays_and_tensors_give_tensors():
    loss, args, _ = LOSSES["regression"]
    assert type(per_sample_grad(loss)(*args)) is np.ndarray
    found = per_sample_grad(loss)(*map(Tensor, args))
    assert type(found) is Tensor
    assert not found.tracked
    assert type(vmap(np.sin)(args[1])) is np.ndarray
    assert type(vmap(np.sin)(Tensor(args[1]))) is Tensor
    assert vmap(lambda x: x @ Parameter(args[0]))(args[1]).tracked


def test_a_batch_of_one_and_an_empty_batch():
    w, x, y = drawn((3,), (1, 3), (1,))
    np.testing.assert_allclose(
        per_sample_grad(regression)(w, x, y)[0], grad(regression)(w, x[0], y[0])
    )
    assert per_sample_grad(regression)(w, x[:0], y[:0]).shape == (0, 3)
    reshaped = vmap(lambda x: x.reshape(-1, 1).sum(axis=1))
    assert reshaped(np.ones((0, 2, 3))).shape == (0, 6)


def test_strict_arrays_give_the_same_gradients():
    home = devices.device("strict")
    names = ("perceptron", "embedding", "convolution", "einsum", "solve with one matrix")
    for name in (*names, "statistics", "indices between slices"):
        loss, args, axes = LOSSES[name]
        there = autograd.core.tree.map_leaves(lambda x: devices.to_device(x, home), list(args))
        found = autograd.core.tree.leaves(per_sample_grad(loss, in_axes=axes)(*there))
        for f, e in zip(found, looped(loss, args, axes), strict=True):
            assert devices.device_of(f) == home
            np.testing.assert_allclose(devices.to_numpy(f), e, rtol=1e-12, atol=1e-12)


# Modules ------------------------------------------------------------------------------------------


def images32(*shape):
    return drawn((B, *shape), dtype=np.float32)[0]


WORDS = np.arange(B * 3).reshape(B, 3) ** 2 % 7
MODULES = {
    "Linear": (lambda: nn.Linear(4, 3), images32(4), images32(3)),
    "rows of one sample": (lambda: nn.Linear(4, 3), images32(2, 4), images32(2, 3)),
    "perceptron": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
        images32(4),
        LABELS,
    ),
    "convolutional": (
        lambda: nn.Sequential(
            nn.SpatialConvolution(2, 4, 3, 3),
            nn.ReLU(),
            nn.SpatialMaxPooling(2, 2),
            nn.View(-1),
            nn.Linear(16, 3),
        ),
        images32(2, 6, 6),
        LABELS,
    ),
    "batch normalization": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNormalization(3), nn.LogSoftMax()),
        images32(4),
        LABELS,
    ),
    "layer normalization": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.PReLU(), nn.Linear(5, 3)),
        images32(4),
        LABELS,
    ),
    "LookupTable": (
        lambda: nn.Sequential(nn.LookupTable(7, 2), nn.View(-1), nn.Linear(6, 3)),
        WORDS,
        LABELS,
    ),
    "Embedding": (
        lambda: nn.Sequential(nn.Embedding(7, 2), nn.Mean(0), nn.Linear(2, 3)),
        WORDS,
        LABELS,
    ),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8), images32(6, 4), images32(6, 4)),
    "recurrent": (lambda: nn.SeqLSTM(3, 4), images32(5, 1, 3), images32(5, 1, 4)),
}


@pytest.mark.parametrize("name", MODULES)
def test_gradients_of_a_modules_parameters_are_those_of_backward(name):
    nn.manual_seed(0)
    make, x, y = MODULES[name]
    model = make()
    model.evaluate()
    if name == "batch normalization":
        criterion = nn.ClassNLLCriterion()
    else:
        criterion = nn.CrossEntropyCriterion() if y is LABELS else nn.MSECriterion()
    parameters = model.parameters()[0]
    found = per_sample_grad(lambda x, y: criterion(model(x), y), parameters=parameters)(x, y)
    assert [type(g) for g in found] == [np.ndarray] * len(parameters)
    for i in range(B):
        model.zeroGradParameters()
        criterion(model(x[i]), y[i]).backward()
        for f, p in zip(found, parameters, strict=True):
            expected = p.grad.numpy()
            assert f.shape == (B, *p.shape)
            assert f.dtype == p.dtype
            scale = max(1e-3, np.abs(expected).max())
            np.testing.assert_allclose(f[i], expected, rtol=0, atol=1e-5 * scale)


def test_clipped_gradients_of_a_module():
    nn.manual_seed(0)
    model, criterion = nn.Linear(4, 3), nn.CrossEntropyCriterion()
    x = images32(4)
    weight, bias = per_sample_grad(
        lambda x, y: criterion(model(x), y), parameters=model.parameters()[0]
    )(x, LABELS)
    norms = np.sqrt((weight**2).sum((1, 2)) + (bias**2).sum(1))
    clipped = (weight / np.maximum(norms, 1)[:, None, None]).sum(0)
    expected = 0
    for i in range(B):
        p = np.exp(model(x[i]).detach().numpy())
        row = p / p.sum() - np.eye(3)[LABELS[i]]
        full = np.outer(row, x[i])
        expected += full / max(1, np.sqrt((full**2).sum() + (row**2).sum()))
    np.testing.assert_allclose(clipped, expected, rtol=1e-5, atol=1e-6)


def test_dropout_draws_for_every_sample():
    dropout = nn.Dropout(0.5)
    dropout.training()
    kept = vmap(dropout)(np.ones((8, 32)))
    assert set(np.unique(kept.numpy() if isinstance(kept, Tensor) else kept)) == {0, 2}
    assert len({row.tobytes() for row in np.asarray(kept)}) == 8


@pytest.mark.parametrize("draw", [ops.uniform, ops.normal, ops.bernoulli])
def test_random_primitives_draw_for_every_sample(draw):
    options = {"p": 0.5} if draw is ops.bernoulli else {}

    def fn(x):
        stream = devices.Generator(seed=3)
        return x + draw(generator=stream, shape=(16,), dtype=np.dtype(np.float64), **options)

    found = vmap(fn)(np.zeros(8))
    assert found.shape == (8, 16)
    assert len({row.tobytes() for row in found}) == 8


def test_running_statistics_refuse():
    model = nn.BatchNormalization(3)
    model.training()
    with pytest.raises(BatchingError, match=r"test_batching\.py:\d+: assign writes into an array"):
        vmap(model)(np.ones((B, 2, 3), np.float32))


class Doubled(nn.Linear):
    def updateGradInput(self, input, gradOutput):
        return super().updateGradInput(input, gradOutput * 2)


def test_hand_written_gradients_refuse():
    model = Doubled(4, 3)
    with pytest.raises(BatchingError, match="Doubled has a hand-written gradient"):
        per_sample_grad(lambda x: model(x).sum(), parameters=model.parameters()[0])(images32(4))


# vmap ---------------------------------------------------------------------------------------------


def test_vmap_puts_axes_where_they_are_asked_for():
    a, b = drawn((3, B, 2), (4, B))

    def fn(x, y, z):
        return {"outer": np.outer(x, y), "sum": [x.sum() + z, 2.0]}

    found = vmap(fn, in_axes=(-2, 1, None), out_axes=-1)(a.reshape(3 * 2, B, 1)[:, :, 0:1], b, 1.5)
    first = a.reshape(6, B, 1)
    for i in range(B):
        np.testing.assert_allclose(found["outer"][..., i], np.outer(first[:, i], b[:, i]))
        np.testing.assert_allclose(found["sum"][0][i], first[:, i].sum() + 1.5)
    np.testing.assert_array_equal(found["sum"][1], np.full(B, 2.0))


def test_vmaps_nest():
    a, b = drawn((4, 3), (B, 3))
    distances = vmap(lambda x: vmap(lambda y: np.sqrt(((x - y) ** 2).sum()))(Tensor(b)))(a)
    expected = np.sqrt(((a[:, None] - b) ** 2).sum(-1))
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    pairs = vmap(lambda x: per_sample_grad(regression, in_axes=(None, 0, None))(x, Tensor(b), 1.0))(
        a
    )
    for i in range(4):
        for j in range(B):
            np.testing.assert_allclose(pairs[i, j], grad(regression)(a[i], b[j], 1.0), rtol=1e-12)


def test_derivatives_inside_a_vmap():
    [x] = drawn((B, 3))
    f = lambda x: (x**3).sum() * x[0]  # noqa: E731  # as in the formulas below
    hessians = vmap(hessian(f))(x)
    values, slopes = vmap(value_and_grad(f))(x)
    tangents = vmap(lambda x: jvp(np.sin, x, x)[1])(x)
    rows = vmap(jacobian(lambda x: np.outer(x, x)))(x)
    for i in range(B):
        np.testing.assert_allclose(hessians[i], hessian(f)(x[i]), rtol=1e-12)
        np.testing.assert_allclose(slopes[i], grad(f)(x[i]), rtol=1e-12)
        np.testing.assert_allclose(values[i], f(x[i]), rtol=1e-12)
        np.testing.assert_allclose(rows[i], jacobian(lambda x: np.outer(x, x))(x[i]))
    np.testing.assert_allclose(tangents, x * np.cos(x), rtol=1e-12)


def test_a_derivative_by_what_samples_share_inside_a_vmap():
    w, x = drawn((3,), (B, 3))
    values, slopes = vmap(lambda x: value_and_grad(lambda u: (u * u * x).sum())(w))(x)
    np.testing.assert_allclose(values, x @ (w * w), rtol=1e-12)
    np.testing.assert_allclose(slopes, 2 * w * x, rtol=1e-12)


def test_detached_values_and_no_grad_are_constants():
    [w, x] = drawn((3,), (B, 3))

    def loss(w, x):
        with no_grad():
            scale = (w * x).sum()
        return (w * x * scale * np.tanh((w * x).detach())).sum()

    agrees(loss, [w, x], (None, 0))
    total = grad(lambda w: vmap(loss, (None, 0))(w, x).sum())(w)
    np.testing.assert_allclose(total, per_sample_grad(loss)(w, x).sum(0), rtol=1e-12)


def test_a_step_with_gradients_of_samples_can_be_replayed():
    model, criterion = nn.Linear(4, 3), nn.CrossEntropyCriterion()
    parameters = model.parameters()[0]
    slopes = per_sample_grad(lambda x, y: criterion(model(x), y), parameters=parameters)
    step = replay(slopes)
    for seed in range(4):
        [x] = drawn((B, 4), dtype=np.float32, seed=seed)
        labels = Tensor(np.roll(LABELS, seed))
        for f, e in zip(step(Tensor(x), labels), slopes(x, labels), strict=True):
            np.testing.assert_array_equal(f.numpy(), e.numpy() if isinstance(e, Tensor) else e)
    assert step.recorded == 1


def test_a_replayed_batch_is_recorded_anew_when_a_module_changes_its_mode():
    dropout = nn.Dropout(0.5)
    step = replay(vmap(dropout))
    x = Tensor(np.ones((4, 8)))
    for _ in range(3):
        assert (step(x).numpy() != 1).all()
    dropout.evaluate()
    np.testing.assert_array_equal(step(x).numpy(), np.ones((4, 8)))


def test_a_rule_can_be_declared_for_a_primitive_of_ones_own():
    double = custom_vjp(lambda x: x * 2)
    double.vjp(x=lambda g: g * 3)
    [w, x] = drawn((3,), (B, 3))
    with pytest.raises(BatchingError, match=r"double.* has no batching rule|lambda has no"):
        per_sample_grad(lambda w, x: double(w * x).sum())(w, x)
    double.batch(lambda x: 1 * double(x))
    found = per_sample_grad(lambda w, x: double(w * x).sum())(w, x)
    np.testing.assert_allclose(found, 3 * x)
    with pytest.raises(TypeError, match="its batching rule may name"):
        double.batch(lambda z: z)


# Refusals -----------------------------------------------------------------------------------------

[ROWS] = drawn((B, 4))

REFUSED = {
    "a primitive without a rule": (lambda x: np.packbits(x > 0), "packbits has no batching rule"),
    "a condition": (lambda x: x if x.sum() > 0 else -x, "asks a Tensor for true or false"),
    "float": (lambda x: float(x.sum()), r"calls float\(\)"),
    "item": (lambda x: x.sum().item(), r"calls \.item\(\)"),
    "numpy": (lambda x: x.numpy(), r"calls \.numpy\(\)"),
    "data": (lambda x: x.data, r"reads \.data"),
    "range": (lambda x: range(np.argmax(x)), "as a Python index"),
    "in": (lambda x: 1.0 in x, "contains a value"),
    "asarray": (lambda x: np.asarray(x) + 0, "converts a Tensor to a NumPy array"),
    "Tensor": (lambda x: Tensor(x) + 0, "makes a Tensor of a Tensor"),
    "a mask": (lambda x: x[x > 0].sum(), r"x\[mask\] gives as many entries"),
    "nonzero": (lambda x: np.nonzero(x)[0], "nonzero gives as many entries"),
    "unique": (lambda x: np.unique(x) + 0, r"calls \.numpy\(\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_for_all_samples_is_refused_at_its_line(name):
    fn, message = REFUSED[name]
    line = inspect.getsourcelines(fn)[1]
    with pytest.raises(BatchingError, match=rf"test_batching\.py:{line}: .*{message}"):
        vmap(fn)(ROWS)


def test_writes_into_what_all_samples_share_are_refused():
    total = Tensor(np.zeros(4))

    def assigns(x):
        total[0] = x[0]
        return x

    def adds(x):
        y = total * 2
        y += x
        return y

    with pytest.raises(BatchingError, match=r"assign_at writes into an array.*zeros_like"):
        vmap(assigns)(ROWS)
    with pytest.raises(BatchingError, match=r"Tensor that all samples share.*zeros_like"):
        vmap(adds)(ROWS)
    np.testing.assert_array_equal(total.numpy(), 0)


def fills(x, w):
    y = np.zeros_like(x)
    y[0] = x[0] * w
    for i in range(1, len(x)):
        y[i] = y[i - 1] ** 2 + x[i] * w
    row = y[1:]
    row *= x[:-1]
    y[[0, 2, 0]] += x[:3]
    y[np.array([1, 1])] = x[2:] * x[:2]
    y[y > 1] = 1.0
    np.add.at(y, [3, 3], x[0])
    return np.sum(y * y)


def test_samples_are_written_into_and_differentiated():
    x, w = ROWS * 0.3, np.array(0.7)
    values = [fills(Tensor(one), Tensor(w)).item() for one in x]
    np.testing.assert_allclose(vmap(fills, in_axes=(0, None))(x, w), values, rtol=1e-12)
    loop = [grad(fills, (0, 1))(one, w) for one in x]
    by_x, by_w = vmap(grad(fills, (0, 1)), in_axes=(0, None))(x, w)
    np.testing.assert_allclose(by_x, [g for g, _ in loop], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(by_w, [g for _, g in loop], rtol=1e-12, atol=1e-14)
    found = per_sample_grad(lambda w, x: fills(x, w))(w, x)
    np.testing.assert_allclose(found, [g for _, g in loop], rtol=1e-12, atol=1e-14)


def test_an_index_or_a_value_of_each_sample_is_written():
    places = np.array([[0, 2, 0], [3, 1, 1], [1, 1, 2], [0, 0, 0], [2, 3, 1]])

    def fn(x, place):
        y = x.reshape(2, 2) * 2
        flat = y.T.reshape(-1)
        flat[place] = x[:3] ** 2
        y[place[0] // 2, 1] = x[3] * 5
        return np.sum(flat * x) + np.sum(y)

    loop = [grad(fn)(x, place) for x, place in zip(ROWS, places, strict=True)]
    np.testing.assert_allclose(vmap(grad(fn))(ROWS, places), loop, rtol=1e-12)
    with pytest.raises(BatchingError, match="real or imaginary part"):
        vmap(lambda x: (x * 1j).imag.fill(1.0))(ROWS)


def test_a_value_that_samples_share_may_be_read():
    scale = Tensor(np.array(2.0))
    np.testing.assert_array_equal(vmap(lambda x: x * float(scale))(ROWS), 2 * ROWS)


def test_a_sample_that_left_its_batch_shows():
    kept = []
    vmap(lambda x: kept.append(x) or x)(ROWS)
    assert isinstance(kept[0], Single)
    assert repr(kept[0]) == "Single(float64(4,), one of 5)"
    assert np.isnan((kept[0] + 1).numpy()).all()
    with pytest.raises(BatchingError, match="a batch that is finished"):
        vmap(lambda x: x + kept[0])(ROWS)


def test_wrong_axes_are_named():
    w, x, y = drawn((3,), (B, 3), (B,))
    with pytest.raises(ValueError, match="no argument has a batch axis"):
        vmap(np.sin, in_axes=None)(x)
    with pytest.raises(
        ValueError, match="argument 2 has 4 samples along axis 0, an earlier one has 5"
    ):
        per_sample_grad(regression)(w, x, y[:4])
    with pytest.raises(ValueError, match=r"argument 1 holds an array of shape \(\), which has no"):
        vmap(np.add)(x, np.array(1.0))
    with pytest.raises(ValueError, match="in_axes has 1 entries for 2 arguments"):
        vmap(np.add, in_axes=(0,))(x, y)
    with pytest.raises(ValueError, match=r"returned shape \(3,\)"):
        per_sample_grad(lambda w, x: w * x)(w, x)
    with pytest.raises(TypeError, match="argnums or parameters, not both"):
        per_sample_grad(regression, 0, parameters=[])
    with pytest.raises(TypeError, match="holds ndarray, no Parameter"):
        per_sample_grad(regression, parameters=[w])


def test_batches_leave_no_cyclic_garbage():
    for name in ("perceptron", "convolution", "statistics"):
        loss, args, axes = LOSSES[name]
        slopes = per_sample_grad(loss, in_axes=axes)
        tensors = autograd.core.tree.map_leaves(Tensor, list(args))

        def step(slopes=slopes, args=args, tensors=tensors):
            slopes(*args)
            slopes(*tensors)

        step()
        must_leave_no_cycles(step)


def test_the_gradient_of_a_frozen_parameter_is_zero():
    x = np.arange(6.0).reshape(3, 2)
    weight, bias = Parameter(np.array([2.0, 3.0])), Parameter(np.array(1.0)).freeze()
    found = per_sample_grad(lambda x: (weight * x).sum() + bias, parameters=[weight, bias])(x)
    np.testing.assert_array_equal(found[0], x)
    np.testing.assert_array_equal(found[1], np.zeros(len(x)))
