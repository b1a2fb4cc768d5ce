"""Views are Tensors that stand for a part of another Tensor, as NumPy's views do.

NumPy's ``row = x[0]`` shares memory with ``x``: a write to either changes both.  Tensors behave in
the same way.  A view knows its *root*, the Tensor that owns the memory, and the steps from the root
to itself; a root knows its living views by weak references.  A recorded write (`reverse/write.py`)
gives the root a new value and a new past, and takes the views from the root anew.  So no view is
left with an old value, or with the derivative of an old value.

Memory may also be shared without a view in this sense: by a result and a rule that saved the array,
or by a variable and the array that was passed.  There a recorded write copies the root first, and
the other owner does not see the write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = [
    "SHARED",
    "ViewStep",
    "ViewOrigin",
    "RootViews",
    "living_views",
    "note_view",
    "path_of",
    "root_of",
    "follow_path",
    "chain_to",
]

# A view of a written root is copied at once if it has at most 1/SMALL_VIEW of the root's entries.
# A rule that saves the view would otherwise keep the root's memory alive and force a copy of it at
# the next write, so that a loop over the entries of an array would take quadratic memory.
SMALL_VIEW = 4


class _Shared:
    """The mark of a Tensor whose memory others hold: a passed array, a Parameter, a flat buffer.

    A write that is not recorded goes into that memory.
    """

    def __repr__(self) -> str:
        return "<shared>"


SHARED = _Shared()

# One call that made a view: the public function, the values after its first argument, and the index
# of the view among the call's results (None if the call has one result).
ViewStep = tuple[Any, tuple[Any, ...], int | None]


class ViewOrigin:
    """Where a view comes from: its root, and the steps from the root as a linked list.

    chain: (chain of the view's base, last step); the chain of a root is None
    The Tensors in between are not kept, since a view of a view of … may be 100,000 deep.
    """

    __slots__ = ("chain", "root")

    root: Tensor
    chain: tuple[Any, ViewStep]


class RootViews:
    """The views of a root, by weak references, and whether the root was ever written.

    limit:  the number of references at which dead ones are removed
    shared: others hold the root's memory too
    """

    __slots__ = ("handles", "limit", "shared", "written")

    def __init__(self, *, shared: bool) -> None:
        self.handles: list[Any] = []
        self.limit = 16
        self.shared = shared
        self.written = False

    def sweep(self) -> None:
        """Remove the references to freed views; `note_view` calls this when there are many."""
        self.handles = [handle for handle in self.handles if handle() is not None]
        self.limit = max(16, 2 * len(self.handles))


def note_view(view: Tensor, base: Tensor, step: ViewStep) -> None:
    """Remember that `view` was made from `base` by `step`.

    Every call that makes a view runs this function, so its lines are chosen for speed.
    """
    alias = base._alias
    view._alias = origin = _new(ViewOrigin)
    if type(alias) is ViewOrigin:
        origin.root = root = alias.root
        origin.chain = (alias.chain, step)
        alias = root._alias
    else:
        origin.root = root = base
        origin.chain = (None, step)
    if root._state:  # state is always written in its own memory, so its views stay right
        return
    if type(alias) is not RootViews:
        alias = root._alias = RootViews(shared=alias is SHARED)
    handles = alias.handles
    handles.append(ref(view))
    if len(handles) > alias.limit:
        alias.sweep()
    if alias.written:
        data = view._bare
        # Copy only if reshaping the copy gives a view in the cases where the original's does.
        if (
            type(data) is np.ndarray
            and data.size * SMALL_VIEW <= root._bare.size
            and (data.ndim == 1 or data.flags.forc)
        ):
            view._bare = data.copy(order="K") if data.flags.forc else _copy_with_gaps(data)


def _copy_with_gaps(data: np.ndarray) -> np.ndarray:
    """A copy of a vector whose entries do not lie side by side either: its ravel is a copy too."""
    spaced: np.ndarray = np.empty((len(data), 2), data.dtype)[:, 0]
    spaced[:] = data
    return spaced


_new: Any = object.__new__


def living_views(root: Tensor) -> Iterator[Tensor]:
    """Yield the views of `root` that are still referenced."""
    views = root._alias
    if type(views) is RootViews:
        for handle in views.handles:
            view = handle()
            if view is not None:
                yield view


def root_of(x: Tensor) -> Tensor:
    """The Tensor of which x is a view, or x itself."""
    alias = x._alias
    return alias.root if type(alias) is ViewOrigin else x


def chain_to(x: Tensor) -> tuple[Any, ViewStep] | None:
    """The linked list of steps from the root of x to x (`ViewOrigin.chain`); None for a root."""
    return x._alias.chain if type(x._alias) is ViewOrigin else None


def path_of(x: Tensor) -> tuple[ViewStep, ...]:
    """The steps from the root of x to x, in order."""
    steps: list[ViewStep] = []
    chain = chain_to(x)
    while chain is not None:
        chain, step = chain
        steps.append(step)
    return tuple(reversed(steps))


def follow_path(x: Any, path: tuple[ViewStep, ...]) -> Any:
    """Apply the steps of `path` to x, a Tensor or a bare array, and return the view."""
    for function, arguments, index in path:
        x = function(x, *arguments)
        if index is not None:
            x = x[index]
    return x
