"""`apply` runs a primitive on any operands, on any device, in any mode, and records the call.

It handles everything that varies at run time: devices, `no_grad`, observers, list arguments.  The
ordinary case, recording on NumPy arrays, runs a function specialised for the declaration, which
`specialize.py` generates on first use and which does exactly what `apply` does.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.declaration import ASPECTS, NUMBERS, Primitive
from tapegrad.autograd.core.errors import OperandError
from tapegrad.autograd.core.foreign import foreign_answer
from tapegrad.autograd.core.mode import announce_write, current_mode
from tapegrad.autograd.core.nesting import as_one_tensor, holds_tensors
from tapegrad.autograd.core.node import Node, note_write, owner_of, record_call
from tapegrad.autograd.core.operands import (
    can_answer,
    equals_no_number,
    no_operand,
    refuse_own_arithmetic,
)
from tapegrad.autograd.core.tensor import Tensor, as_array, result_tensor, untracked
from tapegrad.autograd.core.views import note_view

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = [
    "apply",
    "apply_operator",
    "apply_swapped",
    "aspects",
    "dtype_of",
    "item_node",
    "layout_of",
    "ensure_array",
    "record_primitive",
    "shape_of",
    "strides_of",
]


def apply(
    primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any], aux: bool = False
) -> Any:
    """Run a primitive on any operands, on any device, in any mode, and record the call.

    Bare arrays in, bare arrays out; one Tensor among the operands makes the result a Tensor.
    """
    mode = current_mode()
    observer = None if mode is None else mode.observer
    if mode is not None and mode.interpreter is not None:
        operands = tuple(
            [as_one_tensor(item) for item in operand]
            if name in primitive.lists
            else as_one_tensor(operand)
            for name, operand in zip(primitive.arguments, operands, strict=True)
        )
        return mode.interpreter.interpret(primitive, operands, settings, aux)
    wrapped = False
    datas: list[Any] = []
    nodes: list[Any] = []
    flat: list[Any] = []
    for name, operand in zip(primitive.arguments, operands, strict=True):
        if name in primitive.lists:
            pairs = [_unwrap(primitive, name, item) for item in operand]
            datas.append([pair[0] for pair in pairs])
            nodes.append(tuple(pair[1] for pair in pairs))
            flat.extend(datas[-1])
            wrapped = wrapped or any(isinstance(item, Tensor) for item in operand)
            wrapped = wrapped or any(pair[1] is not None for pair in pairs)  # lists of Tensors
        else:
            data, node = _unwrap(primitive, name, operand)
            datas.append(data)
            nodes.append(node)
            flat.append(data)
            wrapped = wrapped or isinstance(operand, Tensor) or node is not None
    xp = devices.namespace(*[d for d in flat if d is not None and type(d) is not _NestedNumbers])
    for i, data in enumerate(datas):
        if isinstance(data, _NestedNumbers):
            datas[i] = xp.asarray(data.items)
        elif isinstance(data, list):
            datas[i] = [xp.asarray(d.items) if isinstance(d, _NestedNumbers) else d for d in data]
    if primitive.mutates:
        announce_write(datas[primitive.arguments.index(primitive.mutates)])
    results = primitive.body_for(xp)(xp, *datas, **settings)
    if primitive.mutates:
        target = primitive.arguments.index(primitive.mutates)
        note_write(datas[target])
        if observer is not None:
            observer.call(primitive, datas, settings, ())
        return operands[target]
    y, extra = (results[0], tuple(results[1:])) if primitive.aux else (results, ())
    if wrapped or observer is not None:
        y = [ensure_array(xp, part) for part in y] if primitive.several else ensure_array(xp, y)
    if observer is not None:
        observer.call(primitive, datas, settings, (y, *extra))
    if not wrapped:
        return (y, *extra) if aux else y
    node = None
    if primitive.differentiable and (mode is None or mode.track):
        node = record_primitive(primitive, datas, nodes, settings, y, extra)
        if observer is not None and node is not None:
            observer.recorded(node)
    if primitive.several:
        outcome: Any = [_item_tensor(node, i, len(y), item) for i, item in enumerate(y)]
    else:
        outcome = result_tensor(y, node)
    if primitive.view and isinstance(operands[0], Tensor):
        _note_result_views(primitive, outcome, operands, settings)
    return (outcome, *(untracked(ensure_array(xp, e)) for e in extra)) if aux else outcome


def apply_operator(
    primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any]
) -> Any:
    """`apply`, for an operator: NotImplemented where another operand's class may have the answer.

    Python then asks the reflected operator of that class, as it does for arrays of NumPy.  And as
    with these, no entry equals None or a text.
    """
    try:
        return apply(primitive, operands, settings)
    except OperandError:
        kind, name = type(operands[-1]), primitive.name
        answer = foreign_answer(name, *operands) if len(operands) == 2 else NotImplemented
        if answer is not NotImplemented:
            return answer
        if can_answer(kind, name):
            return NotImplemented
        if name in ("equal", "not_equal") and equals_no_number(kind):
            return operands[0].full_like(name == "not_equal", np.dtype(bool))
        raise


def apply_swapped(primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """`apply`, for a reflected operator whose operands stand the other way round in the code."""
    try:
        return apply(primitive, operands, settings)
    except OperandError:
        answer = foreign_answer(primitive.name, *reversed(operands))
        if answer is NotImplemented:
            raise
        return answer


def _note_result_views(
    primitive: Primitive, outcome: Any, operands: tuple[Any, ...], settings: dict[str, Any]
) -> None:
    """Remember which results share memory with the first operand."""
    base: Any = operands[0]
    owner = owner_of(base._bare)
    arguments = (*operands[1:], *settings.values())
    for i, view in enumerate(outcome if primitive.several else [outcome]):
        if owner_of(view._bare) is owner:
            note_view(view, base, (primitive.function, arguments, i if primitive.several else None))


class _NestedNumbers(NamedTuple):
    """A nested sequence of numbers, which becomes an array once the namespace is known."""

    items: Any


def _unwrap(primitive: Primitive, name: str, operand: Any) -> tuple[Any, Node | None]:
    if isinstance(operand, Tensor):
        return operand._bare, operand._node
    if type(operand) in NUMBERS or devices.is_array(operand):
        return operand, None
    if isinstance(operand, (list, tuple, range)):
        refuse_own_arithmetic(operand)
        if holds_tensors(operand):
            return _unwrap(primitive, name, as_one_tensor(operand))
        return _NestedNumbers(operand), None
    if operand is None and name in primitive.optional:
        return None, None
    if isinstance(operand, np.ndarray):
        return as_array(operand), None
    if isinstance(operand, Real):  # a Fraction, say
        return float(operand), None
    raise no_operand(f"{primitive.name}: argument {name}", operand)


def ensure_array(xp: Namespace, result: Any) -> Array:
    """The result of a body as an array: NumPy's reductions return scalars, Tensors hold arrays."""
    return result if devices.is_array(result) else xp.asarray(result)


