"""Numbers of places, masks and writing at places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.mxnet.attributes import Attributes, Choice, Float, Floats, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.choosing import added, places
from tapegrad.nn.mxnet.operators.constants import beside, constant
from tapegrad.nn.mxnet.operators.shape_rules import first_alike

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["boolean_mask", "histogram", "slice_assign"]

_LONG = np.dtype(np.int64)


def _strides(shape: Sequence[int]) -> np.ndarray:
    return np.cumprod([1, *reversed(shape[1:])])[::-1].copy()


@operator("_ravel_multi_index", aliases="ravel_multi_index", flat="data", shape=Shape())
def ravel_multi_index(call: Call, data: Tensor) -> Tensor:
    """The number of the entry at places (d, …) in an array of `shape`: (d, …) -> (…)."""
    strides = _strides(call.a.shape).astype(np.dtype(data.dtype))
    strides = strides.reshape((-1,) + (1,) * (data.ndim - 1))
    return ops.sum(data * beside(data, strides), axis=0)


@operator("_unravel_index", aliases="unravel_index", flat="data", shape=Shape())
def unravel_index(call: Call, data: Tensor) -> Tensor:
    """The places of entries by their number in an array of `shape`: (…) -> (d, …)."""
    at = ops.to_integer(data, dtype=_LONG)
    sizes = [n if n > 0 else 2**62 for n in call.a.shape]  # the first may be open
    parts = [
        ops.remainder(ops.floor_divide(at, int(stride)), n)
        for stride, n in zip(_strides(sizes) if len(sizes) > 1 else [1], sizes, strict=True)
    ]
    return _like(ops.stack(parts), data)


@constant
def _like(x: Any, data: Any) -> Any:
    return x.astype(data.dtype)


@constant
def _where(mask: Any) -> Any:
    return np.flatnonzero(mask)


@operator("_contrib_boolean_mask", "data index", hint="boolean_mask", flat="index", axis=Int(0))
def boolean_mask(call: Call, data: Tensor, index: Tensor) -> Tensor:
    """The entries along an axis where `index` (n,) is not 0; the shape depends on the numbers."""
    return ops.take(data, _where(index), call.a.axis)


@operator("argwhere", flat="data")
def argwhere(call: Call, data: Tensor) -> Tensor:
    """The places of entries that are not 0, (k, d); the shape depends on the numbers."""
    return _nonzero(data)


@constant
def _nonzero(x: Any) -> Any:
    return np.argwhere(x).astype(np.int64)


@constant
def _counted(data: Any, edges: Any) -> Any:
    return np.histogram(data, edges)[0].astype(np.int64)


@operator(
    "_histogram",
    lambda a: ("data",) if a.bin_cnt is not None else ("data", "bins"),
    outputs="output0 output1",
    flat="data bins",
    bin_cnt=Int(None, none=True),
    range=Floats(None, none=True),
)
def histogram(call: Call, data: Tensor, bins: Tensor | None = None) -> list[Tensor]:
    """How many entries lie between each two edges, and the edges; the last end belongs to its bin.

    The edges are the input `bins`, or `bin_cnt` equal steps over `range`; without a range that
    raises ValueError.
    """
    a = call.a
    if bins is None:
        if a.range is None:
            raise ValueError("a number of bins needs a range")
        edges = np.linspace(a.range[0], a.range[1], a.bin_cnt + 1).astype(np.dtype(data.dtype))
        bins = Tensor(edges, device=data.device)
    return [_counted(data, bins), bins * 1]


def _key(begin: Sequence[Any], end: Sequence[Any], step: Sequence[Any]) -> tuple[slice, ...]:
    steps = (*step, *[None] * (len(begin) - len(step)))
    return tuple(slice(*one) for one in zip(begin, end, steps, strict=True))


_CUT: dict[str, Any] = {"begin": Shape(), "end": Shape(), "step": Shape(())}


@operator("_slice_assign", "lhs rhs", aliases="_crop_assign", **_CUT)
def slice_assign(call: Call, lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs with rhs written into a slice."""
    a = call.a
    number = np.arange(int(np.prod(lhs.shape))).reshape(tuple(lhs.shape))
    at = number[_key(a.begin, a.end, a.step)].ravel()
    written = beside(lhs, np.isin(number, at))
    new = added(rhs.reshape((-1,)), [beside(lhs, at)], (number.size,)).reshape(tuple(lhs.shape))
    return ops.where(written, new, lhs)


