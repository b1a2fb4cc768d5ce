"""Writes into Tensors: ``x[i] = v``, ``x += v``, and what NumPy's writing functions are made of.

A recorded write is an ordinary call, ``y = replace_entries(x, v, index)``, after which the Tensor
stands for y: its handle gets the new array and the new past.  The views that others hold of it are
taken from it anew, so they show the new entries and lead to the new past; a write to a view is a
write to its root.  Nothing that a rule has saved and no array that was passed in is overwritten:
where anybody else can still see the memory, it is copied first, and where nobody can, the copy is
left out (`ownership.py`).  So a loop that fills an array costs its writes, not copies of the array.

State is different: Parameters, Buffers, and Tensors made around memory that others hold are written
as that memory lies, without being recorded, and the version counter (`core/node.py`) is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.call import record
from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.core.errors import InPlaceError
from tapegrad.autograd.core.mode import is_followed, is_recording, no_grad
from tapegrad.autograd.core.node import note_write
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.views import (
    SHARED,
    Step,
    View,
    Views,
    alive,
    path_of,
    root_of,
    taken,
    way_to,
)
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import indexing, inplace, shape
from tapegrad.autograd.ops.index_template import split_index
from tapegrad.autograd.reverse import ownership

__all__ = ["add_at", "update", "write", "written"]

WRITE_TO_STATE = (
    "{action} would record a write into a {kind}, which would then be the result of a call and no "
    "longer what derivatives are taken by: write under no_grad() to change it, or compute from a "
    "copy of it (x = x.copy()) and write there."
)
GRADIENT_INTO_STATE = (
    "{action} would put a tracked value into a {kind}, which cannot hold its past: write "
    "v.detach(), or make the target an ordinary Tensor."
)
UNRECORDED_WRITE = (
    "{action} under no_grad() would change a tracked Tensor without its derivative knowing: write "
    "where it is recorded, or into x.detach().copy()."
)
READ_ONLY = (
    "{action}: this Tensor was made by {name} and shows entries several times; write into a copy "
    "of it (x = x.copy())"
)
CANNOT_HOLD = (
    "{action}: x holds {own}, which cannot hold the tracked {given} v; convert x first "
    "(x = x.astype({given}))"
)
OTHER_SHAPE = "{action}: the result has shape {found}, x has {wanted}"
OTHER_KIND = (
    "{action}: the result holds {found}, which x cannot hold as {own}; give the result a name of "
    "its own"
)
INTO_ARRAY = (
    "numpy.add.at: an ndarray cannot take a Tensor's entries without losing their gradient; make "
    "the target a Tensor"
)


def write(x: Tensor, index: Any, value: Any, action: str = "x[i] = v") -> None:
    """x[index] = value, by NumPy's rules, recorded where x or value is tracked.

    index: any that NumPy takes; value: broadcasts to x[index], is converted to x's dtype
    Raises InPlaceError where the derivative would be lost, IndexError and ValueError as NumPy
    does, TypeError for a tracked value of a kind that x cannot hold; x is then unchanged.
    """
    arrays, template = split_index(index)
    if not arrays and _is_there(value, x, template):
        return  # the end of x[i] += v, which has changed the view x[i] already
    root, path = root_of(x), path_of(x)
    if _writes_unrecorded(root, value, action):
        root._before_write()
        inplace.assign_at(x, value, arrays, template)
        return
    for function, *_ in path:
        if function.primitive.view == "read-only":
            raise ValueError(READ_ONLY.format(action=action, name=function.__name__))
    if isinstance(value, Tensor) and value._node is not None:
        if not np.can_cast(value.dtype, x.dtype, "same_kind"):
            raise TypeError(CANNOT_HOLD.format(action=action, own=x.dtype, given=value.dtype))
    elif type(value) not in NUMBERS and not hasattr(value, "dtype"):
        value = np.asarray(value)
    value, *arrays = (_with_own_handle(part) for part in (value, *arrays))
    with _views_follow(root):
        if type(root._data) is np.ndarray and not is_followed():
            _overwrite(root, value, arrays, template, path)
        else:
            result = indexing.replace_entries(root, value, arrays, template, path)
            root.become(result)
        root._alias.written, root._alias.shared = True, False


def update(x: Tensor, function: Callable[..., Any], value: Any, sign: str) -> Tensor:
    """x = function(x, value) in the memory of x and of its views; returns x.

    Raises as `write` does, and where the result has another shape or kind of number than x.
    """
    action = f"x {sign}= v"
    root = root_of(x)
    if _writes_unrecorded(root, value, action):
        with no_grad():
            result = function(x.detach(), value)
            _must_fit(x, result, action)
            root._before_write()
            inplace.assign(x, result)
        return x
    result = function(x, value)
    _must_fit(x, result, action)
    if result.dtype != x.dtype:
        result = result.astype(x.dtype)
    if root is x and next(alive(x), None) is None:
        x.become(result)
        x._alias = None
    else:
        write(x, (...,), result, action)
    return x


def written(x: Tensor, result: Any, action: str) -> Tensor:
    """x, after ``x[...] = result`` as NumPy's ``out=x`` does it: shapes and kinds must agree."""
    _must_fit(x, result, action)
    write(x, (...,), result, action)
    return x


