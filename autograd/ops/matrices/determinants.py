"""Determinants, and their logarithms."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.autograd.ops.matrices.solving import inv
from tapegrad.autograd.ops.matrices.stacks import column, transpose_matrices

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = ["SlogdetResult", "det", "slogdet", "slogdet_parts"]


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


@primitive(numpy=np.linalg.det)
def det(xp: Namespace, a: Array) -> Array:
    """The determinants (…, n, n) -> (…); differentiable where they are not 0."""
    return xp.linalg.det(a)


det.vjp(a=lambda g, a, y: column(column(g * y)) * transpose_matrices(inv(a)))
det.batch(leading_axes_rule)


@primitive(several=True)
def slogdet_parts(xp: Namespace, a: Array) -> list[Array]:
    """The determinants' signs (phases of complex ones) and the logarithms of their moduli."""
    return list(xp.linalg.slogdet(a))


def _slogdet_rule(g: Array, a: Array, y: Array) -> Array:
    # d log det = tr(A⁻¹ dA) =: t;  d logabsdet = Re t,  d sign = i·sign·Im t
    of_sign, of_log = g
    if a.dtype.kind != "c":
        if of_log is None:
            return a * 0
        return column(column(of_log)) * transpose_matrices(inv(a))
    total = 0 if of_log is None else of_log
    if of_sign is not None:
        total = total - 1j * e.real(of_sign * y[0] * 1j)
    return column(column(total)) * transpose_matrices(inv(a))


slogdet_parts.vjp(a=_slogdet_rule)
slogdet_parts.batch(leading_axes_rule)


@composite(numpy=np.linalg.slogdet)
def slogdet(a: Operand) -> SlogdetResult:
    """(sign, log |determinant|) of (…, n, n); differentiable where the determinant is not 0."""
    return SlogdetResult(*slogdet_parts(a))
