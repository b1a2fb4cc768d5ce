"""`ops.scaled_dot_product_attention` against its composition, its memory, and who uses it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn, ops
from tapegrad.autograd.kernels import attention as blocks
from tapegrad.autograd.kernels import machine, threads
from tapegrad.autograd.ops.fused_bodies import fused_at_any_size
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.layers import attention as layers

WAYS = ["plain", pytest.param("compiled", marks=pytest.mark.skipif(
    not machine.is_available(), reason="needs the fast extra: llvmlite"
))]  # fmt: skip


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of few queries and keys, so that small arrays have many of them."""
    monkeypatch.setattr(blocks, "QUERIES", 5)
    monkeypatch.setattr(blocks, "KEYS", 7)
    monkeypatch.setattr(blocks, "ROOM", 1)


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Plain array code, or machine code at any size."""
    if request.param == "plain":
        monkeypatch.setattr(blocks, "compiled_steps", lambda *_, **__: None)
        yield request.param
    else:
        with fused_at_any_size():
            yield request.param


def composition(q, k, v, mask=None, *, causal=False, scale=None):
    scores = q @ ops.swapaxes(k, -1, -2) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None and mask.dtype == bool:
        scores = ops.where(mask, -np.inf, scores)
    elif mask is not None:
        scores = scores + mask
    if causal:
        scores = ops.where(np.triu(np.ones(scores.shape[-2:], bool), 1), -np.inf, scores)
    return ops.softmax(scores) @ v


def values(shape, seed, dtype="d"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def compare(arrays, g, *, limit, **settings):
    """Result and cotangents against those of the composition in float64."""
    mask = arrays[3] if len(arrays) > 3 else None
    if mask is not None and mask.dtype == bool:
        settings["mask"], arrays = mask, arrays[:3]
    wide = [a.astype("d") for a in arrays]
    expected, pull = tg.vjp(lambda *a: composition(*a, **settings), tuple(wide))
    right = pull(g.astype("d"))
    y, pull = tg.vjp(lambda *a: ops.scaled_dot_product_attention(*a, **settings), tuple(arrays))
    for found, ideal, a in zip([y, *pull(g)], [expected, *right], [g, *arrays], strict=True):
        assert found.dtype == a.dtype
        assert found.shape == a.shape
        np.testing.assert_allclose(found, ideal, rtol=0, atol=limit * np.abs(ideal).max(initial=1))


@pytest.mark.usefixtures("small_blocks", "way")
@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("lead", "sizes"),
    [(((), (), ()), (1, 1, 1, 1)), (((2,), (2,), (2,)), (12, 23, 3, 4)),
     (((3, 2), (3, 1), (2,)), (23, 9, 4, 20)), (((2,), (), ()), (5, 14, 33, 2))],
)  # fmt: skip
def test_results_and_cotangents_are_those_of_the_composition(lead, sizes, causal, dtype):
    count, length, d, e = sizes
    shapes = (count, d), (length, d), (length, e)
    arrays = [values((*a, *b), i, dtype) for i, (a, b) in enumerate(zip(lead, shapes, strict=True))]
    batch = np.broadcast_shapes(*lead)
    limit = 1e-5 if dtype == "f" else 1e-13
    g = values((*batch, count, e), 5, dtype)
    compare(arrays, g, limit=limit, causal=causal)
    for shape in ((count, length), (length,), (count, 1), (*batch, 1, length), (*batch, count, 1)):
        mask = values(shape, 6, dtype)
        compare([*arrays, mask], g, limit=limit, causal=causal, scale=0.7)
        hidden = mask > 0.5
        hidden[..., 0] = False
        compare([*arrays, hidden], g, limit=limit, causal=causal)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("causal", [False, True])
def test_blocks_of_the_usual_size(causal):
    arrays = [values((2, n, d), n, "f") for n, d in ((300, 8), (600, 8), (600, 4))]
    compare(arrays, values((2, 300, 4), 9, "f"), limit=1e-5, causal=causal)


@given(
    count=st.integers(1, 20), length=st.integers(1, 40), high=st.integers(1, 8),
    wide=st.integers(1, 20), causal=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
def test_where_blocks_begin_makes_no_difference(count, length, high, wide, causal, seed):
    arrays = [values((2, n, 3), seed + n) for n in (count, length, length)]
    g = values((2, count, 3), seed)
    with pytest.MonkeyPatch.context() as patch, fused_at_any_size():
        patch.setattr(blocks, "QUERIES", high)
        patch.setattr(blocks, "KEYS", wide)
        patch.setattr(blocks, "ROOM", 1)
        compare(arrays, g, limit=1e-12, causal=causal)


@pytest.mark.usefixtures("small_blocks", "way")
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("which", range(4))
def test_what_is_not_finite_spreads_as_in_the_composition(number, which, causal):
    """A value of a key that a query does not see reaches it all the same: 0 · NaN is not 0."""
    q, k, v, g = (values((20, 3), i, "f") for i in range(4))
    for row in (2, 13):
        arrays = [a.copy() for a in (q, k, v, g)]
        arrays[which][row, 1] = number
        *arrays, cotangent = arrays
        found = []
        for function in (composition, ops.scaled_dot_product_attention):
            y, pull = tg.vjp(lambda *a, f=function: f(*a, causal=causal), tuple(arrays))
            found.append([np.asarray(x) for x in (y, *pull(cotangent))])
        # of an infinite cotangent, Σ g·y is infinite where Σ weight · slope may be NaN
        same = np.isfinite if which == 3 else np.isnan
        for expected, own in zip(*found, strict=True):
            np.testing.assert_array_equal(same(own), same(expected))


@pytest.mark.usefixtures("small_blocks", "way")
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("floats", [False, True])
def test_a_query_that_sees_no_key_has_nan(floats):
    arrays = [values((20, 3), i, "f") for i in range(3)]
    hidden = np.zeros((20, 20), bool)
    hidden[4], hidden[11, :15] = True, True
    mask = np.where(hidden, np.float32(-np.inf), np.float32(0)) if floats else hidden
    y, pull = tg.vjp(lambda *a: ops.scaled_dot_product_attention(*a, mask), tuple(arrays))
    expected, right = tg.vjp(lambda *a: composition(*a, mask), tuple(arrays))
    assert np.isnan(y[4]).all()
    assert np.isfinite(np.delete(y, 4, 0)).all()
    g = np.ones((20, 3), "f")
    for own, ideal in zip([y, *pull(g)], [expected, *right(g)], strict=True):
        np.testing.assert_array_equal(np.isnan(own), np.isnan(ideal))
        np.testing.assert_allclose(own, ideal, atol=1e-5)


@pytest.mark.usefixtures("small_blocks", "way")
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_a_query_whose_keys_all_have_the_lowest_score_sees_all_of_them(dtype):
    arrays = [values((20, 3), i, dtype) for i in range(3)]
    mask = np.zeros((20, 20), dtype)
    mask[4], mask[11, :15] = np.finfo(dtype).min, np.finfo(dtype).min
    y, pull = tg.vjp(lambda *a: ops.scaled_dot_product_attention(*a, mask), tuple(arrays))
    expected, right = tg.vjp(lambda *a: composition(*a, mask), tuple(arrays))
    np.testing.assert_allclose(y[4], arrays[2].mean(0), rtol=1e-5)
    g = values((20, 3), 3, dtype)
    for own, ideal in zip([y, *pull(g)], [expected, *right(g)], strict=True):
        np.testing.assert_allclose(own, ideal, atol=1e-5)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("causal", [False, True])
def test_no_query_has_no_result(causal):
    compare([values(shape, 0) for shape in ((2, 0, 3), (5, 3), (5, 4))], np.ones((2, 0, 4)),
            limit=0, causal=causal)  # fmt: skip


@pytest.mark.usefixtures("way")
def test_large_scores_lose_no_digits():
    q, k = values((30, 4), 0, "f") * 300, values((40, 4), 1, "f")
    y = ops.scaled_dot_product_attention(q, k, values((40, 2), 2, "f"))
    wide = composition(*(a.astype("d") for a in (q, k, values((40, 2), 2, "f"))))
    np.testing.assert_allclose(y, wide, atol=2e-4)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("dtype", ["e", "i8", "?"])
def test_other_dtypes(dtype):
    q, k, v = ((values((4, 3), i) * 3).astype(dtype) for i in range(3))
    y = ops.scaled_dot_product_attention(q, k, v)
    assert y.dtype == ("e" if dtype == "e" else "d")
    wide = composition(*(a.astype("d") for a in (q, k, v)))
    np.testing.assert_allclose(y, wide, rtol=2e-3 if dtype == "e" else 1e-12)


def test_what_does_not_fit_is_named():
    q, k, v = values((4, 3), 0), values((5, 3), 1), values((5, 2), 2)
    attend = ops.scaled_dot_product_attention
    for bad in (
        (q[0], k, v), (q[:, :2], k, v), (q, k, v[:4]), (q, k[:0], v[:0]),
        (np.stack([q] * 2), np.stack([k] * 3), v),
    ):  # fmt: skip
        with pytest.raises(ShapeError, match=r"they are \(…, L, d\), \(…, S, d\) and \(…, S, e\)"):
            attend(*bad)
    for shape in ((4,), (3, 5), (4, 4)):
        with pytest.raises(ShapeError, match=r"does not broadcast to the scores \(…, 4, 5\)"):
            attend(q, k, v, np.zeros(shape))
    with pytest.raises(TypeError, match="booleans, True for what is hidden"):
        attend(q, k, v, np.zeros((4, 5), int))
    with pytest.raises(TypeError, match="real numbers"):
        attend(q + 1j, k, v)


# Memory and threads -------------------------------------------------------------------------------


def peak(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


STEPS = 2048
SCORES = STEPS * STEPS * 4  # bytes


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("causal", [False, True])
def test_the_matrix_of_scores_is_never_made(causal):
    q, k, v, g = (values((STEPS, 8), i, "f") for i in range(4))
    hidden = np.arange(STEPS) > 2000

    def run(function):
        y, pull = tg.vjp(lambda *a: function(*a, hidden, causal=causal), (q, k, v))
        return y, pull(g)

    assert peak(lambda: run(ops.scaled_dot_product_attention)) < SCORES / 4


@pytest.mark.skipif(not machine.is_available(), reason="needs the fast extra: llvmlite")
@pytest.mark.parametrize("causal", [False, True])
def test_bits_do_not_depend_on_the_number_of_threads(causal, monkeypatch):
    q, k, v, g = (values((3, 600, 16), i, "f") for i in range(4))
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads._settings, "count", count)
        y, pull = tg.vjp(
            lambda *a: ops.scaled_dot_product_attention(*a, causal=causal), (q, k, v)
        )  # fmt: skip
        found.append([y, *pull(g)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


# Who uses it --------------------------------------------------------------------------------------


@pytest.fixture
def uses(monkeypatch):
    """(the masks that calls were given, a way to say from how many pairs on there are calls)."""
    own, given = ops.scaled_dot_product_attention, []

    def spy(q, k, v, mask=None, **settings):
        given.append(mask)
        return own(q, k, v, mask, **settings)

    monkeypatch.setattr(ops, "scaled_dot_product_attention", spy)
    return given, lambda count: monkeypatch.setattr(layers, "MANY", [count])


def masks():
    steps, padding = np.zeros((6, 6), bool), np.zeros((2, 6), bool)
    steps[0, 3:], padding[1, 4:] = True, True
    bias = values((6, 6), 3)
    return {
        "none": (None, None),
        "steps": (steps, None),
        "padding": (None, padding),
        "both": (steps, padding),
        "floats": (bias, None),
        "floats for both": (bias, values((2, 6), 4)),
    }


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("given", masks())
def test_layers_compute_the_same_with_and_without_weights(given, causal, uses):
    found, seen = [], masks()[given]
    x, g = values((2, 6, 4), 0), values((2, 6, 4), 1)
    for count in (37, 36):
        uses[1](count * (4 if causal else 1))
        layer = nn.MultiHeadAttention(4, 2, 0.5, causal=causal).double().evaluate()
        for number, parameter in enumerate(layer.parameters()[0]):
            parameter.data[...] = values(parameter.shape, number)
        layer.setMask(attn_mask=seen[0], key_padding_mask=seen[1])
        y = layer.forward(x).numpy().copy()
        layer.backward(x, g)
        found.append([y, layer.gradInput.numpy(), *(p.numpy() for p in layer.parameters()[1])])
        assert len(uses[0]) == (count == 36)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_a_learned_bias_has_its_gradient_without_weights(uses):
    layer, x = nn.MultiHeadAttention(4, 2).double(), values((2, 6, 4), 0)
    bias, found = values((1, 2, 6, 6), 1), []
    for count in (37, 36):
        uses[1](count)
        found.append(tg.grad(lambda b: np.sum(layer(x, b) ** 2))(bias).numpy())
    assert len(uses[0]) == 1
    np.testing.assert_allclose(*found, atol=1e-12)


def test_weights_are_made_where_somebody_looks(uses):
    uses[1](1)
    x, padding = values((2, 6, 4), 0), np.zeros((2, 6), bool)
    padding[0, 5] = True
    layer = nn.MultiHeadAttention(4, 2, 0.5).double()
    layer(x)  # dropout in training
    layer.evaluate()
    layer(x, values((6, 6), 0), padding)  # one mask of floats and one of booleans
    with layer.dropout.register_forward_hook(lambda *_: None):
        layer(x)
    assert nn.MultiHeadAttention(4, 2, need_weights=True).double()(x)[1].shape == (2, 2, 6, 6)
    assert not uses[0]
    layer(x)
    layer.training().dropout.setp(0)
    layer(x, None, padding)
    assert len(uses[0]) == 2
    assert uses[0][1].shape == (2, 1, 1, 6)  # as small as it was given
    nn.plot_attention(layer, x)
    assert len(uses[0]) == 2


def test_attention_of_bigdl_makes_no_weights(uses, monkeypatch):
    inputs = [values((2, 6, 4), 0), values((2, 5, 4), 1), values((2, 1, 6, 5), 2)]
    layer = nn.Attention(4, 2).double()
    expected = layer(inputs).numpy()
    assert not uses[0]
    uses[1](30)
    monkeypatch.setattr("tapegrad.nn.layers.transformer.MANY", layers.MANY)
    np.testing.assert_allclose(layer(inputs).numpy(), expected, atol=1e-12)
    assert len(uses[0]) == 1


def test_steps_of_a_network_run_compiled_replayed_and_from_checkpoints(uses):
    uses[1](1)
    layer, x = nn.TransformerEncoderLayer(4, 2, 8, 0.0).double(), values((2, 6, 4), 0)

    def loss(x):
        return np.sum(layer(x) ** 3)

    expected = tg.grad(loss)(x).numpy()
    for again in (tg.replay(tg.grad(loss)), tg.compile(tg.grad(loss))):
        for _ in range(3):
            np.testing.assert_allclose(again(x).numpy(), expected, atol=1e-9)
    kept = tg.grad(lambda x: np.sum(tg.checkpoint(layer)(x) ** 3))(x)
    np.testing.assert_allclose(kept.numpy(), expected, atol=1e-12)
    push = tg.jvp(tg.grad(loss), (x,), (x,))[1]
    hessian = tg.vjp(tg.grad(loss), (x,))[1](x)[0]
    np.testing.assert_allclose(push.numpy(), hessian.numpy(), atol=1e-9)
    assert uses[0]


@pytest.mark.extra
def test_a_long_sequence_fits_where_its_scores_would_not():
    layer = nn.MultiHeadAttention(16, 2, causal=True)
    x = values((1, STEPS, 16), 0, "f")

    def run():
        layer.forward(x)
        layer.backward(x, x)

    assert peak(run) < SCORES
