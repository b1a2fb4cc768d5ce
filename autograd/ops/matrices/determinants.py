"""Determinants, and their logarithms."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.autograd.ops.matrices.solving import inv
from tapegrad.autograd.ops.matrices.stacks import column, transpose_matrices

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = [
    "SlogdetResult",
    "cofactor_change",
    "cofactors",
    "det",
    "slogdet",
    "slogdet_parts",
]


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


@primitive(numpy=np.linalg.det)
def det(xp: Namespace, a: Array) -> Array:
    """The determinants (…, n, n) -> (…), differentiable twice everywhere.

    A third derivative at a singular matrix is NaN.
    """
    return xp.linalg.det(a)


det.vjp(a=lambda g, a: column(column(g)) * cofactors(a))
det.jvp(a=lambda t, a: r.sum(t * cofactors(a), axis=(-2, -1)))
det.batch(leading_axes_rule)

# The products with the inverse that give cofactors fast lose as many digits as the condition number
# has; above this one, a decomposition takes their place.
WELL_CONDITIONED = 1e4
# A determinant below this share of the products that it is the sum of may have no correct digit.
UNCERTAIN = 1e-8


def _good_inverse(xp: Namespace, a: Array) -> Array | None:
    """The inverse matrices; None where one is singular, or loses too many digits."""
    try:
        inverse = xp.linalg.inv(a)
    except np.linalg.LinAlgError:
        return None
    sizes = [xp.abs(x).sum(axis=-1).max(axis=-1) for x in (a, inverse)]
    return inverse if bool((sizes[0] * sizes[1] < WELL_CONDITIONED).all()) else None


def _products_of_others(xp: Namespace, s: Array) -> Array:
    """The products of all other entries of each row (…, n)."""
    ones = xp.ones_like(s[..., :1])
    before = xp.cumprod(xp.concatenate((ones, s[..., :-1]), -1), -1)
    after = xp.cumprod(xp.concatenate((ones, s[..., :0:-1]), -1), -1)
    return before * after[..., ::-1]


def _rotated(xp: Namespace, a: Array) -> tuple[Array, Array, Array, Array]:
    """(U, σ, Vᴴ) of the singular value decomposition, and the determinant of U Vᴴ."""
    u, s, vh = xp.linalg.svd(a, full_matrices=False)
    return u, s, vh, xp.linalg.det(u @ vh)[..., None, None]


@primitive
def cofactors(xp: Namespace, a: Array) -> Array:
    """The matrices of cofactors (…, n, n) -> (…, n, n): the derivative of `det`.

    By the inverse where it is good.  Else by A = U S Vᴴ: cofactors of a product are the product
    of cofactors, and those of S are products of all other singular values.
    """
    if not a.size or a.shape[-1] == 1:
        return xp.ones_like(a)
    inverse = _good_inverse(xp, a)
    if inverse is not None:
        return xp.linalg.det(a)[..., None, None] * xp.swapaxes(inverse, -1, -2)
    u, s, vh, turn = _rotated(xp, a)
    return turn * ((xp.conj(u) * _products_of_others(xp, s)[..., None, :]) @ xp.conj(vh))


@primitive
def cofactor_change(xp: Namespace, x: Array, a: Array) -> Array:
    """The derivative of `cofactors` at a along x, (…, n, n): linear and symmetric in x."""
    if not a.size or a.shape[-1] == 1:
        return xp.zeros_like(x * a)
    inverse = _good_inverse(xp, a)
    if inverse is not None:
        c = xp.swapaxes(inverse, -1, -2)
        along = (c * x).sum(axis=(-1, -2), keepdims=True) * c
        return xp.linalg.det(a)[..., None, None] * (along - c @ xp.swapaxes(x, -1, -2) @ c)
    u, s, vh, turn = _rotated(xp, a)
    own = xp.eye(s.shape[-1], dtype=bool)
    pairs = _products_of_others(xp, xp.where(own, xp.ones_like(s[..., None]), s[..., None, :]))
    moved = xp.conj(xp.swapaxes(u, -1, -2)) @ x @ xp.conj(xp.swapaxes(vh, -1, -2))
    moved_diagonal = (moved * own).sum(axis=-1)
    diagonal = ((pairs * ~own) @ moved_diagonal[..., None])[..., 0]
    change = xp.where(own, diagonal[..., None], -pairs * xp.swapaxes(moved, -1, -2))
    return turn * (xp.conj(u) @ change @ xp.conj(vh))


def _change_rule(g: Array, x: Array, a: Array) -> Array:
    # cofactor_change(x) = (<c, x> c - c xᵀ c) / det, to be differentiated in c and det
    c, value = cofactors(a), column(column(det(a)))
    of_x, of_g = _total(c * x), _total(c * g)
    c_transposed = transpose_matrices(c)
    both = g @ c_transposed @ x + x @ c_transposed @ g
    # Only a determinant with correct digits can be divided by.
    certain = e.absolute(value) > UNCERTAIN * r.max(
        r.sum(e.absolute(a * c), axis=-1, keepdims=True), axis=-2, keepdims=True
    )
    value = e.where(certain, value, np.nan)
    change = cofactor_change(x, a)
    terms = change * of_g + of_x * cofactor_change(g, a) - cofactor_change(both, a)
    return (terms - _total(change * g) * c) / value


def _total(x: Array) -> Array:
    return r.sum(x, axis=(-1, -2), keepdims=True)


cofactors.vjp(a=lambda g, a: cofactor_change(g, a))
cofactors.batch(leading_axes_rule)
cofactor_change.vjp(x=lambda g, a: cofactor_change(g, a), a=_change_rule)
# The second derivative of a determinant is symmetric.
cofactors.jvp(a=lambda t, a: cofactor_change(t, a))
cofactor_change.jvp(x=lambda t, a: cofactor_change(t, a))
cofactor_change.batch(leading_axes_rule)


@primitive(several=True)
def slogdet_parts(xp: Namespace, a: Array) -> list[Array]:
    """The signs, or phases, and log-moduli of the determinants: (…, n, n) -> (…) and (…)."""
    return list(xp.linalg.slogdet(a))


def _slogdet_rule(g: Array, a: Array, y: Array) -> Array:
    # d log det = tr(A⁻¹ dA) =: t;  d logabsdet = Re t,  d sign = i·sign·Im t
    of_sign, of_log = g
    if a.dtype.kind != "c":
        if of_log is None:
            return a * 0
        return column(column(of_log)) * _inverse_transposed(a, y[0])
    total = 0 if of_log is None else of_log
    if of_sign is not None:
        total = total - e.real(as_operand(of_sign * y[0] * 1j)) * 1j
    return column(column(total)) * _inverse_transposed(a, y[0])


def _inverse_transposed(a: Array, sign: Array) -> Array:
    """The transposed inverses; NaN for matrices whose determinant's `sign` is 0, not an error."""
    return transpose_matrices(inv(a + column(column(e.where(e.equal(sign, 0), np.nan, 0)))))


slogdet_parts.vjp(a=_slogdet_rule)
slogdet_parts.batch(leading_axes_rule)


@composite(numpy=np.linalg.slogdet)
def slogdet(a: Operand) -> SlogdetResult:
    """(sign, log |determinant|) of (…, n, n); differentiable where the determinant is not 0."""
    return SlogdetResult(*slogdet_parts(a))
