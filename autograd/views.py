"""Views: which Tensors stand for a part of another one, as NumPy's views do.

NumPy's ``row = x[0]`` shares memory with ``x``: writing to either changes both.  Tensors keep that
promise by remembering it.  A view knows the *root* it was taken from and the steps that lead there;
a root knows, by weak references, the views that are alive.  A recorded write gives the root a new
value, and with it a new past, and takes its views from it anew (`writing.py`); so no view is ever
left with an old value or with the derivative of one.

What shares memory without being a view in this sense (a result and the array that a rule saved, a
variable and the array that was passed) never sees a recorded write: the root is copied first.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = ["SHARED", "Step", "View", "Views", "alive", "note_view", "taken"]

# A view smaller than this part of a root that has been written is copied at once: a rule that saves
# it would otherwise keep the whole memory alive and force a copy of it at the next write, so that a
# loop over the entries of an array would take quadratic memory.
SMALL = 4


class _Shared:
    """The mark of a Tensor whose memory belongs to others as well: an array that was passed in, a
    Parameter, a flat buffer.  Writes that are not recorded go through to that memory."""

    def __repr__(self) -> str:
        return "<shared>"


SHARED = _Shared()


class Step(NamedTuple):
    """One call that made a view of its first argument."""

    function: Callable[..., Any]
    operands: tuple[Any, ...]  # after the first
    settings: dict[str, Any]
    item: int | None  # which of several results

    def take(self, x: Any) -> Any:
        """The view of x, a Tensor or a bare array."""
        result = self.function(x, *self.operands, **self.settings)
        return result if self.item is None else result[self.item]


class View:
    """What a view remembers: its root, and the steps from there to it."""

    __slots__ = ("path", "root")

    def __init__(self, root: Any, path: tuple[Step, ...]) -> None:
        self.root = root
        self.path = path


class Views:
    """What a root remembers: its views, by weak references, and whether it was ever written."""

    __slots__ = ("handles", "limit", "shared", "written")

    def __init__(self, *, shared: bool) -> None:
        self.handles: list[Any] = []
        self.limit = 16
        self.shared = shared
        self.written = False

    def add(self, view: Any) -> None:
        """Remember a view; dead references are swept out whenever their number may have doubled."""
        if len(self.handles) >= self.limit:
            self.handles = [h for h in self.handles if h() is not None]
            self.limit = max(16, 2 * len(self.handles))
        self.handles.append(weakref.ref(view))


def note_view(view: Any, base: Any, step: Step) -> None:
    """Remember that `view` was made from the Tensor `base` by `step`."""
    alias = base._alias
    if type(alias) is View:
        root, path = alias.root, (*alias.path, step)
        alias = root._alias
    else:
        root, path = base, (step,)
    view._alias = View(root, path)
    if root._state:  # its memory is only ever written as it lies, so its views stay right
        return
    if type(alias) is not Views:
        alias = root._alias = Views(shared=alias is SHARED)
    alias.add(view)
    data = view._data
    if alias.written and data.size * SMALL <= root._data.size:
        # Only where the copy can be viewed in all the ways, and no more, that the original can.
        if type(data) is np.ndarray and (data.ndim == 1 or data.flags.forc):
            view._data = data.copy(order="K")


def alive(root: Any) -> Iterator[Any]:
    """The views of `root` that somebody still holds."""
    views = root._alias
    if type(views) is Views:
        for reference in views.handles:
            view = reference()
            if view is not None:
                yield view


def taken(x: Any, path: tuple[Step, ...]) -> Any:
    """What `path` leads to from x, a Tensor or a bare array."""
    for step in path:
        x = step.take(x)
    return x
