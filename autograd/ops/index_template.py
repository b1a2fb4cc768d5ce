"""Index templates: an index is split into its arrays, which are operands, and a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import is_followed
from tapegrad.autograd.core.tensor import Tensor, array_of

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = ["HOLE", "fill_index", "split_index"]


class _IndexHole:
    """Marks the position of an index array in a template."""

    def __repr__(self) -> str:
        return "<array>"


HOLE = _IndexHole()


def fill_index(template: tuple[Any, ...], indices: list[Array]) -> tuple[Any, ...]:
    """Put the arrays back into the holes of the template: the index that was split."""
    arrays = iter(indices)
    return tuple(next(arrays) if part is HOLE else part for part in template)


def _as_number(part: Any) -> Any:
    """A 0-d integer Tensor as the number that it holds, by which NumPy takes a view.

    Replay and batches keep the Tensor: the number differs from run to run, from sample to sample.
    """
    if isinstance(part, Tensor) and not part.ndim and part.dtype.kind in "iu" and not is_followed():
        return array_of(part).item()
    return part


def _is_index_array(part: Array) -> bool:
    return isinstance(part, (Tensor, list)) or (
        devices.is_array(part) and (part.ndim > 0 or part.dtype.kind == "b")
    )


_BASIC = frozenset({int, slice, type(None), type(...)})


def split_index(index: Any) -> tuple[list[Array], tuple[Any, ...]]:
    """Split an index into its arrays, and a template of the rest with a HOLE for each array.

    Raises IndexError for floating point indices.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if _BASIC.issuperset(map(type, parts)):  # the ordinary case
        return [], parts
    parts = tuple(_as_number(part) for part in parts)
    if not any(_is_index_array(part) for part in parts):
        return [], tuple(part.item() if devices.is_array(part) else part for part in parts)
    arrays: list[Array] = []
    template: list[Any] = []
    for part in parts:
        if not _is_index_array(part):
            template.append(part)
            continue
        array = np.asarray(part, dtype=None if part else np.intp) if type(part) is list else part
        if array.dtype.kind not in "iub":
            raise IndexError(
                f"an index must hold integers or booleans, this one holds {array.dtype}"
            )
        arrays.append(array)
        template.append(HOLE)
    return arrays, tuple(template)