@operator("_slice_assign_scalar", aliases="_crop_assign_scalar", shapes=first_alike,
          scalar=Float(0.0), **_CUT)  # fmt: skip
def slice_assign_scalar(call: Call, data: Tensor) -> Tensor:
    """data with a number written into a slice."""
    a = call.a
    mask = np.zeros(tuple(data.shape), bool)
    mask[_key(a.begin, a.end, a.step)] = True
    return ops.where(beside(data, mask), a.scalar, data)


@operator("_scatter_set_nd", "lhs rhs indices", flat="indices", shape=Shape())
def scatter_set_nd(call: Call, lhs: Tensor, rhs: Tensor, indices: Tensor) -> Tensor:
    """lhs with rhs written at `indices`, whose first axis counts axes of lhs."""
    at = tuple(places(indices[i], lhs.shape[i], "clip") for i in range(indices.shape[0]))
    return ops.where(_written(lhs, *at), added(rhs, at, tuple(lhs.shape)), lhs)


@constant
def _written(data: Any, first: Any, second: Any = None, third: Any = None) -> Any:
    """Which entries the places reach, in the shape of data."""
    mask = np.zeros(data.shape, bool)
    mask[tuple(p for p in (first, second, third) if p is not None)] = True
    return mask


@operator("_contrib_index_copy", "old_tensor index_vector new_tensor", hint="index_copy",
          flat="index_vector")  # fmt: skip
def index_copy(call: Call, old_tensor: Tensor, index_vector: Tensor, new_tensor: Tensor) -> Tensor:
    """old_tensor with rows of new_tensor written at places (k,)."""
    at = ops.to_integer(index_vector, dtype=_LONG)
    new = added(new_tensor, [at], tuple(old_tensor.shape))
    return ops.where(_written(old_tensor, at), new, old_tensor)


@operator("_contrib_index_array", hint="index_array", flat="data", axes=Shape(None, none=True))
def index_array(call: Call, data: Tensor) -> Tensor:
    """The places of all entries, (…, d), whole numbers; those along `axes` only."""
    shape = tuple(data.shape)
    axes = range(len(shape)) if call.a.axes is None else call.a.axes
    grid = np.moveaxis(np.indices(shape), 0, -1)[..., [i % len(shape) for i in axes]]
    return Tensor(grid.astype(np.int64), device=data.device)


@operator("fill_element_0index", "lhs mhs rhs", flat="rhs")
def fill_element(call: Call, lhs: Tensor, mhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs (n, k) with mhs (n,) written in the column rhs (n,) of each row."""
    at = (beside(lhs, np.arange(lhs.shape[0])), places(rhs, lhs.shape[1], "clip"))
    return ops.where(_written(lhs, *at), added(mhs, at, tuple(lhs.shape)), lhs)


@operator("_sparse_retain", "data indices", hint="retain", flat="indices", shapes=None)
def retain(call: Call, data: Tensor, indices: Tensor) -> Tensor:
    """The rows of data at places (k,); the others are 0."""
    return ops.where(_written(data, ops.to_integer(indices, dtype=_LONG)), data, 0)


@operator("cast_storage", shapes=first_alike,
          stype=Choice(words=("csr", "default", "row_sparse")))  # fmt: skip
def cast_storage(call: Call, data: Tensor) -> Tensor:
    """The data; storage is dense inside."""
    return data * 1


def _unary_shape(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    if inputs[0] is not None:
        outputs[0] = (len(inputs[0]),)


@operator("shape_array", flat="data", shapes=_unary_shape)
def shape_array(call: Call, data: Tensor) -> Tensor:
    """The shape as whole numbers."""
    return Tensor(np.array(data.shape, np.int64), device=data.device)


@operator("size_array", flat="data")
def size_array(call: Call, data: Tensor) -> Tensor:
    """The number of entries, (1,)."""
    return Tensor(np.array([np.prod(data.shape)], np.int64), device=data.device)
