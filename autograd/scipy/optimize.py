"""tapegrad.scipy.optimize: solutions whose derivative in `args` is that of the implicit function.

SciPy finds x with F(x, args) = 0 (for a minimum F is the gradient).  Then dx = -(∂F/∂x)⁻¹ ∂F/∂args,
in derivatives of F at the solution: the steps to it are not recorded.  The starting point has no
derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.tensor import Tensor, as_array
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.matrices.solving import solve
from tapegrad.autograd.scipy.declaring import operation, scipy_module
from tapegrad.autograd.scipy.functions import Given, numbers, packed
from tapegrad.autograd.transforms.derivatives import jacobian
from tapegrad.autograd.transforms.gradient import grad
from tapegrad.autograd.transforms.products import vjp

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = [
    "bisect",
    "brenth",
    "brentq",
    "fixed_point",
    "fsolve",
    "least_squares",
    "minimize",
    "minimize_scalar",
    "newton",
    "ridder",
    "root",
    "root_scalar",
]

LIMITED = (
    "{name}: {option} may hold the solution at a border, where the gradient is not 0, and the "
    "derivative in args is not known: leave {option} out, or detach args"
)
FAILED = "{name} found no solution, whose derivative is asked for: {message}"

# What a solver found, beside the solution: filled by the body of a call.
_Found = dict[str, Any]


@operation()
def _solution(
    xp: Namespace,
    args: list[Array],
    *,
    residual: Callable[..., Any],
    find: Callable[[list[Array]], Any],
) -> Array:
    """x with residual(x, args) = 0, which `find` computes."""
    return np.array(find(args))


def _solution_rule(
    g: Array, args: list[Array], y: Array, residual: Callable[..., Any]
) -> list[Array]:
    size = int(np.prod(y.shape))
    slopes = s.reshape(jacobian(lambda x: residual(x, args))(y), (size, size))
    weights = solve(s.transpose(slopes), s.reshape(g, (size,)))
    at_solution, pull = vjp(lambda *values: residual(y, list(values)), tuple(args))
    return list(pull(s.reshape(e.negative(weights), at_solution.shape)))


_solution.vjp(args=_solution_rule)


def _solved(
    name: str, residual: Callable[..., Any], args: Any, find: Callable[[list[Any]], Any]
) -> Any:
    """The solution that find(args as arrays) returns, with its derivative in args.

    residual: the function of (x, *args) that is 0 at the solution
    """
    given = Given(args)

    def numeric(floats: list[Any]) -> Any:
        return find([as_array(x) if isinstance(x, Tensor) else x for x in given.filled(floats)])

    if not given.floats:
        return np.array(numeric([]))
    return _solution(given.floats, residual=given.bound(residual), find=numeric)


def _slopes_of(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The Jacobian in the first argument, as an array."""
    return lambda x, *args: as_array(jacobian(lambda z: packed(fun(z, *args)))(x))


