"""Views: which Tensors stand for a part of another one, as NumPy's views do.

NumPy's ``row = x[0]`` shares memory with ``x``: writing to either changes both.  Tensors keep that
promise by remembering it.  A view knows the *root* it was taken from and the steps that lead there;
a root knows, by weak references, the views that are alive.  A recorded write (`reverse/write.py`)
gives the root a new value, and with it a new past, and takes its views from it anew; so no view is
ever left with an old value or with the derivative of one.

What shares memory without being a view in this sense (a result and the array that a rule saved, a
variable and the array that was passed) never sees a recorded write: the root is copied first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import ref

import numpy as np

__all__ = [
    "SHARED",
    "ViewStep",
    "ViewOrigin",
    "RootViews",
    "alive",
    "note_view",
    "path_of",
    "root_of",
    "taken",
    "way_to",
]

# A view smaller than this part of a root that has been written is copied at once: a rule that saves
# it would otherwise keep the whole memory alive and force a copy of it at the next write, so that a
# loop over the entries of an array would take quadratic memory.
SMALL = 4


class _Shared:
    """The mark of a Tensor whose memory belongs to others as well: an array that was passed in, a
    Parameter, a flat buffer.  Writes that are not recorded go through to that memory.
    """

    def __repr__(self) -> str:
        return "<shared>"


SHARED = _Shared()

# One call that made a view: the public function, what it was given after its first argument, and
# which of its results the view is (None where it has one).
ViewStep = tuple[Any, tuple[Any, ...], int | None]


class ViewOrigin:
    """What a view remembers: its root, and the way from there: (the way to its base, last step).

    No Tensor in between is kept: a view of a view of … may be 100,000 deep.
    """

    __slots__ = ("root", "way")

    root: Any
    way: tuple[Any, ViewStep]


class RootViews:
    """What a root remembers: its views, by weak references, and whether it was ever written."""

    __slots__ = ("handles", "limit", "shared", "written")

    def __init__(self, *, shared: bool) -> None:
        self.handles: list[Any] = []
        self.limit = 16
        self.shared = shared
        self.written = False

    def sweep(self) -> None:
        """Forget the views that are gone, whenever their number may have doubled."""
        self.handles = [handle for handle in self.handles if handle() is not None]
        self.limit = max(16, 2 * len(self.handles))


def note_view(view: Any, base: Any, step: ViewStep) -> None:
    """Remember that `view` was made from the Tensor `base` by `step`.

    It is part of every call that makes a view, so it is written to be quick.
    """
    alias = base._alias
    view._alias = link = _new(ViewOrigin)
    if type(alias) is ViewOrigin:
        link.root = root = alias.root
        link.way = (alias.way, step)
        alias = root._alias
    else:
        link.root = root = base
        link.way = (None, step)
    if root._state:  # its memory is only ever written as it lies, so its views stay right
        return
    if type(alias) is not RootViews:
        alias = root._alias = RootViews(shared=alias is SHARED)
    handles = alias.handles
    handles.append(ref(view))
    if len(handles) > alias.limit:
        alias.sweep()
    if alias.written:
        data = view._data
        # Copied only if reshaping the copy gives a view where reshaping the original would.
        if (
            type(data) is np.ndarray
            and data.size * SMALL <= root._data.size
            and (data.ndim == 1 or data.flags.forc)
        ):
            view._data = data.copy(order="K")


_new = object.__new__


def alive(root: Any) -> Iterator[Any]:
    """The views of `root` that somebody still holds."""
    views = root._alias
    if type(views) is RootViews:
        for handle in views.handles:
            view = handle()
            if view is not None:
                yield view


def root_of(x: Any) -> Any:
    """The Tensor that the Tensor x is a view of, or x itself."""
    alias = x._alias
    return alias.root if type(alias) is ViewOrigin else x


def way_to(x: Any) -> Any:
    """How the Tensor x is reached from its root, None for a root."""
    return x._alias.way if type(x._alias) is ViewOrigin else None


def path_of(x: Any) -> tuple[ViewStep, ...]:
    """The steps that lead from the root of the Tensor x to x."""
    steps: list[ViewStep] = []
    way = way_to(x)
    while way is not None:
        way, step = way
        steps.append(step)
    return tuple(reversed(steps))


def taken(x: Any, path: tuple[ViewStep, ...]) -> Any:
    """What `path` leads to from x, a Tensor or a bare array."""
    for function, given, item in path:
        x = function(x, *given)
        if item is not None:
            x = x[item]
    return x
