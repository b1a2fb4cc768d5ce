"""NumPy's convolution and correlation of two vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.windows import unfold

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = ["convolve", "convolve_full", "correlate"]


@primitive
def convolve_full(xp: Namespace, a: Array, v: Array) -> Array:
    """y_k = Σ_i a_i v_(k-i) of two vectors: (n,), (m,) -> (n + m - 1,)."""
    return xp.convolve(a, v, "full")


def _convolve_rule(g: Array, other: Array, length: int) -> Array:
    start = other.shape[0] - 1
    return convolve_full(g, s.flip(other))[start : start + length]


convolve_full.vjp(
    a=lambda g, a_shape, v: _convolve_rule(g, v, a_shape[0]),
    v=lambda g, a, v_shape: _convolve_rule(g, a, v_shape[0]),
)
convolve_full.jvp(a=lambda t, v: convolve_full(t, v), v=lambda t, a: convolve_full(a, t))


@convolve_full.batch
def _convolve_batch(a: Array, v: Array) -> Array:
    count = v.shape[1] - 1
    windows = unfold(s.pad(a, ((0, 0), (count, count))), axis=1, size=v.shape[1])
    return s.reshape(windows @ s.expand_dims(s.flip(v, axis=1), -1), windows.shape[:2])


def _crop(full: Array, n: int, m: int, mode: str, start: int) -> Array:
    """The part of the full convolution that `mode` asks for."""
    if mode == "full":
        return full
    if mode == "same":
        return full[start : start + max(n, m)]
    if mode == "valid":
        least = min(n, m)
        return full[least - 1 : full.shape[0] - least + 1]
    raise ValueError(f"the mode is {mode!r}, none of 'full', 'same', 'valid'")


def _nonempty_vectors(a: Operand, v: Operand) -> tuple[Tensor, Tensor]:
    """Both operands.  Raises ShapeError when one is empty."""
    a, v = (x if x.ndim else x.reshape(1) for x in (as_operand(a), as_operand(v)))
    if not a.size or not v.size:
        raise ShapeError("an empty vector cannot be convolved")
    return a, v


@composite(numpy=np.convolve)
def convolve(a: Operand, v: Operand, mode: str = "full") -> Tensor:
    """Σ_i a_i v_(k-i) of two vectors; "same" and "valid" are middle parts of it."""
    a, v = _nonempty_vectors(a, v)
    n, m = a.shape[0], v.shape[0]
    return _crop(convolve_full(a, v), n, m, mode, (min(n, m) - 1) // 2)


@composite(numpy=np.correlate)
def correlate(a: Operand, v: Operand, mode: str = "valid") -> Tensor:
    """Σ_i a_(k+i) conj(v_i) of two vectors; "same" and "valid" are middle parts of it."""
    a, v = _nonempty_vectors(a, v)
    n, m = a.shape[0], v.shape[0]
    least = min(n, m)
    start = (least - 1) // 2 if n >= m else least // 2
    return _crop(convolve_full(a, s.flip(e.conjugate(v))), n, m, mode, start)
