"""What may be assigned to an attribute of a module, so that nothing learned is lost in silence.

A module's Parameters, buffers and children are found by type among its attributes, in lists, tuples
and dicts too.  An assignment that would end this is made right or refused: an array where a
Parameter is becomes its values; a layer in a set, in which nobody would look for it, is an error.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections import UserList, deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, no_grad, ops
from tapegrad.autograd.core.tensor import as_array
from tapegrad.nn.core.buffer import Buffer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["hidden_items", "overwrite"]

TRACKED = (
    "{place} holds a {kind}, and the value assigned to it is tracked: its past would be cut. "
    "Assign {kind}(value) to put a new one there, value.detach() to write its entries, or first "
    "None, where a weight that is computed shall stand in place of the {kind}"
)
OTHER_SHAPE = (
    "{place} holds a {kind} of shape {expected}, which an array of shape {found} cannot overwrite. "
    "Assign {kind}(array) to put a new one there"
)
NO_ARRAY = (
    "{place} holds a {kind}, and {found} is no array to overwrite it with. Assign a {kind} or a "
    "module to put it there, or None to remove it"
)


def overwrite(place: str, old: Parameter | Buffer, value: Any) -> None:
    """Write the entries of an array into the Parameter or Buffer that an attribute holds.

    place: the attribute, for messages
    Raises TypeError for a tracked Tensor and for what is no array of numbers, ValueError for one of
    another shape.
    """
    kind = "Parameter" if isinstance(old, Parameter) else "Buffer"
    if isinstance(value, Tensor) and value.tracked and isinstance(old, Parameter):
        raise TypeError(TRACKED.format(place=place, kind=kind))
    try:
        array = as_array(value)
    except (TypeError, ValueError):
        found = type(value).__name__
        raise TypeError(NO_ARRAY.format(place=place, kind=kind, found=found)) from None
    if array.shape != old.shape:
        found, expected = array.shape, old.shape
        raise ValueError(OTHER_SHAPE.format(place=place, kind=kind, found=found, expected=expected))
    if array.dtype.kind == "c" and old.dtype.kind != "c":
        raise TypeError(NO_ARRAY.format(place=place, kind=kind, found="a complex array"))
    if isinstance(old, Buffer):
        old.assign(value)
        return
    with no_grad():
        constant = value if isinstance(value, Tensor) else devices.to_device(array, old.device)
        ops.assign(old.detach(), constant)


def _of_dataclass(value: Any) -> Iterable[Any]:
    return [getattr(value, field.name, None) for field in dataclasses.fields(value)]


# What holds other values, and which, without being searched for parameters.
_HOLDERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Iterable[Any]]], ...] = (
    (lambda value: isinstance(value, (set, frozenset, deque, UserList)), list),
    (lambda value: isinstance(value, Mapping), lambda v: v.values()),
    (lambda value: isinstance(value, types.SimpleNamespace), lambda v: vars(v).values()),
    (
        lambda value: isinstance(value, np.ndarray) and value.dtype.kind == "O",
        lambda v: v.reshape(-1).tolist(),
    ),
    (
        lambda value: isinstance(value, functools.partial),
        lambda v: [v.func, *v.args, *v.keywords.values()],
    ),
    (
        lambda value: dataclasses.is_dataclass(value) and not isinstance(value, type),
        _of_dataclass,
    ),
)


def hidden_items(value: Any, kinds: tuple[type, ...], depth: int = 0) -> Iterable[Any]:
    """The instances of `kinds` in holders that nobody searches, such as a set or a dataclass."""
    if isinstance(value, kinds):
        if depth:
            yield value
        return
    if isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from hidden_items(item, kinds, depth)
        return
    for holds, items_of in _HOLDERS:
        if holds(value):
            for item in items_of(value):
                yield from hidden_items(item, kinds, depth + 1)
            return
