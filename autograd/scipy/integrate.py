"""tapegrad.scipy.integrate: integrals, and solutions of ordinary differential equations.

The steps that SciPy takes are not recorded.  An integral's derivative is the integral of the
derivative, and at its limits the integrand (Leibniz); a solution's derivative is found by solving
the adjoint equation backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.tensor import Tensor, as_array
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.calculus import trapezoid as _trapezoid
from tapegrad.autograd.scipy.declaring import operation, scipy_module
from tapegrad.autograd.scipy.functions import Given, numbers, packed
from tapegrad.autograd.transforms.products import vjp

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = [
    "cumulative_trapezoid",
    "fixed_quad",
    "odeint",
    "quad",
    "quad_vec",
    "simpson",
    "solve_ivp",
    "trapezoid",
]

SEVERAL = "quad integrates numbers, and func returned shape {shape}: quad_vec integrates vectors"

# Integrals --------------------------------------------------------------------------------------


@operation()
def _integral(
    xp: Namespace,
    a: Array,
    b: Array,
    args: list[Array],
    *,
    integrand: Callable[..., Any],
    integrate: Callable[..., Any],
) -> Array:
    """∫ integrand(t, args) dt from a to b, which `integrate` computes."""
    return np.array(integrate(lambda t: integrand(t, args), float(a), float(b)))


def _at_limit(g: Array, t: Array, args: list[Array], integrand: Callable[..., Any]) -> Array:
    """The cotangent of the upper limit."""
    return r.sum(g * integrand(t, args))


def _under_the_integral(
    g: Array,
    a: Array,
    b: Array,
    args: list[Array],
    integrand: Callable[..., Any],
    integrate: Callable[..., Any],
) -> list[Array]:
    """The cotangents of args: the integral of those of the integrand, all in one vector."""

    def pulled(t: Any, values: Sequence[Any]) -> Any:
        g, *floats = values
        _, pull = vjp(lambda *own: integrand(t, list(own)), tuple(floats))
        return s.concatenate([s.reshape(part, (-1,)) for part in pull(g)], axis=0)

    flat = _integral(a, b, [g, *args], integrand=pulled, integrate=_by_vectors(integrate))
    return _unpacked(flat, args)


def _unpacked(flat: Any, like: Sequence[Any]) -> list[Any]:
    """The parts of a vector, in the shapes of these arrays."""
    parts, start = [], 0
    for x in like:
        size = int(np.prod(x.shape))
        parts.append(s.reshape(flat[start : start + size], x.shape))
        start += size
    return parts


_integral.vjp(
    a=lambda g, a, args, integrand: -_at_limit(g, a, args, integrand),
    b=lambda g, b, args, integrand: _at_limit(g, b, args, integrand),
    args=_under_the_integral,
)


def _by_vectors(integrate: Callable[..., Any]) -> Callable[..., Any]:
    """How a vector is integrated where numbers are integrated like this."""
    return getattr(integrate, "of_vectors", integrate)


def _plain_vector(tolerances: dict[str, Any]) -> Callable[..., Any]:
    def of_vectors(f: Callable[..., Any], low: float, high: float) -> Any:
        value, _ = scipy_module("integrate").quad_vec(
            lambda t: np.array(as_array(packed(f(np.float64(t))))), low, high, **tolerances
        )
        return value

    return of_vectors


def _limits(a: Operand, b: Operand) -> list[Any]:
    return [
        x.astype(np.float64) if x.dtype.kind not in "fc" else x for x in map(as_operand, (a, b))
    ]


def quad(
    func: Callable[..., Any],
    a: Operand,
    b: Operand,
    args: Any = (),
    full_output: bool = False,
    epsabs: float = 1.49e-08,
    epsrel: float = 1.49e-08,
    limit: int = 50,
    points: Any = None,
    **options: Any,
) -> Any:
    """[∫ func(t, *args) dt from a to b, an estimate of the error]; derivatives in a, b and args.

    func returns a number; a and b may be infinite.  The other arguments are SciPy's.
    Raises TypeError for `full_output`, for a func that returns several numbers, and for one that
    uses something tracked that is not among args.
    """
    if full_output:
        raise TypeError("quad: full_output is not supported; func may count its calls itself")
    given, error = Given(args), [0.0]

    def integrate(f: Callable[..., Any], low: float, high: float) -> Any:
        plain = numbers(lambda t: f(np.float64(t)), "func")

        def number(t: float) -> float:
            y = plain(t)
            if y.size != 1:
                raise TypeError(SEVERAL.format(shape=y.shape))
            return float(y.reshape(()))

        value, error[0] = scipy_module("integrate").quad(
            number, low, high, epsabs=epsabs, epsrel=epsrel, limit=limit, points=points, **options
        )
        return value

    integrate.of_vectors = _plain_vector(  # type: ignore[attr-defined]  # read by `_by_vectors`
        {"epsabs": epsabs, "epsrel": epsrel, "norm": "max", "points": points}
    )
    low, high = _limits(a, b)
    value = _integral(low, high, given.floats, integrand=given.bound(func), integrate=integrate)
    return value, error[0]


def quad_vec(
    f: Callable[..., Any],
    a: Operand,
    b: Operand,
    epsabs: float = 1e-200,
    epsrel: float = 1e-08,
    *,
    args: Any = (),
    **options: Any,
) -> Any:
    """[∫ f(t, *args) dt from a to b, an estimate of the error], of vectors; see `quad`."""
    given, error = Given(args), [0.0]
    tolerances = {"epsabs": epsabs, "epsrel": epsrel, **options}

    def integrate(g: Callable[..., Any], low: float, high: float) -> Any:
        value, error[0] = scipy_module("integrate").quad_vec(
            numbers(lambda t: g(np.float64(t)), "f"), low, high, **tolerances
        )
        return value

    integrate.of_vectors = _plain_vector(tolerances | {"epsabs": max(epsabs, 1e-12)})  # type: ignore[attr-defined]  # as in `quad`
    low, high = _limits(a, b)
    value = _integral(low, high, given.floats, integrand=given.bound(f), integrate=integrate)
    return value, error[0]


def fixed_quad(
    func: Callable[..., Any], a: Operand, b: Operand, args: Any = (), n: int = 5
) -> tuple[Any, None]:
    """[∫ func(t, *args) dt from a to b by n Gauss points, None]; func takes an array of points."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    a, b = as_operand(a), as_operand(b)
    half = (b - a) / 2
    values = packed(
        func(half * nodes + (a + b) / 2, *(args if isinstance(args, tuple) else (args,)))
    )
    return half * r.sum(values * weights, axis=-1), None


