"""Jacobians, Hessians, elementwise derivatives, and functions that change a derivative.

A Jacobian takes one sweep for each entry of the result.  The Hessian is the Jacobian of the
gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, overload

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.declaration import Primitive, PrimitiveFunction
from tapegrad.autograd.core.mode import no_grad
from tapegrad.autograd.core.specialize import public_function
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.transforms.arguments import Argnums, Arguments
from tapegrad.autograd.transforms.gradient import grad
from tapegrad.autograd.transforms.renaming import inner_names, renamed_signature, with_own_names
from tapegrad.autograd.transforms.variables import BoundCall

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "custom_vjp",
    "elementwise_grad",
    "hessian",
    "jacobian",
    "stop_gradient",
]

P = ParamSpec("P")  # the parameters of fn


def stop_gradient(x: Nest) -> Nest:
    """x as a constant, which has the same values and no derivative; x may be a nest of arrays."""
    return map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, x)


@overload
def elementwise_grad(fn: np.ufunc, argnums: Argnums = 0) -> Callable[..., Any]: ...
@overload
def elementwise_grad(fn: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, Any]: ...
def elementwise_grad(fn: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns d fn(x)ᵢ / dxᵢ for every entry, for an fn that acts elementwise.

    The result is the gradient of fn's sum; for an fn that mixes entries, that is Σᵢ d fn(x)ᵢ / dxⱼ.
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
    The result is an array for an array, a Tensor for a Tensor, a tracked one where a Parameter is
    behind fn (`value_and_grad`).  Where fn returns a nest, x is one,
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
        call = BoundCall(fn, args, kwargs, arguments.locate(args, kwargs))
        jacobians = []
        for output in call.outputs():
            blocks = replace_leaves(call.structure, _jacobian_blocks(call, output))
            jacobians.append(blocks[0] if arguments.single else tuple(blocks))
        return replace_leaves(call.output, jacobians)

    return differentiated


def _jacobian_blocks(call: BoundCall, output: Tensor) -> list[Any]:
    """The derivatives of one result of a call by each array of its arguments: (*result, *array)."""
    data = output._bare
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
            # a real x keeps the real part of its cotangent: 1 gives ∂Re y/∂x, and -i gives ∂Im y/∂x
            turned = row(unit * -1j)
            for j in reals:
                rows[-1][j] = rows[-1][j] + turned[j] * 1j
    return [
        _stack_rows([row[j] for row in rows], (*data.shape, *x.shape), x)
        for j, x in enumerate(call.variables)
    ]


def _as_tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


def _stack_rows(rows: list[Any], shape: tuple[int, ...], x: Tensor) -> Any:
    if not rows:
        return devices.namespace(x._bare).zeros(shape, dtype=x.dtype)
    if any(isinstance(row, Tensor) for row in rows):
        return np.stack([_as_tensor(row) for row in rows]).reshape(shape)
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
    """fn with a derivative that you declare: ``f = custom_vjp(fn)``, then ``f.vjp(x=rule)``.

    The positional arguments of fn are arrays, its keyword-only arguments are settings.  Rules are
    those of a primitive: each takes `g`, then by name what it needs: arguments, ``y`` (the result),
    settings, ``x_shape``.  The code inside fn is not differentiated.  Rules written in array code
    have derivatives of every order themselves.  Where fn has an argument called y, rules mean it by
    ``y``, and call the result ``result``; an argument called g is ``g_`` in rules.

    >>> clipped = custom_vjp(lambda x: x * 1)
    >>> clipped.vjp(x=lambda g: np.clip(g, -1, 1))
    """
    signature = inspect.signature(fn)
    names = inner_names(signature)

    def body(xp: Any, *arrays: Any, **settings: Any) -> Any:
        with no_grad():
            tensors = [untracked(a) if devices.is_array(a) else a for a in arrays]
            return as_array(fn(*tensors, **settings))

    body.__name__ = getattr(fn, "__name__", "custom").strip("<>")
    body.__doc__, body.__module__ = fn.__doc__, fn.__module__
    inner = renamed_signature(signature, names) if names else signature
    function: PrimitiveFunction = public_function(Primitive(body, signature=inner), body)
    return with_own_names(function, signature, names) if names else function
