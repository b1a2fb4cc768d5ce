"""Nests of arrays as flat lists: what functions of any framework take and return.

A nest is a list, tuple, dict or dataclass of nests, None, or a leaf.  `flatten` gives the leaves
with the Python expressions that name them, and a function that puts other leaves in their places.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Flat", "flatten", "is_matched", "parts_of", "whole_of"]


@dataclass(frozen=True)
class Flat:
    """The leaves of a nest, the paths to them, and the way back.

    rebuild: (as many leaves) -> a nest of the same form
    """

    leaves: list[Any]
    paths: list[str]
    rebuild: Callable[[Sequence[Any]], Any]


def flatten(nest: Any, path: str = "") -> Flat:
    """The leaves of a nest; a path is the Python expression ``path[0]['w'].field``.

    None has no leaves.  Named tuples and the result types of libraries are tuples.
    """
    if nest is None:
        return Flat([], [], lambda _: None)
    if isinstance(nest, Mapping):
        keys = list(nest)
        return _joined(
            [flatten(nest[key], f"{path}[{key!r}]") for key in keys],
            lambda items: dict(zip(keys, items, strict=True)),
        )
    if dataclasses.is_dataclass(nest) and not isinstance(nest, type):
        names = [field.name for field in dataclasses.fields(nest)]
        return _joined(
            [flatten(getattr(nest, name), f"{path}.{name}") for name in names],
            lambda items: dataclasses.replace(
                nest, **{n: i for n, i in zip(names, items, strict=True) if _is_init(nest, n)}
            ),
        )
    if isinstance(nest, (list, tuple)):
        fields = getattr(nest, "_fields", None)
        shown = [f".{name}" for name in fields] if fields else [f"[{i}]" for i in range(len(nest))]
        kind: Any = type(nest)
        return _joined(
            [flatten(item, path + s) for item, s in zip(nest, shown, strict=True)],
            lambda items: kind(*items) if fields else kind(items),
        )
    return Flat([nest], [path], lambda leaves: leaves[0])


def _joined(parts: Sequence[Flat], make: Callable[[list[Any]], Any]) -> Flat:
    """The parts of a nest as one; `make` makes the nest of its items."""

    def rebuild(leaves: Sequence[Any]) -> Any:
        items, start = [], 0
        for part in parts:
            end = start + len(part.leaves)
            items.append(part.rebuild(leaves[start:end]))
            start = end
        return make(items)

    return Flat(
        [leaf for part in parts for leaf in part.leaves],
        [path for part in parts for path in part.paths],
        rebuild,
    )


def _is_init(nest: Any, name: str) -> bool:
    return any(field.init for field in dataclasses.fields(nest) if field.name == name)


def parts_of(arrays: Sequence[np.ndarray], paths: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Arrays and their names, with real and imaginary part for each complex one."""
    parts, names = [], []
    for array, path in zip(arrays, paths, strict=True):
        if array.dtype.kind == "c":
            parts += [np.array(array.real), np.array(array.imag)]
            names += [f"{path}.real", f"{path}.imag"]
        else:
            parts.append(array)
            names.append(path)
    return parts, names


def whole_of(
    parts: Sequence[Any], is_complex: Sequence[bool], join: Callable[[Any, Any], Any]
) -> list[Any]:
    """The arrays again of which `parts_of` made parts; `join` makes a complex one of two."""
    remaining = iter(parts)
    return [
        join(next(remaining), next(remaining)) if both else next(remaining) for both in is_complex
    ]


def is_matched(path: str, wanted: str) -> bool:
    """Does a name in ``constant=`` or ``domains=`` mean the leaf of this path?

    ``"x"`` means x and all that is in it, ``"layer.weight"`` a parameter, ``"*.weight"`` several.
    """
    import fnmatch

    return (
        path == wanted
        or path.startswith((wanted + "[", wanted + "."))
        or ("*" in wanted and fnmatch.fnmatchcase(path, wanted))
    )
