"""One index for all samples of a batch, and where the batch axis is in what it reads.

NumPy puts the axes of index arrays where the arrays stand, if they stand together (with ints among
them), and in front of everything if something is between them.  An index for a batch has one more
entry in front, so both positions move; `BatchedIndex` puts the axes back in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import device_array
from tapegrad.autograd.ops.batch_rules import align_samples
from tapegrad.autograd.ops.index_template import HOLE

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = ["BatchedIndex", "DIFFERENT_COUNTS", "batched_index"]

DIFFERENT_COUNTS = (
    "{where}: {name} gives as many entries as a condition holds for, which differs from sample to "
    "sample of a batch: np.where(mask, x, 0) keeps the shape."
)


class BatchedIndex(NamedTuple):
    """An index into a batched array, and what puts the axes of its result in order.

    together: whether one sample's index arrays stand together
    before:   how many axes of a sample's result come before those of its index arrays
    width:    how many axes these are
    mixed:    whether the index differs from sample to sample
    """

    indices: list[Any]
    template: tuple[Any, ...]
    together: bool
    before: int
    width: int
    mixed: bool

    def _order(self, ndim: int) -> tuple[int, ...]:
        """The axes of the array that the index reads, in the order that the result must have."""
        if not self.mixed:  # (B, …), or the index arrays' axes in front of the batch
            if self.together:
                return tuple(range(ndim))
            return (self.width, *(i for i in range(ndim) if i != self.width))
        # (B, index arrays' axes, …)
        first = 1 + self.width
        middle = first + self.before if self.together else first
        return (0, *range(first, middle), *range(1, first), *range(middle, ndim))

    def reorder_result(self, y: Array) -> Array:
        """The array y that the index has read, with the axes of the result in order."""
        return s.transpose(y, self._order(y.ndim))

    def reorder_values(self, x: Array) -> Array:
        """Values to be written with their axes in the index's order: undoes `reorder_result`."""
        order = self._order(x.ndim)
        return s.transpose(x, tuple(sorted(range(len(order)), key=lambda i: order[i])))


def batched_index(
    template: tuple[Any, ...], indices: list[Array], ndim: int, mixed: bool, samples: int
) -> BatchedIndex:
    """The index `template`, with arrays in its holes, for all samples of a batch.

    ndim:  how many axes one sample of the indexed array has
    mixed: whether `indices` have a batch axis
    Raises BatchingError for a mask that differs from sample to sample.
    """
    kinds = [x.dtype.kind for x in indices]
    if mixed and "b" in kinds:
        raise BatchingError(DIFFERENT_COUNTS.format(where=user_line(), name="x[mask]"))
    arrays = [
        i
        for i, part in enumerate(template)
        if part is HOLE or not (part is None or part is Ellipsis or isinstance(part, slice))
    ]
    together = arrays[-1] - arrays[0] + 1 == len(arrays)
    before = 0
    for part in template[: arrays[0]]:
        before += ndim - _axes_indexed(template, indices) if part is Ellipsis else 1
    if not mixed:
        width = max(1 if x.dtype.kind == "b" else x.ndim for x in indices)
        return BatchedIndex(indices, (slice(None), *template), together, before, width, False)
    width = max(x.ndim for x in indices) - 1
    rows = device_array(np.arange(samples).reshape(samples, *(1,) * width), indices[0])
    batched = [rows, *(align_samples(x, width) for x in indices)]
    return BatchedIndex(batched, (HOLE, *template), together, before, width, True)


def _axes_indexed(template: tuple[Any, ...], indices: list[Array]) -> int:
    """How many axes of the indexed array the parts of the index stand for."""
    arrays = iter(indices)
    count = 0
    for part in template:
        if part is HOLE:
            array = next(arrays)
            count += array.ndim if array.dtype.kind == "b" else 1
        elif part is not None and part is not Ellipsis:
            count += 1
    return count
