"""Products of derivatives with vectors: vjp by a sweep, jvp by pushing tangents, hvp by both.

The forms in which all three take arguments are those of `argument_forms.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Never, overload

import numpy as np

from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, replace_leaves
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
from tapegrad.autograd.transforms.variables import BoundCall, tangent_for

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
    >>> pull(1.0)
    (array(5.), array(2.))
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
    This is forward mode: fn runs once, and the tangents are pushed over its calls, however many
    numbers it returns.
    The second result has the structure of the first, with zeros where fn returns integers or what
    does not depend on the arguments.
    Raises ValueError when args and tangents do not match, TypeError when `args` does not suit fn,
    or a tangent is complex and its argument real.

    >>> jvp(np.multiply, (2.0, 5.0), (1.0, 0.0))
    (array(10.), array(5.))
    """
    call, derivative = _along("jvp", fn, fn, args, tangents, kwargs)
    return call.value(), derivative


def _along(
    product: str,
    fn: Callable[..., Any],
    run: Callable[..., Any],
    args: Nest,
    tangents: Nest,
    kwargs: dict[str, Any],
) -> tuple[BoundCall, Nest]:
    """The run of a function, and its derivative along `tangents`, in the structure of its result.

    product: the name of the function that was called, for messages
    run:     the function: fn, which gives the signature, or its gradient
    """
    require_callable(fn)
    tangents = tangents_like(product, fn, args, tangents)
    positional, by_name = split_args(product, fn, args, kwargs)
    keys = tuple(args) if isinstance(args, dict) else tuple(range(len(positional)))
    moved = leaves(tangents)
    call = BoundCall(run, positional, by_name, keys, moved if run is fn else None)
    call.tensors_in = call.tensors_in or any(isinstance(t, Tensor) for t in moved)
    course = call.course()
    if call.stream is None:
        moved = [tangent_for(x, t) for x, t in zip(call.variables, moved, strict=True)]
    else:
        moved = [node.tangent for node in course.sources]
    return call, replace_leaves(call.output, call.tangents(course, moved))


def hvp(fn: Callable[..., Any], args: Nest, tangents: Nest, **kwargs: Any) -> Nest:
    """The Hessian of fn at args times `tangents`, in the form of `args`.

    It is the derivative of the gradient along `tangents`: forward mode over a sweep.

    fn:       returns one number
    args:     a tuple of positional arguments, a dict of arguments by name, or one bare argument
    tangents: one for each argument, of its structure and shapes, as in `jvp`
    kwargs:   further arguments of fn, passed by keyword, which are constants
    Raises ValueError when args and tangents do not match or fn returns several numbers, TypeError
    when `args` does not suit fn, or a tangent is complex and its argument real.

    >>> hvp(lambda x: np.sum(x**3), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    argnums = tuple(args) if isinstance(args, dict) else tuple(range(_count_args(args)))
    _, derivative = _along("hvp", fn, grad(fn, argnums), args, tangents, kwargs)
    return like_args(args, list(derivative))


def _count_args(args: Nest) -> int:
    return len(args) if type(args) is tuple else 1