def record_primitive(
    primitive: Primitive,
    datas: list[Any],
    nodes: list[Any],
    settings: dict[str, Any],
    y: Any,
    extra: tuple[Any, ...],
) -> Node | None:
    """Make the node of a call; None if no operand is tracked."""
    mask: list[Any] = []
    parents: list[Node] = []
    for name, node in zip(primitive.arguments, nodes, strict=True):
        if primitive.rules[name] is None:
            node = tuple(None for _ in node) if isinstance(node, tuple) else None
        if isinstance(node, tuple):
            mask.append(tuple(n is not None for n in node))
            parents.extend(n for n in node if n is not None)
        else:
            mask.append(node is not None)
            if node is not None:
                parents.append(node)
    if not parents:
        return None
    plan = primitive.plan(tuple(mask))
    values: dict[str, Any] = dict(zip(primitive.arguments, datas, strict=True))
    values.update(settings)
    values.update(zip(primitive.aux, extra, strict=True))
    values["y"] = y
    return record_call(
        plan, tuple(parents), tuple(_saved_value(name, values) for name in plan.names), y
    )


def _saved_value(name: str, values: dict[str, Any]) -> Any:
    if name in values:
        return values[name]
    argument, _, what = name.rpartition("_")
    value = values[argument]
    of = aspects[what]
    return [of(v) for v in value] if isinstance(value, list) else of(value)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an array of any backend, () for a number."""
    return () if type(value) in NUMBERS else tuple(value.shape)


def dtype_of(value: Any) -> Any:
    """The dtype of an array of any backend, NumPy's for a number."""
    return np.result_type(value) if type(value) in NUMBERS else value.dtype


def layout_of(value: Any) -> str:
    """The memory order of a matrix: "F" if its columns are contiguous, else "C"."""
    if type(value) in NUMBERS or value.ndim != 2:
        return "C"
    flags = value.flags
    return "F" if flags.f_contiguous and not flags.c_contiguous else "C"


def strides_of(value: Any) -> tuple[int, ...]:
    """The distances in memory between neighbours along each axis of an array, () for a number."""
    return () if type(value) in NUMBERS else tuple(as_array(value).strides)


aspects: dict[str, Callable[[Any], Any]] = dict(
    zip(ASPECTS, (shape_of, dtype_of, layout_of, strides_of), strict=True)
)


# A call with several results has one node.  Each result gets a node of its own whose parent is the
# call's node; the rule of that node turns the result's cotangent into the call's cotangent, a list
# with None for the other results.


def item(xp: Namespace, x: Array, *, index: int, count: int) -> Array:
    """The result number `index` of a call with `count` results; `item_node` records it."""
    raise AssertionError("`item` is only recorded, never run")


_ITEM = Primitive(item)
_ITEM.vjp(x=lambda g, index, count: [g if i == index else None for i in range(count)])
_ITEM.jvp(x=lambda t, index, count: t[index])  # noqa: ARG005  # a rule names what the call saves


def item_node(node: Node, index: int, count: int, array: Array) -> Node:
    """Make the node of the result number `index` of a call with `count` results."""
    return record_call(_ITEM.plan((True,)), (node,), (index, count), array)


def _item_tensor(node: Node | None, index: int, count: int, array: Array) -> Tensor:
    return result_tensor(array, None if node is None else item_node(node, index, count, array))
