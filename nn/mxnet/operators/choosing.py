"""Operators that choose entries by numbers of places, and that work on sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, DType, Float, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, operator
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.operators.constants import beside, constant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["added", "one_hot", "pick", "places", "sequence_mask", "take"]

_LONG = np.dtype(np.int64)


def places(indices: Tensor, n: int, mode: str) -> Tensor:
    """Whole numbers from 0 to n - 1: clipped, wrapped, or as they are.

    Raises MXNetError in the mode "raise" for a number out of range.
    """
    at = ops.to_integer(indices, dtype=_LONG)
    if mode == "wrap":
        return ops.remainder(at, n)
    if mode == "raise":
        return ops.remainder(_in_range(at, n=n), n)
    return ops.clip(at, 0, n - 1)


@constant
def _in_range(at: Any, *, n: int) -> Any:
    """at itself.  Raises MXNetError for a number out of range."""
    if at.size and (at.min() < -n or at.max() >= n):
        raise MXNetError(f"an index is out of range of {n} entries: {at.min()}…{at.max()}")
    return at


def added(x: Tensor, at: Sequence[Any], shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape` with x added at places along the first axes."""
    return ops.index_add(x, list(at), (ops.index_template.HOLE,) * len(at), tuple(shape))


@operator(
    "take",
    "a indices",
    flat="indices",
    axis=Int(0),
    mode=Choice("clip", words=("clip", "raise", "wrap")),
)
def take(call: Call, a: Tensor, indices: Tensor) -> Tensor:
    """The entries of a at places along an axis."""
    axis = call.a.axis % a.ndim
    return ops.take(a, places(indices, a.shape[axis], call.a.mode), axis)


@operator("batch_take", "a indices", flat="indices")
def batch_take(call: Call, a: Tensor, indices: Tensor) -> Tensor:
    """One entry of each row of a."""
    at = places(indices, a.shape[1], "clip").reshape((-1, 1))
    return ops.take_along_axis(a, at, 1).reshape((-1,))


@operator(
    "pick",
    "data index",
    aliases="choose_element_0index",
    flat="index",
    axis=Int(-1, none=True),
    keepdims=Bool(False),
    mode=Choice("clip", words=("clip", "wrap")),
)
def pick(call: Call, data: Tensor, index: Tensor) -> Tensor:
    """One entry along an axis for each place of `index`."""
    a = call.a
    if a.axis is None:
        data, axis = data.reshape((-1,)), 0
    else:
        axis = a.axis % data.ndim
    at = places(index, data.shape[axis], a.mode)
    if at.ndim < data.ndim:
        at = ops.expand_dims(at, axis)
    y = ops.take_along_axis(data, at, axis)
    return y if a.keepdims else ops.squeeze(y, axis)


@operator(
    "one_hot",
    "indices",
    flat="indices",
    depth=Int(),
    on_value=Float(1.0),
    off_value=Float(0.0),
    dtype=DType(np.dtype(np.float32)),
)
def one_hot(call: Call, indices: Tensor) -> Tensor:
    """on_value at the place of each index, off_value elsewhere, along a new last axis."""
    a = call.a
    hit = ops.equal(
        ops.expand_dims(ops.to_integer(indices, dtype=_LONG), -1),
        beside(indices, np.arange(a.depth)),
    )
    return ops.cast(ops.where(hit, a.on_value, a.off_value), dtype=a.dtype)


@operator("gather_nd", "data indices", flat="indices")
def gather_nd(call: Call, data: Tensor, indices: Tensor) -> Tensor:
    """data[indices[0], indices[1], …]: the first axis of `indices` counts axes of data."""
    at = tuple(places(indices[i], data.shape[i], "clip") for i in range(indices.shape[0]))
    return data[at]


@operator("scatter_nd", "data indices", flat="indices", shape=Shape())
def scatter_nd(call: Call, data: Tensor, indices: Tensor) -> Tensor:
    """Zeros with `data` written at `indices`."""
    at = [places(indices[i], call.a.shape[i], "clip") for i in range(indices.shape[0])]
    return added(data, at, call.a.shape)


# Sequences: (T, N, …), or (N, T, …) with axis 1 --------------------------------------------------


def _sequence_inputs(a: Attributes) -> tuple[str, ...]:
    return ("data", "sequence_length") if a.use_sequence_length else ("data",)


def _steps(data: Any, length: Any, axis: int) -> tuple[Any, Any]:
    """(numbers of the steps, lengths), both of a shape that broadcasts with data."""
    n = data.shape[axis]
    rest = (1,) * (data.ndim - 2)
    steps = beside(data, np.arange(n))
    if axis == 0:
        return steps.reshape((n, 1, *rest)), length.reshape((1, -1, *rest))
    return steps.reshape((1, n, *rest)), length.reshape((-1, 1, *rest))


@operator(
    "SequenceMask",
    _sequence_inputs,
    flat="sequence_length",
    use_sequence_length=Bool(False),
    value=Float(0.0),
    axis=Int(0),
)
def sequence_mask(call: Call, data: Tensor, sequence_length: Tensor | None = None) -> Tensor:
    """The steps behind the end of each sequence are `value`."""
    if sequence_length is None:
        return data * 1
    steps, lengths = _steps(data, sequence_length, call.a.axis)
    return ops.where(ops.less(steps, lengths), data, call.a.value)


@operator(
    "SequenceLast",
    _sequence_inputs,
    flat="sequence_length",
    use_sequence_length=Bool(False),
    axis=Int(0),
)
def sequence_last(call: Call, data: Tensor, sequence_length: Tensor | None = None) -> Tensor:
    """The last step of each sequence, (N, …)."""
    axis = call.a.axis
    if sequence_length is None:
        return ops.take(data, -1, axis)
    at = ops.to_integer(sequence_length, dtype=_LONG) - 1
    samples = beside(data, np.arange(data.shape[1 - axis]))
    return data[(at, samples) if axis == 0 else (samples, at)]


@operator(
    "SequenceReverse",
    _sequence_inputs,
    flat="sequence_length",
    use_sequence_length=Bool(False),
    axis=Int(0),
)
def sequence_reverse(call: Call, data: Tensor, sequence_length: Tensor | None = None) -> Tensor:
    """The steps of each sequence in reverse order; those behind its end stay."""
    axis = call.a.axis
    if sequence_length is None:
        return ops.flip(data, axis)
    x = ops.swapaxes(data, 0, 1) if axis else data
    n, samples = x.shape[:2]
    steps = beside(x, np.arange(n)[:, None])
    lengths = ops.to_integer(sequence_length, dtype=_LONG).reshape((1, -1))
    at = ops.where(ops.less(steps, lengths), lengths - 1 - steps, steps + lengths * 0)
    y = x[at, beside(x, np.arange(samples)[None, :]) + at * 0]
    return ops.swapaxes(y, 0, 1) if axis else y
