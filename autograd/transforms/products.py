"""Products of derivatives with vectors: vjp, jvp, hvp.

A pullback is linear in its cotangent, so pulling back through it gives the other product: J·v costs
two sweeps and needs no forward rules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.reverse.sweep import seed_for
from tapegrad.autograd.transforms.arguments import Argnums, Arguments
from tapegrad.autograd.transforms.gradient import grad
from tapegrad.autograd.transforms.variables import Call

__all__ = ["hvp", "jvp", "vjp"]


def vjp(
    fn: Callable[..., Any], *args: Any, argnums: Argnums | None = None, **kwargs: Any
) -> tuple[Any, Callable[[Any], Any]]:
    """(fn(*args, **kwargs), pull) where pull(v) = vᵀ·J: a tuple, one cotangent per argument.

    argnums: which arguments, by position or name, as in `value_and_grad`: all in `args` when
             omitted; pull then returns one cotangent, or a tuple, as `argnums` is one or several
    fn may return an array or nested lists, tuples and dicts of them; v has the same structure.
    `pull` may be called several times.
    """
    arguments = Arguments(fn, range(len(args)) if argnums is None else argnums)
    call = Call(fn, args, kwargs, arguments.places(args, kwargs))
    outputs = call.outputs()

    def pull(v: Any) -> Any:
        given = leaves(v)
        if len(given) != len(outputs):
            raise ValueError(f"{call.name} returned {len(outputs)} arrays, v has {len(given)}")
        seeds = [
            (output._node, seed_for(output, g))
            for output, g in zip(outputs, given, strict=True)
            if output._node is not None
        ]
        gradients = call.gradients(seeds)
        return gradients[0] if arguments.single else tuple(gradients)

    return call.value(), pull


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
