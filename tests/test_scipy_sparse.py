"""tapegrad.scipy.sparse: values are SciPy's, derivatives those of the values."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from tapegrad.autograd import Parameter
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


def test_the_operator_on_a_tracked_tensor_says_what_to_write():
    with pytest.raises(TypeError, match=r"tapegrad\.scipy\.sparse\.matmul"):
        Parameter(np.ones((3, 4))) @ WIDE
