"""Primitives that move entries: shapes, parts, joins, borders, diagonals, orders."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.onnx.calls import Call, counted_axis, fixed, refuses, writes
from tapegrad.nn.formats.onnx.dims import Dim, Size, product

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapegrad.nn.formats.onnx.building import GraphBuilder, GraphValue

__all__ = ["reverse", "taken_slice"]

FIRST = -(2**63) + 1  # an end before the first entry
LAST = 2**63 - 1


@writes("reshape")
def _reshape(call: Call) -> GraphValue:
    if call.shape == call.shapes[0]:
        return call.x
    return call.builder.reshape(call.x, call.shape)


@writes("transpose")
def _transpose(call: Call) -> GraphValue:
    axes = call.setting("axes")
    order = range(call.ndim)[::-1] if axes is None else [counted_axis(a, call.ndim) for a in axes]
    if list(order) == list(range(call.ndim)):
        return call.x
    return call.builder.op("Transpose", call.x, perm=list(order))


@writes("broadcast_to")
def _broadcast_to(call: Call) -> GraphValue:
    if call.shape == call.shapes[0]:
        return call.x
    return call.builder.op("Expand", call.x, call.builder.sizes_of(call.shape))


def reverse(w: GraphBuilder, x: GraphValue, axes: Sequence[int]) -> GraphValue:
    """x in reverse order along axes."""
    many = len(axes)
    return w.slice(x, [-1] * many, [FIRST] * many, axes, [-1] * many) if many else x


@writes("flip")
def _flip(call: Call) -> GraphValue:
    axes = call.axes()
    return reverse(call.builder, call.x, list(range(call.ndim)) if axes is None else axes)


@writes("concatenate")
def _concatenate(call: Call) -> GraphValue:
    arrays = [value.cast(call.dtype) for value in call.operands[0]]
    axis = call.setting("axis")
    if axis is None:
        arrays, axis = [call.builder.reshape(value, [-1]) for value in arrays], 0
    return call.builder.op("Concat", *arrays, axis=counted_axis(axis, len(call.shape)))


@writes("split")
def _split(call: Call) -> list[GraphValue]:
    axis = counted_axis(call.setting("axis"), call.ndim)
    lengths = [shape[axis] for _, shape in call.results]
    if len(lengths) == 1:
        return [call.x]
    sizes = call.builder.sizes_of(lengths)
    return call.builder.ops("Split", [call.x, sizes], len(lengths), axis=axis)


@writes("gated_linear")
def _gated_linear(call: Call) -> GraphValue:
    axis, w = counted_axis(call.setting("axis"), call.ndim), call.builder
    half = call.shape[axis]
    a, b = w.ops("Split", [call.value(0, call.dtype), w.sizes_of([half, half])], 2, axis=axis)
    return a * w.op("Sigmoid", b)


@writes("pad")
def _pad(call: Call) -> GraphValue:
    w, x = call.builder, call.x
    before = [width[0] for width in call.setting("widths")]
    after = [width[1] for width in call.setting("widths")]
    cut = [
        axis for axis, pair in enumerate(zip(before, after, strict=True))
        if any(not isinstance(n, Dim) and n < 0 for n in pair)
    ]  # fmt: skip
    if cut:
        starts = [max(-before[a], 0) if not isinstance(before[a], Dim) else 0 for a in cut]
        ends = [
            call.shapes[0][a] - (max(-after[a], 0) if not isinstance(after[a], Dim) else 0)
            for a in cut
        ]
        x = w.slice(x, starts, ends, cut)
    kept = [[n if isinstance(n, Dim) else max(n, 0) for n in side] for side in (before, after)]
    return w.pad(x, kept[0], kept[1], fill=call.setting("value"))


# Parts -------------------------------------------------------------------------------------------


def full_index(index: tuple[Any, ...], ndim: int) -> list[Any]:
    """The parts of an index, with full slices in place of an Ellipsis and at the end."""
    used = sum(part is not None and part is not Ellipsis for part in index)
    rest = [slice(None)] * (ndim - used)
    parts: list[Any] = []
    for part in index:
        parts.extend(rest if part is Ellipsis else [part])
        rest = [] if part is Ellipsis else rest
    return parts + (rest if Ellipsis not in index else [])


def _bounds(part: slice, length: Size) -> tuple[Size, Size, int]:
    """Start, end and step of a slice along an axis, as ONNX's Slice takes them."""
    step = 1 if part.step is None else part.step
    if isinstance(step, Dim):
        raise UnsupportedError("the step of a slice depends on the size of the batch")
    start = part.start if part.start is not None else (0 if step > 0 else -1)
    stop = part.stop if part.stop is not None else (LAST if step > 0 else FIRST)
    if step < 0 and not isinstance(start, Dim) and not isinstance(length, Dim):
        start = min(start, length - 1)
    if isinstance(stop, Dim) or isinstance(length, Dim) or part.stop is None:
        return start, stop, step
    if step < 0 and stop < -length:
        stop = FIRST
    return start, stop, step


