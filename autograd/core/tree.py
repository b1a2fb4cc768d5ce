"""Nested lists, tuples and dicts of arrays: taking the leaves out and putting others in.

Torch7's tables are lists here; a named tuple stays a named tuple, None stays None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["flatten", "leaves", "map_leaves", "unflatten"]


def _walk(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _walk(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _walk(value)
    elif tree is not None:
        yield tree


def leaves(tree: Any) -> list[Any]:
    """What is in a nest, from first to last; None counts as nothing."""
    return list(_walk(tree))


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nest with `function` applied to every leaf."""
    if isinstance(tree, dict):
        return {key: map_leaves(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*[map_leaves(function, value) for value in tree])
    if isinstance(tree, (list, tuple)):
        return type(tree)([map_leaves(function, value) for value in tree])
    return None if tree is None else function(tree)


def unflatten(tree: Any, values: Iterable[Any]) -> Any:
    """The same nest with its leaves replaced, in order."""
    source = iter(values)
    return map_leaves(lambda _: next(source), tree)


def flatten(tree: Any) -> tuple[list[Any], Callable[[Iterable[Any]], Any]]:
    """The leaves, and a function that puts others in their places."""
    return leaves(tree), lambda values: unflatten(tree, values)
