"""Differences, integrals, interpolation, convolution, products of vectors, and a few functions.

`sinc` and `i0` have derivatives of every order: each comes with a primitive for its n-th
derivative, whose own rule asks for the next one.  Both are evaluated as integrals of smooth
functions, which keeps their precision where the textbook formulas cancel.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import linalg as la
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops._arrays import as_operand, axis_of, constant
from tapegrad.autograd.ops.batch_rules import native
from tapegrad.autograd.ops.counting import searchsorted
from tapegrad.autograd.ops.indexing import getitem
from tapegrad.autograd.ops.windows import unfold

__all__ = [
    "angle",
    "convolve",
    "convolve_full",
    "correlate",
    "cross",
    "diff",
    "divmod",
    "ediff1d",
    "float_power",
    "frexp",
    "geomspace",
    "gradient",
    "i0",
    "i0_derivative",
    "interp",
    "kron",
    "linalg_cross",
    "linspace",
    "logspace",
    "matvec",
    "modf",
    "nan_to_num",
    "real_if_close",
    "sinc",
    "sinc_derivative",
    "trapezoid",
    "unwrap",
    "vander",
    "vdot",
    "vecdot",
    "vecmat",
]


def _slices(x: Any, axis: int, *bounds: tuple[int | None, int | None]) -> list[Any]:
    before = (slice(None),) * axis
    return [x[(*before, slice(*bound))] for bound in bounds]


# Differences and integrals -----------------------------------------------------------------------


@composite(numpy=np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The n-th differences of neighbours along `axis`."""
    a = as_operand(a)
    axis = axis_of(axis, a.ndim)
    if n < 0:
        raise ValueError(f"diff: the order {n} is negative")

    def end(x: Any) -> Any:
        x = as_operand(x)
        shape = tuple(1 if i == axis else m for i, m in enumerate(a.shape))
        return s.broadcast_to(x, shape) if x.ndim == 0 else x

    parts = [end(prepend)] * (prepend is not None) + [a] + [end(append)] * (append is not None)
    y = s.concatenate(parts, axis) if len(parts) > 1 else a
    for _ in range(n):
        later, earlier = _slices(y, axis, (1, None), (None, -1))
        y = later - earlier if y.dtype.kind != "b" else e.not_equal(later, earlier)
    return s.copy(y) if y is a else y


@composite(numpy=np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of neighbours in the flattened x, between `to_begin` and `to_end`."""
    y = s.ravel(as_operand(ary))
    y = y[1:] - y[:-1]
    parts = [to_begin, y, to_end]
    given = [
        # numbers and lists become arrays where x lives
        s.ravel(p if hasattr(p, "dtype") else constant(np.asarray(p, y.dtype), y))
        for p in parts
        if p is not None
    ]
    return s.concatenate(given, 0) if len(given) > 1 else y


def _gradient_along(f: Any, spacing: Any, axis: int, edge_order: int) -> Any:
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ValueError(f"gradient: {n} points are too few for edge_order={edge_order}")
    shape = tuple(-1 if i == axis else 1 for i in range(f.ndim))
    if np.ndim(spacing):
        steps = diff(s.ravel(as_operand(spacing)))
        if steps.shape[0] != n - 1:
            raise ValueError(f"gradient: {steps.shape[0] + 1} coordinates for {n} points")
        left, right = (s.reshape(h, shape) for h in (steps[:-1], steps[1:]))
        first, second, last = steps[0], steps[min(1, n - 2)], steps[-1]
        before_last = steps[max(0, n - 3)]
    else:
        left = right = first = second = last = before_last = spacing
    low, middle, high = _slices(f, axis, (0, n - 2), (1, n - 1), (2, n))
    if np.ndim(spacing):
        inner = (
            -(right / (left * (left + right))) * low
            + ((right - left) / (left * right)) * middle
            + (left / (right * (left + right))) * high
        )
    else:
        inner = (high - low) / (2 * spacing)

    def at(i: int) -> Any:
        return _slices(f, axis, (i, i + 1 if i != -1 else None))[0]

    if edge_order == 1:
        start, stop = (at(1) - at(0)) / first, (at(n - 1) - at(n - 2)) / last
    else:
        start = (
            -((2 * first + second) / (first * (first + second))) * at(0)
            + ((first + second) / (first * second)) * at(1)
            - (first / (second * (first + second))) * at(2)
        )
        stop = (
            (last / (before_last * (last + before_last))) * at(n - 3)
            - ((last + before_last) / (last * before_last)) * at(n - 2)
            + ((2 * last + before_last) / (last * (last + before_last))) * at(n - 1)
        )
    return s.concatenate([start, inner, stop], axis)


@composite(numpy=np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences inside, one-sided ones at the ends, along each axis: a tuple, or one.

    varargs:    spacing, or coordinates, of every axis or of all
    edge_order: 1 or 2, the order of the differences at the ends
    """
    f = as_operand(f)
    axes = r.normalized_axes(tuple(axis) if isinstance(axis, list) else axis, f.ndim)
    spacings = varargs or (1.0,)
    if len(spacings) == 1:
        spacings = spacings * len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(spacings)} spacings for {len(axes)} axes")
    results = tuple(
        _gradient_along(f, spacing, along, edge_order)
        for spacing, along in zip(spacings, axes, strict=True)
    )
    return results[0] if len(results) == 1 else results


