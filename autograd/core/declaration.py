"""Primitives are the operations that the tape records; each is declared once.

A declaration is a body (array code over a namespace `xp`) and a rule for every array argument; the
rule turns the cotangent of the result into the cotangent of the argument.  The parameters of a rule
say what a call saves for it; anything else is not kept alive.  Rules are written in primitives, so
derivatives of derivatives, replay and other devices need no further code.

This file says what a declaration is and how its calls are reversed.  `call.py` runs a primitive,
`specialize.py` makes its public function, and `declaring.py` has the decorator `primitive`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

import numpy as np

from tapegrad.autograd.core.generated import compile_source
from tapegrad.autograd.core.node import Plan
from tapegrad.autograd.core.pushing import JvpRule, Push, find_push
from tapegrad.autograd.core.signatures import (
    DeclaredParameters,
    names_of_parameters,
    parameters_in,
    parameters_of,
)

if TYPE_CHECKING:
    from tapegrad.devices import Namespace

__all__ = [
    "ASPECTS",
    "NUMBERS",
    "BatchRule",
    "CallPlan",
    "Primitive",
    "PrimitiveFunction",
    "PrimitiveWithSettings",
    "VjpRule",
    "newer_numpy",
    "numpy_functions",
    "primitives",
    "register_primitive",
]

# Numbers take part in an operation without an array of their own, and without deciding its dtype.
NUMBERS: frozenset[type] = frozenset(
    {bool, int, float, complex}
    | {t for t in np.sctypeDict.values() if issubclass(t, (np.number, np.bool_))}
)

# What a rule may save of an argument x without the array: x_shape, x_dtype, x_layout, x_strides.
ASPECTS = ("shape", "dtype", "layout", "strides")
_RESERVED = {"g", "y", "xp", "out"}
_registry: dict[str, PrimitiveFunction[..., Any]] = {}
# NumPy function -> the function to call instead when an argument is a Tensor; read by
# `surface/numpy_protocol.py`.
numpy_functions: dict[Callable[..., Any], Callable[..., Any]] = {}


def newer_numpy(name: str) -> tuple[Callable[..., Any], ...]:
    """NumPy's function of that name, for `numpy=`; nothing where NumPy is too old to have it."""
    function = getattr(np, name, None)
    return () if function is None else (function,)


P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])


class PrimitiveFunction(Protocol[P, R_co]):
    """The public callable of a primitive: call it, or declare its rules.

    Type checkers see the parameters P of the body after `xp`, and R_co, a Tensor or a list of them.
    """

    primitive: Primitive
    __name__: str

    def __call__(self, *args: P.args, **settings: P.kwargs) -> R_co:
        """Run the primitive; one Tensor among the arrays makes the result a Tensor."""

    def vjp(self, **rules: Callable[..., Any] | None) -> None:
        """Declare the rule of each named argument; None says that it has no derivative."""

    def joint_vjp(self, *arguments: str) -> Callable[[F], F]:
        """Declare one rule that returns the cotangents of several arguments as a tuple."""

    def jvp(self, **rules: Callable[..., Any]) -> None:
        """Declare, after `vjp`, how the tangent of an argument moves the result: `JvpRule`."""

    def batch(self, rule: F) -> F:
        """Declare how to run it on all samples of a batch at once: see `BatchRule`."""

    def on(self, backend: str, *, late: bool = False) -> Callable[[F], F]:
        """Register another body for a backend ("cuda", "numba"); the plain one stays the oracle.

        late: the decorated function is () -> the body, called when that is first needed
        """

    def with_aux(self, *args: Any, **settings: Any) -> tuple[Any, ...]:
        """Call it, and return the auxiliary results (untracked) after the result."""


class PrimitiveWithSettings(PrimitiveFunction[P, R_co], Protocol[P, R_co]):
    """A primitive whose settings may follow the arrays by position as well as by keyword.

    A body takes its settings by keyword only, and no type turns such parameters into others.  So a
    type checker compares a call with the body only if it passes at most one value by position.
    """

    @overload
    def __call__(self, *args: P.args, **settings: P.kwargs) -> R_co: ...

    @overload
    def __call__(self, first: Any, second: Any, /, *more: Any, **settings: Any) -> R_co: ...


def primitives() -> Mapping[str, PrimitiveFunction[..., Any]]:
    """All primitives that have been declared, by name."""
    return MappingProxyType(_registry)


def register_primitive(function: PrimitiveFunction[..., Any]) -> None:
    """Enter `function` under its primitive's name.  Raises TypeError for a name in use."""
    name = function.primitive.name
    if name in _registry:
        raise TypeError(f"a primitive called {name} exists already")
    _registry[name] = function


