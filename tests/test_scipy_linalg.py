"""tapegrad.scipy.linalg: values are SciPy's, derivatives those of the values."""

import numpy as np
import pytest
import scipy.linalg

from tapegrad import vmap
from tapegrad.autograd import Tensor
from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.scipy import linalg

pytestmark = pytest.mark.extra

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 3)) * 0.4 + np.diag([2.0, 1.0, 1.6])
B = RNG.normal(size=(3, 3))
C = RNG.normal(size=(2, 2)) + np.diag([3.0, 4.0])
Q = RNG.normal(size=(3, 2))
V = RNG.normal(size=3)
SPD = A @ A.T + np.eye(3)
STACK = np.stack([A, A + 0.1])


def triangles(name):
    return {
        f"{name}-{trans}-{lower}-{unit}": (
            "solve_triangular", (A, Q), {"trans": trans, "lower": lower, "unit_diagonal": unit}
        )
        for trans in ("N", 1, 2) for lower in (False, True) for unit in (False, True)
    }  # fmt: skip


CASES = {
    "expm": ("expm", (A,), {}),
    "expm-stack": ("expm", (STACK,), {}),
    "expm_frechet": ("expm_frechet", (A, B), {}),
    "expm_frechet-alone": ("expm_frechet", (A, B), {"compute_expm": False}),
    "logm": ("logm", (A,), {}),
    "sqrtm": ("sqrtm", (A,), {}),
    "sqrtm-stack": ("sqrtm", (STACK,), {}),
    **{name: (name, (A,), {}) for name in ("cosm", "sinm", "coshm", "sinhm", "inv", "det", "norm")},
    "pinv": ("pinv", (Q,), {}),
    **triangles("solve_triangular"),
    "solve_triangular-vector": ("solve_triangular", (A, V), {}),
    "lu_factor": ("lu_factor", (A[[1, 2, 0]],), {}),
    "solve_sylvester": ("solve_sylvester", (A, C, Q), {}),
    "solve_continuous_lyapunov": ("solve_continuous_lyapunov", (A, B), {}),
    "solve_discrete_lyapunov": ("solve_discrete_lyapunov", (A / 3, B), {}),
    "solve": ("solve", (A, V), {}),
    "solve-transposed": ("solve", (A, Q), {"transposed": True}),
    "solve-lower": ("solve", (A, Q), {"assume_a": "lower triangular"}),
    "solve-sym": ("solve", (SPD, Q), {"assume_a": "sym"}),
    "solve-pos": ("solve", (SPD, Q), {"assume_a": "pos", "lower": True}),
    "svdvals": ("svdvals", (A,), {}),
    "block_diag": ("block_diag", (A, V, Q), {}),
    "toeplitz": ("toeplitz", (V,), {}),
    "toeplitz-row": ("toeplitz", (V, Q[:, 0]), {}),
    "circulant": ("circulant", (V,), {}),
    "hankel": ("hankel", (V,), {}),
    "hankel-row": ("hankel", (V, Q[:, 0]), {}),
    "qr": ("qr", (Q,), {"mode": "economic"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_function_is_scipys(case):
    name, args, options = CASES[case]
    ours, theirs = getattr(linalg, name), getattr(scipy.linalg, name)
    found, expected = ours(*args, **options), theirs(*args, **options)
    if not isinstance(expected, tuple):
        found, expected = (found,), (expected,)
    for y, z in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-10, atol=1e-12)

    def floats(*args):
        y = ours(*args, **options)
        return y[0] if name == "lu_factor" else y

    check_gradients(floats, *args, order=2)


@pytest.mark.parametrize("name", ["cholesky", "cho_factor"])
@pytest.mark.parametrize("lower", [False, True])
def test_factors_of_positive_definite_matrices(name, lower):
    ours, theirs = getattr(linalg, name), getattr(scipy.linalg, name)

    def triangle(y):
        y = y[0] if name == "cho_factor" else y
        return y * (np.tri(3) if lower else np.tri(3).T)

    np.testing.assert_allclose(triangle(ours(SPD, lower)), triangle(theirs(SPD, lower)))
    check_gradients(lambda a: triangle(ours((a + a.T) / 2, lower)), SPD, order=2)


@pytest.mark.parametrize("b", [V, Q])
def test_what_was_factored_is_solved(b):
    expected = np.linalg.solve(SPD, b)
    for lower in (False, True):
        solved = linalg.cho_solve(linalg.cho_factor(SPD, lower), b)
        np.testing.assert_allclose(solved, expected)
    check_gradients(lambda a, b: linalg.cho_solve(linalg.cho_factor(a @ a.T), b), A, b, order=2)
    mixed = A[[1, 2, 0]]
    for trans in (0, 1, 2):
        expected = scipy.linalg.lu_solve(scipy.linalg.lu_factor(mixed), b, trans)
        np.testing.assert_allclose(linalg.lu_solve(linalg.lu_factor(mixed), b, trans), expected)
        check_gradients(
            lambda a, b, trans=trans: linalg.lu_solve(linalg.lu_factor(a), b, trans),
            mixed, b, order=2,
        )  # fmt: skip


def test_generalized_eigenvalues():
    values, vectors = linalg.eigh(A + A.T, SPD)
    np.testing.assert_allclose(values, scipy.linalg.eigh(A + A.T, SPD)[0])
    np.testing.assert_allclose((A + A.T) @ vectors, SPD @ vectors * values)
    check_gradients(lambda a, b: linalg.eigvalsh(a + a.T, b @ b.T), A, A, order=2)


def test_complex_matrices():
    Z = A + 1j * B * 0.1
    for name in ("expm", "logm", "sqrtm"):
        ours = getattr(linalg, name)
        np.testing.assert_allclose(ours(Z), getattr(scipy.linalg, name)(Z))
        check_gradients(lambda x, y, ours=ours: np.real(ours(x + 1j * y)), Z.real, Z.imag)
    solved = linalg.solve_triangular(Z, V + 0j, "C")
    np.testing.assert_allclose(solved, scipy.linalg.solve_triangular(Z, V + 0j, "C"))


def test_matrices_of_a_batch():
    many = Tensor(STACK)
    for name in ("expm", "sqrtm"):
        ours = getattr(linalg, name)
        np.testing.assert_allclose(vmap(ours)(many).numpy(), ours(STACK))


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"expm takes square matrices, .* \(3, 2\)"):
        linalg.expm(Q)
    with pytest.raises(ValueError, match="trans is 7"):
        linalg.solve_triangular(A, V, trans=7)