def trapezoid(y: Operand, x: Operand | None = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """The integral of samples y along an axis, by the trapezoidal rule; see np.trapezoid."""
    return _trapezoid(y, x, dx, axis)


def _steps(y: Any, x: Any, dx: float, axis: int) -> Any:
    """The distances between samples, which broadcast with y, whose `axis` is moved to the end."""
    if x is None:
        return np.full(int(y.shape[-1]) - 1, dx)
    x = as_operand(x)
    if len(x.shape) > 1:
        x = s.moveaxis(x, axis, -1)
    return x[..., 1:] - x[..., :-1]


def cumulative_trapezoid(
    y: Operand, x: Operand | None = None, dx: float = 1.0, axis: int = -1, initial: Any = None
) -> Tensor:
    """The integrals of samples y up to each of them, one fewer along the axis.

    initial: 0 for a first integral, which is 0; None for none.  Raises ValueError for another.
    """
    y = s.moveaxis(as_operand(y), axis, -1)
    areas = _steps(y, x, dx, axis) * (y[..., 1:] + y[..., :-1]) / 2
    total = r.cumsum(areas, axis=-1)
    if initial is not None:
        if initial != 0:
            raise ValueError("cumulative_trapezoid: initial is 0 or None")
        total = s.concatenate([total[..., :1] * 0, total], axis=-1)
    return s.moveaxis(total, -1, axis)


def simpson(y: Operand, x: Operand | None = None, *, dx: float = 1.0, axis: int = -1) -> Tensor:
    """The integral of samples y along an axis, by Simpson's rule, of any number of samples."""
    y = s.moveaxis(as_operand(y), axis, -1)
    n = int(y.shape[-1])
    h = _steps(y, x, dx, axis)
    if n == 1:
        return r.sum(y * 0.0, axis=-1)
    if n == 2:
        return r.sum(h * (y[..., 1:] + y[..., :-1]) / 2, axis=-1)
    odd = n if n % 2 else n - 1
    total = _by_parabolas(y[..., :odd], h[..., : odd - 1])
    if odd == n:
        return total
    # the last interval by the parabola through the last three samples
    last, before = h[..., -1], h[..., -2]
    first = (2 * last * last + 3 * last * before) / (6 * (before + last))
    second = (last * last + 3 * last * before) / (6 * before)
    third = -last * last * last / (6 * before * (before + last))
    return total + first * y[..., -1] + second * y[..., -2] + third * y[..., -3]


def _by_parabolas(y: Any, h: Any) -> Any:
    """Simpson's rule for an odd number of samples."""
    left, right = h[..., ::2], h[..., 1::2]
    both, ratio = left + right, left / right
    inner = y[..., :-2:2] * (2 - 1 / ratio) + y[..., 2::2] * (2 - ratio)
    inner = inner + y[..., 1:-1:2] * (both * both / (left * right))
    return r.sum(both / 6 * inner, axis=-1)


# Differential equations -------------------------------------------------------------------------


@operation()
def _trajectory(
    xp: Namespace,
    y0: Array,
    t: Array,
    args: list[Array],
    *,
    slope: Callable[..., Any],
    solver: Callable[..., Any],
) -> Array:
    """y(t) of y' = slope(t, y, args), y(t[0]) = y0, by `solver`: (n,), (m,) -> (m, n)."""
    plain = numbers(lambda time, y: slope(np.float64(time), y, args), "fun")
    return np.array(solver(plain, y0, t), dtype=np.result_type(y0.dtype, np.float64))


@_trajectory.joint_vjp("y0", "t", "args")
def _adjoint_rule(
    g: Array,
    t: Array,
    args: list[Array],
    y: Array,
    slope: Callable[..., Any],
    solver: Callable[..., Any],
) -> tuple[Any, ...]:
    """The adjoint equation, from the last time back to the first, from one time to the one before.

    Its state is the solution, the cotangent of the solution, and the integral of those of args;
    at each time the cotangent of the result there is added.
    """
    n, m = int(y.shape[1]), int(t.shape[0])

    def backwards(minus_time: Any, state: Any, values: list[Any]) -> Any:
        now, weights = state[:n], state[n : 2 * n]
        f, pull = vjp(lambda own, *rest: slope(-minus_time, own, list(rest)), (now, *values))
        pulled = [s.reshape(part, (-1,)) for part in pull(weights)]
        return s.concatenate([-f, *pulled], axis=0)

    sums = [s.reshape(x * 0.0, (-1,)) for x in args]
    weights, of_times = g[m - 1], list[Any]([None] * m)
    state = s.concatenate([y[m - 1], weights, *sums], axis=0)
    for i in range(m - 1, 0, -1):
        of_times[i] = r.sum(slope(t[i], y[i], args) * g[i])
        ends = s.stack([-t[i], -t[i - 1]])
        state = s.concatenate([y[i], state[n:]], axis=0)
        state = _trajectory(state, ends, args, slope=backwards, solver=solver)[1]
        weights = state[n : 2 * n] + g[i - 1]
        state = s.concatenate([state[:n], weights, state[2 * n :]], axis=0)
    start = weights - g[0]
    of_times[0] = -r.sum(slope(t[0], y[0], args) * start)
    return weights, s.stack(of_times), _unpacked(state[2 * n :], args)


def odeint(
    func: Callable[..., Any],
    y0: Operand,
    t: Operand,
    args: Any = (),
    Dfun: Any = None,
    *,
    tfirst: bool = False,
    rtol: float = 1.49012e-8,
    atol: float = 1.49012e-8,
    **options: Any,
) -> Tensor:
    """y(t) of y' = func(y, t, *args), y(t[0]) = y0: (n,), (m,) -> (m, n).

    tfirst: whether func takes (t, y, *args)
    rtol, atol: relative and absolute tolerance, those of the adjoint equation, too
    Derivatives in y0, t and args.  The other options are SciPy's.
    """
    given = Given(args)
    bound = given.bound(func)

    def slope(time: Any, y: Any, floats: list[Any]) -> Any:
        return bound(time, y, floats) if tfirst else bound(y, time, floats)

    def solver(f: Callable[..., Any], start: Array, times: Array) -> Any:
        found = scipy_module("integrate").odeint(
            f, start, times, tfirst=True, rtol=rtol, atol=atol, **options
        )
        return found[0] if options.get("full_output") else found

    options.pop("full_output", None)
    start = s.reshape(_floats(y0), (-1,))
    return _trajectory(start, _floats(t), given.floats, slope=slope, solver=solver)


def _floats(x: Operand) -> Tensor:
    x = as_operand(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


FAILED = "the solver stopped at t = {time}, before {end}: {message}"
FREE_TIMES = (
    "without t_eval the solver chooses the times, which have no derivative in t_span: give t_eval, "
    "or detach t_span"
)


def solve_ivp(
    fun: Callable[..., Any],
    t_span: Any,
    y0: Operand,
    method: str = "RK45",
    t_eval: Operand | None = None,
    dense_output: bool = False,
    events: Any = None,
    args: Any = (),
    **options: Any,
) -> Any:
    """The solution of y' = fun(t, y, *args), y(t_span[0]) = y0, as SciPy's: t (m,), y (n, m).

    t_eval: the times to report, in t_span; None for those that the solver chooses
    Derivatives in y0, t_eval and args; the adjoint equation is solved with the same method and
    tolerances.  Raises TypeError for dense_output and events, RuntimeError where the solver fails.
    """
    if dense_output or events is not None:
        raise TypeError("solve_ivp: dense_output and events are not supported: give t_eval")
    given, report = Given(args), {}
    options.pop("vectorized", None)
    if t_eval is None and any(getattr(end, "tracked", False) for end in t_span):
        raise TypeError(FREE_TIMES)

    def solved(f: Callable[..., Any], ends: Any, start: Array, times: Any) -> Any:
        found = scipy_module("integrate").solve_ivp(
            f, tuple(map(float, ends)), start, method, times, **options
        )
        if not found.success:
            raise RuntimeError(
                FAILED.format(time=found.t[-1:], end=float(ends[1]), message=found.message)
            )
        return found

    def solver(f: Callable[..., Any], start: Array, times: Array) -> Any:
        """The states at the times; the first is where `start` belongs."""
        if "first" not in report:
            ends = [float(as_array(end)) for end in t_span]
            found = report["first"] = solved(f, ends, start, times[1:])
        else:
            found = solved(f, (times[0], times[-1]), start, times[1:])
        return np.concatenate([start[None], found.y.T])

    y0 = s.reshape(_floats(y0), (-1,))
    bound = given.bound(fun)
    if t_eval is None:
        plain = numbers(lambda time, y: bound(time, y, [_bare(x) for x in given.floats]), "fun")
        ends = [float(as_array(end)) for end in t_span]
        free = solved(plain, ends, np.array(_bare(y0)), None)
        t_eval = free.t
        times, drop = _floats(t_eval), 0
    else:
        t_eval = _floats(t_eval)
        first = s.reshape(_floats(t_span[0]), (1,))
        times, drop = s.concatenate([first, t_eval], axis=0), 1
    y = _trajectory(y0, times, given.floats, slope=bound, solver=solver)
    result = report["first"]
    result.t, result.y = t_eval, s.transpose(y[drop:])
    return result


def _bare(x: Any) -> Any:
    return as_array(x) if isinstance(x, Tensor) else x