class CallPlan(Plan):
    """The plan (see `Plan`) of all calls of a primitive with one combination of tracked operands.

    The nodes of these calls share it.
    """

    __slots__ = ("_pushes", "_restricted", "mask", "names", "primitive", "pull", "push", "sources")

    def __init__(self, primitive: Primitive, mask: tuple[Any, ...]) -> None:
        self.primitive = primitive
        self.mask = mask
        self.names, self.pull = _join_rules(primitive, mask)
        self.push: Callable[..., Any] | bool = False  # not looked for yet
        self._pushes: dict[tuple[int, ...], Push] = {}
        self._restricted: dict[tuple[int, ...], Any] = {}
        origins: dict[str, Any] = {"y": "y"}  # name of a value -> its entry in `sources`
        count = 0
        for name, tracked in zip(primitive.arguments, mask, strict=True):
            if isinstance(tracked, tuple):
                origins[name] = [
                    count + sum(tracked[:i]) if t else None for i, t in enumerate(tracked)
                ]
                count += sum(tracked)
            else:
                origins[name] = count if tracked else None
                count += tracked
        self.sources = tuple(origins.get(name, "") for name in self.names)

    def restrict(self, wanted: tuple[int, ...]) -> tuple[Callable[..., Any], tuple[int, ...]]:
        """See `Plan.restrict`."""
        if wanted not in self._restricted:
            mask: list[Any] = []
            index = itertools.count()  # of the next tracked operand among the parents
            for tracked in self.mask:
                if isinstance(tracked, tuple):
                    mask.append(tuple(flag and next(index) in wanted for flag in tracked))
                else:
                    mask.append(tracked and next(index) in wanted)
            plan = self.primitive.plan(tuple(mask))
            saved = tuple(self.names.index(name) for name in plan.names)
            self._restricted[wanted] = (plan.pull, saved)
        return self._restricted[wanted]

    def push_for(self, moved: tuple[int, ...]) -> Push:
        """See `Plan.push_for`."""
        push = self._pushes.get(moved)
        if push is None:
            push = self._pushes[moved] = find_push(self.primitive, self.mask, self.names, moved)
        return push

    def forget_pushes(self) -> None:
        """Look anew for the rules of tangents."""
        self.push = False
        self._pushes.clear()

    def __repr__(self) -> str:
        return self.primitive.name