@composite(numpy=np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """∫ y along `axis` by the trapezoidal rule, at the points x, or in steps of dx."""
    y = as_operand(y)
    axis = axis_of(axis, y.ndim)
    step = dx
    if x is not None:
        x = as_operand(x)
        step = diff(x, axis=0 if x.ndim == 1 else axis)
        if x.ndim == 1:
            step = s.reshape(step, tuple(-1 if i == axis else 1 for i in range(y.ndim)))
    later, earlier = _slices(y, axis, (1, None), (None, -1))
    return r.sum(step * (later + earlier) / 2, axis=axis)


@composite(numpy=np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """Linear interpolation at x of the values fp at rising points xp; fp's ends outside.

    Differentiable in x, xp, fp; at a point of xp the slope is that of the interval after it.
    """
    x, xp, fp = (as_operand(a) for a in (x, xp, fp))
    n = xp.shape[0]
    if not n or fp.shape != xp.shape:
        raise ValueError("interp: xp and fp must be vectors of one length, and not empty")
    if n == 1:
        inside = fp[0] + (x - x)
    else:
        place = e.clip(searchsorted(xp, x, side="right") - 1, 0, n - 2)
        x0, x1, y0, y1 = (
            getitem(a, i) for a, i in ((xp, place), (xp, place + 1), (fp, place), (fp, place + 1))
        )
        inside = y0 + (x - x0) * ((y1 - y0) / (x1 - x0))
    below, above = e.less(x, xp[0]), e.greater(x, xp[-1])
    y = e.where(below, fp[0] if left is None else left, inside)
    return e.where(above, fp[-1] if right is None else right, y)


@composite(numpy=np.unwrap)
def unwrap(
    p: Any, discont: float | None = None, axis: int = -1, *, period: float = math.tau
) -> Any:
    """x with multiples of `period` added along `axis` so that no step is longer than half of it."""
    p = as_operand(p)
    axis = axis_of(axis, p.ndim)
    limit = builtin_max(period / 2, 0.0 if discont is None else discont)
    steps = diff(p, axis=axis)
    half = period / 2
    folded = e.remainder(steps + half, period) - half
    folded = e.where(e.logical_and(e.equal(folded, -half), steps > 0), half, folded)
    turns = e.where(e.absolute(steps) < limit, 0, folded - steps)
    first, later = _slices(p, axis, (0, 1), (1, None))
    return s.concatenate([first, later + r.cumsum(turns, axis=axis)], axis)


builtin_max = max

# Convolution -------------------------------------------------------------------------------------


@primitive
def convolve_full(xp: Any, a: Any, v: Any) -> Any:
    """y_k = Σ_i a_i v_(k-i) of two vectors: (n,), (m,) -> (n + m - 1,)."""
    return xp.convolve(a, v, "full")


def _convolve_rule(g: Any, other: Any, length: int) -> Any:
    start = other.shape[0] - 1
    return convolve_full(g, s.flip(other))[start : start + length]


convolve_full.vjp(
    a=lambda g, a_shape, v: _convolve_rule(g, v, a_shape[0]),
    v=lambda g, a, v_shape: _convolve_rule(g, a, v_shape[0]),
)


@convolve_full.batch
def _convolve_batch(a: Any, v: Any) -> Any:
    count = v.shape[1] - 1
    windows = unfold(s.pad(a, ((0, 0), (count, count))), axis=1, size=v.shape[1])
    return s.reshape(windows @ s.expand_dims(s.flip(v, axis=1), -1), windows.shape[:2])


def _part(full: Any, n: int, m: int, mode: str, start: int) -> Any:
    if mode == "full":
        return full
    if mode == "same":
        return full[start : start + builtin_max(n, m)]
    if mode == "valid":
        least = min(n, m)
        return full[least - 1 : full.shape[0] - least + 1]
    raise ValueError(f"the mode is {mode!r}, none of 'full', 'same', 'valid'")


def _vectors(a: Any, v: Any) -> tuple[Any, Any]:
    a, v = as_operand(a), as_operand(v)
    if not a.size or not v.size:
        raise ValueError("an empty vector cannot be convolved")
    return a, v


@composite(numpy=np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """Σ_i a_i v_(k-i) of two vectors; "same" and "valid" are middle parts of it."""
    a, v = _vectors(a, v)
    n, m = a.shape[0], v.shape[0]
    return _part(convolve_full(a, v), n, m, mode, (min(n, m) - 1) // 2)


@composite(numpy=np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """Σ_i a_(k+i) conj(v_i) of two vectors; "same" and "valid" are middle parts of it."""
    a, v = _vectors(a, v)
    n, m = a.shape[0], v.shape[0]
    least = min(n, m)
    start = (least - 1) // 2 if n >= m else least // 2
    return _part(convolve_full(a, s.flip(e.conjugate(v))), n, m, mode, start)


# Products of vectors and matrices ----------------------------------------------------------------


@composite(numpy=np.vdot)
def vdot(a: Any, b: Any) -> Any:
    """Σ conj(a)·b over all entries."""
    return la.matmul(s.ravel(e.conjugate(as_operand(a))), s.ravel(as_operand(b)))


@composite(numpy=(np.vecdot, np.linalg.vecdot))
def vecdot(x1: Any, x2: Any, *, axis: int = -1) -> Any:
    """Σ conj(x1)·x2 along `axis`, with broadcasting."""
    x1, x2 = as_operand(x1), as_operand(x2)
    if axis != -1:
        x1, x2 = s.moveaxis(x1, axis, -1), s.moveaxis(x2, axis, -1)
    return r.sum(e.conjugate(x1) * x2, axis=-1)


@composite(numpy=np.matvec)
def matvec(x1: Any, x2: Any) -> Any:
    """Matrices times vectors: (…, m, n), (…, n) -> (…, m)."""
    return la.matmul(as_operand(x1), s.expand_dims(as_operand(x2), -1))[..., 0]


@composite(numpy=np.vecmat)
def vecmat(x1: Any, x2: Any) -> Any:
    """Conjugate vectors times matrices: (…, m), (…, m, n) -> (…, n)."""
    return la.matmul(s.expand_dims(e.conjugate(as_operand(x1)), -2), as_operand(x2))[..., 0, :]


@composite(numpy=np.kron)
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: blocks a_ij·b."""
    a, b = as_operand(a), as_operand(b)
    ndim = builtin_max(a.ndim, b.ndim)
    first, second = ((1,) * (ndim - x.ndim) + tuple(x.shape) for x in (a, b))
    wide = s.reshape(a, tuple(n for m in first for n in (m, 1)))
    narrow = s.reshape(b, tuple(n for m in second for n in (1, m)))
    return s.reshape(wide * narrow, tuple(p * q for p, q in zip(first, second, strict=True)))


def _cross(a: Any, b: Any) -> Any:
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ValueError("cross: both operands must have vectors of 3 components")
    (a0, a1, a2), (b0, b1, b2) = ([x[..., i] for i in range(3)] for x in (a, b))
    return s.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], -1)


@composite(numpy=np.cross)
def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """The vector product of vectors of 3 components, with broadcasting."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = s.moveaxis(as_operand(a), axisa, -1), s.moveaxis(as_operand(b), axisb, -1)
    return s.moveaxis(_cross(a, b), -1, axisc)


@composite(numpy=np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, *, axis: int = -1) -> Any:
    """The vector product along `axis`."""
    return cross(x1, x2, axis=axis)


@composite(numpy=np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers of the vector x as columns, falling unless `increasing`."""
    x = as_operand(x)
    count = x.shape[0] if N is None else N
    columns = [x * 0 + 1]
    for _ in range(count - 1):
        columns.append(columns[-1] * x)
    y = s.stack(columns[:count], 1) if count else s.reshape(x[:0], (x.shape[0], 0))
    return y if increasing else s.flip(y, 1)


# Grids between two ends --------------------------------------------------------------------------


@composite(numpy=np.linspace)
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, *, axis: int = 0) -> Any:
    """`num` points from start to stop in equal steps, along a new axis."""
    start, stop = as_operand(start) * 1.0, as_operand(stop) * 1.0
    like = start if hasattr(start, "tracked") else stop
    steps = num - 1 if endpoint else num
    shares = np.arange(num) / steps if steps > 0 else np.zeros(num)
    shape = np.broadcast_shapes(tuple(start.shape), tuple(stop.shape))
    dtype = np.result_type(start.dtype, stop.dtype)
    share = constant(shares.reshape((-1,) + (1,) * len(shape)).astype(dtype), like)
    y = start + (stop - start) * share
    if endpoint and num > 1:
        last = s.broadcast_to(s.expand_dims(stop, 0), (1, *shape)) if shape else stop.reshape(1)
        y = s.concatenate([y[:-1], last], 0)
    return s.moveaxis(y, 0, axis) if axis else y


@composite(numpy=np.logspace)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, *, axis: int = 0
) -> Any:
    """base^x for x in `linspace`."""
    if np.ndim(base):
        raise TypeError("numpy.logspace on a Tensor: an array as base is not supported")
    return e.power(base, linspace(start, stop, num, endpoint, axis=axis))


@composite(numpy=np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, *, axis: int = 0) -> Any:
    """`num` points from start to stop in equal ratios, both of one sign; complex ones on a spiral.

    Both are turned until start is positive, and the points are turned back.
    """
    start, stop = as_operand(start), as_operand(stop)
    sign = e.sign(start)
    start, stop = start / sign, stop / sign
    y = e.power(10.0, linspace(e.log10(start), e.log10(stop), num, endpoint))
    if num > 0:
        first = s.expand_dims(s.broadcast_to(start * 1.0, tuple(y.shape[1:])), 0)
        y = s.concatenate([first, y[1:]], 0)
    if endpoint and num > 1:
        last = s.expand_dims(s.broadcast_to(stop * 1.0, tuple(y.shape[1:])), 0)
        y = s.concatenate([y[:-1], last], 0)
    y = y * sign
    return s.moveaxis(y, 0, axis) if axis else y


# Functions ---------------------------------------------------------------------------------------


@composite(numpy=np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """The angle of a complex number, in radians or degrees; of real numbers 0 or π."""
    y = e.arctan2(e.imag(z), e.real(z))
    return y * (180 / math.pi) if deg else y


@composite(numpy=np.nan_to_num)
def nan_to_num(
    x: Any,
    copy: bool = True,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Any:
    """x with NaN and the infinities replaced by numbers, a new array."""
    del copy
    x = as_operand(x)
    if x.dtype.kind == "c":
        return nan_to_num(e.real(x), True, nan, posinf, neginf) + 1j * nan_to_num(
            e.imag(x), True, nan, posinf, neginf
        )
    limits = np.finfo(x.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    y = e.where(e.isnan(x), nan, x)
    infinite = e.isinf(x)
    y = e.where(e.logical_and(infinite, x > 0), high, y)
    return e.where(e.logical_and(infinite, x < 0), low, y)


@composite(numpy=np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    """The real part if no imaginary part exceeds `tol` times the machine epsilon, else x."""
    a = as_operand(a)
    if a.dtype.kind != "c":
        return a
    limit = tol * float(np.finfo(a.dtype).eps) if tol > 1 else tol
    return e.real(a) if bool(r.all(e.less(e.absolute(e.imag(a)), limit))) else a


@composite(numpy=np.float_power)
def float_power(x1: Any, x2: Any) -> Any:
    """x1 raised to x2 in double precision."""
    x1, x2 = as_operand(x1), as_operand(x2)
    wanted = np.result_type(x1.dtype, x2.dtype, np.float64)
    return e.power(e.cast(x1, dtype=wanted), e.cast(x2, dtype=wanted))


@composite(numpy=np.divmod)
def divmod(x1: Any, x2: Any) -> Any:
    """(floor(x1 / x2), the remainder), elementwise; the first has no derivative."""
    return e.floor_divide(x1, x2), e.remainder(x1, x2)


@composite(numpy=np.modf)
def modf(x: Any) -> Any:
    """(fractional part, integer part), both with the sign of x; the second has no derivative."""
    whole = e.trunc(x)
    return e.copysign(e.where(e.isinf(x), 0, x - whole), x), whole


@composite(numpy=np.frexp)
def frexp(x: Any) -> Any:
    """(m, k) with x = m · 2^k and 1/2 <= |m| < 1; the second has no derivative."""
    from tapegrad.autograd.ops.counting import binary_exponent

    exponent = binary_exponent(x)
    return e.ldexp(x, e.negative(exponent)), exponent


@lru_cache(maxsize=1)
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on (0, 1) that integrate cos(πxt)·tᵏ to rounding for |x| < 8."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    return (nodes + 1) / 2, weights / 2


@primitive(numpy=np.sinc)
def sinc(xp: Any, x: Any) -> Any:
    """sin(πx) / (πx), elementwise; 1 at 0."""
    return xp.sinc(x)


@primitive
def sinc_derivative(xp: Any, x: Any, *, order: int) -> Any:
    """The derivative of `sinc` of the given order >= 1, elementwise."""
    wide = x.astype(np.result_type(x.dtype, np.float64))
    far = xp.abs(wide) > 4 + order
    # ∫₀¹ (πt)ᵏ cos(πxt + kπ/2) dt near 0, where the closed form cancels
    near = xp.where(far, 0.0, wide)
    y = xp.zeros_like(wide)
    for node, weight in zip(*_legendre(), strict=True):
        t = math.pi * float(node)
        y = y + float(weight) * t**order * xp.cos(t * near + order * math.pi / 2)
    # x·s⁽ᵏ⁾ + k·s⁽ᵏ⁻¹⁾ = πᵏ⁻¹ sin(πx + kπ/2) away from it
    away = xp.where(far, wide, 1.0)
    s_k = xp.sinc(away)
    for k in range(1, order + 1):
        wave = xp.sin(math.pi * away + k * math.pi / 2) * math.pi ** (k - 1)
        s_k = (wave - k * s_k) / away
    return xp.where(far, s_k, y).astype(x.dtype)


sinc.vjp(x=lambda g, x: g * sinc_derivative(x, order=1))
sinc.batch(native)
sinc_derivative.vjp(x=lambda g, x, order: g * sinc_derivative(x, order=order + 1))
sinc_derivative.batch(native)


@primitive(numpy=np.i0)
def i0(xp: Any, x: Any) -> Any:
    """The modified Bessel function of the first kind and order 0, elementwise."""
    return xp.i0(x).astype(x.dtype)


_ANGLES = (np.arange(256) + 0.5) * (math.pi / 256)


@primitive
def i0_derivative(xp: Any, x: Any, *, order: int) -> Any:
    """The derivative of `i0` of the given order, elementwise.

    (1/π) ∫₀^π cosᵏθ e^(x cos θ) dθ by the midpoint rule, which converges geometrically for periodic
    functions: 256 points reach rounding for every |x| whose result is finite.
    """
    wide = x.astype(np.result_type(x.dtype, np.float64))
    y = xp.zeros_like(wide)
    for cosine in np.cos(_ANGLES):
        y = y + float(cosine) ** order * xp.exp(wide * float(cosine))
    return (y / len(_ANGLES)).astype(x.dtype)


i0.vjp(x=lambda g, x: g * i0_derivative(x, order=1))
i0.batch(native)
i0_derivative.vjp(x=lambda g, x, order: g * i0_derivative(x, order=order + 1))
i0_derivative.batch(native)
