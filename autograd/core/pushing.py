"""How a recorded call moves with its operands: rules for tangents, from declarations.

A rule takes the tangent `t` of one argument and gives what it adds to the tangent of the result:
``log.jvp(x=lambda t, x: t / x)``.  Few primitives need one.  Of an elementwise primitive the vjp
rule is multiplication by a derivative, in either direction, so the rule itself pushes tangents.
Where there is neither, the vjp rule is transposed, which costs its recording
(`forward/transposing.py`).

A call saves only what its vjp rules name.  So a rule for tangents may name no more than that, and
the tape of a function does not depend on the direction in which it will be differentiated.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tapegrad.autograd.core.generated import compile_source
from tapegrad.autograd.core.signatures import names_of_parameters

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import Primitive

__all__ = ["JvpRule", "Push", "find_push", "linear_in"]

NOT_SAVED = (
    "{name}.jvp: the rule of {argument} names {unknown}, which its rule of {name}.vjp does not "
    "save; that one names {known}"
)


class JvpRule:
    """The rule for the tangent of one argument: (t, *saved values) -> the tangent of the result.

    t:     the tangent, of the argument's shape; of a list argument a list with None for each array
           that does not move
    known: what the argument's vjp rule saves; the rule may name such values, and `y_shape`, the
           shape of the result
    The result broadcasts to the shape of the primitive's result; of several results it is a list,
    with None for each that does not move.  Raises TypeError for a rule with other parameters.
    """

    __slots__ = ("function", "names")

    def __init__(
        self, owner: str, argument: str, function: Callable[..., Any], known: tuple[str, ...]
    ) -> None:
        self.function = function
        first, *names = names_of_parameters(function)
        self.names = tuple(names)
        if first != "t":
            raise TypeError(f"{owner}.jvp: the rule of {argument} must take `t` first")
        unknown = ", ".join(name for name in names if name not in (*known, "y_shape"))
        if unknown:
            found = {"unknown": unknown, "known": ", ".join(known) or "nothing"}
            raise TypeError(NOT_SAVED.format(name=owner, argument=argument, **found))


def linear_in(function: Any, argument: str) -> Callable[..., Any]:
    """The rule for tangents of an argument in which a primitive is linear: its call on the tangent.

    A setting called ``shape`` is taken for the shape of the result.
    """
    primitive: Primitive = function.primitive
    names = [name for name in (*primitive.arguments, *primitive.settings) if name != argument]

    def rule(t: Any, *saved: Any) -> Any:
        return function(**{argument: t}, **dict(zip(names, saved, strict=True)))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    shown = ["y_shape" if name == "shape" else name for name in names]
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in ("t", *shown)])
    rule.__signature__ = signature  # type: ignore[attr-defined]  # read by `JvpRule`
    return rule


class Push(NamedTuple):
    """How the tangents of some parents of a call give that of its result.

    function: (t, *saved) -> the tangent of the result, from that of the one parent or from a tuple,
              as far as rules give it; None where none does
    shaped:   whether it takes the result's shape between t and what is saved
    by_rule:  the indices of the parents whose tangents `function` takes
    the_rest: those of the parents for which `pull` must be transposed
    """

    function: Callable[..., Any] | None
    by_rule: tuple[int, ...]
    the_rest: tuple[int, ...]
    shaped: bool = False


def find_push(
    owner: Primitive, mask: tuple[Any, ...], names: tuple[str, ...], moved: tuple[int, ...]
) -> Push:
    """The `Push` of calls with one combination of tracked operands.

    mask, names: those of the plan (`Plan`)
    moved:       the indices of the parents that have a tangent
    """
    by_rule: list[int] = []
    the_rest: list[int] = []
    terms: list[str] = []
    scope: dict[str, Any] = {}
    shaped = False
    only: JvpRule | None = None
    index = 0  # of the next parent
    for argument, tracked in zip(owner.arguments, mask, strict=True):
        flags = tracked if isinstance(tracked, tuple) else (tracked,)
        parents = [index + sum(flags[:i]) if flag else None for i, flag in enumerate(flags)]
        index += sum(flags)
        mine = [i for i in parents if i in moved]
        if not mine:
            continue
        rule = _rule_for(owner, argument)
        if rule is None:
            the_rest += [i for i in mine if i is not None]
            continue
        by_rule += [i for i in mine if i is not None]
        only = rule
        shaped = shaped or "y_shape" in rule.names
        scope[f"rule_{argument}"] = rule.function
        # names that no argument has: they begin with a line
        tangents = [f"_t{i}" if i in mine else "None" for i in parents]
        t = f"[{', '.join(tangents)}]" if isinstance(tracked, tuple) else tangents[0]
        terms.append(f"rule_{argument}({', '.join([t, *rule.names])})")
    if not terms:
        return Push(None, (), tuple(the_rest))
    taken = tuple(by_rule)
    if only is not None and len(terms) == 1 and only.names == names and not owner.lists:
        return Push(only.function, taken, tuple(the_rest))
    arguments = ", ".join(f"_t{i}" for i in taken)
    if owner.several:
        scope["add"] = add_several
        total = terms[0]
        for term in terms[1:]:
            total = f"add({total}, {term})"
    else:
        total = " + ".join(terms)
    code = compile_source(
        f"def push({', '.join(('_t', *['y_shape'] * shaped, *names))}):\n"
        f"    {arguments} = _t\n"
        f"    return {total}\n",
        f"{owner.name} pushed",
    )
    exec(code, scope)  # noqa: S102  # source made above from declared names only
    return Push(scope["push"], taken, tuple(the_rest), shaped)


def _rule_for(owner: Primitive, argument: str) -> JvpRule | None:
    rule = owner.jvp_rules.get(argument)
    if rule is not None or not owner.elementwise:
        return rule
    pull = owner.rules[argument]
    if pull is None or len(pull.arguments) > 1:
        return None
    derived = JvpRule.__new__(JvpRule)
    derived.function, derived.names = pull.function, pull.names
    return derived


def add_several(a: list[Any], b: list[Any]) -> list[Any]:
    """The sum of the tangents of several results, with None for each that does not move."""
    return [x if y is None else y if x is None else x + y for x, y in zip(a, b, strict=True)]
