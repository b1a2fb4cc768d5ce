"""Powers of a matrix, and products of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.ops import linalg as la
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, device_array
from tapegrad.autograd.ops.matrices.solving import inv
from tapegrad.autograd.ops.matrices.stacks import check_square

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = ["matrix_power", "multi_dot"]


@composite(numpy=np.linalg.matrix_power)
def matrix_power(a: Operand, n: int) -> Tensor:
    """The product of n equal matrices, of |n| inverses for negative n; by repeated squaring."""
    a = as_operand(a)
    check_square(a, "matrix_power")
    if n == 0:
        identity = device_array(np.eye(a.shape[-1], dtype=a.dtype), a)
        return s.broadcast_to(identity, tuple(a.shape)) + a * 0
    square, exponent = (inv(a), -n) if n < 0 else (a, n)
    y: Any = None
    while exponent:
        if exponent & 1:
            y = square if y is None else y @ square
        exponent >>= 1
        if exponent:
            square = square @ square
    return y


@composite(numpy=np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Operand]) -> Tensor:
    """The matrix product of all, in the order that costs least; the ends may be vectors.

    Raises ValueError for fewer than two arrays.
    """
    operands = [as_operand(a) for a in arrays]
    if len(operands) < 2:
        raise ValueError("multi_dot takes two arrays at least")
    letters = [chr(ord("a") + i) for i in range(len(operands) + 1)]
    terms = [letters[i] + letters[i + 1] for i in range(len(operands))]
    if operands[0].ndim == 1:
        terms[0] = letters[1]
    if operands[-1].ndim == 1:
        terms[-1] = letters[-2]
    result = terms[0][:-1] + terms[-1][1:]
    y = la.einsum(",".join(terms) + "->" + result, *operands)
    return s.lie_as(y, fortran=False)