class Primitive:
    """One declaration: the body, its arguments and settings, and the rules."""

    def __init__(
        self,
        body: Callable[..., Any],
        *,
        differentiable: bool = True,
        aux: tuple[str, ...] = (),
        several: bool = False,
        mutates: str | None = None,
        view: bool | str = False,
        random: bool = False,
        elementwise: bool = False,
        domain: Mapping[str, tuple[float | None, float | None]] | None = None,
        inline: np.ufunc | None = None,
        signature: inspect.Signature | DeclaredParameters | None = None,
    ) -> None:
        arguments, settings, defaults, annotations = (
            parameters_of(body) if signature is None
            else signature if isinstance(signature, DeclaredParameters)
            else parameters_in(signature)
        )  # fmt: skip
        if signature is None:
            if arguments[:1] != ("xp",):
                raise TypeError(f"{body.__name__}: the body of a primitive takes `xp` first")
            arguments = arguments[1:]
        self.name = body.__name__
        self.body = body
        self.arguments = arguments
        self.lists = frozenset(
            name for name in arguments if str(annotations.get(name)).startswith("list")
        )
        self.optional = frozenset(n for n in arguments if defaults.get(n, n) is None)
        self.settings = {
            name: defaults.get(name, inspect.Parameter.empty) for name in settings if name != "out"
        }
        self.takes_out = inline is not None or "out" in arguments or "out" in settings
        self.aux = aux
        self.several = several
        self.differentiable = differentiable and not mutates and not random
        self.mutates = mutates
        self.view = view
        self.random = random
        self.elementwise = elementwise
        self.domain = dict(domain or {})
        self.inline = inline
        # What runs for `inline` on arrays of so many entries, a number in a list of one.
        self.large: Callable[..., Any] | None = None
        self.large_from: list[int] = []
        self.bodies: dict[str, Callable[..., Any]] = {}
        self._late: dict[str, Callable[[], Callable[..., Any]]] = {}
        self.steps: Callable[..., Any] | None = None
        self.prepare: Callable[..., Callable[[], Any] | None] | None = None
        # (out, settings) -> a function of operands, which lie alike in all calls, that fills out
        self.refill: Callable[..., Callable[..., Any]] | None = None
        self.rules: dict[str, VjpRule | None] = {}
        self.jvp_rules: dict[str, JvpRule] = {}
        self.batch_rule: BatchRule | None = None
        self.function: Any = None  # the public callable, which calls this primitive
        self.streamed: Callable[..., Any] | None = None  # set by `forward/streaming.py`
        self._plans: dict[tuple[Any, ...], CallPlan] = {}
        reserved = _RESERVED.intersection(self.arguments)
        if reserved:
            raise TypeError(f"{self.name}: arguments of a primitive may not be called {reserved}")

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join([*self.arguments, *self.settings])})>"

    # Declaring -----------------------------------------------------------------------------------

    def vjp(self, **rules: Callable[..., Any] | None) -> None:
        """See `PrimitiveFunction.vjp`.  Raises TypeError unless every argument is named."""
        if not self.differentiable:
            raise TypeError(f"{self.name} is declared as not differentiable, yet has rules")
        for argument, function in rules.items():
            self._add_rule((argument,), function)
        missing = [name for name in self.arguments if name not in self.rules]
        if missing:
            raise TypeError(
                f"{self.name}.vjp says nothing about {', '.join(missing)}: give a rule, or None "
                "for an argument without a derivative"
            )

    def joint_vjp(self, *arguments: str) -> Callable[[F], F]:
        """See `PrimitiveFunction.joint_vjp`."""

        def declare(function: F) -> F:
            self._add_rule(arguments, function)
            return function

        return declare

    def _add_rule(self, arguments: tuple[str, ...], function: Callable[..., Any] | None) -> None:
        for argument in arguments:
            if argument not in self.arguments:
                raise TypeError(
                    f"{self.name} has no argument {argument!r}; it has {', '.join(self.arguments)}"
                )
        rule = None if function is None else VjpRule(self, arguments, function)
        self.rules.update(dict.fromkeys(arguments, rule))

    def jvp(self, **rules: Callable[..., Any]) -> None:
        """See `PrimitiveFunction.jvp`.  Raises TypeError for an argument without a vjp rule."""
        for argument, function in rules.items():
            rule = self.rules.get(argument)
            if rule is None:
                raise TypeError(
                    f"{self.name}.jvp: {argument!r} has no rule of {self.name}.vjp; declare that "
                    "first"
                )
            self.jvp_rules[argument] = JvpRule(self.name, argument, function, rule.names)
        self.streamed = None  # what was made before does not know the rules
        for plan in self._plans.values():
            plan.forget_pushes()

    def batch(self, rule: F) -> F:
        """See `PrimitiveFunction.batch`."""
        self.batch_rule = BatchRule(self, rule)
        return rule

    def on(self, backend: str, *, late: bool = False) -> Callable[[F], F]:
        """See `PrimitiveFunction.on`."""

        def declare(body: F) -> F:
            self.bodies[backend] = body
            self._late.pop(backend, None)
            if late:
                self._late[backend] = body
            return body

        return declare

    def stepwise(self, body: F) -> F:
        """Register array code of plain steps, by which a kernel of `compile` joins it to others.

        It takes and returns what the body does, up to rounding, and raises for operands of a shape
        that it is not made for.  A call that joins no other runs by its own body.
        """
        self.steps = body
        return body

    def prepared(self, function: F) -> F:
        """Register what makes calls on fixed NumPy arrays ready, so that less is done in each.

        It takes what the body does without `xp`, and returns a function that does the body's work
        on the values that are there when it is called; or None where it cannot.
        """
        self.prepare = function
        return function

    def body_for(self, xp: Namespace) -> Callable[..., Any]:
        """The body that runs on the arrays of the namespace `xp`."""
        if self.bodies:
            if xp is np:
                if "numba" in self.bodies and _numba_installed():
                    return self._body("numba")
            elif "cuda" in self.bodies and xp.__name__ == "cupy":
                return self._body("cuda")
        return self.body

    def _body(self, backend: str) -> Callable[..., Any]:
        maker = self._late.get(backend)
        if maker is not None:
            self.bodies[backend] = maker()
            self._late.pop(backend, None)  # another thread may have made it too
        return self.bodies[backend]

    @property
    def direct(self) -> Callable[..., Any] | None:
        """What a call on NumPy's arrays comes down to, where that is a function of them alone."""
        lacks_numba = "numba" in self.bodies and not _numba_installed()
        return self.inline if self.large is None or lacks_numba else self.large

    def plan(self, mask: tuple[Any, ...]) -> CallPlan:
        """The plan of calls whose tracked operands are those with a true entry in `mask`."""
        plan = self._plans.get(mask)
        if plan is None:
            plan = self._plans[mask] = CallPlan(self, mask)
        return plan


