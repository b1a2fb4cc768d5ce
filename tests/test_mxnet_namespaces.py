"""mx.sym and mx.nd beside operators: contrib, linalg, random, sparse, functions in Python."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tapegrad.nn import mxnet as mx


def close(found, expected, **tolerance):
    np.testing.assert_allclose(found.asnumpy(), expected, **{"rtol": 1e-5, **tolerance})


def test_automatic_names_are_those_of_the_call():
    with mx.symbol.naming.NameManager():
        x = mx.sym.var("x")
        assert mx.sym.contrib.MultiBoxPrior(x).name == "multiboxprior0"
        assert mx.sym.contrib.BilinearResize2D(x, height=2, width=2).name == "bilinearresize2d0"
        assert mx.sym.contrib.box_nms(x).name == "box_nms0"
        assert mx.sym.linalg.potrf(x).name == "potrf0"
        assert mx.sym.random.normal(shape=(2,)).name == "_random_normal0"
        assert mx.sym._internal._mul_scalar(x, scalar=2).name == "_mul_scalar0"
        assert mx.sym.op.flatten(x).name == "flatten0"


def test_every_function_of_a_namespace_is_the_operator_of_that_prefix():
    assert mx.nd.contrib.MultiBoxPrior.__doc__ == mx.nd._internal._contrib_MultiBoxPrior.__doc__
    x = mx.nd.array([[2.0, 1], [1, 3]])
    close(mx.nd.linalg.gemm2(x, x, transpose_b=True), x.asnumpy() @ x.asnumpy().T)
    close(mx.nd.linalg.potrf(x), np.linalg.cholesky(x.asnumpy()))
    close(mx.nd.linalg_det(x), [5])
    close(mx.nd.image.to_tensor(mx.nd.full((2, 2, 3), 51)), np.full((3, 2, 2), 0.2))
    close(mx.nd.sparse.dot(x, x), x.asnumpy() @ x.asnumpy())


def test_control_flow_is_refused_by_name():
    for name in ("foreach", "while_loop", "cond"):
        with pytest.raises(AttributeError, match=f"{name}.*subgraphs"):
            getattr(mx.sym.contrib, name)
    text = mx.sym.relu(mx.sym.var("x"), name="loop").tojson()
    with pytest.raises(mx.MXNetError, match=r"_while_loop.*'loop'.*subgraphs"):
        mx.sym.load_json(text.replace('"relu"', '"_while_loop"'))


# Random ------------------------------------------------------------------------------------------

MOMENTS = {
    "uniform": (mx.nd.random.uniform, {"low": 1, "high": 3}, 2, 1 / 3),
    "normal": (mx.nd.random.normal, {"loc": 1, "scale": 2}, 1, 4),
    "gamma": (mx.nd.random.gamma, {"alpha": 2, "beta": 3}, 6, 18),
    "exponential": (mx.nd.random.exponential, {"scale": 2}, 2, 4),
    "poisson": (mx.nd.random.poisson, {"lam": 40}, 40, 40),
    "negative_binomial": (mx.nd.random.negative_binomial, {"k": 3, "p": 0.5}, 3, 6),
    "generalized": (
        mx.nd.random.generalized_negative_binomial, {"mu": 2, "alpha": 0.5}, 2, 4,
    ),
    "randint": (mx.nd.random.randint, {"low": 2, "high": 5}, 3, 2 / 3),
}  # fmt: skip


@pytest.mark.parametrize("name", MOMENTS)
def test_draws_have_the_moments_of_their_distribution(name):
    draw, settings, mean, var = MOMENTS[name]
    mx.random.seed(3)
    x = draw(shape=(200, 100), **settings)
    assert x.shape == (200, 100)
    values = x.asnumpy().astype(float)
    assert abs(values.mean() - mean) < 5 * np.sqrt(var / values.size)
    assert abs(values.var() / var - 1) < 0.1
    mx.random.seed(3)
    again = draw(shape=(200, 100), **settings)
    np.testing.assert_array_equal(again.asnumpy(), x.asnumpy())
    assert (draw(shape=(200, 100), **settings).asnumpy() != x.asnumpy()).any()


def test_arrays_of_parameters_make_draws_for_each_entry():
    low = mx.nd.array([0.0, 100])
    x = mx.nd.random.uniform(low, low + 1, shape=50).asnumpy()
    assert x.shape == (2, 50)
    assert ((x[0] < 1) & (x[1] >= 100)).all()
    with pytest.raises(ValueError, match="all parameters are NDArrays, or none"):
        mx.nd.random.normal(low, 1)
    x = mx.nd.random.exponential(mx.nd.array([1e3, 1e-3]), shape=99).asnumpy()
    assert x[0].mean() > 100
    assert x[1].mean() < 0.01


def test_a_seed_may_be_that_of_one_context():
    mx.random.seed(3)
    x = mx.random.uniform(shape=(4,)).asnumpy()
    mx.random.seed(3, ctx=mx.cpu())
    close(mx.random.uniform(shape=(4,)), x)
    with pytest.raises(TypeError, match="int"):
        mx.random.seed("3")


def test_randint_and_multinomial_and_shuffle():
    x = mx.random.randint(2, 4, shape=(50,))
    assert x.dtype is np.int32
    assert set(x.asnumpy()) == {2, 3}
    p = mx.nd.array([[0, 0.5, 0.5], [1, 0, 0]])
    at, chance = mx.nd.random.multinomial(p, shape=40, get_prob=True)
    assert set(at.asnumpy()[0]) == {1, 2}
    assert set(at.asnumpy()[1]) == {0}
    close(chance[0], np.full(40, np.log(0.5)))
    x = mx.nd.array(np.arange(40).reshape((20, 2)))
    y = mx.nd.random.shuffle(x).asnumpy()
    assert sorted(map(tuple, y)) == [tuple(row) for row in x.asnumpy()]
    assert (y != x.asnumpy()).any()


def test_a_symbol_of_draws_draws_anew_in_each_run():
    net = mx.sym.random.normal(shape=(4,)) + mx.sym.var("x")
    run = net.simple_bind(mx.cpu(), grad_req="null", x=(4,))
    found = [run.forward()[0].asnumpy() for _ in range(4)]
    assert all((a != b).all() for a, b in pairwise(found))


# Functions that MXNet has in Python --------------------------------------------------------------


def test_ranges():
    close(mx.nd.arange(3), [0, 1, 2])
    close(mx.nd.arange(1, 2, 0.5, repeat=2), [1, 1, 1.5, 1.5])
    close(mx.nd.linspace(0, 1, 3), [0, 0.5, 1])
    close(mx.nd.eye(2, 3, 1), np.eye(2, 3, 1))
    assert mx.nd.arange(3, dtype="int64").dtype is np.int64
    assert mx.sym.linspace(0, 1, 5).infer_shape()[1] == [(5,)]
    with pytest.raises(ValueError, match="infer_range"):
        mx.nd.arange(0, infer_range=True)


def test_joins_and_axes():
    a, b = mx.nd.ones((2, 3)), mx.nd.zeros((1, 3))
    assert mx.nd.concatenate([a, b]).shape == (3, 3)
    assert mx.nd.concatenate([a], always_copy=False) is a
    x = mx.nd.array(np.arange(24).reshape((2, 3, 4)))
    for source, destination in ((0, 2), (-1, 0), ((0, 1), (1, 0)), ((0, 2), (2, 0))):
        expected = np.moveaxis(x.asnumpy(), source, destination)
        close(mx.nd.moveaxis(x, source, destination), expected)
    parts = mx.nd.split_v2(x, (1, 3), axis=2)
    assert [part.shape[2] for part in parts] == [1, 2, 1]
    assert mx.nd.split_v2(x, 2, squeeze_axis=True)[0].shape == (3, 4)
    assert len(mx.sym.split_v2(mx.sym.var("x"), (1, 3))) == 3
    with pytest.raises(ValueError, match="indices_or_sections"):
        mx.nd.split_v2(x, 1.5)
    out = mx.nd.zeros((2, 3))
    close(mx.nd.onehot_encode(mx.nd.array([2, 0]), out), [[0, 0, 1], [1, 0, 0]])


def test_pairs_of_arrays_and_numbers():
    x = mx.nd.array([1.0, 4])
    close(mx.nd.maximum(x, 2), [2, 4])
    close(mx.nd.subtract(10, x), [9, 6])
    close(mx.nd.power(2, x), [2, 16])
    close(mx.nd.greater(2, x), [1, 0])
    close(mx.nd.lesser_equal(x, x), [1, 1])
    close(mx.nd.add(x, mx.nd.ones((2, 1))), [[2, 5], [2, 5]])
    assert mx.nd.divide(6, 3) == 2
    assert mx.sym.pow(mx.sym.var("x"), 2).name.startswith("_powerscalar")


def test_histogram():
    x = mx.nd.array([0.0, 0.1, 0.6, 1.0])
    counts, edges = mx.nd.histogram(x, bins=2, range=(0, 1))
    close(counts, [2, 2])
    close(edges, [0, 0.5, 1])
    close(mx.nd.histogram(x, mx.nd.array([0.0, 0.05, 2]))[0], [1, 3])
    with pytest.raises(ValueError, match="range"):
        mx.sym.histogram(mx.sym.var("x"), 3)


def test_arrays_of_others_share_memory():
    x = np.arange(3.0)
    y = mx.nd.from_numpy(x)
    x[0] = 7
    assert y.asnumpy()[0] == 7
    assert mx.nd.from_dlpack(x).dtype is np.float64


def test_updates_write_their_states():
    w, g, m = mx.nd.ones((2,)), mx.nd.full((2,), 2.0), mx.nd.zeros((2,))
    for _ in range(2):
        mx.nd.sgd_mom_update(w, g, m, out=w, lr=0.1, momentum=0.5)
    close(m, [-0.3, -0.3])
    close(w, [0.5, 0.5])


# Sparse ------------------------------------------------------------------------------------------


def test_row_sparse_arrays_keep_their_rows():
    x = mx.nd.sparse.row_sparse_array(([[1, 2], [0, 0]], [2, 0]), shape=(4, 2))
    assert x.stype == "row_sparse"
    close(x, [[0, 0], [0, 0], [1, 2], [0, 0]])
    close(x.indices, [0, 2])
    close(x.data, [[0, 0], [1, 2]])
    assert x.tostype("default").stype == "default"
    close(x.retain(mx.nd.array([1, 2])).indices, [1, 2])
    assert (x + x).stype == "default"
    nothing = mx.nd.sparse.zeros("csr", (2, 3), dtype="float64")
    assert (nothing.stype, nothing.shape, nothing.dtype) == ("csr", (2, 3), np.float64)
    assert mx.nd.zeros((2, 3), stype="csr").stype == "csr"
    with pytest.raises(ValueError, match="coo"):
        mx.nd.sparse.zeros("coo", (2, 3))
    back = mx.nd.ones((2, 2)).tostype("row_sparse")
    assert (back.stype, back.indices.shape) == ("row_sparse", (2,))
    with pytest.raises(ValueError, match="out of range of 2 rows"):
        mx.nd.sparse.row_sparse_array(([[1, 2]], [2]), shape=(2, 2))


def test_csr_matrices():
    x = mx.nd.sparse.csr_matrix(([1, 2, 3], [0, 2, 1], [0, 2, 2, 3]), shape=(3, 3))
    close(x, [[1, 0, 2], [0, 0, 0], [0, 3, 0]])
    assert (x.stype, x.data.shape) == ("csr", (3,))
    close(x.indptr, [0, 2, 2, 3])
    close(x.indices, [0, 2, 1])
    close(mx.nd.sparse.csr_matrix(([5], ([1], [0])), shape=(2, 2)), [[0, 0], [5, 0]])
    close(mx.nd.dot(x, mx.nd.ones((3, 1))), [[3], [0], [3]])
    assert mx.nd.zeros((2, 2), stype="csr").stype == "csr"
    with pytest.raises(ValueError, match="matrices"):
        mx.nd.ones((2,)).tostype("csr")
    with pytest.raises(ValueError, match="no storage 'dense'"):
        mx.nd.ones((2,)).tostype("dense")
    with pytest.raises(ValueError, match="out of range"):
        mx.nd.sparse.csr_matrix(([1], [4], [0, 1]), shape=(1, 2))
