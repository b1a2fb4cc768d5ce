"""HIPS autograd: wrong gradients, and gradients that raise.  `python in_autograd.py [NAME …]`."""

from __future__ import annotations

import sys

import autograd.numpy as anp
import autograd.numpy.linalg as alg
import numpy as np
import scipy.signal
import scipy.stats as sps
from _proofs import numeric_gradient, proof, run

from autograd import grad, jacobian
from autograd.scipy import signal, stats

SINCE = "1.9.1"
LIBRARY = "HIPS autograd"
DIFFERENCES = "differences of NumPy's function"


def summed(function):
    """The gradient of the sum of a function, by the library."""
    return grad(lambda x: anp.sum(function(x)))


@proof(LIBRARY, source="sinc is even: 0", since=SINCE)
def sinc_gradient():
    """`sinc`: the gradient at 0 is NaN."""
    return 0.0, lambda: grad(anp.sinc)(0.0)


@proof(LIBRARY, source="products of the others: 6, 0, 0", since=SINCE)
def prod_zero():
    """`prod`: the gradient is NaN or 0 where an entry is 0."""
    return [6.0, 0, 0], lambda: grad(anp.prod)(np.array([0.0, 2, 3]))


@proof(LIBRARY, source="(df/2 − 1)/x − 1/2 at df = 3.5, x = 1.2", since=SINCE)
def chi2_logpdf():
    """`scipy.stats.chi2.logpdf`: the gradient is 0 everywhere."""
    return 0.75 / 1.2 - 0.5, lambda: grad(lambda x: stats.chi2.logpdf(x, 3.5))(1.2)


@proof(LIBRARY, source="differences of SciPy's function", since=SINCE)
def chi2_pdf():
    """`scipy.stats.chi2.pdf`: the gradient is 0 everywhere."""
    right = numeric_gradient(lambda x: sps.chi2.pdf(x, 3.5), 1.2)
    return right, lambda: grad(lambda x: stats.chi2.pdf(x, 3.5))(1.2)


@proof(LIBRARY, source="sign of the entry that is largest in size", since=SINCE)
def norm_inf():
    """`linalg.norm(x, inf)`: the gradient is NaN."""
    return [0.0, -1], lambda: grad(lambda x: alg.norm(x, np.inf))(np.array([1.0, -3]))


@proof(LIBRARY, source=DIFFERENCES, since=SINCE)
def diag_rectangular():
    """`diag` of a matrix that is not square: the gradient has another shape."""
    x = np.array([[1.0, 2]])
    return numeric_gradient(np.diag, x), lambda: summed(anp.diag)(x)


@proof(LIBRARY, source=DIFFERENCES, since=SINCE)
def diag_offset_rectangular():
    """`diag(x, 1)` of a matrix that is not square: the gradient has another shape."""
    x = np.array([[1.0, 2]])
    return (
        numeric_gradient(lambda a: np.diag(a, 1), x),
        lambda: summed(lambda a: anp.diag(a, 1))(x),
    )


@proof(LIBRARY, source="numpy.outer flattens its arguments; " + DIFFERENCES, since=SINCE)
def outer_matrix():
    """`outer` of a matrix: the gradient is flat."""
    x, b = np.ones((2, 2)), np.array([1.0, 2, 3])
    return (
        numeric_gradient(lambda a: np.outer(a, b), x),
        lambda: summed(lambda a: anp.outer(a, b))(x),
    )


@proof(LIBRARY, source=DIFFERENCES, since=SINCE)
def repeat_counts():
    """`repeat` with a list of counts: the gradient raises TypeError."""
    x = np.ones((2, 1))
    return (
        numeric_gradient(lambda a: np.repeat(a, [1, 2], axis=0), x),
        lambda: summed(lambda a: anp.repeat(a, [1, 2], axis=0))(x),
    )


@proof(LIBRARY, source=DIFFERENCES, since=SINCE)
def tile_matrix():
    """`tile(x, 2)` of a matrix: the gradient is summed in the wrong order, or raises ValueError."""
    x, w = np.array([[1.0], [2]]), np.array([[1.0, 2], [3, 4]])
    return (
        numeric_gradient(lambda a: np.tile(a, 2) * w, x),
        lambda: summed(lambda a: anp.tile(a, 2) * w)(x),
    )


