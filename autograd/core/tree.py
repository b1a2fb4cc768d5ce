"""Functions on nests: lists, tuples and dicts of arrays, and of nests.

A Torch7 table is a list; a named tuple stays a named tuple, and None stays None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["leaves", "map_leaves", "replace_leaves"]


def _iterate_leaves(tree: Nest) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _iterate_leaves(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _iterate_leaves(value)
    elif tree is not None:
        yield tree


def leaves(tree: Nest) -> list[Any]:
    """The leaves of a nest, from first to last; None is no leaf."""
    return list(_iterate_leaves(tree))


def map_leaves(function: Callable[[Any], Any], tree: Nest) -> Nest:
    """The same nest with `function` applied to every leaf."""
    if isinstance(tree, dict):
        return {key: map_leaves(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*[map_leaves(function, value) for value in tree])
    if isinstance(tree, (list, tuple)):
        return type(tree)([map_leaves(function, value) for value in tree])
    return None if tree is None else function(tree)


def replace_leaves(tree: Nest, values: Iterable[Any]) -> Nest:
    """The same nest with `values` as its leaves, in order."""
    source = iter(values)
    return map_leaves(lambda _: next(source), tree)
