"""Operators of ONNX that move entries, and that compute shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.formats.onnx.in_elementwise import attribute_dtype, like
from tapegrad.nn.formats.onnx.operators import OperatorCall, reads, refuses_to_read

__all__: list[str] = []


@reads("Constant")
def _constant(call: OperatorCall) -> Any:
    given = call.attributes
    for name in ("value", "value_int", "value_ints", "value_float", "value_floats"):
        if name in given:
            value = given[name]
            if isinstance(value, np.ndarray):
                return value
            return np.asarray(value, np.float32 if "float" in name else np.int64)
    raise call.unsupported(", ".join(given) or "a value")


@reads("Shape")
def _shape(call: OperatorCall) -> Any:
    start, end = call.number("start", 0), call.attributes.get("end")
    return np.asarray(call.x.shape[start:end], np.int64)


@reads("Size")
def _size(call: OperatorCall) -> Any:
    return np.asarray(math.prod(call.x.shape), np.int64)


@reads("ConstantOfShape")
def _constant_of_shape(call: OperatorCall) -> Any:
    value = call.attributes.get("value")
    value = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return np.full(_lengths(call, call.whole(0)), value.reshape(-1)[0], dtype=value.dtype)


def _lengths(call: OperatorCall, shape: list[int] | None) -> list[int]:
    if shape is None or any(n < 0 for n in shape):
        raise call.wrong("lengths that are not negative", shape)
    return shape


@reads("Range")
def _range(call: OperatorCall) -> Any:
    bounds = [np.asarray(call.host(i)).reshape(()) for i in range(3)]
    dtype = bounds[0].dtype
    return np.arange(*(bound.item() for bound in bounds)).astype(dtype)


@reads("EyeLike")
def _eye_like(call: OperatorCall) -> Any:
    dtype = attribute_dtype(call, "dtype") if "dtype" in call.attributes else call.x.dtype
    rows, columns = call.x.shape
    return np.eye(rows, columns, int(call.number("k", 0)), dtype)


@reads("Reshape")
def _reshape(call: OperatorCall) -> Any:
    shape = call.whole(1, "shape")
    if shape is None:
        raise call.wrong("a shape")
    if not call.number("allowzero", 0):
        shape = [call.x.shape[i] if n == 0 and i < call.x.ndim else n for i, n in enumerate(shape)]
    return call.x.reshape(tuple(shape))


@reads("Flatten")
def _flatten(call: OperatorCall) -> Any:
    axis = int(call.number("axis", 1))
    axis = axis + call.x.ndim if axis < 0 else axis
    lead = math.prod(call.x.shape[:axis])
    return call.x.reshape((lead, math.prod(call.x.shape[axis:])))


@reads("Transpose")
def _transpose(call: OperatorCall) -> Any:
    return np.transpose(call.x, call.ints("perm"))


@reads("Squeeze")
def _squeeze(call: OperatorCall) -> Any:
    axes = call.whole(1, "axes")
    return np.squeeze(call.x, None if axes is None else tuple(axes))


@reads("Unsqueeze")
def _unsqueeze(call: OperatorCall) -> Any:
    axes = call.whole(1, "axes")
    if axes is None:
        raise call.wrong("axes")
    return np.expand_dims(call.x, tuple(axes))


@reads("Expand")
def _expand(call: OperatorCall) -> Any:
    shape = tuple(_lengths(call, call.whole(1)))
    return np.broadcast_to(call.x, np.broadcast_shapes(call.x.shape, shape))


@reads("Tile")
def _tile(call: OperatorCall) -> Any:
    repeats = _lengths(call, call.whole(1))
    return np.tile(call.x, repeats)


@reads("Concat")
def _concat(call: OperatorCall) -> Any:
    return np.concatenate(call.inputs, axis=int(call.number("axis", 1)))


@reads("Split")
def _split(call: OperatorCall) -> list[Any]:
    axis = int(call.number("axis", 0))
    sizes, n = call.whole(1, "split"), call.x.shape[axis]
    if sizes is None:
        parts = int(call.number("num_outputs", call.count))
        each = -(-n // parts)
        sizes = [each] * (parts - 1) + [n - each * (parts - 1)]
    if sum(sizes) != n:
        raise call.wrong(f"parts of {n} entries", sizes)
    ends = np.cumsum(sizes)[:-1].tolist()
    return list(np.split(call.x, ends, axis=axis))


@reads("Slice", since=1)
def _slice_old(call: OperatorCall) -> Any:
    return _sliced(call, call.ints("starts"), call.ints("ends"), call.ints("axes"), None)


@reads("Slice", since=10)
def _slice(call: OperatorCall) -> Any:
    return _sliced(call, *(call.whole(i) for i in (1, 2, 3, 4)))


def _sliced(call: OperatorCall, starts: Any, ends: Any, axes: Any, steps: Any) -> Any:
    if starts is None or ends is None:
        raise call.wrong("starts and ends")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index = [slice(None)] * call.x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        n = call.x.shape[axis]
        first = start + n if start < 0 else start
        last = end + n if end < 0 else end
        if step > 0:
            index[axis] = slice(min(max(first, 0), n), min(max(last, 0), n), step)
        else:
            first, last = min(max(first, -1), n - 1), min(max(last, -1), n)
            index[axis] = slice(max(first, 0), last if last >= 0 else None, step)
            if first < 0:
                index[axis] = slice(0, 0, 1)
    return call.x[tuple(index)]


@reads("Pad", since=1)
def _pad_old(call: OperatorCall) -> Any:
    return _padded(call, call.ints("pads"), float(call.number("value", 0.0)), None)


@reads("Pad", since=11)
def _pad(call: OperatorCall) -> Any:
    value = call.host(2)
    fill = 0 if value is None else value.reshape(-1)[0].item()
    return _padded(call, call.whole(1), fill, call.whole(3))


def _padded(call: OperatorCall, pads: Any, fill: float, axes: Any) -> Any:
    x = call.x
    axes = list(range(x.ndim)) if axes is None else [a % x.ndim for a in axes]
    if pads is None or len(pads) != 2 * len(axes):
        raise call.wrong(f"{2 * len(axes)} numbers for pads", pads)
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        widths[axis] = pads[i], pads[i + len(axes)]
    mode = call.text("mode", "constant")
    if mode == "constant":
        return ops.pad(x, tuple(widths), fill)
    names = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    if mode not in names:
        raise call.unsupported(f"mode {mode!r}")
    cut = tuple(
        slice(max(-before, 0), n - max(-after, 0))
        for (before, after), n in zip(widths, x.shape, strict=True)
    )
    kept = [(max(before, 0), max(after, 0)) for before, after in widths]
    return _repeated(x[cut], kept, names[mode])


def _repeated(x: Any, widths: list[tuple[int, int]], mode: str) -> Any:
    """x with its own entries around it."""
    for axis, (before, after) in enumerate(widths):
        if before or after:
            places = np.pad(np.arange(x.shape[axis]), (before, after), mode=mode)  # type: ignore[call-overload]  # a mode by name
            x = np.take(x, places, axis=axis)
    return x


@reads("Trilu")
def _trilu(call: OperatorCall) -> Any:
    k = call.host(1)
    offset = 0 if k is None else int(k.reshape(-1)[0])
    return (np.triu if call.number("upper", 1) else np.tril)(call.x, offset)


@reads("DepthToSpace")
def _depth_to_space(call: OperatorCall) -> Any:
    n, c, height, width = call.x.shape
    b = int(call.number("blocksize", 0))
    if b < 1 or c % (b * b):
        raise call.wrong(f"channels that are a multiple of {b} * {b}", c)
    if call.text("mode", "DCR") == "DCR":
        y = call.x.reshape((n, b, b, c // (b * b), height, width))
        y = np.transpose(y, (0, 3, 4, 1, 5, 2))
    else:
        y = call.x.reshape((n, c // (b * b), b, b, height, width))
        y = np.transpose(y, (0, 1, 4, 2, 5, 3))
    return y.reshape((n, c // (b * b), height * b, width * b))


@reads("SpaceToDepth")
def _space_to_depth(call: OperatorCall) -> Any:
    n, c, height, width = call.x.shape
    b = int(call.number("blocksize", 0))
    if b < 1 or height % b or width % b:
        raise call.wrong(f"sides that are multiples of {b}", (height, width))
    y = call.x.reshape((n, c, height // b, b, width // b, b))
    crd = call.text("mode", "DCR") == "CRD"
    y = np.transpose(y, (0, 1, 3, 5, 2, 4) if crd else (0, 3, 5, 1, 2, 4))
    return y.reshape((n, c * b * b, height // b, width // b))


@reads("ReverseSequence")
def _reverse_sequence(call: OperatorCall) -> Any:
    batch, time = int(call.number("batch_axis", 1)), int(call.number("time_axis", 0))
    lengths = call.whole(1) or []
    moved = np.moveaxis(call.x, (batch, time), (0, 1))
    steps = np.arange(moved.shape[1])
    counts = np.asarray(lengths)[:, None]
    places = np.where(steps < counts, counts - 1 - steps, steps)
    turned = moved[np.arange(moved.shape[0])[:, None], places]
    return np.moveaxis(turned, (0, 1), (batch, time))


# Reading and writing at indices ------------------------------------------------------------------


def _positive(indices: Any, n: int) -> Any:
    """Indices counted from 0."""
    return np.where(np.less(indices, 0), indices + like(indices, n), indices)


@reads("Gather")
def _gather(call: OperatorCall) -> Any:
    axis, indices = int(call.number("axis", 0)), call.inputs[1]
    if not isinstance(call.x, Tensor) and not isinstance(indices, Tensor):
        return np.take(call.x, indices, axis=axis)
    return np.take(call.x, indices, axis=axis)


@reads("GatherElements")
def _gather_elements(call: OperatorCall) -> Any:
    axis = int(call.number("axis", 0))
    indices = call.inputs[1]
    x = call.x
    if any(n != m for i, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True))
           if i != axis % x.ndim):  # fmt: skip
        cut = [slice(None) if i == axis % x.ndim else slice(n) for i, n in enumerate(indices.shape)]
        x = x[tuple(cut)]
    return np.take_along_axis(x, indices, axis=axis)


def _columns(indices: Any) -> tuple[Any, ...]:
    """Indices along the last axis as an index of arrays."""
    return tuple(indices[..., i] for i in range(indices.shape[-1]))


@reads("GatherND")
def _gather_nd(call: OperatorCall) -> Any:
    batch, indices = int(call.number("batch_dims", 0)), call.inputs[1]
    shape = indices.shape[:batch]
    grids = np.meshgrid(*map(np.arange, shape), indexing="ij") if batch else []
    lead = tuple(g.reshape((*shape, *(1,) * (indices.ndim - 1 - batch))) for g in grids)
    return call.x[(*lead, *_columns(indices))]


@reads("ScatterND")
def _scatter_nd(call: OperatorCall) -> Any:
    x, indices, updates = call.inputs
    return _written(call, x, _columns(indices), updates)


def _written(call: OperatorCall, x: Any, index: Any, updates: Any) -> Any:
    reduction = call.text("reduction", "none")
    y = Tensor(x) * 1 if not isinstance(x, Tensor) else x * 1
    if not isinstance(updates, Tensor):
        updates = Tensor(updates)
    if reduction == "none":
        y[index] = updates
    elif reduction == "add":
        np.add.at(y, index, updates)
    else:
        raise call.unsupported(f"reduction {reduction!r}")
    return y


@reads("ScatterElements", "Scatter")
def _scatter_elements(call: OperatorCall) -> Any:
    x, indices, updates = call.inputs
    axis = int(call.number("axis", 0)) % x.ndim
    grids = np.meshgrid(*map(np.arange, indices.shape), indexing="ij")
    index = tuple(indices if i == axis else grid for i, grid in enumerate(grids))
    return _written(call, x, index, updates)


@reads("OneHot")
def _one_hot(call: OperatorCall) -> Any:
    axis, depth = int(call.number("axis", -1)), (call.whole(1) or [0])[0]
    off, on = (np.asarray(part) for part in np.asarray(call.host(2)).reshape(2))
    indices = _positive(call.x, depth)
    axis = axis % (call.x.ndim + 1)
    places = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(call.x.ndim + 1)])
    return np.where(np.equal(np.expand_dims(indices, axis), places), on, off)


@reads("NonZero")
def _non_zero(call: OperatorCall) -> Any:
    return np.stack(np.nonzero(call.x))


@reads("Compress")
def _compress(call: OperatorCall) -> Any:
    chosen = np.flatnonzero(np.asarray(call.host(1)))
    axis = call.attributes.get("axis")
    return np.take(call.x.reshape(-1) if axis is None else call.x, chosen, axis=axis or 0)


@reads("Unique")
def _unique(call: OperatorCall) -> Any:
    if call.count > 1 or "axis" in call.attributes or not call.number("sorted", 1):
        raise call.unsupported("axis, order of appearance and further outputs")
    return np.unique(np.asarray(call.host(0)))


@reads("TopK")
def _top_k(call: OperatorCall) -> list[Any]:
    x = call.x
    axis = int(call.number("axis", -1)) % x.ndim
    k = (call.whole(1) or [int(call.number("k", 0))])[0]
    if call.number("largest", 1):  # turned, so that of equal entries the first comes first
        rising = np.argsort(np.flip(x, axis), axis=axis, stable=True)
        order = np.flip(x.shape[axis] - 1 - rising, axis)
    else:
        order = np.argsort(x, axis=axis, stable=True)
    index = tuple(slice(k) if i == axis else slice(None) for i in range(x.ndim))
    places = order[index]
    return [np.take_along_axis(x, places, axis=axis), places]


refuses_to_read(
    "it computes with lists of arrays, and a graph here has arrays",
    "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
    "SequenceLength", "SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional",
    "OptionalGetElement", "OptionalHasElement",
)  # fmt: skip
refuses_to_read(
    "its body runs as often as its data say, and a graph here has no loops", "Loop", "Scan"
)
