"""Calls: running a primitive on any operands, on any device, in any mode, and recording it.

Everything that varies at run time (devices, `no_grad`, observers, list arguments) goes through
`apply`.  The ordinary case, recording on NumPy arrays, runs a function specialised for the
declaration, generated on first use in `specialize.py`; it does exactly what `apply` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.declaration import ASPECTS, NUMBERS, Primitive
from tapegrad.autograd.core.mode import about_to_write, current
from tapegrad.autograd.core.node import Node, note_write, owner_of, record_call
from tapegrad.autograd.core.tensor import Tensor, as_array, fresh, untracked
from tapegrad.autograd.core.views import note_view

__all__ = [
    "apply",
    "aspects",
    "dtype_of",
    "item_node",
    "layout_of",
    "normal",
    "record",
    "shape_of",
]


def apply(
    primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any], aux: bool = False
) -> Any:
    """Run a primitive on any operands, on any device, in any mode, and record the call.

    Bare arrays in, bare arrays out; one Tensor among the operands makes the result a Tensor.
    """
    mode = current()
    observer = None if mode is None else mode.observer
    if mode is not None and mode.interpreter is not None:
        return mode.interpreter.take(primitive, operands, settings, aux)
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
        else:
            data, node = _unwrap(primitive, name, operand)
            datas.append(data)
            nodes.append(node)
            flat.append(data)
            wrapped = wrapped or isinstance(operand, Tensor)
    xp = devices.namespace(*[d for d in flat if d is not None and type(d) is not _Sequence])
    for i, data in enumerate(datas):
        if isinstance(data, _Sequence):
            datas[i] = xp.asarray(data.items)
        elif isinstance(data, list):
            datas[i] = [xp.asarray(d.items) if isinstance(d, _Sequence) else d for d in data]
    if primitive.mutates:
        about_to_write(datas[primitive.arguments.index(primitive.mutates)])
    results = primitive.body_for(xp)(xp, *datas, **settings)
    if primitive.mutates:
        target = primitive.arguments.index(primitive.mutates)
        note_write(datas[target])
        if observer is not None:
            observer.call(primitive, datas, settings, ())
        return operands[target]
    y, extra = (results[0], tuple(results[1:])) if primitive.aux else (results, ())
    if wrapped or observer is not None:
        y = [normal(xp, part) for part in y] if primitive.several else normal(xp, y)
    if observer is not None:
        observer.call(primitive, datas, settings, (y, *extra))
    if not wrapped:
        return (y, *extra) if aux else y
    node = None
    if primitive.differentiable and (mode is None or mode.track):
        node = record(primitive, datas, nodes, settings, y, extra)
        if observer is not None and node is not None:
            observer.recorded(node)
    if primitive.several:
        outcome: Any = [_item(node, i, len(y), item) for i, item in enumerate(y)]
    else:
        outcome = fresh(y, node)
    if primitive.view and isinstance(operands[0], Tensor):
        _note_views(primitive, outcome, operands, settings)
    return (outcome, *(untracked(normal(xp, e)) for e in extra)) if aux else outcome


def _note_views(
    primitive: Primitive, outcome: Any, operands: tuple[Any, ...], settings: dict[str, Any]
) -> None:
    """Remember the results that share memory with the first operand."""
    base: Any = operands[0]
    owner = owner_of(base._data)
    given = (*operands[1:], *settings.values())
    for i, view in enumerate(outcome if primitive.several else [outcome]):
        if owner_of(view._data) is owner:
            note_view(view, base, (primitive.function, given, i if primitive.several else None))


class _Sequence(NamedTuple):
    """A nested sequence of numbers, to become an array once the namespace is known."""

    items: Any


def _unwrap(primitive: Primitive, name: str, operand: Any) -> tuple[Any, Node | None]:
    if isinstance(operand, Tensor):
        return operand._data, operand._node
    if type(operand) in NUMBERS or devices.is_array(operand):
        return operand, None
    if isinstance(operand, (list, tuple)):
        return _Sequence(operand), None
    if operand is None and name in primitive.optional:
        return None, None
    if isinstance(operand, np.ndarray):
        return as_array(operand), None
    raise TypeError(
        f"{primitive.name}: argument {name} is {type(operand).__name__}, not an array or a number"
    )


def normal(xp: Any, result: Any) -> Any:
    """NumPy's reductions return scalars; inside Tensors everything is an array."""
    return result if devices.is_array(result) else xp.asarray(result)


def record(
    primitive: Primitive,
    datas: list[Any],
    nodes: list[Any],
    settings: dict[str, Any],
    y: Any,
    extra: tuple[Any, ...],
) -> Node | None:
    """The node of a call, or None when nothing tracked takes part in it."""
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
    return record_call(plan, tuple(parents), tuple(_saved(name, values) for name in plan.names), y)


def _saved(name: str, values: dict[str, Any]) -> Any:
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
    """The order of a matrix in memory: "F" if it lies there as its transpose does, else "C"."""
    if type(value) in NUMBERS or value.ndim != 2:
        return "C"
    flags = value.flags
    return "F" if flags.f_contiguous and not flags.c_contiguous else "C"


aspects: dict[str, Callable[[Any], Any]] = dict(
    zip(ASPECTS, (shape_of, dtype_of, layout_of), strict=True)
)


# A call with several results has one node.  Each result gets a node of its own behind that, whose
# rule turns the result's cotangent into the call's: a list with None for the other results.


def item(xp: Any, x: Any, *, index: int, count: int) -> Any:
    """The result number `index` of a call with `count` results."""
    raise AssertionError("recorded by the calls themselves")


_ITEM = Primitive(item)
_ITEM.vjp(x=lambda g, index, count: [g if i == index else None for i in range(count)])


def item_node(node: Node, index: int, count: int, array: Any) -> Node:
    """The node of the result number `index` of a call with `count` results."""
    return record_call(_ITEM.plan((True,)), (node,), (index, count), array)


def _item(node: Node | None, index: int, count: int, array: Any) -> Tensor:
    return fresh(array, None if node is None else item_node(node, index, count, array))
