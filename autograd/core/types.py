"""Aliases for annotations: what the public functions take and return.

`Array`, `Namespace`, `DTypeLike` and `Shape` come from `tapegrad.devices`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy.typing as npt

from tapegrad.devices import Array, DTypeLike, Namespace, Shape

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = [
    "Array",
    "Axes",
    "DTypeLike",
    "Namespace",
    "Nest",
    "Operand",
    "Scalar",
    "Shape",
]

# What an operation takes: a Tensor, an array, a number, or lists of numbers.
Operand: TypeAlias = Union["Tensor", npt.ArrayLike]
# One number.
Scalar: TypeAlias = bool | int | float | complex
# One axis, several, or None for all.
Axes: TypeAlias = int | tuple[int, ...] | None
# An array, or lists, tuples and dicts of nests. (A recursive alias would refuse `list[Tensor]`,
# since lists are invariant.)
Nest: TypeAlias = Any