class VjpRule:
    """The rule of one argument, or a joint rule of several, and the names of its saved values.

    A joint rule that ends in a parameter `wanted` is told which of its arguments are tracked, and
    may return None for the others.
    """

    __slots__ = ("arguments", "function", "is_told", "names")

    def __init__(
        self, owner: Primitive, arguments: tuple[str, ...], function: Callable[..., Any]
    ) -> None:
        self.arguments = arguments
        self.function = function
        names = names_of_parameters(function)
        if not names or names[0] != "g":
            raise TypeError(f"{owner.name}: the rule of {arguments[0]} must take `g` first")
        self.is_told = len(arguments) > 1 and names[-1] == "wanted"
        self.names = names[1 : len(names) - self.is_told]
        known = {"y", *owner.arguments, *owner.settings, *owner.aux}
        known.update(f"{name}_{what}" for name in owner.arguments for what in ASPECTS)
        unknown = [name for name in self.names if name not in known]
        if unknown:
            raise TypeError(
                f"{owner.name}: the rule of {arguments[0]} names {', '.join(unknown)}, which is "
                f"none of {', '.join(sorted(known))}"
            )


class BatchRule:
    """A batching rule runs a call on all samples of a batch at once, and returns its results.

    The rule's parameters say what it needs: arguments and settings of the primitive by name, and
    samples:   the number of samples
    operands, settings, function: all arguments, all settings and the primitive's public function,
               for a rule that several primitives share
    batched:   for each argument, whether it differs from sample to sample
    An operand that differs from sample to sample has the batch as its first axis; in a list of
    arrays, which is one operand, all have that axis or none.  Other operands are stretched to the
    batch, unless the rule names `batched`; then they come unchanged.
    The results have the batch as their first axis: one, a list, or a tuple with auxiliary results.
    """

    __slots__ = ("function", "names")

    COMMON = frozenset({"batched", "function", "operands", "samples", "settings"})

    def __init__(self, owner: Primitive, function: Callable[..., Any]) -> None:
        self.function = function
        self.names = names_of_parameters(function)
        own = {*owner.arguments, *owner.settings}
        unknown = [name for name in self.names if name not in own | self.COMMON]
        if unknown or own & self.COMMON:
            raise TypeError(
                f"{owner.name}: its batching rule may name {', '.join(sorted(own))}, none of which "
                f"may be one of {', '.join(sorted(self.COMMON))}; it names {', '.join(unknown)}"
            )


def _join_rules(owner: Primitive, mask: tuple[Any, ...]) -> tuple[tuple[str, ...], Any]:
    """Return the names of the saved values and the function (g, *saved) -> cotangents of a mask.

    For one tracked operand with a rule of its own the function is that rule.  For any other mask
    it is generated source that calls each rule once, without loops and dictionaries.
    """
    tracked = [
        name
        for name, m in zip(owner.arguments, mask, strict=True)
        if (any(m) if isinstance(m, tuple) else m)
    ]
    if not tracked:  # the node of a variable, which has no parents
        return (), lambda _: ()
    rules = [_rule_of(owner, name) for name in tracked]
    if len(rules) == 1 and len(rules[0].arguments) == 1 and tracked[0] not in owner.lists:
        return rules[0].names, rules[0].function
    names = tuple(dict.fromkeys(name for rule in rules for name in rule.names))
    lines = [f"def pull({', '.join(('g', *names))}):"]
    scope: dict[str, Any] = {"compress": _select_tracked}
    results = []
    for i, rule in enumerate(dict.fromkeys(rules)):
        scope[f"rule_{i}"] = rule.function
        parts = ["g", *rule.names]
        if rule.is_told:
            parts.append(f"wanted={tuple(name in tracked for name in rule.arguments)}")
        lines.append(f"    c{i} = rule_{i}({', '.join(parts)})")
    order = list(dict.fromkeys(rules))
    for name, rule in zip(tracked, rules, strict=True):
        value = f"c{order.index(rule)}"
        if len(rule.arguments) > 1:
            value += f"[{rule.arguments.index(name)}]"
        if name in owner.lists:
            flags = mask[owner.arguments.index(name)]
            value = f"*compress({value}, {flags})"
        results.append(value)
    if sum(sum(m) if isinstance(m, tuple) else m for m in mask) == 1:
        lines.append(f"    [c] = [{results[0]}]\n    return c")
    else:
        lines.append(f"    return ({', '.join(results)},)")
    code = compile_source("\n".join(lines), f"{owner.name} reversed")
    exec(code, scope)  # noqa: S102  # source made above from declared names only
    return names, scope["pull"]


def _select_tracked(cotangents: Any, flags: tuple[bool, ...]) -> list[Any]:
    return [c for c, flag in zip(cotangents, flags, strict=True) if flag]


def _rule_of(owner: Primitive, argument: str) -> VjpRule:
    rule = owner.rules.get(argument)
    if rule is None:
        raise TypeError(f"{owner.name} has no derivative with respect to {argument}")
    return rule


_numba: list[bool] = []


def _numba_installed() -> bool:
    if not _numba:
        _numba.append(find_spec("numba") is not None)
    return _numba[0]