def add_at(x: Any, index: Any, value: Any, sign: str) -> None:
    """x[index] += value, where entries named several times collect every value (np.add.at).

    sign: "+", or "-" to subtract
    Raises TypeError for an ndarray x, and otherwise what `update` raises.
    """
    if not isinstance(x, Tensor):
        raise TypeError(INTO_ARRAY)
    arrays, template = split_index(index)
    place = indexing.getitem(x.detach(), index)
    if not hasattr(value, "dtype"):
        value = place._data.dtype.type(value) if np.ndim(value) == 0 else np.asarray(value)
    spread = shape.broadcast_to(value if value.shape else value.reshape(()), place.shape)
    if arrays:
        added = indexing.index_add(spread, arrays, template, x.shape)
    else:
        added = indexing.unslice(spread, template, x.shape)
    update(x, e.add if sign == "+" else e.subtract, added, sign)


def _must_fit(x: Tensor, result: Any, action: str) -> None:
    if result.shape != x.shape:
        raise ValueError(OTHER_SHAPE.format(action=action, found=result.shape, wanted=x.shape))
    if not np.can_cast(result.dtype, x.dtype, "same_kind"):
        raise TypeError(OTHER_KIND.format(action=action, found=result.dtype, own=x.dtype))


def _with_own_handle(part: Any) -> Any:
    """The same value in a Tensor of its own: a view lets go of its array during a write."""
    return part.with_node(part._node) if isinstance(part, Tensor) else part


def _is_there(value: Any, x: Tensor, template: tuple[Any, ...]) -> bool:
    """Is `value` the very view x[template] that it is about to be written to?"""
    if not isinstance(value, Tensor) or type(value._alias) is not View:
        return False
    way, step = value._alias.way
    here = value._alias.root is root_of(x) and way is way_to(x)
    return here and step == (indexing.take_slice, (template,), None)


def _writes_unrecorded(root: Tensor, value: Any, action: str) -> bool:
    """True if the write goes straight into memory and is not put on the tape.

    Raises InPlaceError if that would lose a gradient.
    """
    recording = is_recording()
    gains = recording and isinstance(value, Tensor) and value._node is not None
    if root._state:
        kind = type(root).__name__
        if recording and root._node is not None:
            raise InPlaceError(WRITE_TO_STATE.format(action=action, kind=kind))
        if gains:
            raise InPlaceError(GRADIENT_INTO_STATE.format(action=action, kind=kind))
        return True
    if root._node is not None and not recording:
        raise InPlaceError(UNRECORDED_WRITE.format(action=action))
    alias = root._alias
    shared = alias is SHARED or (type(alias) is Views and alias.shared)
    return shared and root._node is None and not gains


@contextmanager
def _views_follow(root: Tensor) -> Iterator[None]:
    """The views of `root` let go of its memory, and are taken from it anew after the block."""
    if type(root._alias) is not Views:
        root._alias = Views(shared=root._alias is SHARED)
    held = list(alive(root))
    for view in held:
        view._data = None
    try:
        yield
    finally:
        for view in held:
            again = taken(root, path_of(view))
            view.become(again)


def _overwrite(
    root: Tensor, value: Any, indices: list[Any], template: tuple[Any, ...], path: tuple[Step, ...]
) -> None:
    """What `replace_entries` does, in root's own memory where nobody else can see that."""
    data, node = (value._data, value._node) if isinstance(value, Tensor) else (value, None)
    bare = [index._data if isinstance(index, Tensor) else index for index in indices]
    devices.namespace(root._data, *bare, *([data] if devices.is_array(data) else []))
    alone = ownership.way.holds_alone(root)
    if not alone:
        ownership.way.take_own(root)
    indexing.write_into_array(np, root._data, data, bare, template, path)
    if alone:  # a second line of defence: should a rule have saved it after all, the sweep says so
        note_write(root._data)
    if (root._node is not None or node is not None) and is_recording():
        root._node = record(
            indexing.replace_entries.primitive,
            [root._data, data, bare],
            [root._node, node, (None,) * len(bare)],
            {"template": template, "path": path},
            root._data,
            (),
        )
