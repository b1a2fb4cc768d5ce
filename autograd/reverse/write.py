"""Writes into Tensors, ``x[i] = v`` and ``x += v``, are recorded like calls and differentiable.

A recorded write is a call, ``y = replace_entries(x, v, index)``, after which the Tensor x holds the
array and the past of y.  The existing views of x are taken from it anew, so that they show the new
entries and have the new past; a write to a view is a write to its root.  A write never changes an
array that a rule has saved or that the caller passed: memory that something else holds is copied
first, and other memory is written without a copy (`ownership.py`).  So a loop that fills an array
costs its writes, not copies of the array.

A write is not recorded if its target is state (a Parameter or Buffer) or a Tensor around memory
that others hold.  It then goes into that memory, and the write counter (`core/node.py`) notes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.call import record_primitive
from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.core.errors import InPlaceError
from tapegrad.autograd.core.mode import is_followed, is_recording, no_grad
from tapegrad.autograd.core.nesting import as_one_tensor
from tapegrad.autograd.core.node import note_write
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.views import (
    SHARED,
    RootViews,
    ViewOrigin,
    ViewStep,
    chain_to,
    follow_path,
    living_views,
    path_of,
    root_of,
)
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import indexing, inplace, shape
from tapegrad.autograd.ops.index_template import split_index
from tapegrad.autograd.reverse import ownership
from tapegrad.autograd.reverse.readers import refuse_with_readers

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Operand

__all__ = ["add_at", "update", "write", "write_result"]

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
READ_ONLY_MEMORY = (
    "{action}: the memory of this Tensor is read-only, as that of a broadcast array is; write into "
    "a copy of it (x = x.copy())"
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


def write(x: Tensor, index: Any, value: Operand, action: str = "x[i] = v") -> None:
    """x[index] = value, by NumPy's rules, recorded where x or value is tracked.

    index: any index of NumPy's
    value: broadcasts to x[index], and is converted to x's dtype
    Raises InPlaceError if a derivative would be lost, IndexError and ValueError as NumPy does, and
    TypeError for a tracked value of a kind that x cannot hold; x is then unchanged.
    """
    arrays, template = split_index(index)
    if not arrays and _is_same_view(value, x, template):
        return  # x[i] += v ends with this write; it has changed the view x[i] already
    if isinstance(value, (list, tuple)):
        value = as_one_tensor(value)
    root, path = root_of(x), path_of(x)
    if _writes_unrecorded(root, value, action):
        _refuse_read_only(x, action)
        root._before_write()
        inplace.assign_at(x, value, arrays, template)
        return
    if root._node is None:
        refuse_with_readers(root, action)
    for function, *_ in path:
        if function.primitive.view == "read-only":
            raise ValueError(READ_ONLY.format(action=action, name=function.__name__))
    if isinstance(value, Tensor) and value._node is not None:
        if not np.can_cast(value.dtype, x.dtype, "same_kind"):
            raise TypeError(CANNOT_HOLD.format(action=action, own=x.dtype, given=value.dtype))
    elif type(value) not in NUMBERS and not hasattr(value, "dtype"):
        value = np.asarray(value)
    value, *arrays = (_new_handle(part) for part in (value, *arrays))
    with _retake_views(root):
        if type(root._bare) is np.ndarray and not is_followed():
            _overwrite_root(root, value, arrays, template, path)
        else:
            result = indexing.replace_entries(root, value, arrays, template, path)
            root.become(result)
        root._alias.written, root._alias.shared = True, False


def update(x: Tensor, function: Callable[..., Any], value: Operand, sign: str) -> Tensor:
    """Compute x = function(x, value), for x and its views, and return x.

    Raises as `write` does, and ValueError or TypeError for a result of another shape or kind.
    """
    action = f"x {sign}= v"
    root = root_of(x)
    if _writes_unrecorded(root, value, action):
        with no_grad():
            result = function(x.detach(), value)
            _require_fit(x, result, action)
            _refuse_read_only(x, action)
            root._before_write()
            inplace.assign(x, result)
        return x
    if root._node is None:
        refuse_with_readers(root, action)
    result = function(x, value)
    _require_fit(x, result, action)
    if result.dtype != x.dtype:
        result = result.astype(x.dtype)
    if root is x and next(living_views(x), None) is None and _lie_alike(x, result):
        x.become(result)
        x._alias = None
    else:
        write(x, (...,), result, action)
    return x


def write_result(x: Tensor, result: Any, action: str) -> Tensor:
    """Write ``x[...] = result`` as NumPy's ``out=x`` does, and return x.

    Raises ValueError for another shape, TypeError for a kind of number that x cannot hold.
    """
    _require_fit(x, result, action)
    write(x, (...,), result, action)
    return x


def add_at(x: Any, index: Any, value: Any, sign: str) -> None:
    """x[index] += value; an entry that occurs several times in `index` gets all values (np.add.at).

    sign: "+", or "-" to subtract
    Raises TypeError for an ndarray x, and what `update` raises.
    """
    if not isinstance(x, Tensor):
        raise TypeError(INTO_ARRAY)
    arrays, template = split_index(index)
    target = indexing.getitem(x.detach(), index)
    value = as_one_tensor(value)
    if not hasattr(value, "dtype"):
        value = target._bare.dtype.type(value) if np.ndim(value) == 0 else np.asarray(value)
    wide = shape.broadcast_to(value if value.shape else value.reshape(()), target.shape)
    if arrays:
        added = indexing.index_add(wide, arrays, template, x.shape)
    else:
        added = indexing.unslice(wide, template, x.shape)
    update(x, e.add if sign == "+" else e.subtract, added, sign)


def _refuse_read_only(x: Tensor, action: str) -> None:
    if type(x._bare) is np.ndarray and not x._bare.flags.writeable:
        raise ValueError(READ_ONLY_MEMORY.format(action=action))


def _require_fit(x: Tensor, result: Any, action: str) -> None:
    if result.shape != x.shape:
        raise ValueError(OTHER_SHAPE.format(action=action, found=result.shape, wanted=x.shape))
    if not np.can_cast(result.dtype, x.dtype, "same_kind"):
        raise TypeError(OTHER_KIND.format(action=action, found=result.dtype, own=x.dtype))


def _lie_alike(x: Tensor, result: Tensor) -> bool:
    """Whether two Tensors of one shape have their entries in one order of memory.

    If not, ``x += v`` writes into x's memory, as in NumPy: later copies are made in that order, and
    some reshaped ones are views of x while others are copies.
    """
    own, other = x._bare.strides, result._bare.strides
    return own == other or all(
        n == 1 or a == b for n, a, b in zip(x.shape, own, other, strict=True)
    )


def _new_handle(part: Any) -> Any:
    """The same value in a new Tensor, since `_retake_views` takes the array out of a view."""
    return part.with_node(part._node) if isinstance(part, Tensor) else part


def _is_same_view(value: Any, x: Tensor, template: tuple[Any, ...]) -> bool:
    """True if `value` is itself the view x[template] into which it would be written."""
    if not isinstance(value, Tensor) or type(value._alias) is not ViewOrigin:
        return False
    chain, step = value._alias.chain
    is_view_of_x = value._alias.root is root_of(x) and chain is chain_to(x)
    return is_view_of_x and step == (indexing.take_slice, (template,), None)


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
    shared = alias is SHARED or (type(alias) is RootViews and alias.shared)
    return shared and root._node is None and not gains


@contextmanager
def _retake_views(root: Tensor) -> Iterator[None]:
    """Take the arrays out of the views of `root`, and take the views anew after the block."""
    if type(root._alias) is not RootViews:
        root._alias = RootViews(shared=root._alias is SHARED)
    views = list(living_views(root))
    for view in views:
        view._bare = None
    try:
        yield
    finally:
        for view in views:
            view.become(follow_path(root, path_of(view)))


def _overwrite_root(
    root: Tensor,
    value: Any,
    indices: list[Any],
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
) -> None:
    """Do what `replace_entries` does, but in the memory of `root` if nothing else holds it."""
    data, node = (value._bare, value._node) if isinstance(value, Tensor) else (value, None)
    bare = [index._bare if isinstance(index, Tensor) else index for index in indices]
    devices.namespace(root._bare, *bare, *([data] if devices.is_array(data) else []))
    alone = ownership.strategy.holds_alone(root)
    if not alone:
        ownership.strategy.take_own(root)
    indexing.write_into_array(np, root._bare, data, bare, template, path)
    if alone:  # if a rule has saved the array after all, the sweep now raises
        note_write(root._bare)
    if (root._node is not None or node is not None) and is_recording():
        root._node = record_primitive(
            indexing.replace_entries.primitive,
            [root._bare, data, bare],
            [root._node, node, (None,) * len(bare)],
            {"template": template, "path": path},
            root._bare,
            (),
        )
