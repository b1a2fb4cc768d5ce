"""HIPS autograd's names, for scripts that were written for it: ``from tapegrad import hips``.

Its NumPy is NumPy itself.  Each function here does with tapegrad what the one of that name did
there; `docs/hips.md` has the table of all names, and what differs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import (
    Tensor,
    checkpoint,
    custom_vjp,
    elementwise_grad,
    grad,
    hessian,
    jacobian,
    jvp,
    ops,
    value_and_grad,
    vjp,
)
from tapegrad.autograd.core.tree import leaves

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import PrimitiveFunction
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "adam",
    "checkpoint",
    "defvjp",
    "elementwise_grad",
    "flatten",
    "flatten_func",
    "grad",
    "hessian",
    "hessian_vector_product",
    "jacobian",
    "make_hvp",
    "make_jvp",
    "make_vjp",
    "primitive",
    "rmsprop",
    "sgd",
    "value_and_grad",
]

Gradient = Callable[[Any, int], Any]
Callback = Callable[[Any, int, Any], None]


def make_vjp(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., tuple[Any, Any]]:
    """A function of fun's arguments that returns (pull, fun's result); pull(v) is vᵀ·J."""

    def at(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        y, pull = vjp(fun, args, argnums=argnum, **kwargs)
        return pull, y

    return at


def make_jvp(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Callable[[Any], Any]]:
    """A function of fun's arguments that returns push; push(v) is (fun's result, J·v)."""

    def at(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        def of_one(x: Any) -> Any:
            return fun(*args[:argnum], x, *args[argnum + 1 :], **kwargs)

        return lambda v: jvp(of_one, args[argnum], v)

    return at


def make_hvp(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., tuple[Any, Any]]:
    """A function of fun's arguments that returns (times, gradient); times(v) is H·v."""
    return make_vjp(grad(fun, argnum), argnum)


def hessian_vector_product(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function of fun's arguments and a vector that returns H·v for the argument `argnum`."""

    def product(*args: Any, **kwargs: Any) -> Any:
        *own, v = args
        times, _ = make_hvp(fun, argnum)(*own, **kwargs)
        return times(v)

    return product


def primitive(fun: Callable[..., Any]) -> PrimitiveFunction:
    """fun of plain arrays, whose derivative `defvjp` declares: `tapegrad.custom_vjp`."""
    return custom_vjp(fun)


def defvjp(
    fun: PrimitiveFunction, *makers: Callable[..., Any] | None, argnums: tuple[int, ...] = ()
) -> None:
    """Declare a `primitive`'s derivatives, as functions (result, *arguments) -> g -> cotangent.

    argnums: the argument that each maker is of; 0, 1, … unless given.  Others have none.
    Raises TypeError for more makers than arguments.
    """
    own: Any = fun
    parameters = inspect.signature(own).parameters.values()
    names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    places = tuple(argnums) or tuple(range(len(makers)))
    if len(makers) != len(places) or any(not 0 <= i < len(names) for i in places):
        raise TypeError(f"defvjp: {len(makers)} makers for the arguments {', '.join(names)}")
    rules: dict[str, Any] = dict.fromkeys(names)
    inside = own.primitive.arguments
    for place, maker in zip(places, makers, strict=True):
        rules[names[place]] = maker and _as_rule(maker, inside)
    own.primitive.vjp(**{inside[names.index(name)]: rule for name, rule in rules.items()})


def _as_rule(maker: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """A maker's rule, as primitives have them: it saves the result and all arguments."""

    def rule(g: Any, y: Any, *arguments: Any) -> Any:
        return maker(y, *arguments)(g)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("g", "y", *names)]
    rule.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # its own
    return rule


def flatten(value: Nest) -> tuple[Any, Callable[[Any], Any]]:
    """(the entries of all arrays in nested lists, tuples and dicts as a vector, its inverse)."""
    arrays = [x if isinstance(x, Tensor) else np.asarray(x) for x in leaves(value)]
    vector: Any = np.zeros(0)
    if arrays:
        vector = np.concatenate([ops.ravel(x) for x in arrays])

    def unflatten(vector: Any) -> Any:
        ends = np.cumsum([x.size for x in arrays])
        parts = iter(
            [
                vector[end - x.size : end].reshape(x.shape)
                for x, end in zip(arrays, ends, strict=True)
            ]
        )
        return _filled(value, parts)

    return vector, unflatten


def _filled(value: Any, parts: Any) -> Any:
    """The nest with its arrays replaced, in order."""
    if isinstance(value, dict):
        return {key: _filled(value[key], parts) for key in value}
    if isinstance(value, (list, tuple)):
        items = [_filled(item, parts) for item in value]
        named = hasattr(value, "_fields")
        return type(value)(*items) if named else type(value)(items)
    return next(parts)


def flatten_func(fun: Callable[..., Any], example: Nest) -> tuple[Any, Any, Any]:
    """(fun of a vector, the inverse of `flatten`, the example as a vector)."""
    vector, unflatten = flatten(example)

    def of_vector(vector: Any, *args: Any, **kwargs: Any) -> Any:
        return flatten(fun(unflatten(vector), *args, **kwargs))[0]

    return of_vector, unflatten, vector


# Small optimizers: each takes the gradient as a function of the parameters and the step -----------


def sgd(
    grad: Gradient,
    init_params: Nest,
    callback: Callback | None = None,
    num_iters: int = 200,
    step_size: float = 0.1,
    mass: float = 0.9,
) -> Any:
    """Gradient descent with momentum; returns the parameters, in the structure of `init_params`."""
    x, unflatten = flatten(init_params)
    velocity = np.zeros(len(x))
    for i in range(num_iters):
        g = _gradient(grad, callback, unflatten(x), i)
        velocity = mass * velocity - (1.0 - mass) * g
        x = x + step_size * velocity
    return unflatten(x)


def rmsprop(
    grad: Gradient,
    init_params: Nest,
    callback: Callback | None = None,
    num_iters: int = 100,
    step_size: float = 0.1,
    gamma: float = 0.9,
    eps: float = 1e-8,
) -> Any:
    """Steps divided by the root of the running mean of squared gradients; see `sgd`."""
    x, unflatten = flatten(init_params)
    squares = np.ones(len(x))
    for i in range(num_iters):
        g = _gradient(grad, callback, unflatten(x), i)
        squares = squares * gamma + g**2 * (1 - gamma)
        x = x - step_size * g / (np.sqrt(squares) + eps)
    return unflatten(x)


def adam(
    grad: Gradient,
    init_params: Nest,
    callback: Callback | None = None,
    num_iters: int = 100,
    step_size: float = 0.001,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> Any:
    """Adam (Kingma and Ba, 2015): the means of gradients and of squares, corrected; see `sgd`."""
    x, unflatten = flatten(init_params)
    mean = squares = np.zeros(len(x))
    for i in range(num_iters):
        g = _gradient(grad, callback, unflatten(x), i)
        mean = (1 - b1) * g + b1 * mean
        squares = (1 - b2) * g**2 + b2 * squares
        x = x - step_size * (mean / (1 - b1 ** (i + 1))) / (
            np.sqrt(squares / (1 - b2 ** (i + 1))) + eps
        )
    return unflatten(x)


def _gradient(grad: Gradient, callback: Callback | None, x: Any, i: int) -> Any:
    """The gradient at x as a vector; the callback sees it first."""
    g = grad(x, i)
    if callback:
        callback(x, i, g)
    return flatten(g)[0]
