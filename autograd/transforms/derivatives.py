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
from tapegrad.autograd.core.declaration import Primitive, PrimitiveFunction
from tapegrad.autograd.core.mode import no_grad
from tapegrad.autograd.core.specialize import public_function
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.transforms.arguments import Argnums, Arguments
from tapegrad.autograd.transforms.gradient import grad, vjp
from tapegrad.autograd.transforms.variables import Call

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


def elementwise_grad(fn: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns d fn(x)ᵢ / dxᵢ for every entry, for an fn that acts elementwise.

    It is the gradient of the sum, so for an fn that mixes entries it is the sum over its rows.
    argnums: as in `grad`
    """

    @wraps(fn)
    def summed(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs).sum()

    return grad(summed, argnums)


def jvp(fn: Callable[..., Any], args: Any, tangents: Any) -> Any:
    """(fn(*args), J·tangents): the derivative of fn along the direction `tangents`.

    args:     a tuple of arguments, or a dict of them by name: fn(**args)
    tangents: one for each argument, of its structure and shapes
    The second result has the structure of the first.
    Raises ValueError when arguments and tangents do not match.
    """
    tangents = _matching("jvp", args, tangents)
    arrays_in = not any(isinstance(x, Tensor) for x in leaves([args, tangents]))
    value, pull = vjp(_of_one(fn), map_leaves(_tensor, args))
    zeros = map_leaves(lambda y: _tensor(np.zeros_like(y)), value)
    _, pull_back = vjp(lambda u: pull(u), zeros)
    [derivative] = pull_back([map_leaves(_tensor, tangents)])
    if arrays_in:
        value, derivative = (map_leaves(_bare, tree) for tree in (value, derivative))
    return value, derivative


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


def _bare(x: Any) -> Any:
    return x._data if isinstance(x, Tensor) and not x.tracked else x


def _of_one(fn: Callable[..., Any]) -> Callable[[Any], Any]:
    """fn as a function of its arguments in one nest: a tuple, or a dict by name."""

    @wraps(fn)
    def of_one(given: Any) -> Any:
        return fn(**given) if isinstance(given, dict) else fn(*given)

    return of_one


def _matching(name: str, arrays: Any, others: Any) -> Any:
    """`others`, with the keys of a dict in the order of `arrays`; ValueError unless they match."""
    if isinstance(arrays, dict) and isinstance(others, dict) and arrays.keys() == others.keys():
        others = {key: others[key] for key in arrays}
    elif isinstance(arrays, dict) or isinstance(others, dict):
        told = [list(x) if isinstance(x, dict) else "positions" for x in (others, arrays)]
        raise ValueError(f"{name}: directions are for {told[0]}, the arguments are {told[1]}")
    found = [tuple(np.shape(x)) for x in leaves(others)]
    wanted = [tuple(np.shape(x)) for x in leaves(arrays)]
    if found != wanted:
        raise ValueError(f"{name}: directions have shapes {found}, the arguments have {wanted}")
    return others


def jacobian(fn: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns ∂fn(x)/∂x of shape (*fn(x).shape, *x.shape), by one sweep per row.

    argnums: which argument is x, or a tuple of several, as in `grad`
    The result is an array for an array, a Tensor for a Tensor.  Where fn returns a nest, x is one,
    or `argnums` is a tuple, it is a nest of such arrays: for each array that fn returns, one for
    each array in x, or a tuple of those.
    Complex numbers: for real x and complex fn(x) it is complex, by two sweeps per row.  For complex
    x and complex fn(x) it is the derivative of the real part, ∂Re fn/∂Re x - i·∂Re fn/∂Im x, which
    is all of it where fn is holomorphic; `jvp` needs no such condition.
    Raises TypeError when fn returns anything but Tensors.
    """
    arguments = Arguments(fn, argnums)

    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        call = Call(fn, args, kwargs, arguments.places(args, kwargs))
        found = []
        for output in call.outputs():
            columns = replace_leaves(call.structure, _columns(call, output))
            found.append(columns[0] if arguments.single else tuple(columns))
        return replace_leaves(call.output, found)

    return differentiated


def _columns(call: Call, output: Tensor) -> list[Any]:
    """The derivatives of one result of a call by each array of its arguments."""
    data = output._data
    xp = devices.namespace(data)
    reals = [j for j, x in enumerate(call.variables) if x.dtype.kind != "c"]
    rows = []
    for i in range(data.size):
        unit = xp.zeros((data.size,), dtype=data.dtype)
        unit[i] = 1
        unit = unit.reshape(data.shape)

        def row(seed: Any) -> list[Any]:
            return leaves(call.gradients([] if output._node is None else [(output._node, seed)]))

        rows.append(row(unit))
        if data.dtype.kind == "c" and reals:
            # a real x keeps the real part of what arrives: that of Re y, and with -i that of Im y
            turned = row(unit * -1j)
            for j in reals:
                rows[-1][j] = rows[-1][j] + turned[j] * 1j
    return [
        _stacked([row[j] for row in rows], (*data.shape, *x.shape), x)
        for j, x in enumerate(call.variables)
    ]


def _stacked(rows: list[Any], shape: tuple[int, ...], x: Tensor) -> Any:
    if not rows:
        return devices.namespace(x._data).zeros(shape, dtype=x.dtype)
    if any(isinstance(row, Tensor) for row in rows):
        return np.stack([_tensor(row) for row in rows]).reshape(shape)
    return devices.namespace(*rows).stack(rows).reshape(shape)


def hessian(fn: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns ∂²fn/∂x∂x, of shape (*x.shape, *x.shape); fn returns one number.

    For an x that is a nest, or a tuple of `argnums`, it is a nest of nests, as `jacobian` makes it:
    the block of two arrays of shapes s and t has the shape (*s, *t).  For complex x it is all of
    the second derivative only where fn is holomorphic; `hvp` needs no such condition.
    """
    return jacobian(grad(fn, argnums), argnums)


def hvp(fn: Callable[..., Any], args: Any, vectors: Any) -> Any:
    """The Hessian of fn at `args` times `vectors`, in their structure, by two sweeps.

    args: a tuple of arguments, or a dict of them by name; fn returns one number
    Raises ValueError when arguments and vectors do not match.
    """
    vectors = _matching("hvp", args, vectors)
    slope_of = grad(_of_one(fn))

    def slope(given: Any) -> Any:
        pairs = zip(leaves(slope_of(given)), leaves(vectors), strict=True)
        return sum((g * v).sum() for g, v in pairs)

    return grad(slope)(args)


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
        with no_grad():
            given = [untracked(a) if devices.is_array(a) else a for a in arrays]
            return as_array(fn(*given, **settings))

    body.__name__ = getattr(fn, "__name__", "custom").strip("<>")
    body.__doc__, body.__module__ = fn.__doc__, fn.__module__
    made: PrimitiveFunction = public_function(Primitive(body, signature=signature), body)
    return made
