"""Operators that move entries: shapes, axes, joins, parts, copies."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Bool, Choice, DType, Float, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.operators.constants import beside
from tapegrad.nn.mxnet.reshape import reshaped
from tapegrad.nn.mxnet.symbol.inference import known, unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.nn.mxnet.attributes import Attributes

__all__ = ["concat", "reshape", "slice_channel"]


def _reshape_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    if inputs[0] is not None and known(inputs[0]):
        outputs[0] = unify(outputs[0], _target(a, inputs[0]))


def _target(a: Attributes, shape: tuple[int, ...]) -> tuple[int, ...]:
    if a.shape:
        return reshaped(shape, a.shape, a.reverse)
    if a.target_shape:  # of files before 0.9: 0 is inferred
        target = list(a.target_shape)
        if a.keep_highest:
            target[0] = shape[0]
        rest = math.prod(n for n in target if n)
        return tuple(n or math.prod(shape) // rest for n in target)
    raise MXNetError("Reshape: neither shape nor target_shape is given")


@operator(
    "Reshape",
    aliases="reshape",
    shape=Shape(()),
    reverse=Bool(False),
    target_shape=Shape(()),
    keep_highest=Bool(False),
    shapes=_reshape_shapes,
)
def reshape(call: Call, data: Tensor) -> Tensor:
    """The entries in another shape, by MXNet's codes 0, -1, -2, -3, -4."""
    return data.reshape(_target(call.a, tuple(data.shape)))


@operator("Flatten", aliases="flatten")
def flatten(call: Call, data: Tensor) -> Tensor:
    """(n, …) -> (n, the product of the rest)."""
    return data.reshape((data.shape[0], -1))


@operator("transpose", axes=Shape(()))
def transpose(call: Call, data: Tensor) -> Tensor:
    """The axes in another order; reversed when none is given."""
    return ops.transpose(data, call.a.axes or None)


@operator("SwapAxis", aliases="swapaxes", dim1=Int(0), dim2=Int(0))
def swap_axis(call: Call, data: Tensor) -> Tensor:
    """Two axes exchanged."""
    return ops.swapaxes(data, call.a.dim1, call.a.dim2)


@operator("expand_dims", axis=Int())
def expand_dims(call: Call, data: Tensor) -> Tensor:
    """A new axis of length 1."""
    return ops.expand_dims(data, call.a.axis)


@operator("squeeze", axis=Shape(None, none=True))
def squeeze(call: Call, data: Tensor) -> Tensor:
    """Without axes of length 1; at least one axis stays."""
    y = ops.squeeze(data, call.a.axis)
    return y if y.shape else y.reshape((1,))


@operator("reverse", aliases="flip", axis=Shape())
def reverse(call: Call, data: Tensor) -> Tensor:
    """The entries in reverse order along axes."""
    return ops.flip(data, call.a.axis)


@operator("tile", reps=Shape())
def tile(call: Call, data: Tensor) -> Tensor:
    """The array repeated as a whole, along each axis."""
    return ops.tile(data, call.a.reps)


@operator("repeat", repeats=Int(), axis=Int(None, none=True))
def repeat(call: Call, data: Tensor) -> Tensor:
    """Each entry repeated; of the flattened array without an axis."""
    return ops.repeat(data, call.a.repeats, call.a.axis)


@operator(
    "Pad",
    aliases="pad",
    mode=Choice(words=("constant", "edge", "reflect")),
    pad_width=Shape(),
    constant_value=Float(0.0),
)
def pad(call: Call, data: Tensor) -> Tensor:
    """The array with a border: a constant, the edge's entries, or their mirror image."""
    a = call.a
    widths = list(zip(a.pad_width[::2], a.pad_width[1::2], strict=True))
    if a.mode == "constant":
        return ops.pad(data, widths, value=a.constant_value)
    y = data
    for axis, (before, after) in enumerate(widths):
        n = y.shape[axis]
        at = np.arange(-before, n + after)
        at = np.clip(at, 0, n - 1) if a.mode == "edge" else n - 1 - abs(n - 1 - abs(at))
        if before or after:
            y = ops.take(y, beside(y, at), axis)
    return y


def _cut(begin: Any, end: Any, step: Any, n: int) -> slice:
    return (
        slice(*slice(begin, end, step or None).indices(n))
        if (step or 1) > 0
        else slice(begin, end, step)
    )


@operator("slice", aliases="crop", begin=Shape(), end=Shape(), step=Shape(()))
def slice_(call: Call, data: Tensor) -> Tensor:
    """The entries from begin up to end, by step, along the first axes."""
    a = call.a
    steps = (*a.step, *[None] * (len(a.begin) - len(a.step)))
    return data[
        tuple(
            _cut(b, e, s, n) for b, e, s, n in zip(a.begin, a.end, steps, data.shape, strict=False)
        )
    ]


@operator("slice_axis", axis=Int(), begin=Int(), end=Int(none=True))
def slice_axis(call: Call, data: Tensor) -> Tensor:
    """The entries from begin up to end along one axis."""
    a = call.a
    axis = a.axis % data.ndim
    return data[(slice(None),) * axis + (slice(a.begin, a.end),)]


