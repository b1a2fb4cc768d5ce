"""Examples for autograd/ops/matrices/; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad.autograd.check import TrialCall


def batch(d):
    return d.shape("N?")


def regular(d, n=None, *, zero=False):
    """Square matrices of eigen- and singular values that are well apart, or equal, or 0."""
    n = d.size("n", 1, 3) if n is None else n
    shape, order = (*batch(d), n, n), d.spectrum(n, zero=zero)
    if d.regime == "degenerate":
        q = d.rotations(shape)
        return q * order @ np.conj(np.swapaxes(q, -1, -2))
    return d.uniform(-0.3, 0.3, shape) + np.diag(order)


def apart(d, n=None):
    """Square matrices whose eigen- and singular values are well apart in every regime."""
    n = d.size("n", 1, 3) if n is None else n
    return d.uniform(-0.3, 0.3, (*batch(d), n, n)) + np.diag(2.0 * np.arange(1, n + 1))


def square(d):
    return TrialCall([regular(d)])


def simple(d):
    return TrialCall([apart(d)])


def maybe_singular(d):
    return TrialCall([regular(d, zero=True)])


def positive_definite(d):
    x = regular(d)
    return TrialCall([x @ np.conj(np.swapaxes(x, -1, -2))])


def symmetric(d):
    # the vector of an eigenvalue 0 turns its sign, as that of a singular value does
    x = regular(d)
    return TrialCall([(x + np.conj(np.swapaxes(x, -1, -2))) / 2], {"UPLO": d.choice(["L", "U"])})


def oblong(d, *, tall=False, spectral=True, zero=True):
    m, n = d.choice([(3, 2), (2, 2), (1, 1), (4, 3)] + [(2, 3)] * (not tall))
    k = max(m, n)
    x = regular(d, k, zero=zero) if spectral else apart(d, k)
    return x[..., :m, :n]


def tall(d):
    # LAPACK turns the sign of a column that is 0 below the diagonal: nothing for a derivative
    return TrialCall([oblong(d, tall=True, spectral=False)])


def one_more(d):
    """Matrices of which one vector completes the basis, free in its sign alone."""
    m, n = d.choice([(3, 2), (2, 1), (4, 3)])
    return TrialCall([apart(d, m)[..., :m, :n]])


def any_matrix(d):
    return TrialCall([oblong(d)])


def svd(d):
    # the vectors of the singular value 0 turn their signs: nothing for a derivative
    return TrialCall([oblong(d, zero=False)], {"full_matrices": False})


def qr(d):
    return TrialCall([oblong(d, spectral=False)], {"mode": d.choice(["reduced", "r"])})


def solve(d):
    a = regular(d)
    n = a.shape[-1]
    b = d.choice([(n,), (n, 2)]) if a.ndim == 2 else d.choice([(n,), (*a.shape[:-1], 2)])
    return TrialCall([a, d.normal(b)])


def lstsq(d):
    a = regular(d, 4)[..., :2]
    a = a[0] if a.ndim > 2 and len(a) else a if a.ndim == 2 else np.eye(4)[:, :2]
    return TrialCall([a, d.normal(d.choice([(4,), (4, 2)]))])


def tensorsolve(d):
    return TrialCall([regular(d, 4).reshape(-1, 4, 4)[:1].sum(0).reshape(2, 2, 4) + 0.1 *
                 np.eye(4).reshape(2, 2, 4), d.normal((2, 2))])  # fmt: skip


def tensorinv(d):
    x = d.uniform(-0.2, 0.2, (4, 4)) + 2 * np.eye(4)
    return TrialCall([x.reshape(4, 2, 2)], {"ind": 1})


def norm(d):
    kind = d.choice(["all", "vector", "matrix"])
    x = oblong(d) if kind == "matrix" else d.normal((d.size("A") + 1, 3))
    if kind == "all":
        return TrialCall([x], {"keepdims": d.choice([False, True])})
    if kind == "vector":
        order = d.choice([None, 1, 2, 3, np.inf, -np.inf, 0])
        return TrialCall([x], {"ord": order, "axis": 1})
    order = d.choice(["fro", "nuc", 1, -1, 2, -2, np.inf])
    return TrialCall([x], {"ord": order, "axis": (-2, -1), "keepdims": d.choice([False, True])})


def vector_norm(d):
    return TrialCall([d.normal((2, 3))], {"axis": d.choice([None, 1]), "ord": 3})


def matrix_norm(d):
    return TrialCall([oblong(d)], {"ord": d.choice(["fro", "nuc", 2])})


def cond(d):
    return TrialCall([regular(d, 2)], {"p": d.choice([None, 2, -2, "fro", 1])})


def matrix_power(d):
    return TrialCall([regular(d), d.choice([3, 0, 1, -2, 5])])


def multi_dot(d):
    a, b, c = d.size("A"), d.size("B"), d.size("C")
    shapes = d.choice([[(2, a), (a, b), (b, c)], [(a,), (a, b), (b,)], [(2, a), (a, 2)]])
    return TrialCall([[d.array(shape) for shape in shapes]])


def nan_unless_zero(d):
    """A matrix that is 0 where it must be."""
    where = d.booleans((*d.shape("N?"), 3, 3))
    x = d.normal(where.shape) * ~where
    return TrialCall([x, x.copy(), where], {"share": 0.5})


OPERATIONS = {
    **dict.fromkeys((
        "eig", "eig_parts", "eigvals", "require_basis"
    ), simple),
    **dict.fromkeys((
        "cofactors", "slogdet", "slogdet_parts"
    ), maybe_singular),
    **dict.fromkeys((
        "eigh", "eigh_parts", "eigvalsh"
    ), symmetric),
    **dict.fromkeys((
        "matrix_rank", "pinv", "pseudo_inverse", "svdvals"
    ), any_matrix),
    "close_pairs": lambda d: TrialCall([d.array((*d.shape("N?"), 3))]),
    "cofactor_change": lambda d: TrialCall([regular(d, 3), regular(d, 3)]),
    "inv": square,
    "det": lambda d: TrialCall([d.array((*d.shape("N?"), 3, 3))]),
    "nan_unless_zero": nan_unless_zero,
    "cholesky": positive_definite,
    "cholesky_lower": positive_definite,
    "cond": cond,
    "to_int32": lambda d: TrialCall([d.integers(d.shape(), 0, 9)]),
    "lstsq": lstsq,
    "matrix_norm": matrix_norm,
    "matrix_power": matrix_power,
    "multi_dot": multi_dot,
    "norm": norm,
    "qr": qr,
    "qr_complete": one_more,
    "qr_parts": tall,
    "rank_above": lambda d: TrialCall([d.array((2, 3), 0)], {"size": 3, "rtol": 0.5, "tol": None}),
    "solve": solve,
    "svd": svd,
    "svd_complete": one_more,
    "svd_parts": lambda d: TrialCall([oblong(d, zero=False)]),
    "tensorinv": tensorinv,
    "tensorsolve": tensorsolve,
    "vector_norm": vector_norm,
}  # fmt: skip


RANK = "a derivative of the inverse among matrices of one rank; between ranks the inverse jumps"

EXCEPTIONS = {
    ("pinv", "at_equal_eigenvalues_its_gradient_is_right_or_nan"): RANK,
    ("pseudo_inverse", "at_equal_eigenvalues_its_gradient_is_right_or_nan"): RANK,
    ("eigh_parts", "nan_stays_nan"): "one triangle is not read",
}
