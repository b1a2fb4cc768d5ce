"""Jacobians, Hessians, elementwise derivatives, and functions that change a derivative.

A Jacobian takes one sweep for each entry of the result, or one push of a tangent for each entry of
the arguments, whichever are fewer.  As many pushes as sweeps take 10 to 20 % less time, so a
Hessian, the Jacobian of the gradient, is made by pushes.
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
        y = fn(*args, **kwargs)
        return y.sum() if hasattr(y, "sum") else y  # a number is a constant

    return grad(summed, argnums)


@overload
def jacobian(fn: np.ufunc, argnums: Argnums = 0, *, strict: bool = False) -> Callable[..., Any]: ...
@overload
def jacobian(
    fn: Callable[P, Any], argnums: Argnums = 0, *, strict: bool = False
) -> Callable[P, Any]: ...
def jacobian(
    fn: Callable[..., Any], argnums: Argnums = 0, *, strict: bool = False
) -> Callable[..., Any]:
    """A function that returns ∂fn(x)/∂x of shape (*fn(x).shape, *x.shape).

    fn runs once.  Then there is one sweep for each number that it returns, or one push of a tangent
    (`jvp`) for each number in x, whichever are fewer.
    argnums: which argument is x, or a tuple of several, as in `grad`
    strict:  raise TypeError where no result depends on x, whose derivative is 0 otherwise
    The result is an array for an array, a Tensor for a Tensor, a tracked one where a Parameter is
    behind fn (`value_and_grad`).  Where fn returns a nest, x is one,
    or `argnums` is a tuple, it is a nest of such arrays: for each array that fn returns, one for
    each array in x, or a tuple of those.
    Complex numbers: for real x and complex fn(x) it is complex.  For complex
    x and complex fn(x) it is the derivative of the real part, ∂Re fn/∂Re x - i·∂Re fn/∂Im x, which
    is all of it where fn is holomorphic; `jvp` needs no such condition.
    Raises TypeError when fn returns anything but Tensors, arrays and numbers.

    >>> jacobian(lambda x: np.cumsum(x**2))(np.array([1.0, 2.0]))
    array([[2., 0.],
           [2., 4.]])
    """
    arguments = Arguments(fn, argnums)

    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        call = BoundCall(fn, args, kwargs, arguments.locate(args, kwargs))
        if strict:
            call.require_dependence()
        outputs = call.outputs()
        if _pushes(call) <= sum(_sweeps(call, output) for output in outputs):
            parts = _pushed_blocks(call)
        else:
            parts = [_jacobian_blocks(call, output) for output in outputs]
        jacobians = []
        for part in parts:
            blocks = replace_leaves(call.structure, part)
            jacobians.append(blocks[0] if arguments.single else tuple(blocks))
        return replace_leaves(call.output, jacobians)

    return differentiated


def _sweeps(call: BoundCall, output: Tensor) -> int:
    """How many sweeps `_jacobian_blocks` makes."""
    twice = output.dtype.kind == "c" and any(x.dtype.kind != "c" for x in call.variables)
    return output.size * (1 + twice)


def _pushes(call: BoundCall) -> int:
    """How many pushes `_pushed_blocks` makes."""
    return sum(x.size * (1 + (x.dtype.kind == "c")) for x in call.variables)


def _pushed_blocks(call: BoundCall) -> list[list[Any]]:
    """For each result of a call, its derivatives by each array of the arguments, by columns."""
    course, outputs = call.course(), call.outputs()
    found: list[list[Any]] = [[] for _ in outputs]
    for j, x in enumerate(call.variables):
        xp = devices.namespace(x._bare)

        def push(unit: Any, j: int = j) -> list[Any]:
            moved = [None] * len(call.variables)
            moved[j] = unit
            return call.tangents(course, moved)

        columns: list[list[Any]] = [[] for _ in outputs]
        for i in range(x.size):
            unit = xp.zeros((x.size,), dtype=x.dtype)
            unit[i] = 1
            unit = unit.reshape(x.shape)
            column = push(unit)
            if x.dtype.kind == "c":  # ∂Re y/∂Re x - i·∂Re y/∂Im x, as the sweeps give it
                turned = push(unit * 1j)
                column = [a.real - b.real * 1j for a, b in zip(column, turned, strict=True)]
            for k, y in enumerate(column):
                columns[k].append(y)
        for k, (output, stack) in enumerate(zip(outputs, columns, strict=True)):
            dtype = x.dtype if output.dtype.kind != "c" else np.result_type(x.dtype, np.complex64)
            found[k].append(_stack_columns(stack, (*output.shape, *x.shape), x, dtype))
    return found


def _stack_columns(columns: list[Any], shape: tuple[int, ...], x: Tensor, dtype: Any) -> Any:
    if not columns:
        return devices.namespace(x._bare).zeros(shape, dtype=dtype)
    if any(isinstance(column, Tensor) for column in columns):
        stacked = np.stack([_as_tensor(column) for column in columns], axis=-1)
    else:
        stacked = devices.namespace(*columns).stack(columns, axis=-1)
    stacked = stacked.reshape(shape)
    return stacked if stacked.dtype == dtype else stacked.astype(dtype)


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

    >>> hessian(lambda x: x[0] * x[1] ** 2)(np.array([1.0, 2.0]))
    array([[0., 4.],
           [4., 2.]])
    """
    return jacobian(grad(fn, argnums), argnums)


def custom_vjp(fn: Callable[..., Any]) -> PrimitiveFunction:
    """fn with a derivative that you declare: ``f = custom_vjp(fn)``, then ``f.vjp(x=rule)``.

    The positional arguments of fn are arrays, its keyword-only arguments are settings.  Rules are
    those of a primitive: each takes `g`, then by name what it needs: arguments, ``y`` (the result),
    settings, ``x_shape``.  The code inside fn is not differentiated.  Rules written in array code
    have derivatives of every order themselves.  Where fn has an argument called y, rules mean it by
    ``y``, and call the result ``result``; an argument called g is ``g_`` in rules.

    >>> import tapegrad as tg
    >>> clipped = custom_vjp(lambda x: x * 1)
    >>> clipped.vjp(x=lambda g: np.clip(g, -1, 1))
    >>> tg.grad(lambda x: np.sum(5 * clipped(x)))(np.array([1.0, 2.0]))
    array([1., 1.])
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