@operator("slice_like", "data shape_like", flat="shape_like", axes=Shape(()))
def slice_like(call: Call, data: Tensor, shape_like: Tensor) -> Tensor:
    """data cut to the lengths of another array along axes; along all when none is given."""
    axes = [axis % data.ndim for axis in call.a.axes] or range(data.ndim)
    return data[tuple(slice(shape_like.shape[i] if i in axes else None) for i in range(data.ndim))]


@operator("stack", "args", variadic="num_args", axis=Int(0), num_args=Int())
def stack(call: Call, *args: Tensor) -> Tensor:
    """Arrays of one shape along a new axis."""
    return ops.stack(list(args), call.a.axis)


def _concat_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    shape: PartialShape = None
    for one in (*inputs, *outputs):  # other dimensions than `dim` agree
        if one is not None:
            dim = a.dim % len(one)
            shape = unify(shape, (*one[:dim], 0, *one[dim + 1 :]))
    if shape is None:
        return
    inputs[:] = [unify(one, shape) for one in inputs]
    if all(known(one) for one in inputs):
        dim = a.dim % len(shape)
        whole = sum(one[dim] for one in inputs if one is not None)
        outputs[0] = unify(outputs[0], (*shape[:dim], whole, *shape[dim + 1 :]))


@operator(
    "Concat",
    "args",
    aliases="concat",
    variadic="num_args",
    dim=Int(1),
    num_args=Int(),
    shapes=_concat_shapes,
)
def concat(call: Call, *args: Tensor) -> Tensor:
    """Arrays one behind the other along `dim`."""
    return ops.concatenate(list(args), call.a.dim)


def _slice_channel_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    data = inputs[0]
    if data is None:
        return
    axis = a.axis % len(data)
    n, rest = divmod(data[axis], a.num_outputs)
    if rest:
        raise ValueError(f"axis {axis} has {data[axis]} entries, no multiple of {a.num_outputs}")
    squeezed = a.squeeze_axis and (n == 1 or data[axis] == 0)
    part = (*data[:axis], *(() if squeezed else (n,)), *data[axis + 1 :])
    for i in range(a.num_outputs):
        outputs[i] = unify(outputs[i], part)


@operator(
    "SliceChannel",
    aliases="split",
    hint="slicechannel",
    outputs=lambda a: (
        ["output"] if a.num_outputs == 1 else [f"output{i}" for i in range(a.num_outputs)]
    ),
    num_outputs=Int(),
    axis=Int(1),
    squeeze_axis=Bool(False),
    shapes=_slice_channel_shapes,
)
def slice_channel(call: Call, data: Tensor) -> list[Tensor]:
    """Equal parts along an axis, without the axis if `squeeze_axis`."""
    a = call.a
    parts = ops.split(data, a.num_outputs, a.axis)
    single = a.squeeze_axis and parts[0].shape[a.axis] == 1
    return [ops.squeeze(part, a.axis) for part in parts] if single else list(parts)


@operator(
    "Crop",
    "args",
    variadic="num_args",
    num_args=Int(),
    offset=Shape((0, 0)),
    h_w=Shape((0, 0)),
    center_crop=Bool(False),
    flat="arg1",
)
def crop(call: Call, *args: Tensor) -> Tensor:
    """Images cut to the second input's height and width, or to `h_w`, at an offset or centred."""
    a, data = call.a, args[0]
    high, wide = args[1].shape[2:] if len(args) > 1 else a.h_w
    top, left = a.offset
    if a.center_crop:
        top, left = (data.shape[2] - high) // 2, (data.shape[3] - wide) // 2
    return data[:, :, top : top + high, left : left + wide]


