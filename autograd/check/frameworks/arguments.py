"""Arguments: the arguments of a call as arrays by name, and the call made of tensors for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd.check.frameworks.nests import flatten

__all__ = ["Arguments"]


class Arguments:
    """The nests that a function is called with: their arrays, and what is passed on as it is.

    arrays: the arrays, in order
    names:  the Python expressions that name them
    tops:   for each array the number of the argument that it is part of
    fixed:  what is no array: numbers, texts, …
    The functions of `through` are called on the arguments of these names first.
    """

    def __init__(
        self,
        positional: Sequence[Any],
        keywords: dict[str, Any],
        labels: Sequence[str],
        through: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        nest = [*positional, *keywords.values()]
        parts = [flatten(i, label) for i, label in zip(nest, [*labels, *keywords], strict=True)]
        self._flat = flatten(nest)
        self._held = [_as_array(leaf) for leaf in self._flat.leaves]
        self._count = len(positional)
        self._keywords = list(keywords)
        self._through = [through.get(label) for label in [*labels, *keywords]]
        paths = [path for part in parts for path in part.paths]
        tops = [i for i, part in enumerate(parts) for _ in part.paths]
        kept = [i for i, array in enumerate(self._held) if array is not None]
        self.arrays = [array for array in self._held if array is not None]
        self.names = [paths[i] for i in kept]
        self.tops = [tops[i] for i in kept]
        self.fixed = [
            leaf for leaf, array in zip(self._flat.leaves, self._held, strict=True) if array is None
        ]

    def placed(self, tensors: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments with tensors in the places of the arrays."""
        given = iter(tensors)
        items = self._flat.rebuild([
            leaf if array is None else next(given)
            for leaf, array in zip(self._flat.leaves, self._held, strict=True)
        ])  # fmt: skip
        items = [
            item if function is None else function(item)
            for item, function in zip(items, self._through, strict=True)
        ]
        named = zip(self._keywords, items[self._count :], strict=True)
        return list(items[: self._count]), dict(named)

    def call_of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as one of the tensors alone."""

        def run(*tensors: Any) -> Any:
            args, kwargs = self.placed(tensors)
            return function(*args, **kwargs)

        return run


def _as_array(value: Any) -> np.ndarray | None:
    """The array of a leaf that is an argument; None for one that is passed on as it is."""
    if isinstance(value, np.ndarray):
        return value
    return np.asarray(value) if isinstance(value, np.generic) else None
