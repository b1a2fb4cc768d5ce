"""tapegrad.scipy.sparse: values are SciPy's, derivatives those of the values."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from tapegrad.autograd import Parameter, grad
from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.scipy import sparse

pytestmark = pytest.mark.extra

RNG = np.random.default_rng(0)
WIDE = scipy.sparse.random_array((4, 5), density=0.5, rng=np.random.default_rng(1))
SQUARE = scipy.sparse.csc_array(np.eye(4) * 3 + WIDE.toarray()[:, :4])


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "dia", "lil"])
@pytest.mark.parametrize("shape", [(5,), (5, 3)])
def test_products(form, shape):
    matrix, x = WIDE.asformat(form), RNG.normal(size=shape)
    np.testing.assert_allclose(sparse.matmul(matrix, x), matrix @ x)
    check_gradients(lambda x: sparse.matmul(matrix, x) ** 2, x, order=2)
    left = RNG.normal(size=(4,) if len(shape) == 1 else (3, 4))
    np.testing.assert_allclose(sparse.matmul(left, matrix), left @ matrix.toarray())
    check_gradients(lambda x: sparse.matmul(x, matrix) ** 2, left, order=2)


def test_the_entries_have_derivatives():
    data, x = RNG.normal(size=WIDE.nnz), RNG.normal(size=(5, 2))

    def product(data, x):
        return sparse.with_data(WIDE, data) @ x

    dense = np.zeros((4, 5))
    dense[WIDE.tocoo().row, WIDE.tocoo().col] = data
    np.testing.assert_allclose(product(data, x), dense @ x)
    np.testing.assert_allclose(sparse.with_data(WIDE, data).toarray(), dense)
    np.testing.assert_allclose(sparse.with_data(WIDE, data).T.toarray(), dense.T)
    check_gradients(product, data, x, order=2)


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_spsolve(shape):
    b = RNG.normal(size=shape)
    np.testing.assert_allclose(sparse.spsolve(SQUARE, b), np.linalg.solve(SQUARE.toarray(), b))
    check_gradients(
        lambda data, b: sparse.spsolve(sparse.with_data(SQUARE, data), b),
        SQUARE.tocoo().data, b, order=2,
    )  # fmt: skip


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match=r"takes a matrix of scipy\.sparse"):
        sparse.matmul(np.eye(3), np.ones(3))
    with pytest.raises(ShapeError, match=r"the matrix is \(4, 5\), the other \(4,\)"):
        sparse.matmul(WIDE, np.ones(4))
    with pytest.raises(ShapeError, match="data has shape"):
        sparse.with_data(WIDE, np.ones(2))
    with pytest.raises(ShapeError, match="spsolve"):
        sparse.spsolve(WIDE, np.ones(4))


FORMS = ["csr_array", "csc_array", "coo_array", "dia_array", "lil_array", "csr_matrix"]


@pytest.mark.parametrize("form", FORMS)
def test_operators_of_scipys_matrices_and_tensors(form):
    dense = SQUARE.toarray()
    matrix = getattr(scipy.sparse, form)(dense)
    x, wide = np.linspace(0.5, 2, 4), np.linspace(-1, 1, 12).reshape(4, 3)
    for of_sparse, of_dense, at in [
        (lambda x: matrix @ x, lambda x: dense @ x, x),
        (lambda x: matrix @ x, lambda x: dense @ x, wide),
        (lambda x: x @ matrix, lambda x: x @ dense, x),
        (lambda x: x @ matrix, lambda x: x @ dense, wide.T),
        (lambda x: (x[0] * matrix).toarray(), lambda x: x[0] * dense, x),
        (lambda x: (matrix / x[0]).toarray(), lambda x: dense / x[0], x),
        (lambda x: (matrix / x[0]).sum(0), lambda x: (dense / x[0]).sum(0), x),
        (lambda x: (-(x[0] * matrix)).sum(-1), lambda x: (-x[0] * dense).sum(-1), x),
        (lambda x: (x[0] * matrix).T.dot(x), lambda x: x[0] * dense.T @ x, x),
        (lambda x: x @ (x[0] * matrix), lambda x: x @ (x[0] * dense), x),
    ]:
        np.testing.assert_allclose(of_sparse(Parameter(at)), of_dense(at), rtol=1e-12)
        found = grad(lambda x: np.sum(np.sin(of_sparse(x))))(at)  # noqa: B023  # called here
        right = grad(lambda x: np.sum(np.sin(of_dense(x))))(at)  # noqa: B023
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-14)


def test_the_star_of_an_array_is_elementwise_and_of_a_matrix_the_product():
    dense, x = SQUARE.toarray(), np.linspace(0.5, 2, 4)
    array, matrix = scipy.sparse.csr_array(dense), scipy.sparse.csr_matrix(dense)
    np.testing.assert_allclose((Parameter(x) * array).toarray(), x * dense)
    np.testing.assert_allclose((Parameter(x[:, None]) * array).sum(), (x[:, None] * dense).sum())
    np.testing.assert_allclose(Parameter(x) * matrix, x @ dense)
    np.testing.assert_allclose(matrix * Parameter(x), dense @ x)
    with pytest.raises(ShapeError, match="times an array of shape"):
        Parameter(np.ones(3)) * array
    with pytest.raises(TypeError, match="infinite entries"):
        Parameter(x) / array


def test_what_scipy_converts_itself_says_what_to_write():
    for f in (lambda x: SQUARE * x, lambda x: scipy.sparse.linalg.spsolve(SQUARE, x)):
        with pytest.raises(TypeError, match=r"x \* A with the Tensor first.*sparse\.spsolve"):
            f(Parameter(np.ones(4)))
    with pytest.raises(TypeError):
        np.asarray(Parameter(np.ones(4)))
