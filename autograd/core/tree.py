"""Functions on nests: lists, tuples and dicts of arrays, and of nests.

A Torch7 table is a list; a named tuple stays a named tuple, and None stays None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["leaves", "map_leaves", "replace_leaves"]


# Modules walk over their inputs and outputs in each call, and nearly all of these are one array: so
# both functions ask first whether the tree is a leaf, and neither is a generator.


def leaves(tree: Nest) -> list[Any]:
    """The leaves of a nest, from first to last; None is no leaf."""
    found: list[Any] = []
    if isinstance(tree, (list, tuple, dict)):
        _collect_leaves(tree, found)
    elif tree is not None:
        found.append(tree)
    return found


def _collect_leaves(branch: Any, found: list[Any]) -> None:
    for value in branch.values() if isinstance(branch, dict) else branch:
        if isinstance(value, (list, tuple, dict)):
            _collect_leaves(value, found)
        elif value is not None:
            found.append(value)


def map_leaves(function: Callable[[Any], Any], tree: Nest) -> Nest:
    """The same nest with `function` applied to every leaf."""
    if not isinstance(tree, (list, tuple, dict)):
        return None if tree is None else function(tree)
    if isinstance(tree, dict):
        return {key: map_leaves(function, value) for key, value in tree.items()}
    values = [map_leaves(function, value) for value in tree]
    return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)


def replace_leaves(tree: Nest, values: Iterable[Any]) -> Nest:
    """The same nest with `values` as its leaves, in order."""
    source = iter(values)
    return map_leaves(lambda _: next(source), tree)
