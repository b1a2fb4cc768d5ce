"""Each primitive gets one public function, generated from its declaration at the first call.

To interpret a declaration at every call (`call.apply`) costs twice what recording needs.  So the
public function of a primitive starts as a stub.  At its first call it writes Python source for the
ordinary case (NumPy arrays, recording on, up to three operands), compiles the source, and puts the
code object into itself.  Every other case calls `apply`, which defines what a call means.

The function replaces its own ``__code__`` because Tensor's operators, NumPy's tables and every
``from … import tanh`` hold the function from before its first call, and stay valid in this way.
A function that calls another would cost a tenth of a recorded operation.  To specialise all
primitives at import would make the import a third slower, and rules may be declared until the
first call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from itertools import combinations
from types import FunctionType
from typing import Any

import numpy as np

from tapegrad.autograd.core.call import (
    apply,
    apply_operator,
    apply_swapped,
    aspects,
    ensure_array,
)
from tapegrad.autograd.core.declaration import NUMBERS, Primitive
from tapegrad.autograd.core.generated import compile_source
from tapegrad.autograd.core.mode import NO_GRAD, announce_write, current_mode
from tapegrad.autograd.core.node import Node, next_serial, note_write
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.views import note_view

__all__ = ["operator_function", "public_function", "saved_expression", "view_lines"]


MOST_OPERANDS = 3  # each more doubles the cases of which are tracked

_STUB = compile_source(
    "def function(*args, **settings):\n    specialize()\n    return function(*args, **settings)\n",
    "function before its first call",
)


def public_function(primitive: Primitive, described: Callable[..., Any]) -> Any:
    """The callable that users see; it takes arguments, then settings, by position or by keyword."""
    scope: dict[str, Any] = {"specialize": None, "__name__": described.__module__}
    exec(_STUB, scope)  # noqa: S102  # a constant text
    function: Any = scope["function"]
    scope["specialize"] = lambda: _specialize(primitive, function)
    function.__name__ = function.__qualname__ = primitive.name
    function.__doc__ = described.__doc__
    function.__module__ = described.__module__
    function.__signature__ = _LateSignature.of(primitive)
    function.primitive = primitive
    primitive.function = function
    function.vjp = primitive.vjp
    function.joint_vjp = primitive.joint_vjp
    function.jvp = primitive.jvp
    function.batch = primitive.batch
    function.on = primitive.on
    function.with_aux = _with_aux(primitive, function)
    return function


def operator_function(function: Any, *, swapped: bool = False) -> Any:
    """A primitive's public function as an operator of Tensor, for two operands.

    The code differs in what happens to other objects than arrays and numbers: `apply_operator`.
    swapped: of a commutative primitive that gets its operands the other way round, for `__rmul__`
    """
    run = apply_swapped if swapped else apply_operator
    primitive = function.primitive
    scope: dict[str, Any] = {"specialize": None, "__name__": function.__module__}
    exec(_STUB, scope)  # noqa: S102  # a constant text
    operator: Any = scope["function"]
    scope["specialize"] = lambda: _specialize(primitive, operator, run)
    operator.__name__ = operator.__qualname__ = primitive.name
    operator.__doc__ = function.__doc__
    operator.__module__ = function.__module__
    operator.__signature__ = function.__signature__
    operator.primitive = primitive
    return operator


class _LateSignature(inspect.Signature):
    """The signature of a primitive's public function, made when it is first read: few ever are."""

    __slots__ = ("primitive",)
    primitive: Primitive

    @classmethod
    def of(cls, primitive: Primitive) -> _LateSignature:
        signature = cls.__new__(cls)
        signature.primitive = primitive
        return signature

    def __getattr__(self, name: str) -> Any:
        if name not in inspect.Signature.__slots__:
            raise AttributeError(name)
        inspect.Signature.__init__(self, _signature_parameters(self.primitive))
        return getattr(self, name)


def _signature_parameters(primitive: Primitive) -> list[inspect.Parameter]:
    kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    empty = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(name, kind, default=None if name in primitive.optional else empty)
        for name in primitive.arguments
    ]
    seen_default = bool(primitive.optional)
    for name, default in primitive.settings.items():
        if default is empty and seen_default:
            kind = inspect.Parameter.KEYWORD_ONLY
        seen_default = seen_default or default is not empty
        parameters.append(inspect.Parameter(name, kind, default=default))
    return parameters