@operator("depth_to_space", block_size=Int())
def depth_to_space(call: Call, data: Tensor) -> Tensor:
    """(n, c·b², h, w) -> (n, c, h·b, w·b): channels become blocks of entries."""
    b = call.a.block_size
    n, c, h, w = data.shape
    y = data.reshape((n, b, b, c // b**2, h, w))
    return ops.transpose(y, (0, 3, 4, 1, 5, 2)).reshape((n, c // b**2, h * b, w * b))


@operator("space_to_depth", block_size=Int())
def space_to_depth(call: Call, data: Tensor) -> Tensor:
    """(n, c, h·b, w·b) -> (n, c·b², h, w): blocks of entries become channels."""
    b = call.a.block_size
    n, c, h, w = data.shape
    y = data.reshape((n, c, h // b, b, w // b, b))
    return ops.transpose(y, (0, 3, 5, 1, 2, 4)).reshape((n, c * b * b, h // b, w // b))


@operator("broadcast_to", shape=Shape(()))
def broadcast_to(call: Call, data: Tensor) -> Tensor:
    """Axes of length 1 repeated to a shape; 0 keeps a length."""
    shape = tuple(m or n for n, m in zip(data.shape, call.a.shape, strict=True))
    return ops.broadcast_to(data, shape)


@operator("broadcast_axis", aliases="broadcast_axes", axis=Shape(()), size=Shape(()))
def broadcast_axis(call: Call, data: Tensor) -> Tensor:
    """Some axes of length 1 repeated to sizes."""
    shape = list(data.shape)
    for axis, size in zip(call.a.axis, call.a.size, strict=True):
        shape[axis] = size
    return ops.broadcast_to(data, tuple(shape))


@operator(
    "broadcast_like",
    "lhs rhs",
    flat="rhs",
    lhs_axes=Shape(None, none=True),
    rhs_axes=Shape(None, none=True),
)
def broadcast_like(call: Call, lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs repeated to the lengths of rhs, along all axes or along pairs of them."""
    a, shape = call.a, list(lhs.shape)
    mine = range(lhs.ndim) if a.lhs_axes is None else a.lhs_axes
    theirs = range(rhs.ndim) if a.rhs_axes is None else a.rhs_axes
    for i, j in zip(mine, theirs, strict=True):
        shape[i] = rhs.shape[j]
    return ops.broadcast_to(lhs, tuple(shape))


def _reshape_like_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    mine, other = inputs
    if mine is not None and other is not None and known(mine) and known(other):
        outputs[0] = unify(outputs[0], _shape_like(a, mine, other))


def _shape_like(a: Attributes, mine: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    part = slice(a.lhs_begin, a.lhs_end)
    begin, end, _ = part.indices(len(mine))
    return (*mine[:begin], *other[a.rhs_begin : a.rhs_end], *mine[end:])


@operator(
    "reshape_like", "lhs rhs", flat="rhs", shapes=_reshape_like_shapes,
    lhs_begin=Int(None, none=True), lhs_end=Int(None, none=True), rhs_begin=Int(None, none=True),
    rhs_end=Int(None, none=True),
)  # fmt: skip
def reshape_like(call: Call, lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs in the shape of rhs; with bounds some axes take the lengths of some of the other's."""
    return lhs.reshape(_shape_like(call.a, tuple(lhs.shape), tuple(rhs.shape)))


def _bounds(a: Attributes, n: int) -> list[int]:
    """The bounds of `_split_v2`'s parts of n entries."""
    if a.sections:
        if n % a.sections:
            raise ValueError(f"{n} entries, no multiple of {a.sections}")
        return [n // a.sections * i for i in range(a.sections + 1)]
    inner = a.indices if a.indices[:1] == (0,) else (0, *a.indices)
    return [*inner, n]


def _split_names(a: Attributes) -> list[str]:
    count = len(_bounds(a, a.sections)) - 1
    return ["output"] if count == 1 else [f"output{i}" for i in range(count)]


@operator(
    "_split_v2",
    outputs=_split_names,
    indices=Shape(()),
    axis=Int(1),
    squeeze_axis=Bool(False),
    sections=Int(0),
)
def split_v2(call: Call, data: Tensor) -> list[Tensor]:
    """Parts along an axis: `sections` equal ones, or those that begin at `indices`."""
    a = call.a
    axis = a.axis % data.ndim
    bounds = _bounds(a, data.shape[axis])
    before = (slice(None),) * axis
    parts = [data[(*before, slice(*pair))] for pair in pairwise(bounds)]
    return [ops.squeeze(part, axis) for part in parts] if a.squeeze_axis else parts


@operator("_rnn_param_concat", "args", variadic="num_args", dim=Int(1), num_args=Int())
def rnn_param_concat(call: Call, *args: Tensor) -> Tensor:
    """Arrays one behind the other along `dim`: RNN's vector of weights from its parts."""
    return ops.concatenate(list(args), call.a.dim)


@operator("diag", k=Int(0), axis1=Int(0), axis2=Int(1))
def diag(call: Call, data: Tensor) -> Tensor:
    """The diagonal, k above the main one, as last axis; of one axis the matrix with it."""
    a = call.a
    return ops.diag(data, a.k) if data.ndim == 1 else ops.diagonal(data, a.k, a.axis1, a.axis2)


@operator("_np_cumsum", aliases="cumsum", axis=Int(None, none=True), dtype=DType(None, none=True))
def cumsum(call: Call, data: Tensor) -> Tensor:
    """The sums of the first entries along an axis; of the flattened array without one."""
    y = ops.cumsum(data, axis=call.a.axis)
    return y if call.a.dtype is None else ops.cast(y, dtype=call.a.dtype)


@operator("amp_multicast", lambda a: [f"data_{i}" for i in range(a.num_outputs)],
          outputs=lambda a: [f"output{i}" for i in range(a.num_outputs)], num_outputs=Int(),
          cast_narrow=Bool(False))  # fmt: skip
def amp_multicast(call: Call, *arrays: Tensor) -> list[Tensor]:
    """All arrays in the widest of their types, in the narrowest with `cast_narrow`."""
    kinds = sorted((np.dtype(x.dtype) for x in arrays), key=lambda kind: kind.itemsize)
    dtype = kinds[0] if call.a.cast_narrow else kinds[-1]
    return [ops.cast(x, dtype=dtype) for x in arrays]


@operator("_grad_add", "lhs rhs")
def grad_add(call: Call, lhs: Tensor, rhs: Tensor) -> Tensor:
    """The sum of two gradients."""
    return lhs + rhs
