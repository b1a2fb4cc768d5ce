"""Derivatives beyond the gradient, all read off `vjp`: products, Jacobians, Hessians.

A pullback is linear in its cotangent, so pulling back through it gives the other product: J·v costs
two sweeps and needs no forward rules.  Likewise the Hessian is the Jacobian of the gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import _mode
from tapegrad.autograd._specialize import public_function
from tapegrad.autograd.primitive import Primitive, PrimitiveFunction
from tapegrad.autograd.tensor import Tensor, as_array, untracked
from tapegrad.autograd.transform import grad, vjp
from tapegrad.autograd.tree import leaves, map_leaves

__all__ = [
    "custom_vjp",
    "elementwise_grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "stop_gradient",
]


def stop_gradient(x: Any) -> Any:
    """x, or a nest of arrays, as a constant: same values, no derivative."""
    return map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, x)


def elementwise_grad(fn: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns d fn(x)ᵢ / dxᵢ for every entry, for an fn that acts elementwise.

    It is the gradient of the sum, so for an fn that mixes entries it is the sum over its rows.
    """

    @wraps(fn)
    def summed(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs).sum()

    return grad(summed, argnum)


def jvp(fn: Callable[..., Any], args: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """(fn(*args), J·tangents): the derivative of fn along the direction `tangents`.

    tangents: one for each argument, of its structure and shapes.  The second result has the
    structure of the first.  Raises ValueError when arguments and tangents do not match.
    """
    arrays_in = not any(isinstance(x, Tensor) for x in leaves([args, tangents]))
    tensors = map_leaves(lambda x: x if isinstance(x, Tensor) else Tensor(x), tuple(args))
    value, pull = vjp(fn, *tensors)
    _matching("jvp", leaves(list(args)), leaves(list(tangents)))
    zeros = map_leaves(lambda y: np.zeros_like(y), value)
    _, pull_back = vjp(lambda u: pull(u), map_leaves(Tensor, zeros))
    directions = map_leaves(lambda x: x if isinstance(x, Tensor) else Tensor(x), tuple(tangents))
    [derivative] = pull_back(directions)
    if arrays_in:
        value, derivative = (map_leaves(_bare, tree) for tree in (value, derivative))
    return value, derivative


def _bare(x: Any) -> Any:
    return x._data if isinstance(x, Tensor) and not x.tracked else x


def _matching(name: str, arrays: list[Any], others: list[Any]) -> None:
    found = [tuple(np.shape(x)) for x in others]
    wanted = [tuple(np.shape(x)) for x in arrays]
    if found != wanted:
        raise ValueError(f"{name}: directions have shapes {found}, the arguments have {wanted}")


def jacobian(fn: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns ∂fn(x)/∂x of shape (*fn(x).shape, *x.shape), by one sweep per row.

    x: an array, the argument number `argnum`.  The result is an array for an array, a Tensor for a
    Tensor; for real x and complex fn(x) it is complex, by two sweeps per row.  Of complex x and
    complex fn(x) it is the derivative of the real part, ∂Re fn/∂Re x - i·∂Re fn/∂Im x, which is all
    of it where fn is holomorphic; `jvp` needs no such condition.  Raises TypeError when fn returns
    anything but one Tensor.
    """

    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        rest = list(args)

        def of_one(x: Any) -> Any:
            rest[argnum] = x
            return fn(*rest, **kwargs)

        value, pull = vjp(of_one, args[argnum])
        if not hasattr(value, "shape"):
            raise TypeError("jacobian needs a function that returns one array")
        data = as_array(value)
        xp = devices.namespace(data)
        x = args[argnum]
        # the gradient of a real x is the real part of what arrives: of Re y, and of Im y for -i
        both = data.dtype.kind == "c" and as_array(x).dtype.kind != "c"
        rows = []
        for i in range(data.size):
            unit = xp.zeros((data.size,), dtype=data.dtype)
            unit[i] = 1
            unit = unit.reshape(data.shape)
            row = pull(unit)[0]
            rows.append(row + pull(unit * -1j)[0] * 1j if both else row)
        shape = tuple(data.shape) + tuple(np.shape(x) if not hasattr(x, "shape") else x.shape)
        if not rows:
            return xp.zeros(shape, dtype=data.dtype)
        if any(isinstance(row, Tensor) for row in rows):
            return np.stack([r if isinstance(r, Tensor) else untracked(r) for r in rows]).reshape(
                shape
            )
        return xp.stack(rows).reshape(shape)

    return differentiated


def hessian(fn: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns ∂²fn/∂x∂x, of shape (*x.shape, *x.shape); fn returns one number.

    It is `jacobian` of the gradient, so for complex x all of it only where fn is holomorphic; `hvp`
    needs no such condition.
    """
    return jacobian(grad(fn, argnum), argnum)


def hvp(fn: Callable[..., Any], args: tuple[Any, ...], vectors: tuple[Any, ...]) -> Any:
    """The Hessian of fn at `args` times `vectors`, as a tuple in their structure, by two sweeps.

    fn returns one number.  Raises ValueError when arguments and vectors do not match.
    """
    _matching("hvp", leaves(list(args)), leaves(list(vectors)))
    every = tuple(range(len(args)))

    def slope(*xs: Any) -> Any:
        pairs = zip(leaves(list(grad(fn, every)(*xs))), leaves(list(vectors)), strict=True)
        return sum((g * v).sum() for g, v in pairs)

    return grad(slope, every)(*args)


def custom_vjp(fn: Callable[..., Any]) -> PrimitiveFunction:
    """A function with a derivative of your own: ``f = custom_vjp(fn)``, then ``f.vjp(x=rule)``.

    fn's positional arguments are arrays, its keyword-only ones settings.  Rules are those of a
    primitive: they take `g`, then by name what they need: arguments, ``y`` (the result), settings,
    ``x_shape``.  What fn computes inside is not differentiated.  Rules written in array code have
    derivatives of every order themselves.

    >>> clipped = custom_vjp(lambda x: x * 1)
    >>> clipped.vjp(x=lambda g: np.clip(g, -1, 1))
    """
    signature = inspect.signature(fn)

    def body(xp: Any, *arrays: Any, **settings: Any) -> Any:
        with _mode.no_grad():
            given = [untracked(a) if devices.is_array(a) else a for a in arrays]
            return as_array(fn(*given, **settings))

    body.__name__ = getattr(fn, "__name__", "custom").strip("<>")
    body.__doc__, body.__module__ = fn.__doc__, fn.__module__
    made: PrimitiveFunction = public_function(Primitive(body, signature=signature), body)
    return made
