"""tapegrad.scipy.signal: convolution, correlation and linear filters of any number of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import fourier
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.matrices.stacks import conj
from tapegrad.autograd.scipy.declaring import operation, scipy_module

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = [
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "fftconvolve",
    "hilbert",
    "lfilter",
    "oaconvolve",
    "sosfilt",
]

MODE = "the mode is {mode!r}, none of 'full', 'same', 'valid'"
OF_ONE_RANK = "in1 has {first} axes, in2 {second}: convolutions are of arrays with as many axes"
SMALLER = "for mode 'valid' one of the arrays must be at least as long as the other in every axis"


@operation()
def _convolution(xp: Namespace, a: Array, v: Array, *, mode: str, method: str) -> Array:
    """Mode "full", or "valid" of an a that is at least as long as v."""
    return scipy_module("signal").convolve(a, v, mode, method)


def _flipped(x: Array) -> Array:
    return s.flip(x, axis=tuple(range(len(x.shape))))


def _convolution_a(g: Array, v: Array, mode: str, method: str) -> Array:
    if mode == "full":
        return _valid(g, _flipped(v), method)
    return _convolution(g, _flipped(v), mode="full", method=method)


def _convolution_v(g: Array, a: Array, mode: str, method: str) -> Array:
    if mode == "full":
        return _valid(g, _flipped(a), method)
    return _valid(_flipped(a), g, method)


_convolution.vjp(a=_convolution_a, v=_convolution_v)


def _valid(a: Any, v: Any, method: str) -> Any:
    """The valid part, of two arrays of which one is the longer in every axis."""
    pairs = list(zip(a.shape, v.shape, strict=True))
    if all(n >= m for n, m in pairs):
        return _convolution(a, v, mode="valid", method=method)
    if all(n <= m for n, m in pairs):
        return _convolution(v, a, mode="valid", method=method)
    raise ValueError(SMALLER)


def _pair(in1: Operand, in2: Operand) -> tuple[Any, Any]:
    a, v = as_operand(in1), as_operand(in2)
    if len(a.shape) != len(v.shape):
        raise ShapeError(OF_ONE_RANK.format(first=len(a.shape), second=len(v.shape)))
    if a.dtype.kind in "fc" or v.dtype.kind in "fc":
        a, v = (x if x.dtype.kind in "fc" else x.astype(np.float64) for x in (a, v))
    return a, v


def _centred(full: Any, shape: Any) -> Any:
    """The middle of the full result, of a given shape."""
    starts = [(n - m) // 2 for n, m in zip(full.shape, shape, strict=True)]
    return full[tuple(slice(k, k + int(m)) for k, m in zip(starts, shape, strict=True))]


def convolve(in1: Operand, in2: Operand, mode: str = "full", method: str = "auto") -> Tensor:
    """The convolution of two arrays with as many axes, of any number of them.

    mode:   "full", all of it; "same", the middle, of in1's shape; "valid", where nothing is missing
    method: "auto", "direct" or "fft", as SciPy's
    Raises ShapeError for another number of axes, ValueError for an unknown mode.
    """
    a, v = _pair(in1, in2)
    if mode == "valid":
        return _valid(a, v, method)
    if mode not in ("full", "same"):
        raise ValueError(MODE.format(mode=mode))
    full = _convolution(a, v, mode="full", method=method)
    return full if mode == "full" else _centred(full, a.shape)


def correlate(in1: Operand, in2: Operand, mode: str = "full", method: str = "auto") -> Tensor:
    """The correlation of two arrays with as many axes; see `convolve`."""
    a, v = _pair(in1, in2)
    if mode == "valid" and any(n < m for n, m in zip(a.shape, v.shape, strict=True)):
        return conj(_flipped(_valid(v, conj(_flipped(a)), method)))
    return convolve(a, conj(_flipped(v)), mode, method)


_PAD_MODES = {"fill": "constant", "wrap": "wrap", "symm": "symmetric"}


def _around(in1: Operand, in2: Operand, mode: str, boundary: str, fillvalue: float) -> Any:
    """in1 with what lies around it, and in2, for a result that is cut to `mode`."""
    a, v = _pair(in1, in2)
    if len(a.shape) != 2:
        raise ShapeError(f"convolve2d and correlate2d take matrices, and not shape {a.shape}")
    if boundary not in _PAD_MODES:
        raise ValueError(f"the boundary is {boundary!r}, none of 'fill', 'wrap', 'symm'")
    if mode == "valid" or (boundary == "fill" and fillvalue == 0):
        return a, v, False
    widths = [(int(m) - 1, int(m) - 1) for m in v.shape]
    options = {"constant_values": fillvalue} if boundary == "fill" else {}
    return np.pad(a, widths, _PAD_MODES[boundary], **options), v, True  # type: ignore[call-overload]  # a mode by name


def convolve2d(
    in1: Operand, in2: Operand, mode: str = "full", boundary: str = "fill", fillvalue: float = 0
) -> Tensor:
    """The convolution of two matrices.

    boundary: what lies around in1: "fill", fillvalue; "wrap", in1 again; "symm", in1 mirrored
    """
    a, v, padded = _around(in1, in2, mode, boundary, fillvalue)
    if not padded:
        return convolve(a, v, mode, "direct")
    full = convolve(a, v, "valid", "direct")
    return full if mode == "full" else _centred(full, as_operand(in1).shape)


def correlate2d(
    in1: Operand, in2: Operand, mode: str = "full", boundary: str = "fill", fillvalue: float = 0
) -> Tensor:
    """The correlation of two matrices; see `convolve2d`.  Raises ValueError for an unknown mode."""
    a, v, padded = _around(in1, in2, mode, boundary, fillvalue)
    if mode == "valid":
        return correlate(a, v, mode, "direct")
    full = convolve(a, conj(_flipped(v)), "valid" if padded else "full", "direct")
    if mode == "full":
        return full
    if mode != "same":
        raise ValueError(MODE.format(mode=mode))
    (top, left), (rows, columns) = (int(m) // 2 for m in v.shape), as_operand(in1).shape
    return full[top : top + int(rows), left : left + int(columns)]


def fftconvolve(in1: Operand, in2: Operand, mode: str = "full", axes: Any = None) -> Tensor:
    """The convolution of two arrays along `axes`, all if it is None, by Fourier transforms.

    Other axes broadcast.  mode: see `convolve`.  Raises ValueError for an unknown mode.
    """
    a, v = _pair(in1, in2)
    ndim = len(a.shape)
    along = range(ndim) if axes is None else ([axes] if isinstance(axes, int) else axes)
    along = tuple(k % ndim for k in along)
    if mode not in ("full", "same", "valid"):
        raise ValueError(MODE.format(mode=mode))
    if not along:
        return a * v
    longer = [int(a.shape[k]) >= int(v.shape[k]) for k in along]
    if mode == "valid" and not all(longer):
        if any(longer):
            raise ValueError(SMALLER)
        a, v = v, a
    sizes = [int(a.shape[k] + v.shape[k]) - 1 for k in along]
    if a.dtype.kind == "c" or v.dtype.kind == "c":
        full = fourier.ifftn(
            fourier.fftn(a, sizes, along) * fourier.fftn(v, sizes, along), sizes, along
        )
    else:
        product = fourier.rfftn(a, sizes, along) * fourier.rfftn(v, sizes, along)
        full = fourier.irfftn(product, sizes, along)
    if mode == "full":
        return full
    shape = list(full.shape)
    for k in along:
        shape[k] = int(a.shape[k]) if mode == "same" else int(a.shape[k] - v.shape[k]) + 1
    return _centred(full, shape)


def oaconvolve(in1: Operand, in2: Operand, mode: str = "full", axes: Any = None) -> Tensor:
    """The convolution along `axes`; see `fftconvolve`, which computes it."""
    return fftconvolve(in1, in2, mode, axes)


def hilbert(x: Operand, N: int | None = None, axis: int = -1) -> Tensor:
    """The analytic signal x + i·H(x) along an axis, of real x; complex."""
    x = as_operand(x)
    n = int(x.shape[axis]) if N is None else N
    weights = np.zeros(n)
    weights[0] = 1
    weights[1 : (n + 1) // 2] = 2
    if n % 2 == 0:
        weights[n // 2] = 1
    shape = [1] * len(x.shape)
    shape[axis] = n
    return fourier.ifft(fourier.fft(x, n, axis) * weights.reshape(shape), n, axis)


# Filters -----------------------------------------------------------------------------------------


@operation()
def _filter(xp: Namespace, b: Array, a: Array, x: Array) -> Array:
    """y_n = Σ b_k x_{n-k} - Σ a_k y_{n-k} along the last axis; a_0 is 1."""
    return scipy_module("signal").lfilter(b, a, x, axis=-1)


def _reversed_filter(g: Array, b: Array, a: Array) -> Array:
    return s.flip(_filter(b, a, s.flip(g, axis=-1)), axis=-1)


def _lagged_products(g: Array, w: Array, count: int) -> Array:
    """Σ_n g_n w_{n-k} for k = 0 … count - 1, over all axes."""
    length = int(w.shape[-1])
    sums = [
        r.sum(g[..., k:] * w[..., : length - k]) if k < length else r.sum(g) * 0.0
        for k in range(count)
    ]
    return s.stack(sums)


def _of_poles(x: Array, a: Array) -> Array:
    """x filtered by 1 / a."""
    return _filter(e.multiply(a[:1], 0) + 1, a, x)


def _filter_a(g: Array, a: Array, y: Array) -> Array:
    sums = -_lagged_products(g, _of_poles(y, a), int(a.shape[0]))
    # a_0 is 1: what divides by it is outside
    return sums * np.concatenate([[0.0], np.ones(int(a.shape[0]) - 1)])


_filter.vjp(
    b=lambda g, b, a, x: _lagged_products(g, _of_poles(x, a), int(b.shape[0])),
    a=_filter_a,
    x=_reversed_filter,
)


def lfilter(b: Operand, a: Operand, x: Operand, axis: int = -1, zi: Operand | None = None) -> Any:
    """x filtered by the rational transfer function b / a along one axis: a_0 y_n = Σ b_k x_{n-k}.

    b (k,), a (l,), x any shape -> x's shape; with zi, the initial state of max(k, l) - 1 entries
    along the axis, [y, the final state].  Raises ValueError for fewer samples than that.
    """
    b, a, x = (_floats(value) for value in (b, a, x))
    b, a = s.reshape(b, (-1,)), s.reshape(a, (-1,))
    b, a = b / a[0], a / a[0]
    x = s.moveaxis(x, axis, -1)
    y = _filter(b, a, x)
    if zi is None:
        return s.moveaxis(y, -1, axis)
    state = s.moveaxis(_floats(zi), axis, -1)
    length, order = int(x.shape[-1]), int(state.shape[-1])
    if length < order:
        raise ValueError(f"lfilter with zi takes at least {order} samples, and x has {length}")
    free = s.concatenate([state, (x * 0.0)[..., : length - order] + state[..., :1] * 0.0], axis=-1)
    y = y + _of_poles(free, a)
    final = []
    for i in range(order):
        terms: Any = 0.0
        for j in range(order - i):
            if i + 1 + j < int(b.shape[0]):
                terms = terms + b[i + 1 + j] * x[..., length - 1 - j]
            if i + 1 + j < int(a.shape[0]):
                terms = terms - a[i + 1 + j] * y[..., length - 1 - j]
        final.append(terms)
    return s.moveaxis(y, -1, axis), s.moveaxis(s.stack(final, axis=-1), -1, axis)


def _floats(x: Operand) -> Tensor:
    x = as_operand(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def sosfilt(sos: Operand, x: Operand, axis: int = -1) -> Tensor:
    """x filtered by sections of order 2 one after the other; sos (n, 6): b and a of each."""
    sections, y = _floats(sos), _floats(x)
    for i in range(int(sections.shape[0])):
        y = lfilter(sections[i, :3], sections[i, 3:], y, axis)
    return y