@proof(LIBRARY, source="NumPy's result is empty: a gradient of zeros", since=SINCE)
def diff_short():
    """`diff(x, n=2)` of a row of one: the gradient has another shape."""
    x = np.ones((1, 1))
    return (
        numeric_gradient(lambda a: np.diff(a, n=2), x),
        lambda: summed(lambda a: anp.diff(a, n=2))(x),
    )


@proof(LIBRARY, source=DIFFERENCES, since=SINCE)
def gradient_of_two():
    """`gradient` of two numbers: the gradient raises IndexError."""
    x = np.array([1.0, 2])
    return numeric_gradient(np.gradient, x), lambda: summed(anp.gradient)(x)


@proof(LIBRARY, source=DIFFERENCES, since=SINCE)
def gradient_axis():
    """`gradient(x, axis=1)` of rows of three: the gradient raises ValueError."""
    x = np.array([[1.0, 2, 4]])
    return (
        numeric_gradient(lambda a: np.gradient(a, axis=1), x),
        lambda: summed(lambda a: anp.gradient(a, axis=1))(x),
    )


@proof(LIBRARY, source=DIFFERENCES, since=SINCE)
def broadcast_to_leading():
    """`broadcast_to` with more axes than before: the gradient fails an assertion."""
    x = np.ones((1, 1))
    return (
        numeric_gradient(lambda a: np.broadcast_to(a, (2, 1, 1)), x),
        lambda: summed(lambda a: anp.broadcast_to(a, (2, 1, 1)))(x),
    )


@proof(LIBRARY, source="of the diagonal: ones there", since=SINCE)
def einsum_diagonal():
    """`einsum("ii->i", x)`: the gradient raises ValueError."""
    x = np.eye(2)
    return (
        numeric_gradient(lambda a: np.einsum("ii->i", a), x),
        lambda: summed(lambda a: anp.einsum("ii->i", a))(x),
    )


@proof(LIBRARY, source="x/‖x‖", since=SINCE)
def norm_negative_axes():
    """`linalg.norm(x, axis=(-2, -1))`: the gradient raises AxisError."""
    x = np.array([[1.0, 2], [3, 4]])
    return x / np.linalg.norm(x), lambda: grad(lambda a: alg.norm(a, axis=(-2, -1)))(x)


@proof(LIBRARY, source="U Vᵀ of x = U S Vᵀ", since=SINCE)
def norm_nuclear():
    """`linalg.norm(x, "nuc", axis=(-2, -1))`: the gradient raises."""
    x = np.array([[1.0, 2], [3, 4]])
    u, _, v = np.linalg.svd(x)
    return u @ v, lambda: grad(lambda a: alg.norm(a, "nuc", axis=(-2, -1)))(x)


@proof(LIBRARY, source="differences of scipy.signal.convolve", since=SINCE)
def convolve_crossed():
    """`scipy.signal.convolve` of two matrices: RecursionError if neither contains the other."""
    a, b = np.ones((2, 1)), np.array([[1.0, 2]])
    return (
        numeric_gradient(lambda x: scipy.signal.convolve(x, b), a),
        lambda: grad(lambda x: anp.sum(signal.convolve(x, b)))(a),
    )


@proof(LIBRARY, source="∂²(x^y)/∂x∂y = x^(y−1) (1 + y log x): 1/x at y = 0", since=SINCE)
def power_mixed():
    """`power(x, y)`: the mixed second derivative at y = 0 is x instead of 1/x."""
    return 0.5, lambda: grad(lambda y: grad(anp.power)(2.0, y))(0.0)


@proof(LIBRARY, source="the shape of the argument", since=SINCE)
def select_empty():
    """`select` of arrays without rows: the gradient raises ValueError."""

    def found():
        x = np.zeros((0, 2))
        return summed(lambda a: anp.select([a > 1, a > 0], [a, 2 * a], 0.0 * a))(x).shape

    return (0, 2), found


@proof(LIBRARY, source="each entry is moved once: rows with a single 1", since=SINCE)
def dstack_jacobian():
    """`dstack`: its Jacobian is 0, for all arguments."""
    return [[1.0], [1.0]], lambda: jacobian(lambda x: anp.dstack([x, x]))(np.ones(1)).reshape(2, 1)


if __name__ == "__main__":
    sys.exit(run())
