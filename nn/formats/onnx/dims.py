"""Dim: an integer of a recording that depends on the batch, known by its value at several sizes.

A program is recorded with several batch sizes.  Where the recordings have the same number, it is a
constant.  Where they differ, the number is a Dim, which can be calculated with as a number can.  An
exported file computes it from the batch of its input, if it is k·batch + c for whole k and c.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tapegrad.nn.formats.common.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["SIZES", "Dim", "Size", "Varying", "merge", "product"]

SIZES = (2, 3, 5)  # batch sizes of the recordings: none is 1, which would broadcast


class Dim:
    """A whole number with one value for each recording."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[int]) -> None:
        self.values = tuple(values)

    def __repr__(self) -> str:
        return f"Dim{self.values}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and other.values == self.values

    def __hash__(self) -> int:
        return hash(self.values)

    def _with(self, other: Size, function: Callable[[int, int], int]) -> Size:
        others = other.values if isinstance(other, Dim) else (other,) * len(self.values)
        return reduced([function(a, b) for a, b in zip(self.values, others, strict=True)])

    def __add__(self, other: Size) -> Size:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Size) -> Size:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: int) -> Size:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Size) -> Size:
        return self._with(other, lambda a, b: a * b)

    def __floordiv__(self, other: Size) -> Size:
        return self._with(other, lambda a, b: a // b)

    def __neg__(self) -> Size:
        return reduced([-a for a in self.values])

    __radd__ = __add__
    __rmul__ = __mul__

    def affine(self, sizes: Sequence[int]) -> tuple[int, int]:
        """(k, c) with k·size + c the value at each size.

        Raises UnsupportedError where there are no such whole numbers.
        """
        rise, run = self.values[1] - self.values[0], sizes[1] - sizes[0]
        k = rise // run
        c = self.values[0] - k * sizes[0]
        if any(k * size + c != value for size, value in zip(sizes, self.values, strict=True)):
            listed = ", ".join(
                f"{value} of a batch of {size}"
                for size, value in zip(sizes, self.values, strict=True)
            )
            raise UnsupportedError(
                f"a number that depends on the batch and is no multiple of it ({listed}); "
                "export with dynamic_batch=False"
            )
        return k, c


Size: TypeAlias = int | Dim


class Varying:
    """A setting that is no whole number and depends on the batch; most concern gradients alone."""

    def __init__(self, parts: Sequence[Any], where: str) -> None:
        shown = ", ".join(f"{part!r:.40}" for part in parts)
        self.error = (
            f"{where}: a value depends on the size of the batch and is no whole number ({shown}); "
            "export with dynamic_batch=False"
        )

    def refuse(self) -> UnsupportedError:
        """The error for a writer that needs the setting."""
        return UnsupportedError(self.error)


def reduced(values: Sequence[int]) -> Size:
    """The values as one number if they are equal, else as a Dim."""
    return values[0] if len(set(values)) == 1 else Dim(values)


def product(sizes: Sequence[Size]) -> Size:
    """The product of sizes."""
    result: Size = 1
    for size in sizes:
        result = result * size
    return result


def merge(parts: Sequence[Any], where: str) -> Any:
    """One nest out of the nests that several recordings have in one place, Dims where they differ.

    Other differences are Varying; its error names the line `where`.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, (bool, np.bool_)) or first is None:
        return Varying(parts, where) if any(part != first for part in parts) else first
    if isinstance(first, (int, np.integer)) and all(
        isinstance(part, (int, np.integer)) for part in parts
    ):
        return first if all(part == first for part in parts) else Dim([int(p) for p in parts])
    if isinstance(first, (list, tuple)) and all(
        type(part) is type(first) and len(part) == len(first) for part in parts
    ):
        merged = [merge(entries, where) for entries in zip(*parts, strict=True)]
        if isinstance(first, list):
            return merged
        return type(first)(*merged) if hasattr(first, "_fields") else tuple(merged)
    if isinstance(first, slice):
        return slice(
            *(merge([getattr(p, e) for p in parts], where) for e in ("start", "stop", "step"))
        )
    if isinstance(first, dict):
        return {key: merge([part[key] for part in parts], where) for key in first}
    if callable(first) and not isinstance(first, type):
        return first
    if isinstance(first, float) and all(math.isnan(part) for part in parts):
        return first
    if any(type(part) is not type(first) or part != first for part in parts):
        return Varying(parts, where)
    return first