def _with_aux(primitive: Primitive, function: Any) -> Callable[..., Any]:
    count, names = len(primitive.arguments), frozenset(primitive.settings)

    def with_aux(*args: Any, **settings: Any) -> Any:
        if len(args) == count and settings.keys() == names:  # without what binding costs
            return apply(primitive, args, settings, aux=True)
        bound = function.__signature__.bind(*args, **settings)
        bound.apply_defaults()
        values = bound.arguments
        return apply(
            primitive,
            tuple(values[name] for name in primitive.arguments),
            {name: values[name] for name in primitive.settings},
            aux=True,
        )

    return with_aux


def _specialize(
    primitive: Primitive, function: FunctionType, run: Callable[..., Any] = apply
) -> None:
    missing = [n for n in primitive.arguments if n not in primitive.rules]
    if primitive.differentiable and missing:
        raise TypeError(f"primitive {primitive.name} says nothing about {', '.join(missing)}")
    scope = function.__globals__
    code = compile_source(_function_source(primitive, scope, run), primitive.name)
    exec(code, scope)  # noqa: S102  # source made by `_function_source`
    made = scope.pop("_call")
    function.__code__ = made.__code__
    function.__defaults__ = made.__defaults__
    function.__kwdefaults__ = made.__kwdefaults__


# Names in the generated source begin with an underscore, so that they differ from the names that
# the author of a primitive chose for arguments and settings.


def _function_header(primitive: Primitive, scope: dict[str, Any]) -> str:
    parts = []
    for parameter in _signature_parameters(primitive):
        text = parameter.name
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        if parameter.default is not parameter.empty:
            scope[f"_default_{text}"] = parameter.default
            text += f"=_default_{text}"
        parts.append(text)
    return f"def _call({', '.join(parts)}):\n"


def _function_source(primitive: Primitive, scope: dict[str, Any], run: Callable[..., Any]) -> str:
    operands = primitive.arguments
    settings = ", ".join(f"{n!r}: {n}" for n in primitive.settings)
    general = (
        f"return _apply(_primitive, ({', '.join(operands)}{',' * bool(operands)}), {{{settings}}})"
    )
    scope.update(_apply=run, _primitive=primitive)
    simple = (
        1 <= len(operands) <= MOST_OPERANDS
        and not primitive.lists
        and not primitive.several
        and not primitive.random
    )
    if not simple:
        return _function_header(primitive, scope) + f"    {general}\n"

    scope.update(
        _Tensor=Tensor,
        _Node=Node,
        _new=object.__new__,
        _ndarray=np.ndarray,
        _asarray=partial(ensure_array, np),  # another device's array stays what it is
        _np=np,
        _NUMBERS=NUMBERS,
        _mode=current_mode,
        _serial=next_serial,
        **{f"_{what}_of": function for what, function in aspects.items()},
        _NO_GRAD=NO_GRAD,
        _body=primitive.inline or primitive.body_for(np),
        _large=primitive.direct,
        _large_from=primitive.large_from,
    )
    lines = []
    for name in operands:
        lines += [
            f"if isinstance({name}, _Tensor):",
            f"    _{name} = {name}._bare",
            f"    _{name}_node = {name}._node",
            "else:",
            f"    _{name} = {name}",
            f"    _{name}_node = None",
        ]
    odd = " or ".join(
        f"type(_{name}) is not _ndarray and type(_{name}) not in _NUMBERS"
        + f" and _{name} is not None" * (name in primitive.optional)
        for name in operands
    )
    lines += [
        "_now = _mode()",
        f"if _now is not None and _now is not _NO_GRAD or {odd}:",
        "    if _now is not None and _now.stream is not None:",
        "        _streamed = _primitive.streamed or _now.stream.function_of(_primitive)",
        f"        _y = _streamed(_now.stream, {', '.join((*operands, *primitive.settings))})",
        "        if _y is not _now.stream:",
        "            return _y",
        f"    {general}",
    ]
    arguments = ", ".join(f"_{name}" for name in operands)
    if not primitive.inline:
        arguments = ", ".join(["_np", arguments, *(f"{n}={n}" for n in primitive.settings)])
    if primitive.mutates:
        scope.update(_announce_write=announce_write, _note_write=note_write)
        lines += [
            f"_announce_write(_{primitive.mutates})",
            f"_body({arguments})",
            f"_note_write(_{primitive.mutates})",
            f"return {primitive.mutates}",
        ]
        return _function_header(primitive, scope) + "".join(f"    {line}\n" for line in lines)
    body = "_body"
    if primitive.direct is not primitive.inline:
        is_large = " or ".join(
            f"type(_{n}) is _ndarray and _{n}.size >= _large_from[0]" for n in operands
        )
        body = f"(_large if {is_large} else _body)"
    outcome = ", ".join(["_y", *(f"_aux_{name}" for name in primitive.aux)])
    lines += [
        f"{outcome} = {body}({arguments})",
        "if " + " and ".join(f"_{n} is {n}" for n in operands) + ":",
        "    return _y",
        "if type(_y) is not _ndarray:",
        "    _y = _asarray(_y)",
        "_result = _new(_Tensor)",
        "_result._bare = _y",
        "_result._alias = None",
    ]
    lines += _recording_lines(primitive, scope)
    if primitive.view:
        lines += view_lines(primitive, scope)
    lines += ["return _result"]
    return _function_header(primitive, scope) + "".join(f"    {line}\n" for line in lines)


