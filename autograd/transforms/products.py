"""Products of derivatives with vectors: vjp, jvp, hvp.

A pullback is linear in its cotangent, so pulling back through it gives the other product: J·v costs
two sweeps and needs no forward rules.  The forms in which all three take arguments are those of
`argument_forms.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Never, overload

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.reverse.sweep import seed_for
from tapegrad.autograd.transforms.argument_forms import (
    like_args,
    ordered_like,
    split_args,
    tangents_like,
)
from tapegrad.autograd.transforms.arguments import (
    Argnums,
    Arguments,
    function_name,
    require_callable,
)
from tapegrad.autograd.transforms.gradient import grad
from tapegrad.autograd.transforms.variables import BoundCall

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["hvp", "jvp", "vjp"]

OTHER_COUNT = "{name} returned {returned} array{s}, v has {given}"
OTHER_SHAPE = "vjp of {name}: v has shape {found}, what {name} returned has {expected}"
ONE_BY_ONE = (
    "vjp was given {count} arguments of {name} one by one. They go into one tuple, "
    "vjp({name}, (x, y)), or into a dict by name, vjp({name}, {{'x': x, 'y': y}})"
)


@overload
def vjp(
    fn: Callable[..., Any], args: tuple[Any, ...], *, argnums: None = None, **kwargs: Any
) -> tuple[Nest, Callable[[Nest], tuple[Any, ...]]]: ...
@overload
def vjp(
    fn: Callable[..., Any], args: dict[str, Any], *, argnums: None = None, **kwargs: Any
) -> tuple[Nest, Callable[[Nest], dict[str, Any]]]: ...
@overload
def vjp(
    fn: Callable[..., Any], args: Nest, *, argnums: Argnums | None = None, **kwargs: Any
) -> tuple[Nest, Callable[[Nest], Nest]]: ...
def vjp(
    fn: Callable[..., Any],
    args: Nest,
    *one_by_one: Never,
    argnums: Argnums | None = None,
    **kwargs: Any,
) -> tuple[Nest, Callable[[Nest], Nest]]:
    """(fn at args, pull), where pull(v) = vᵀ·J: the cotangents of the arguments.

    args:    a tuple of positional arguments, a dict of arguments by name, or one bare argument (an
             array, a Tensor, a number, a list, a named tuple)
    argnums: when given, pull returns the cotangents of these arguments, by position or by name,
             those in `kwargs` included: one, or a tuple, as `argnums` is one or several
    kwargs:  further arguments of fn, passed by keyword
    fn may return an array or nested lists, tuples and dicts of them; v has the same structure.
    pull returns cotangents in the form of `args`: a tuple, a dict, or one alone.  It may be called
    several times.  Where a Parameter is behind fn, results are tracked Tensors (`value_and_grad`).
    Raises TypeError when `args` does not suit fn, or for what `grad` raises it; pull raises
    ValueError when v does not match fn's result, TypeError for a complex v of a real result.

    >>> y, pull = vjp(np.multiply, (2.0, 5.0))
    >>> pull(1.0)                                             # (5.0, 2.0)
    >>> vjp(np.sin, x)[1](v)                                  # v * cos(x), an array like x
    """
    if one_by_one:
        raise TypeError(ONE_BY_ONE.format(count=len(one_by_one) + 1, name=function_name(fn)))
    positional, by_name = split_args("vjp", fn, args, kwargs)
    chosen = argnums
    if chosen is None:
        chosen = tuple(args) if isinstance(args, dict) else range(len(positional))
    arguments = Arguments(fn, chosen, may_be_empty=argnums is None)
    call = BoundCall(fn, positional, by_name, arguments.locate(positional, by_name))
    outputs = call.outputs()

    def pull(v: Nest) -> Nest:
        cotangents = leaves(ordered_like(call.output, v, f"the cotangent of {call.name}"))
        if len(cotangents) != len(outputs):
            counts = {"returned": len(outputs), "s": "s" * (len(outputs) != 1)}
            text = OTHER_COUNT.format(name=call.name, given=len(cotangents), **counts)
            raise ValueError(text)
        for output, g in zip(outputs, cotangents, strict=True):
            _check_cotangent(call.name, output, g)
        seeds = [
            (output._node, seed_for(output, g))
            for output, g in zip(outputs, cotangents, strict=True)
            if output._node is not None
        ]
        gradients = call.gradients(seeds)
        if argnums is None:
            return like_args(args, gradients)
        return gradients[0] if arguments.single else tuple(gradients)

    return call.value(), pull


def _check_cotangent(name: str, output: Tensor, g: Any) -> None:
    """Raise ValueError, which names fn, unless the cotangent g has the shape of the output."""
    if np.shape(g) != output.shape:
        text = OTHER_SHAPE.format(name=name, found=np.shape(g), expected=output.shape)
        raise ValueError(text)


def jvp(fn: Callable[..., Any], args: Nest, tangents: Nest, **kwargs: Any) -> tuple[Nest, Nest]:
    """(fn at args, J·tangents): the value of fn, and its derivative along `tangents`.

    args:     a tuple of positional arguments, a dict of arguments by name, or one bare argument
    tangents: one for each argument, of its structure and shapes, in the form of `args`; beside a
              tuple of one argument, or beside a bare one, it may be bare or a tuple of one
    kwargs:   further arguments of fn, passed by keyword, which are constants
    The second result has the structure of the first.
    Raises ValueError when args and tangents do not match, TypeError when `args` does not suit fn,
    or a tangent is complex and its argument real.

    >>> jvp(np.sin, x, v)                                     # (sin(x), cos(x) * v)
    >>> jvp(np.multiply, (2.0, 5.0), (1.0, 0.0))              # (10.0, 5.0)
    """
    require_callable(fn)
    tangents = tangents_like("jvp", fn, args, tangents)
    split_args("jvp", fn, args, kwargs)
    arrays_in = not any(isinstance(x, Tensor) for x in leaves([args, tangents]))
    value, pull = vjp(fn, map_leaves(_as_floating_tensor, args), **kwargs)
    zeros = map_leaves(_zeros_like, value)
    _, pull_back = vjp(lambda u: pull(u), (zeros,))
    [derivative] = pull_back(map_leaves(_as_floating_tensor, tangents))
    if arrays_in:
        value, derivative = (map_leaves(_array_if_untracked, nest) for nest in (value, derivative))
    return value, derivative


def _as_floating_tensor(x: Any) -> Tensor:
    """x as a Tensor; a number is a floating point one, as in `grad`."""
    if isinstance(x, Tensor):
        return x
    array = as_array(x)
    is_number = isinstance(x, np.generic) or not hasattr(x, "dtype")
    return untracked(as_array(x, float) if array.dtype.kind not in "fc" and is_number else array)


def _zeros_like(y: Tensor) -> Tensor:
    dtype = y.dtype if y.dtype.kind in "fc" else float  # integers have the derivative 0.0
    return untracked(devices.namespace(y._bare).zeros(y.shape, dtype=dtype))


def _array_if_untracked(x: Any) -> Any:
    return x._bare if isinstance(x, Tensor) and not x.tracked else x


def hvp(fn: Callable[..., Any], args: Nest, tangents: Nest, **kwargs: Any) -> Nest:
    """The Hessian of fn at args times `tangents`, in the form of `args`, by two sweeps.

    fn:       returns one number
    args:     a tuple of positional arguments, a dict of arguments by name, or one bare argument
    tangents: one for each argument, of its structure and shapes, as in `jvp`
    kwargs:   further arguments of fn, passed by keyword, which are constants
    Raises ValueError when args and tangents do not match or fn returns several numbers, TypeError
    when `args` does not suit fn, or a tangent is complex and its argument real.

    >>> hvp(lambda x: np.sum(x**3), x, v)                     # 6 * x * v
    """
    require_callable(fn)
    tangents = tangents_like("hvp", fn, args, tangents)
    positional, by_name = split_args("hvp", fn, args, kwargs)
    argnums = tuple(args) if isinstance(args, dict) else tuple(range(len(positional)))
    gradient_of = grad(fn, argnums)

    @wraps(fn)
    def slope(*args: Any, **kwargs: Any) -> Any:
        pairs = zip(leaves(gradient_of(*args, **kwargs)), leaves(tangents), strict=True)
        return sum((g * v).sum() for g, v in pairs)

    return like_args(args, list(grad(slope, argnums)(*positional, **by_name)))
