"""`custom_vjp` of functions whose arguments are called g, y, out or xp.

A primitive gives these names a meaning of its own.  So such an argument has another name inside,
and the function that users see translates: their calls, and the names in their rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import PrimitiveFunction

__all__ = ["inner_names", "renamed_signature", "with_own_names"]

F = TypeVar("F", bound=Callable[..., Any])
# What a primitive calls the cotangent, the result, its array library, and the target.
_TAKEN = ("g", "y", "xp", "out")


def inner_names(signature: inspect.Signature) -> dict[str, str]:
    """The arguments that need another name, and the name: {"y": "y_"}."""
    own = set(signature.parameters)
    names = {}
    for name in _TAKEN:
        if name in own and signature.parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY:
            inner = f"{name}_"
            while inner in own:
                inner += "_"
            names[name] = inner
    return names


def renamed_signature(signature: inspect.Signature, names: dict[str, str]) -> inspect.Signature:
    """The signature with other names of arguments."""
    parameters = signature.parameters.values()
    return signature.replace(
        parameters=[p.replace(name=names.get(p.name, p.name)) for p in parameters]
    )


def _translated(name: str, names: dict[str, str]) -> str:
    """What a name in a rule stands for inside: an argument, or what is known of its array."""
    for own, inner in names.items():
        if name == own:
            return inner
        if name.startswith(f"{own}_") and name != inner:
            return inner + name.removeprefix(own)
    return "y" if name == "result" and "y" in names else name


def _renamed_rule(rule: F, names: dict[str, str], *, first: int) -> F:
    """The rule with the names of what it takes translated, from parameter number `first` on."""

    @wraps(rule)
    def inner(*values: Any, **named: Any) -> Any:
        return rule(*values, **named)

    parameters = list(inspect.signature(rule).parameters.values())
    for i, p in enumerate(parameters):
        parameters[i] = p.replace(name=_translated(p.name, names) if i >= first else p.name)
    inner.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # its own
    return inner  # type: ignore[return-value]  # called as the rule is


def with_own_names(
    function: PrimitiveFunction, signature: inspect.Signature, names: dict[str, str]
) -> PrimitiveFunction:
    """The public function of a primitive, for users who call its arguments by their own names."""
    positional = [p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = {names.get(name, name): value for name, value in kwargs.items()}
        return function(*args, **kwargs)

    def vjp(**rules: Callable[..., Any] | None) -> None:
        function.vjp(
            **{
                names.get(name, name): rule and _renamed_rule(rule, names, first=1)
                for name, rule in rules.items()
            }
        )

    def joint_vjp(*arguments: str) -> Callable[[F], F]:
        declare = function.joint_vjp(*[names.get(name, name) for name in arguments])

        def declare_own(rule: F) -> F:
            declare(_renamed_rule(rule, names, first=1))
            return rule

        return declare_own

    def batch(rule: F) -> F:
        function.batch(_renamed_rule(rule, names, first=0))
        return rule

    made: Any = call
    made.__signature__ = signature
    made.primitive, made.on, made.with_aux = function.primitive, function.on, function.with_aux
    made.vjp, made.joint_vjp, made.batch = vjp, joint_vjp, batch
    made.arguments = tuple(positional)
    own: PrimitiveFunction = made
    return own