def _recording_lines(primitive: Primitive, scope: dict[str, Any]) -> list[str]:
    """Source lines that give the result its node, for each combination of tracked operands."""
    ruled = [n for n in primitive.arguments if primitive.rules.get(n) is not None]
    if not primitive.differentiable or not ruled:
        return ["_result._node = None"]
    masks = [
        tuple(name in tracked for name in primitive.arguments)
        for count in range(len(ruled), 0, -1)  # the first that fits is that of all tracked ones
        for tracked in combinations(ruled, count)
    ]
    lines = ["if _now is not None:", "    _result._node = None"]
    for mask in masks:
        plan = primitive.plan(mask)
        tracked = [n for n, t in zip(primitive.arguments, mask, strict=True) if t]
        label = "_plan_" + "".join("01"[t] for t in mask)
        scope[label] = plan
        nodes = [f"_{name}_node" for name in tracked]
        saved = [saved_expression(primitive, name, tracked) for name in plan.names]
        test = " and ".join(f"{node} is not None" for node in nodes)
        lines += [
            f"elif {test}:",
            "    _result._node = _node = _new(_Node)",
            "    _node.serial = _serial()",
            f"    _node.plan = {label}",
            f"    _node.parents = {nodes[0] if len(nodes) == 1 else '(' + ', '.join(nodes) + ')'}",
            f"    _node.saved = ({', '.join(saved)}{',' * bool(saved)})",
            "    _node.shape = _y.shape",
            "    _node.dtype = _y.dtype",
        ]
    return [*lines, "else:", "    _result._node = None"]


def view_lines(primitive: Primitive, scope: dict[str, Any]) -> list[str]:
    """Source lines that note the result as a view if it shares memory with the first operand."""
    first, *others = primitive.arguments
    scope.update(_note_view=note_view, _function=scope["function"])
    shares = (
        f"_y is _{first} or _y.base is not None "
        f"and (_y.base is _{first} or _y.base is _{first}.base)"
    )
    arguments = "".join(f"{name}, " for name in (*others, *primitive.settings))
    return [
        f"if _{first} is not {first} and ({shares}):",
        f"    _note_view(_result, {first}, (_function, ({arguments}), None))",
    ]


def saved_expression(primitive: Primitive, name: str, tracked: list[str]) -> str:
    """Source of the value that a rule names `name`."""
    if name in primitive.arguments or name == "y":
        return f"_{name}"
    if name in primitive.settings:
        return name
    if name in primitive.aux:
        return f"_aux_{name}"
    argument, _, what = name.rpartition("_")
    if argument in tracked and what != "layout":  # an array, whose attribute it is
        return f"_{argument}.{what}"
    return f"_{what}_of(_{argument})"
