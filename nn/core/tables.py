"""Tables, which are Torch7's lists of arrays: checks, with errors that name the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.autograd import ops
from tapegrad.nn.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest

__all__ = ["concatenate_parts", "entries_of", "entries_of_one_shape"]


def entries_of(x: Nest, length: int | None = None) -> Sequence[Any]:
    """The entries of x.  Raises ShapeError unless x is a table with entries, `length` if given."""
    if not isinstance(x, (list, tuple)) or (length is not None and len(x) != length):
        wanted = "a table" if length is None else f"a table of {length}"
        found = f"a table of {len(x)}" if isinstance(x, (list, tuple)) else f"shape {x.shape}"
        raise ShapeError(f"the input is {found}, it must be {wanted}")
    if not x:
        raise ShapeError("the input is an empty table")
    return x


def entries_of_one_shape(x: Nest, length: int | None = None) -> list[Any]:
    """The entries of the table x, reshaped to the shape of the first.

    Raises ShapeError if their numbers of elements differ.
    """
    first, *rest = entries_of(x, length)
    if any(other.size != first.size for other in rest):
        raise ShapeError(f"entries of shapes {[other.shape for other in x]} cannot be paired")
    return [first, *(x if x.shape == first.shape else x.reshape(first.shape) for x in rest)]


def concatenate_parts(parts: Sequence[Tensor], axis: int) -> Tensor:
    """The arrays joined along `axis`.  Raises ShapeError when their other axes differ."""
    if len({(p.ndim, p.shape[:axis], p.shape[axis + 1 :]) for p in parts}) > 1:
        shapes = ", ".join(str(p.shape) for p in parts)
        raise ShapeError(f"shapes {shapes} cannot be joined along axis {axis}")
    result: Tensor = ops.concatenate(list(parts), axis=axis)
    return result