def taken_slice(
    w: GraphBuilder, x: GraphValue, index: tuple[Any, ...], shape: Sequence[Size]
) -> GraphValue:
    """x[index] for integers, slices, None and Ellipsis; `shape` is that of x."""
    parts = full_index(index, len(shape))
    starts: list[Size] = []
    ends: list[Size] = []
    axes: list[int] = []
    steps: list[int] = []
    dropped: list[int] = []
    added: list[int] = []
    axis = 0
    for part in parts:
        if part is None:
            added.append(axis - len(dropped) + len(added))
            continue
        if isinstance(part, slice):
            start, stop, step = _bounds(part, shape[axis])
            if (start, stop, step) != (0, LAST, 1):
                starts.append(start)
                ends.append(stop)
                axes.append(axis)
                steps.append(step)
        else:
            end = LAST if not isinstance(part, Dim) and part == -1 else part + 1
            starts.append(part)
            ends.append(end)
            axes.append(axis)
            steps.append(1)
            dropped.append(axis)
        axis += 1
    if axes:
        x = w.slice(x, starts, ends, axes, steps)
    return w.unsqueeze(w.squeeze(x, dropped), added)


@writes("take_slice")
def _take_slice(call: Call) -> GraphValue:
    return taken_slice(call.builder, call.x, call.setting("index"), call.shapes[0])


@writes("unslice")
def _unslice(call: Call) -> GraphValue:
    w, x = call.builder, call.x
    shape = call.setting("shape")
    before: list[Size] = []
    after: list[Size] = []
    lengths: list[Size] = []
    for part, length in zip(
        [p for p in full_index(call.setting("index"), len(shape)) if p is not None],
        shape, strict=True,
    ):  # fmt: skip
        if not isinstance(part, slice):
            place = part if isinstance(part, Dim) or part >= 0 else length + part
            before.append(place)
            after.append(length - place - 1)
            lengths.append(1)
            continue
        if part.step not in (None, 1):
            return _scattered(call)
        if isinstance(length, Dim):
            if (part.start, part.stop) != (None, None):
                raise UnsupportedError("the gradient of a part of the batch")
            before.append(0)
            after.append(0)
            lengths.append(length)
            continue
        start, stop, _ = part.indices(length)
        before.append(start)
        after.append(length - max(stop, start))
        lengths.append(max(stop - start, 0))
    return w.pad(w.reshape(x, lengths), before, after)


def _scattered(call: Call) -> GraphValue:
    """The entries at the flat places that an index has in an array of zeros."""
    shape = fixed(call.setting("shape"), "the gradient of a slice with steps")
    places = np.arange(math.prod(shape)).reshape(shape)[call.setting("index")]
    w = call.builder
    zeros = w.op("Expand", w.number(0, call.dtype), w.vector([math.prod(shape)]))
    where = w.array(places.reshape(-1), "places")
    return w.reshape(w.op("ScatterElements", zeros, where, w.reshape(call.x, [-1]), axis=0), shape)


# Diagonals and triangles -------------------------------------------------------------------------


@writes("tril", "triu")
def _triangle(call: Call) -> GraphValue:
    upper = 1 if call.primitive.name == "triu" else 0
    k = call.setting("k")
    w = call.builder
    if call.x.dtype == bool:
        number = w.op("Trilu", call.x.cast(np.int32), w.number(k, np.int64), upper=upper)
        return number.cast(bool)
    return w.op("Trilu", call.x, w.number(k, np.int64), upper=upper)


