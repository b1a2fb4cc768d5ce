"""Operators that cut arrays apart and join them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.nn.formats.tensorflow.arithmetic import in_one_order
from tapegrad.nn.formats.tensorflow.reading import NodeReading
from tapegrad.nn.formats.tensorflow.shapes import MOST, plain, without_axes
from tapegrad.nn.formats.tensorflow.values import Computed, Const, Dim, Sizes, Unknown, same_order
from tapegrad.nn.layers.indexing import Narrow, Select
from tapegrad.nn.layers.rearranging import Tile
from tapegrad.nn.layers.table import JoinTable, Pack

__all__ = ["READERS"]


# Slices -------------------------------------------------------------------------------------------


def _mask(r: NodeReading, name: str, axis: int) -> bool:
    return bool(r.whole(name, 0) >> axis & 1)


def _read_strided_slice(r: NodeReading) -> list[Any]:
    r.needs(4)
    begin, end, strides = (r.integers(i) for i in (1, 2, 3))
    if not len(begin) == len(end) == len(strides) or 0 in strides:
        raise r.error("as many begins as ends and strides")
    if r.whole("ellipsis_mask", 0) or r.whole("new_axis_mask", 0):
        raise r.refusal("slices without new axes and dots")
    source = r.ins[0]
    if isinstance(source, Sizes):
        if len(begin) != 1:
            raise r.error("a slice of a vector", len(begin))
        if _mask(r, "shrink_axis_mask", 0):
            if not -len(source.dims) <= begin[0] < len(source.dims):
                raise r.error(f"a place of {len(source.dims)}", begin[0])
            return [Sizes((source.dims[begin[0]],), scalar=True)]
        cut = slice(
            None if _mask(r, "begin_mask", 0) else begin[0],
            None if _mask(r, "end_mask", 0) else end[0],
            strides[0],
        )
        return [Sizes(source.dims[cut])]
    if isinstance(source, Const):
        array = source.array
        if len(begin) > array.ndim:
            raise r.error(f"slices of at most {array.ndim} axes", len(begin))
        parts: list[Any] = []
        for axis, (b, e, s) in enumerate(zip(begin, end, strides, strict=True)):
            if _mask(r, "shrink_axis_mask", axis):
                parts.append(b)
            else:
                first = None if _mask(r, "begin_mask", axis) else b
                parts.append(slice(first, None if _mask(r, "end_mask", axis) else e, s))
        return [Const(np.asarray(array[tuple(parts)]))]
    flow, shape = plain(r)
    if len(begin) > len(shape) or any(s != 1 for s in strides):
        raise r.refusal("slices with steps of 1", strides)
    cuts = []
    for axis, (b, e) in enumerate(zip(begin, end, strict=True)):
        first = 0 if _mask(r, "begin_mask", axis) else b
        last = None if _mask(r, "end_mask", axis) else e
        cuts.append((axis, first, last, _mask(r, "shrink_axis_mask", axis)))
    return [_cut(r, flow, shape, cuts)]


def _cut(
    r: NodeReading,
    flow: Computed,
    shape: tuple[Dim, ...],
    cuts: list[tuple[int, int, int | None, bool]],
) -> Computed:
    """Entries first to last of some axes of a flow; those to be dropped have one entry."""
    dropped: set[int] = set()
    now = list(shape)
    for axis, first, last, drop in cuts:
        length = shape[axis]
        ours = flow.order.index(axis) - sum(
            flow.order.index(d) < flow.order.index(axis) for d in dropped
        )
        if drop:
            if not isinstance(length, int) and first < 0:
                raise r.refusal("an axis whose length is known", axis)
            place = first + length if first < 0 and isinstance(length, int) else first
            if isinstance(length, int) and not 0 <= place < length:
                raise r.error(f"a place of {length}", first)
            order = without_axes(flow.order, dropped | {axis})
            dropped = dropped | {axis}
            left = [n for i, n in enumerate(now) if i not in dropped]
            flow2 = r.then(Select(ours, place), flow, left, order, f"select{axis}")
            flow = Computed(flow2.value, flow2.shape, flow.order, flow2.sole)
            continue
        if first == 0 and (last is None or last == length):
            continue
        if not isinstance(length, int):
            raise r.refusal("an axis whose length is known", axis)
        start, stop, _ = slice(first, last).indices(length)
        if stop <= start:
            raise r.error("at least one entry", (first, last))
        if (start, stop) == (0, length):
            continue
        now[axis] = stop - start
        left = [n for i, n in enumerate(now) if i not in dropped]
        layer = Narrow(ours, start, stop - start)
        flow2 = r.then(layer, flow, left, flow.order, f"narrow{axis}")
        flow = Computed(flow2.value, flow2.shape, flow.order, flow2.sole)
    left = [n for i, n in enumerate(now) if i not in dropped]
    return Computed(flow.value, tuple(left), without_axes(flow.order, dropped), flow.sole)


def _read_slice(r: NodeReading) -> list[Any]:
    r.needs(3)
    begin, size = r.integers(1), r.integers(2)
    if len(begin) != len(size) or min(begin, default=0) < 0 or min(size, default=0) < -1:
        raise r.error("a begin and a size for each axis", (begin, size))
    ends = [None if n == -1 else b + n for b, n in zip(begin, size, strict=True)]
    if isinstance(r.ins[0], Sizes) and len(begin) == 1:
        return [Sizes(r.ins[0].dims[begin[0] : ends[0]])]
    if r.all_const():
        parts = tuple(slice(b, e) for b, e in zip(begin, ends, strict=True))
        array = r.const(0)
        if len(parts) != array.ndim:
            raise r.error(f"slices of {array.ndim} axes", len(parts))
        return [Const(array[parts])]
    flow, shape = plain(r)
    if len(begin) != len(shape):
        raise r.error(f"slices of {len(shape)} axes", len(begin))
    cuts = [(i, b, e, False) for i, (b, e) in enumerate(zip(begin, ends, strict=True))]
    return [_cut(r, flow, shape, cuts)]


def _read_split(r: NodeReading) -> list[Any]:
    """Split: [axis, array]; SplitV: [array, sizes, axis]."""
    r.needs(2, 3)
    by_sizes = r.op == "SplitV"
    flow, shape = plain(r, 0 if by_sizes else 1)
    axis = r.axis(2 if by_sizes else 0, len(shape))
    length = shape[axis]
    count = r.whole("num_split")
    if not 1 <= count <= 10_000 or not isinstance(length, int):
        raise r.refusal("so many parts of an axis whose length is known", count)
    sizes = r.integers(1) if by_sizes else [length // count] * count
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = length - sum(sizes) - 1
    if len(sizes) != count or sum(sizes) != length or min(sizes) < 1:
        raise r.error(f"{count} parts of {length} entries", sizes[:10])
    found, start = [], 0
    for i, size in enumerate(sizes):
        out = [size if a == axis else n for a, n in enumerate(shape)]
        layer = Narrow(flow.order.index(axis), start, size)
        found.append(r.then(layer, flow, out, flow.order, f"{i}"))
        start += size
    return found


def _read_unpack(r: NodeReading) -> list[Any]:
    r.needs(1)
    flow, shape = plain(r)
    axis, count = r.whole("axis", 0), r.whole("num")
    if not -len(shape) <= axis < len(shape) or shape[axis] != count or count > 10_000:
        raise r.error("as many parts as the axis has", (axis, count))
    cut = axis % len(shape)
    return [_cut(r, flow, shape, [(cut, i, None, True)]) for i in range(count)]


# Joining ------------------------------------------------------------------------------------------


def _read_concat(r: NodeReading) -> list[Any]:
    """ConcatV2: [arrays, axis]; Concat: [axis, arrays]."""
    if len(r.ins) < 2:
        raise r.error("an axis and an array")
    first = r.op == "Concat"
    number, parts = (r.ins[0], r.ins[1:]) if first else (r.ins[-1], r.ins[:-1])
    indices = range(1, len(r.ins)) if first else range(len(r.ins) - 1)
    axes = NodeReading(r.session, r.record, [number])
    if any(isinstance(each, Sizes) for each in parts):
        dims = [dim for i in indices for dim in r.dims(i)]
        return [Sizes(tuple(dims))]
    if all(isinstance(each, Const) for each in parts):
        arrays = [each.array for each in parts]
        axis = axes.axis(0, arrays[0].ndim)
        size = sum(a.nbytes for a in arrays)
        return r.folded(lambda *a: np.concatenate(a, axis), *arrays, size=size)
    flows = [r.shaped(i)[0] for i in indices]
    shapes = [f.shape or () for f in flows]
    if len({len(shape) for shape in shapes}) != 1:
        raise r.error("arrays with equally many axes", shapes[:5])
    axis = axes.axis(0, len(shapes[0]))
    if len(flows) == 1:
        return [flows[0]]
    flows = in_one_order(r, flows)
    lengths = [shape[axis] for shape in shapes]
    total: Dim = Unknown()
    if all(isinstance(n, int) for n in lengths):
        total = sum(n for n in lengths if isinstance(n, int))
    out = [total if a == axis else n for a, n in enumerate(shapes[0])]
    layer = JoinTable(flows[0].order.index(axis))
    return [r.then(layer, flows, out, flows[0].order)]


def _read_pack(r: NodeReading) -> list[Any]:
    axis = r.whole("axis", 0)
    if r.ins and not any(isinstance(each, Computed) for each in r.ins):
        if any(isinstance(each, Sizes) for each in r.ins):
            dims = [r.dims(i) for i in range(len(r.ins))]
            if axis or any(len(d) != 1 for d in dims):
                raise r.refusal("a vector of lengths", axis)
            return [Sizes(tuple(d[0] for d in dims))]
        arrays = [r.const(i) for i in range(len(r.ins))]
        size = sum(a.nbytes for a in arrays)
        return r.folded(lambda *a: np.stack(a, axis), *arrays, size=size)
    flows = [r.in_graph_order(i) for i in range(len(r.ins))]
    if not flows:
        raise r.error("an array")
    shape = flows[0].shape or ()
    place = axis + len(shape) + 1 if axis < 0 else axis
    if not 0 <= place <= len(shape) or any(len(f.shape or ()) != len(shape) for f in flows):
        raise r.error(f"an axis of {len(shape) + 1}", axis)
    out = (*shape[:place], len(flows), *shape[place:])
    return [r.then(Pack(place), flows, out, same_order(len(out)))]


def _read_tile(r: NodeReading) -> list[Any]:
    r.needs(2)
    times = r.integers(1)
    if min(times, default=1) < 1 or max(times, default=1) >= MOST:
        raise r.error("copies from 1", times)
    if r.all_const():
        array = r.const(0)
        return r.folded(lambda a: np.tile(a, times), array, size=array.nbytes * math.prod(times))
    flow, shape = plain(r)
    if len(times) != len(shape):
        raise r.error("a number of copies for each axis", times)
    now = list(shape)
    for axis, count in enumerate(times):
        if count > 1:
            length = now[axis]
            now[axis] = length * count if isinstance(length, int) else Unknown()
            layer = Tile(flow.order.index(axis), count)
            flow = r.then(layer, flow, now, flow.order, f"tile{axis}")
    return [flow]


READERS: dict[str, Callable[[NodeReading], list[Any]]] = {
    "StridedSlice": _read_strided_slice,
    "Slice": _read_slice,
    "Split": _read_split,
    "SplitV": _read_split,
    "Unpack": _read_unpack,
    "ConcatV2": _read_concat,
    "Pack": _read_pack,
    "Tile": _read_tile,
}
