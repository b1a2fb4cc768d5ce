"""What parameters bodies and rules have, read off their code.

`inspect.signature` takes ten times as long, and importing tapegrad declares some hundred primitives
with their rules.  It is asked where code does not tell: for a callable object, for a function with
``*args``, and for one with attributes, among which may be a signature of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple, TypeGuard

__all__ = ["DeclaredParameters", "names_of_parameters", "parameters_in", "parameters_of"]

_VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


class DeclaredParameters(NamedTuple):
    """The parameters of a function.

    arguments:   the names of those that may be passed by position
    settings:    the names of those that may be passed by keyword only
    defaults:    name -> default value
    annotations: name -> annotation; may have others too
    """

    arguments: tuple[str, ...]
    settings: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {}
    annotations: Mapping[str, Any] = {}


def parameters_of(function: Callable[..., Any]) -> DeclaredParameters:
    """The parameters of a function.  Raises what `inspect.signature` raises."""
    if _is_plain(function):
        code = function.__code__
        end = code.co_argcount
        arguments = code.co_varnames[:end]
        values = function.__defaults__ or ()
        defaults = dict(zip(arguments[end - len(values) :], values, strict=True))
        return DeclaredParameters(
            arguments,
            code.co_varnames[end : end + code.co_kwonlyargcount],
            defaults | (function.__kwdefaults__ or {}),
            function.__annotations__,
        )
    return parameters_in(inspect.signature(function))


def parameters_in(signature: inspect.Signature) -> DeclaredParameters:
    """The parameters that a signature has."""
    parameters = signature.parameters.values()
    return DeclaredParameters(
        tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY),
        tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
        {p.name: p.default for p in parameters if p.default is not p.empty},
        {p.name: p.annotation for p in parameters if p.annotation is not p.empty},
    )


def names_of_parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of all parameters.  Raises what `inspect.signature` raises."""
    if _is_plain(function):
        code = function.__code__
        return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return tuple(inspect.signature(function).parameters)


def _is_plain(function: Callable[..., Any]) -> TypeGuard[FunctionType]:
    """Whether a function's parameters are those of its code."""
    return (
        type(function) is FunctionType
        and not function.__dict__
        and not function.__code__.co_flags & _VARIADIC
    )
