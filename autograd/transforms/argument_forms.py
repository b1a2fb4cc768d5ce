"""The forms in which `vjp`, `jvp` and `hvp` take the arguments of a function.

``args`` is a tuple of positional arguments, a dict of arguments by name, or one bare argument, and
tangents and cotangents have the form of ``args``.  An array, a Tensor, a number, a list or a named
tuple is one bare argument; it is never iterated over to find several.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.transforms.arguments import function_name, require_callable

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["is_bare", "like_args", "ordered_like", "split_args", "tangents_like"]

BY_KEYWORD_TOO = "{product}({name}, …): args and the keyword arguments both hold {names}"
NOT_THE_PARAMETERS = (
    "{product}({name}, args): args is a dict, so its keys name arguments of {name}: {reason}. "
    "A dict that is itself one argument goes into a tuple: {product}({name}, (args,))"
)
NOT_ONE_LIST = (
    "{product}({name}, args): args is a {kind}, which is one argument of {name}: {reason}. "
    "Several arguments go into a tuple: {product}({name}, tuple(args))"
)
OTHER_FORM = (
    "{product}({name}, args, tangents): args is {args}, tangents is {tangents}; both have one "
    "form: a tuple, a dict by name, or one bare argument"
)
OTHER_SHAPES = (
    "{product}({name}, args, tangents): tangents holds the shapes {found}, args has {expected}"
)
COMPLEX_TANGENT = (
    "{product}({name}, args, tangents): a tangent holds {found}, its argument {own}: a real "
    "argument moves in real directions only"
)
OTHER_KEYS = "{owner}: the keys are {found}, they must be {expected}"


def is_bare(args: Nest) -> bool:
    """Is `args` one argument, and neither a tuple of them nor a dict by name?"""
    return type(args) is not tuple and not isinstance(args, dict)


def split_args(
    product: str, fn: Callable[..., Any], args: Nest, kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the keyword arguments of the call of fn that `args` and `kwargs` describe.

    product: the name of the function that was called, for messages
    Raises TypeError when a dict, a list or a named tuple does not suit fn's parameters, and for an
    fn that is no function.
    """
    require_callable(fn)
    if type(args) is tuple:
        return args, kwargs
    if not isinstance(args, dict):
        if isinstance(args, (list, tuple)):
            kind = "list" if isinstance(args, list) else "named tuple"
            message = NOT_ONE_LIST.replace("{kind}", kind)
            _check_call(product, fn, (args,), kwargs, message)
        return (args,), kwargs
    twice = [name for name in args if name in kwargs]
    if twice:
        names = ", ".join(map(repr, twice))
        raise TypeError(BY_KEYWORD_TOO.format(product=product, name=function_name(fn), names=names))
    by_name = {**args, **kwargs}
    _check_call(product, fn, (), by_name, NOT_THE_PARAMETERS)
    return (), by_name


def _check_call(
    product: str,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[Any, Any],
    message: str,
) -> None:
    """Raise TypeError, with the form that fits, unless fn can be called so."""
    reason = None
    for key in kwargs:
        if not isinstance(key, str):
            reason = f"{key!r} is no name"
    if reason is None:
        try:
            signature = inspect.signature(fn)
        except (TypeError, ValueError):  # some callables written in C
            return
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            reason = str(error)
    if reason is not None:
        raise TypeError(message.format(product=product, name=function_name(fn), reason=reason))


def like_args(args: Nest, results: list[Any]) -> Nest:
    """One result for each argument, in the form of `args`."""
    if isinstance(args, dict):
        return dict(zip(args, results, strict=True))
    return results[0] if is_bare(args) else tuple(results)


def tangents_like(product: str, fn: Callable[..., Any], args: Nest, tangents: Nest) -> Nest:
    """`tangents` in the form of `args`, each dict in the order of the dict beside it.

    A bare tangent beside a tuple of one argument is understood, and the other way round.
    Raises ValueError when the forms, the structures or the shapes differ, TypeError for a complex
    tangent of a real argument.
    """
    forms = {"product": product, "name": function_name(fn)}
    if is_bare(args) and type(tangents) is tuple and len(tangents) == 1:
        tangents = tangents[0]
    elif type(args) is tuple and len(args) == 1 and is_bare(tangents):
        tangents = (tangents,)
    if _form(args) != _form(tangents):
        described = {"args": _form(args), "tangents": _form(tangents)}
        raise ValueError(OTHER_FORM.format(**forms, **described))
    tangents = ordered_like(args, tangents, f"{product}({function_name(fn)}, args, tangents)")
    found, expected = (map_leaves(_leaf_shape, nest) for nest in (tangents, args))
    if not _equal_structure(found, expected):
        raise ValueError(OTHER_SHAPES.format(**forms, found=found, expected=expected))
    for tangent, argument in zip(leaves(tangents), leaves(args), strict=True):
        if np.iscomplexobj(tangent) and not np.iscomplexobj(argument):
            kinds = {"found": np.result_type(tangent), "own": np.result_type(argument)}
            raise TypeError(COMPLEX_TANGENT.format(**forms, **kinds))
    return tangents


def _form(args: Nest) -> str:
    if isinstance(args, dict):
        return "a dict"
    if type(args) is tuple:
        return f"a tuple of {len(args)}"
    return "one bare argument"


class _Shape(tuple[int, ...]):
    """A shape as a leaf of a nest, which other tuples are not."""

    __slots__ = ()


def _leaf_shape(x: Any) -> _Shape:
    return _Shape(x.shape if hasattr(x, "shape") else np.shape(x))


def _equal_structure(found: Nest, expected: Nest) -> bool:
    """Are both nests built alike, of leaves of equal shape?  Lists and tuples count as the same."""
    if isinstance(found, dict) and isinstance(expected, dict):
        pairs = zip(found.values(), expected.values(), strict=True)
        return found.keys() == expected.keys() and all(_equal_structure(*pair) for pair in pairs)
    if isinstance(found, _Shape) or isinstance(expected, _Shape):
        return type(found) is type(expected) and bool(found == expected)
    if isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(map(_equal_structure, found, expected))
    return found is None and expected is None


def ordered_like(reference: Nest, nest: Nest, owner: str) -> Nest:
    """`nest` with the keys of each dict in the order of the dict beside it in `reference`.

    Raises ValueError, which begins with `owner`, where the keys of two dicts differ.
    """
    if isinstance(reference, dict) and isinstance(nest, dict):
        if reference.keys() != nest.keys():
            keys = {"found": list(nest), "expected": list(reference)}
            raise ValueError(OTHER_KEYS.format(owner=owner, **keys))
        return {key: ordered_like(reference[key], nest[key], owner) for key in reference}
    both = isinstance(reference, (list, tuple)) and isinstance(nest, (list, tuple))
    if both and len(reference) == len(nest):
        parts = [ordered_like(r, n, owner) for r, n in zip(reference, nest, strict=True)]
        return tuple(parts) if type(nest) is tuple else parts
    return nest
