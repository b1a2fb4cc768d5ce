"""Where entries are: the largest, those in order, those that differ, and those that hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tapegrad.autograd.ops import counting, indexing, sorting
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = [
    "argmax",
    "argmin",
    "argsort",
    "isin",
    "nonzero",
    "searchsorted",
    "sort",
    "take",
    "take_along_axis",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "where",
]

WHICH_AXIS = "take: x has {ndim} axes; say along which: axis=0, …, or axis=-1"


class UniqueAllResult(NamedTuple):
    """Distinct entries, where each is first, which of them each entry is, and how often it is."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCountsResult(NamedTuple):
    """Distinct entries, and how often each is there."""

    values: Tensor
    counts: Tensor


class UniqueInverseResult(NamedTuple):
    """Distinct entries, and which of them each entry is."""

    values: Tensor
    inverse_indices: Tensor


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first largest entry along `axis`; of all entries, flattened, if None."""
    return r.argmax(x, axis=axis, keepdims=keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first smallest entry along `axis`; of all entries, flattened, if None."""
    return r.argmin(x, axis=axis, keepdims=keepdims)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The entries in order along `axis`, equal ones in the order that they have in x."""
    if not descending:
        return sorting.sort(x, axis, stable=stable)
    return s.flip(sorting.sort(s.flip(x, axis), axis, stable=stable), axis)


def argsort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """The indices that `sort` the entries along `axis`."""
    if not descending:
        return sorting.argsort(x, axis, stable=stable)
    backwards = s.flip(sorting.argsort(s.flip(x, axis), axis, stable=stable), axis)
    return x.shape[axis] - 1 - backwards  # equal ones stay in x's order


def isin(x1: Operand, x2: Operand, /, *, invert: bool = False) -> Tensor:
    """Whether each entry of x1 is one of x2's (or, to `invert`, none), as booleans."""
    return counting.isin(x1, x2, invert=invert)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The indices of the entries that are not 0, a vector for every axis.

    Raises ValueError for 0-d x.
    """
    return counting.nonzero(x)


def searchsorted(
    x1: Tensor, x2: Operand, /, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """Where the entries of x2 would be inserted into the sorted vector x1 to keep it sorted.

    side:   "left" of equal entries, or "right" of them
    sorter: the indices that sort x1, if it is not sorted
    Raises ValueError for another side.
    """
    return counting.searchsorted(x1 if sorter is None else x1[sorter], x2, side=side)


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The entries at `indices` along `axis`, which may be omitted for a vector.

    Raises ValueError without `axis` for x of several axes, IndexError outside the axis.
    """
    if axis is None and x.ndim != 1:
        raise ValueError(WHICH_AXIS.format(ndim=x.ndim))
    return indexing.take(x, indices, 0 if axis is None else axis)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """The entries that `indices`, of x's number of axes, name along `axis` at each place."""
    return indexing.take_along_axis(x, indices, axis)


def unique_all(x: Tensor, /) -> UniqueAllResult:
    """The distinct entries, sorted; first indices, inverse indices of x's shape, counts."""
    return UniqueAllResult(*sorting.unique_all(x))


def unique_counts(x: Tensor, /) -> UniqueCountsResult:
    """The distinct entries, sorted, and how often each is there.  Every NaN is one of its own."""
    return UniqueCountsResult(*sorting.unique_counts(x))


def unique_inverse(x: Tensor, /) -> UniqueInverseResult:
    """The distinct entries, sorted, and the index among them of each entry, in x's shape."""
    return UniqueInverseResult(*sorting.unique_inverse(x))


def unique_values(x: Tensor, /) -> Tensor:
    """The distinct entries, sorted.  Every NaN is one of its own."""
    return sorting.unique_values(x)


def where(condition: Tensor, /, *choices: Operand) -> Any:
    """x1 where the condition holds, else x2; all three broadcast.

    choices: x1 and x2; without them, the result is that of `nonzero`, as in NumPy, which is not in
             the standard, but is what scikit-learn relies on
    Raises TypeError for x1 without x2.
    """
    if len(choices) not in (0, 2):
        raise TypeError(f"where: {len(choices)} choices were given: give both x1 and x2")
    return e.where(condition, *choices) if choices else nonzero(condition)