def _of_gradient(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient in the first argument."""
    return lambda x, *args: grad(lambda z: r.sum(packed(fun(z, *args))))(x)


def _require(name: str, found: _Found, args: Any) -> None:
    """Raise RuntimeError for a failure whose derivative will be asked for."""
    result = found["result"]
    exact = result.success or "precision loss" in str(result.message)  # as near as floats allow
    if not exact and any(getattr(a, "tracked", False) for a in args):
        raise RuntimeError(FAILED.format(name=name, message=result.message))


def _listed(args: Any) -> list[Any]:
    return list(args) if isinstance(args, (tuple, list)) else [args]


def root(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: str = "hybr",
    jac: Any = None,
    tol: float | None = None,
    **options: Any,
) -> Any:
    """The x with fun(x, *args) = 0, as SciPy's result; its x has a derivative in args.

    x0: where to start, of x's shape, without a derivative
    jac: the Jacobian; where it is None, ours for the methods hybr and lm
    Raises RuntimeError where nothing was found and args are tracked.
    """
    found: _Found = {}

    def find(values: list[Any]) -> Any:
        slopes = _slopes_of(fun) if jac is None and method in ("hybr", "lm") else jac
        found["result"] = result = scipy_module("optimize").root(
            numbers(fun, "fun"), as_array(x0), tuple(values), method, slopes, tol, **options
        )
        return result.x

    x = _solved("root", fun, args, find)
    _require("root", found, _listed(args))
    found["result"].x = x
    return found["result"]


def fsolve(func: Callable[..., Any], x0: Any, args: Any = (), xtol: float = 1.49012e-08) -> Tensor:
    """The x with func(x, *args) = 0; see `root`."""
    x: Tensor = root(func, x0, args, tol=xtol).x
    return x


def _bracketing(name: str, doc: str) -> Callable[..., Any]:
    """SciPy's finder of a root of a function of a number between a and b."""

    def finder(f: Callable[..., Any], a: Any, b: Any, args: Any = (), **options: Any) -> Any:
        def find(values: list[Any]) -> Any:
            plain = numbers(f, "f")
            return getattr(scipy_module("optimize"), name)(
                lambda x: float(plain(x, *values)), float(as_array(a)), float(as_array(b)),
                **options,
            )  # fmt: skip

        if options.get("full_output"):
            raise TypeError(f"{name}: full_output is not supported; root_scalar returns it")
        return _solved(name, f, args, find)

    finder.__name__ = finder.__qualname__ = name
    finder.__doc__ = doc
    return finder


_BETWEEN = (
    "The root of f(x, *args), a number between a and b, {}; with a derivative in args.\n\n"
    "a and b have none.  Raises ValueError where f has the same sign at both."
)
brentq = _bracketing("brentq", _BETWEEN.format("by Brent's method"))
brenth = _bracketing("brenth", _BETWEEN.format("by Brent's method with hyperbolic steps"))
bisect = _bracketing("bisect", _BETWEEN.format("by halving"))
ridder = _bracketing("ridder", _BETWEEN.format("by Ridder's method"))


def newton(
    func: Callable[..., Any], x0: Any, fprime: Any = None, args: Any = (), **options: Any
) -> Tensor:
    """The root of func(x, *args) near x0, one for each entry; with a derivative in args.

    fprime: the derivative in x; None for ours
    """

    def find(values: list[Any]) -> Any:
        slope = fprime or (lambda x, *a: as_array(_of_gradient(func)(np.asarray(x, float), *a)))
        return scipy_module("optimize").newton(
            numbers(func, "func"), as_array(x0), slope, tuple(values), **options
        )

    found: Tensor = _solved("newton", func, args, find)
    return found


def root_scalar(f: Callable[..., Any], args: Any = (), **options: Any) -> Any:
    """The root of f(x, *args), a number, as SciPy's result; its root has a derivative in args."""
    found: _Found = {}

    def find(values: list[Any]) -> Any:
        plain = numbers(f, "f")
        if options.get("fprime") is None and "x0" in options and options.get("x1") is None:
            options["fprime"] = lambda x: float(
                as_array(_of_gradient(f)(np.asarray(x, float), *values))
            )
        found["result"] = scipy_module("optimize").root_scalar(
            lambda x: float(plain(x, *values)), **options
        )
        return found["result"].root

    x = _solved("root_scalar", f, args, find)
    found["result"].root = x
    return found["result"]


def fixed_point(func: Callable[..., Any], x0: Any, args: Any = (), **options: Any) -> Tensor:
    """The x with func(x, *args) = x, elementwise or not; with a derivative in args."""

    def find(values: list[Any]) -> Any:
        return scipy_module("optimize").fixed_point(
            numbers(func, "func"), as_array(x0), tuple(values), **options
        )

    found: Tensor = _solved("fixed_point", lambda x, *a: packed(func(x, *a)) - x, args, find)
    return found


def _refuse_limits(name: str, args: Any, **options: Any) -> None:
    for option, value in options.items():
        limited = value is not None and not (isinstance(value, (tuple, list)) and not len(value))
        if limited and any(getattr(a, "tracked", False) for a in _listed(args)):
            raise TypeError(LIMITED.format(name=name, option=option))


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: str | None = None,
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    **options: Any,
) -> Any:
    """The x at which fun(x, *args), a number, is least, as SciPy's result; x and fun of args.

    x0:  where to start, (n,), without a derivative
    jac: the gradient; None for ours
    Raises TypeError for bounds or constraints with tracked args, RuntimeError where nothing was
    found and args are tracked.
    """
    _refuse_limits("minimize", args, bounds=bounds, constraints=constraints)
    found: _Found = {}

    def find(values: list[Any]) -> Any:
        slope = (lambda x, *a: as_array(_of_gradient(fun)(x, *a))) if jac is None else jac
        found["result"] = result = scipy_module("optimize").minimize(
            numbers(fun, "fun"), np.atleast_1d(np.asarray(as_array(x0), float)), tuple(values),
            method, slope, hess, hessp, bounds, constraints, tol, **options,
        )  # fmt: skip
        return result.x

    x = _solved("minimize", _of_gradient(fun), args, find)
    _require("minimize", found, _listed(args))
    found["result"].x = x
    if isinstance(x, Tensor):
        found["result"].fun = packed(fun(x, *_listed(args)))
    return found["result"]


def minimize_scalar(fun: Callable[..., Any], args: Any = (), **options: Any) -> Any:
    """The number x at which fun(x, *args) is least, as SciPy's result; x and fun of args.

    Raises TypeError for bounds with tracked args.
    """
    _refuse_limits("minimize_scalar", args, bounds=options.get("bounds"))
    found: _Found = {}

    def find(values: list[Any]) -> Any:
        plain = numbers(fun, "fun")
        found["result"] = scipy_module("optimize").minimize_scalar(
            lambda x: float(plain(x, *values)), **options
        )
        return found["result"].x

    x = _solved("minimize_scalar", _of_gradient(fun), args, find)
    found["result"].x = x
    if isinstance(x, Tensor):
        found["result"].fun = packed(fun(x, *_listed(args)))
    return found["result"]


def least_squares(fun: Callable[..., Any], x0: Any, args: Any = (), **options: Any) -> Any:
    """The x (n,) with the least Σ fun(x, *args)², as SciPy's result; x is one of args.

    Raises TypeError for bounds or a loss with tracked args.
    """
    _refuse_limits("least_squares", args, bounds=options.get("bounds"), loss=options.get("loss"))
    found: _Found = {}

    def find(values: list[Any]) -> Any:
        found["result"] = result = scipy_module("optimize").least_squares(
            numbers(fun, "fun"), np.atleast_1d(np.asarray(as_array(x0), float)),
            **{"jac": _slopes_of(fun), **options}, args=tuple(values),
        )  # fmt: skip
        return result.x

    def half_squares(x: Any, *values: Any) -> Any:
        return r.sum(e.square(packed(fun(x, *values)))) / 2

    x = _solved("least_squares", _of_gradient(half_squares), args, find)
    found["result"].x = x
    return found["result"]
