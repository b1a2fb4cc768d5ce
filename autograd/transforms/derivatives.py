"""Jacobians, Hessians, and functions whose derivative somebody else declares or takes away.

A Jacobian is one sweep for each entry of the result; the Hessian is the Jacobian of the gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, overload

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.declaration import Primitive, PrimitiveFunction
from tapegrad.autograd.core.mode import no_grad
from tapegrad.autograd.core.specialize import public_function
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, unflatten
from tapegrad.autograd.transforms.arguments import Argnums, Arguments
from tapegrad.autograd.transforms.gradient import grad
from tapegrad.autograd.transforms.variables import BoundCall

__all__ = [
    "custom_vjp",
    "elementwise_grad",
    "hessian",
    "jacobian",
    "stop_gradient",
]

P = ParamSpec("P")  # fn's own parameters


def stop_gradient(x: Any) -> Any:
    """x, or a nest of arrays, as a constant: same values, no derivative."""
    return map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, x)


@overload
def elementwise_grad(fn: np.ufunc, argnums: Argnums = 0) -> Callable[..., Any]: ...
@overload
def elementwise_grad(fn: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, Any]: ...
def elementwise_grad(fn: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns d fn(x)ᵢ / dxᵢ for every entry, for an fn that acts elementwise.

    It is the gradient of the sum, so for an fn that mixes entries it is the sum over its rows.
    argnums: as in `grad`
    """

    @wraps(fn)
    def summed(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs).sum()

    return grad(summed, argnums)


@overload
def jacobian(fn: np.ufunc, argnums: Argnums = 0) -> Callable[..., Any]: ...
@overload
def jacobian(fn: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, Any]: ...
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
        call = BoundCall(fn, args, kwargs, arguments.places(args, kwargs))
        found = []
        for output in call.outputs():
            columns = unflatten(call.structure, _columns(call, output))
            found.append(columns[0] if arguments.single else tuple(columns))
        return unflatten(call.output, found)

    return differentiated


def _columns(call: BoundCall, output: Tensor) -> list[Any]:
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


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


def _stacked(rows: list[Any], shape: tuple[int, ...], x: Tensor) -> Any:
    if not rows:
        return devices.namespace(x._data).zeros(shape, dtype=x.dtype)
    if any(isinstance(row, Tensor) for row in rows):
        return np.stack([_tensor(row) for row in rows]).reshape(shape)
    return devices.namespace(*rows).stack(rows).reshape(shape)


@overload
def hessian(fn: np.ufunc, argnums: Argnums = 0) -> Callable[..., Any]: ...
@overload
def hessian(fn: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, Any]: ...
def hessian(fn: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns ∂²fn/∂x∂x, of shape (*x.shape, *x.shape); fn returns one number.

    For an x that is a nest, or a tuple of `argnums`, it is a nest of nests, as `jacobian` makes it:
    the block of two arrays of shapes s and t has the shape (*s, *t).  For complex x it is all of
    the second derivative only where fn is holomorphic; `hvp` needs no such condition.
    """
    return jacobian(grad(fn, argnums), argnums)


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
