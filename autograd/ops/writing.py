"""NumPy's functions that write into an array: `np.put`, `np.copyto` and their relatives.

Each is written as ``x[index] = v`` on the Tensor, so it is differentiated, or refused, as that
assignment is (`reverse/write.py`).  A target that is an ndarray takes the values of untracked
Tensors through NumPy's own function; those of tracked ones would lose their gradient there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.nesting import as_one_tensor
from tapegrad.autograd.core.running import refusal
from tapegrad.autograd.core.tensor import Tensor, as_array
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.arrays import (
    as_operand,
    device_array,
    inside_numbers,
    normalize_axis,
    value_of,
)
from tapegrad.autograd.ops.indexing import along_axes, take
from tapegrad.autograd.ops.rearranging import resize
from tapegrad.autograd.ops.reduction import cumsum
from tapegrad.autograd.ops.shape import ravel

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Operand

__all__ = [
    "copyto",
    "fill_diagonal",
    "place",
    "put",
    "put_along_axis",
    "putmask",
]

F = TypeVar("F", bound=Callable[..., Any])

NOT_A_TENSOR = (
    "{name}: an ndarray cannot take a Tensor's entries without losing their gradient; "
    "make the target a Tensor"
)


def _require_tensor(x: Tensor, name: str) -> Tensor:
    """Return x.  Raises TypeError unless it is a Tensor."""
    if not isinstance(x, Tensor):
        raise refusal(f"{NOT_A_TENSOR}. {{advice}}", name=f"numpy.{name}")
    return x


def _into_arrays(function: Callable[..., Any]) -> Callable[[F], F]:
    """Return a decorator: ndarrays as targets are left to NumPy's function, if nothing is tracked.

    (A step that is being recorded refuses the conversion, as it refuses `np.asarray` of a Tensor.)
    """

    def decorate(body: F) -> F:
        @wraps(body)
        def write(target: Any, *operands: Any, **settings: Any) -> None:
            named = [*operands, *settings.values()]
            if isinstance(target, Tensor) or any(
                isinstance(leaf, Tensor) and leaf.tracked for leaf in leaves(named)
            ):
                body(target, *operands, **settings)
                return
            given = {name: _array_of_nest(value) for name, value in settings.items()}
            function(target, *map(_array_of_nest, operands), **given)

        return write  # type: ignore[return-value]  # `wraps` keeps the signature

    return decorate


def _array_of_nest(value: Any) -> Any:
    """`value`, as an array if it holds Tensors."""
    return np.asarray(value) if any(isinstance(x, Tensor) for x in leaves(value)) else value


@composite(numpy=np.copyto, writes=True)
@_into_arrays(np.copyto)
def copyto(dst: Tensor, src: Operand, where: Operand = True, casting: str = "same_kind") -> None:
    """dst[...] = src, only where `where` holds.

    Raises TypeError for a conversion that `casting` forbids.
    """
    own = _require_tensor(dst, "copyto").dtype
    src = as_operand(src) if isinstance(src, (list, tuple)) else src
    other = np.result_type(getattr(src, "dtype", src))
    if not np.can_cast(other, own, casting):  # type: ignore[arg-type]  # NumPy checks it
        raise TypeError(f"copyto: {other} cannot be cast to {own} by the rule {casting!r}")
    dst[...] = src if where is True else e.where(where, src, dst)


@composite(numpy=np.putmask, writes=True)
@_into_arrays(np.putmask)
def putmask(a: Tensor, mask: Operand, values: Operand) -> None:
    """a[i] = values[i] where the mask holds; values are repeated if they are fewer."""
    values = as_operand(values)
    shape = tuple(_require_tensor(a, "putmask").shape)
    mask = as_operand(mask).reshape(shape)
    a[...] = e.where(mask, values if tuple(values.shape) == shape else resize(values, shape), a)


@composite(numpy=np.place, writes=True)
@_into_arrays(np.place)
def place(arr: Tensor, mask: Operand, vals: Operand) -> None:
    """Write the first entries of vals, repeated if needed, where the mask holds."""
    vals = ravel(as_operand(vals))
    mask = as_operand(mask).reshape(_require_tensor(arr, "place").shape).astype(bool)
    which = e.remainder(cumsum(mask.reshape(-1).astype(int)) - 1, vals.size)
    arr[...] = e.where(mask, take(vals, which).reshape(arr.shape), arr)


@composite(numpy=np.put, writes=True)
@_into_arrays(np.put)
def put(a: Tensor, ind: Operand, v: Operand, mode: str = "raise") -> None:
    """Write the values v, repeated if needed, at the flat indices `ind`.

    mode: what indices outside do: "raise" IndexError, "wrap" round, or are "clip"ped
    Raises IndexError for an index outside, ValueError for another mode.
    """
    flat = np.asarray(value_of(as_operand(ind))).ravel()
    flat = inside_numbers(flat, _require_tensor(a, "put").size, mode, "put")
    flat = np.where(flat < 0, flat + a.size, flat)
    if not _require_tensor(a, "put").ndim and flat.size:
        if flat.any():
            raise IndexError(f"put: index {flat.max()} is out of bounds for one entry")
        a[...] = resize(v, flat.size)[-1]
        return
    coordinates = np.unravel_index(flat, _require_tensor(a, "put").shape)
    a[tuple(device_array(p, a) for p in coordinates)] = resize(v, flat.size)


@composite(numpy=np.put_along_axis, writes=True)
@_into_arrays(np.put_along_axis)
def put_along_axis(arr: Tensor, indices: Array, values: Operand, axis: int) -> None:
    """Write `values` where `indices` point along `axis`: the reverse of take_along_axis."""
    axis = normalize_axis(axis, _require_tensor(arr, "put_along_axis").ndim)
    along_axes(arr, indices, "put_along_axis")
    xp = devices.namespace(as_array(indices))
    grid = [
        xp.arange(n).reshape((-1,) + (1,) * (arr.ndim - i - 1)) for i, n in enumerate(arr.shape)
    ]
    grid[axis] = indices
    arr[tuple(grid)] = values


@composite(numpy=np.fill_diagonal, writes=True)
@_into_arrays(np.fill_diagonal)
def fill_diagonal(a: Tensor, val: Operand, wrap: bool = False) -> None:
    """Write val on the main diagonal of a, which has two axes, or several of one length.

    Raises TypeError for wrap=True, which is not supported.
    """
    if wrap:
        raise TypeError("numpy.fill_diagonal on a Tensor: the option wrap=True is not supported")
    n = min(_require_tensor(a, "fill_diagonal").shape)
    diagonal = device_array(np.arange(n), a)
    val = as_one_tensor(val)
    a[(diagonal,) * a.ndim] = val if np.ndim(val) == 0 else resize(val, n)