@writes("diagonal", "leading_diagonal")
def _diagonal(call: Call) -> GraphValue:
    leading = call.primitive.name == "leading_diagonal"
    offset = 0 if leading else call.setting("offset")
    axes = (0, 1) if leading else (call.setting("axis1"), call.setting("axis2"))
    axis1, axis2 = (counted_axis(axis, call.ndim) for axis in axes)
    w = call.builder
    rows, columns = fixed([call.shapes[0][axis1], call.shapes[0][axis2]], "a diagonal")
    count = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    rest = [a for a in range(call.ndim) if a not in (axis1, axis2)]
    flat = w.op("Transpose", call.x, perm=[*rest, axis1, axis2])
    sizes = [call.shapes[0][a] for a in rest]
    flat = w.reshape(flat, [*sizes, rows * columns])
    first = max(-offset, 0) * columns + max(offset, 0)
    where = w.vector([first + i * (columns + 1) for i in range(count)])
    picked = w.op("Gather", flat, where, axis=len(rest))
    return w.op("Transpose", picked, perm=[len(rest), *range(len(rest))]) if leading else picked


@writes("from_diagonal")
def _from_diagonal(call: Call) -> GraphValue:
    shape = call.setting("shape")
    offset = call.setting("offset")
    axis1, axis2 = (counted_axis(call.setting(name), len(shape)) for name in ("axis1", "axis2"))
    w = call.builder
    rows, columns = fixed([shape[axis1], shape[axis2]], "a diagonal")
    (count,) = fixed(call.shapes[0][-1:], "a diagonal")
    first = np.arange(count) + max(-offset, 0), np.arange(count) + max(offset, 0)
    mask = np.zeros((count, rows, columns), dtype=bool)
    mask[np.arange(count), first[0], first[1]] = True
    # a product with a constant of zeros and ones: every entry goes to one place
    spread = w.array(mask.reshape(count, rows * columns).astype(call.dtype))
    rest = [a for a in range(len(shape)) if a not in (axis1, axis2)]
    y = w.op("MatMul", w.unsqueeze(call.x, [call.ndim - 1]), spread)
    y = w.reshape(y, [*(shape[a] for a in rest), rows, columns])
    order = [*rest, axis1, axis2]
    return w.op("Transpose", y, perm=[order.index(a) for a in range(len(shape))])


@writes("roll_entries")
def _roll(call: Call) -> GraphValue:
    axis, shift = call.setting("axis"), call.setting("shift")
    w, x, shape = call.builder, call.x, call.shapes[0]
    if axis is None:
        x, axis, shape = w.reshape(x, [-1]), 0, (product(shape),)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    for each, by in zip(axes, shifts, strict=True):
        along = counted_axis(each, len(shape))
        (length,) = fixed([shape[along]], "the length of a rolled axis")
        start = -by % length if length else 0
        if start:
            parts = [w.slice(x, [a], [b], [along]) for a, b in ((start, length), (0, start))]
            x = w.op("Concat", *parts, axis=along)
    return w.reshape(x, call.shape) if axis == 0 and call.setting("axis") is None else x


# Orders ------------------------------------------------------------------------------------------


@writes("argsort", "argpartition")
def _argsort(call: Call) -> GraphValue:
    axis = call.setting("axis")
    w, x, shape = call.builder, call.x, call.shapes[0]
    if axis is None:
        x, axis, shape = w.reshape(x, [-1]), 0, (product(shape),)
    along = counted_axis(axis, len(shape))
    count = w.sizes_of([shape[along]])
    if x.dtype == bool:
        x = x.cast(np.int32)
    _, order = w.ops(
        "TopK", [x, count], 2, dtypes=(None, np.int64), axis=along, largest=0, sorted=1
    )
    return order


@writes("largest_positions")
def _largest_positions(call: Call) -> GraphValue:
    along = counted_axis(call.setting("axis"), call.ndim)
    w = call.builder
    count = w.sizes_of([call.setting("count")])
    _, positions = w.ops(
        "TopK", [call.x, count], 2, dtypes=(None, np.int64), axis=along, largest=1, sorted=1
    )
    rising, _ = w.ops(
        "TopK", [positions, count], 2, dtypes=(None, np.int64), axis=along, largest=0, sorted=1
    )
    return rising


refuses("ONNX sorts along an axis, not rows", "lexsort_rows")
