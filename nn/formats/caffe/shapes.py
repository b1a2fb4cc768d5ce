"""Layers that join, cut and rearrange blobs, read and written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.caffe.fields import SCHEMA
from tapegrad.nn.formats.caffe.reading import Flow, Lengths, Reading
from tapegrad.nn.formats.common.operators import Operator
from tapegrad.nn.layers.activation import Abs, Square
from tapegrad.nn.layers.indexing import Narrow, Select
from tapegrad.nn.layers.pointwise import MulConstant
from tapegrad.nn.layers.rearranging import InferReshape, Tile
from tapegrad.nn.layers.reduction import Mean, Sum
from tapegrad.nn.layers.shape import (
    Collapse,
    Contiguous,
    Flatten,
    Reshape,
    Squeeze,
    Transpose,
    Unsqueeze,
    View,
)
from tapegrad.nn.layers.table import JoinTable, SplitTable

if TYPE_CHECKING:
    from tapegrad.nn.formats.caffe.writing import Writing

__all__ = ["OPERATORS"]

NEED_SHAPE = "a shape of the input (an Input layer, or input_shape), on which this layer depends"


def read_concat(r: Reading) -> list[Flow]:
    p = r.param("concat_param")
    r.needs(1)
    axis = r.axis(p.concat_dim if "concat_dim" in p else p.axis)
    return [r.then(JoinTable(axis), _joined(r, axis), r.bottoms)]


def _joined(r: Reading, axis: int) -> Lengths:
    shapes = [flow.shape for flow in r.bottoms]
    first = shapes[0]
    if first is None or any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape is not None]
    if any(len(shape) != len(first) for shape in known):
        raise r.error("blobs of equally many axes", [len(shape) for shape in known])
    lengths = [shape[axis] for shape in known]
    total = None if None in lengths else sum(n for n in lengths if n is not None)
    merged = [next((s[i] for s in known if s[i] is not None), None) for i in range(len(first))]
    merged[axis] = total
    return tuple(merged)


def write_join(w: Writing, layer: Any) -> list[str]:
    axis = layer.dimension
    if layer.nInputDims is not None:
        ndim = w.ndim()
        if ndim is None:
            raise w.refusal("an example input, which says whether there is a batch")
        axis += axis >= 0 and ndim == layer.nInputDims + 1
    if len(w.bottoms) == 1:
        return w.put("Split")
    return w.put("Concat", concat_param={"axis": w.axis(axis)})


def read_slice(r: Reading) -> list[Flow]:
    p = r.param("slice_param")
    r.needs(1, 1)
    axis = r.axis(p.slice_dim if "slice_dim" in p else p.axis)
    points, count, length = list(p.slice_point), len(r.layer.tops), r.length(axis)
    if not points and count > 1:
        if length is None:
            raise r.refusal(NEED_SHAPE)
        if length % count:
            raise r.error(f"a length that {count} divides", length)
        points = [length // count * i for i in range(1, count)]
    edges = [0, *points]
    if len(points) != count - 1 or any(a >= b for a, b in zip(edges, points, strict=False)):
        raise r.error(f"{count - 1} slice_points that grow", points)
    if length is not None and edges[-1] >= length:
        raise r.error(f"slice_points below {length}", edges[-1])
    flows = []
    for number, start in enumerate(edges):
        stop = length if number == count - 1 else edges[number + 1]
        size = -1 if stop is None else stop - start
        shape = None if r.shape is None else list(r.shape)
        if shape is not None:
            shape[axis] = None if stop is None else stop - start
        part = Reading(r.session, r.layer, r.bottoms)
        part.name = f"{r.name}_{number}"
        flows.append(part.then(Narrow(axis, start, size), None if shape is None else tuple(shape)))
    return flows


def write_narrow(w: Writing, layer: Any) -> list[str]:
    kind = w.input_type()
    if kind is None:
        raise w.refusal("an example input, which says how long the axis is")
    axis = w.axis(layer.dimension)
    length = kind.shape[axis]
    start, stop = layer.index, layer.index + layer.length
    if layer.index < 0:
        start, stop = 0, length - layer.length
    elif layer.length < 0:
        stop = length + 1 + layer.length
    return _write_cut(w, axis, start, stop, length)


def _write_cut(
    w: Writing, axis: int, start: int, stop: int, length: int, ending: str = ""
) -> list[str]:
    """A Slice of which one part is used, and the others are silenced."""
    edges = [0, *(n for n in (start, stop) if 0 < n < length)]
    if len(edges) == 1:
        return w.put("Split", ending=ending)
    p = {"axis": axis, "slice_point": edges[1:]}
    tops = w.put("Slice", tops=len(edges), ending=ending, slice_param=p)
    wanted = tops.pop(edges.index(start))
    w.put("Silence", reads=tops, ending="_unused", tops=0)
    return [wanted]


def write_select(w: Writing, layer: Any) -> list[str]:
    kind = w.input_type()
    if kind is None:
        raise w.refusal("an example input, which says how long the axis is")
    axis = w.axis(layer.dimension)
    if axis == 0:
        raise w.refusal("an axis behind the batch")
    length = kind.shape[axis]
    start = layer.index % length
    tops = _write_cut(w, axis, start, start + 1, length, "_slice")
    return _write_sizes(w, (*kind.shape[:axis], *kind.shape[axis + 1 :]), tops)


def write_split_table(w: Writing, layer: Any) -> list[str]:
    kind = w.input_type()
    if kind is None:
        raise w.refusal("an example input, which says how long the axis is")
    ndim = len(kind.shape)
    axis = w.axis(layer.dimension)
    axis += layer.dimension >= 0 and ndim == (layer.nInputDims or -1) + 1
    if axis == 0:
        raise w.refusal("an axis behind the batch")
    length = kind.shape[axis]
    p = {"axis": axis, "slice_point": list(range(1, length))}
    parts = w.put("Slice", tops=length, ending="_slice", slice_param=p)
    rest = (*kind.shape[:axis], *kind.shape[axis + 1 :])
    return [_write_sizes(w, rest, [part], f"_{i}")[0] for i, part in enumerate(parts)]


def read_split(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    return r.bottoms * max(len(r.layer.tops), 1)


def read_silence(_: Reading) -> list[Flow]:
    return []


# Shapes -------------------------------------------------------------------------------------------


def read_flatten(r: Reading) -> list[Flow]:
    p = r.param("flatten_param")
    r.needs(1, 1)
    first, last, shape = r.axis(p.axis), r.axis(p.end_axis), r.shape
    if shape is not None:
        if last < first:
            raise r.error("axis before end_axis", (p.axis, p.end_axis))
        shape = (*shape[:first], _count(shape[first : last + 1]), *shape[last + 1 :])
    return [r.then(Flatten(first, last), shape)]


def _count(lengths: tuple[int | None, ...]) -> int | None:
    known = [n for n in lengths if n is not None]
    return math.prod(known) if len(known) == len(lengths) else None


def read_reshape_layer(r: Reading) -> list[Flow]:
    p = r.param("reshape_param")
    r.needs(1, 1)
    dims = [int(n) for n in p.shape.dim]
    if any(n < -1 for n in dims) or dims.count(-1) > 1:
        raise r.error("lengths, 0 and at most one -1", dims)
    axis = p.axis if p.axis >= 0 else (0 if r.ndim is None else r.ndim + 1 + p.axis)
    if axis < 0 or (r.ndim is None and p.axis < 0) or (r.ndim is not None and axis > r.ndim):
        raise r.error("an axis of the blob", p.axis)
    sizes = [0] * axis + dims
    if p.num_axes != -1:
        if r.shape is None or None in r.shape[axis + p.num_axes :]:
            raise r.refusal(NEED_SHAPE)
        sizes += [int(n or 0) for n in r.shape[axis + p.num_axes :]]
    return [r.then(InferReshape(sizes), _reshaped(r, sizes))]


def _reshaped(r: Reading, sizes: list[int]) -> Lengths:
    shape = r.shape
    if shape is None:
        return None
    if any(n == 0 and i >= len(shape) for i, n in enumerate(sizes)):
        raise r.error(f"at most {len(shape)} lengths that are kept", sizes)
    lengths: list[int | None] = [shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    if -1 in sizes:
        rest = _count(tuple(n for i, n in enumerate(shape) if i >= len(sizes) or sizes[i]))
        known = math.prod(n for n in sizes if n > 0)
        if rest is not None and rest % known:
            raise r.error(f"lengths for {rest} entries", sizes)
        lengths[sizes.index(-1)] = None if rest is None else rest // known
    return tuple(lengths)


def _write_sizes(
    w: Writing, sizes: Sequence[int], reads: Sequence[str] | None = None, ending: str = ""
) -> list[str]:
    """A Reshape to the sizes of a sample behind the batch, which stays; to a row: a Flatten."""
    if len(sizes) == 2:
        return w.put("Flatten", reads=reads, ending=ending)
    shape = SCHEMA.new("BlobShape", dim=[0, *sizes[1:]])
    return w.put("Reshape", reads=reads, ending=ending, reshape_param={"shape": shape})


def write_reshaping(w: Writing, layer: Any) -> list[str]:
    """View, Reshape and the like: by what they did with the example, or by what they say."""
    kind, out = w.input_type(), w.output_type()
    if kind is not None and out is not None:
        if not kind.shape or not out.shape or kind.shape[0] != out.shape[0]:
            raise w.refusal("a layer that keeps the batch", f"{kind.shape} to {out.shape}")
        return _write_sizes(w, out.shape)
    sizes = _stated(layer)
    if sizes is None:
        raise w.refusal("an example input, which says what the shape becomes")
    return _write_sizes(w, (0, *sizes))


def _stated(layer: Any) -> tuple[int, ...] | None:
    """The sizes of a sample that a layer states, where it is sure to be given a batch."""
    if isinstance(layer, Flatten):
        return (-1,) if (layer.start_dim, layer.end_dim) == (1, -1) else None
    if isinstance(layer, View):
        return layer.size if layer.numInputDims is not None or -1 not in layer.size else None
    if isinstance(layer, Reshape):
        return layer.size if layer.batchMode is not False else None
    if isinstance(layer, InferReshape):
        if layer.batchMode:
            return layer.size if 0 not in layer.size else None
        return layer.size[1:] if layer.size[:1] == (0,) and 0 not in layer.size[1:] else None
    return None


def read_permute(r: Reading) -> list[Flow]:
    order = list(r.param("permute_param").order)
    r.needs(1, 1)
    known = r.ndim if r.shape is None else len(r.shape)
    ndim = max(4, len(order)) if known is None else known
    if len(set(order)) != len(order) or any(n >= ndim for n in order) or ndim > 32:
        raise r.error(f"different axes below {ndim}", order)
    order += [n for n in range(ndim) if n not in order]
    shape = None if r.shape is None else tuple(r.shape[n] for n in order)
    return [r.then(Transpose(*_swaps(order)), shape)]


def _swaps(order: list[int]) -> list[tuple[int, int]]:
    """Pairs of axes that, exchanged one after the other, give this order."""
    now, pairs = list(range(len(order))), []
    for place, axis in enumerate(order):
        where = now.index(axis)
        if where != place:
            pairs.append((place, where))
            now[place], now[where] = now[where], now[place]
    return pairs


def write_transpose(w: Writing, layer: Any) -> list[str]:
    ndim = w.ndim()
    if ndim is None:
        raise w.refusal("an example input, which says how many axes there are")
    batch = 0 if layer.numInputDims is None else ndim - layer.numInputDims
    order = list(range(ndim))
    for pair in layer.permutations:
        a, b = ((d + batch if d >= 0 else d) % ndim for d in pair)
        order[a], order[b] = order[b], order[a]
    return w.put("Permute", permute_param={"order": order})


def read_tile(r: Reading) -> list[Flow]:
    p = r.param("tile_param")
    r.needs(1, 1)
    r.positive("tiles", p.tiles)
    axis, shape = r.axis(p.axis), r.shape
    if shape is not None:
        length = shape[axis]
        long = None if length is None else length * p.tiles
        shape = (*shape[:axis], long, *shape[axis + 1 :])
    return [r.then(Tile(axis, p.tiles), shape)]


def write_tile(w: Writing, layer: Any) -> list[str]:
    return w.put("Tile", tile_param={"axis": w.axis(layer.dim), "tiles": layer.copies})


def read_crop(r: Reading) -> list[Flow]:
    p = r.param("crop_param")
    r.needs(2, 2)
    (x, reference), offsets = r.bottoms, list(p.offset)
    if x.shape is None or reference.shape is None:
        raise r.refusal(NEED_SHAPE)
    axis, ndim = r.axis(p.axis), len(x.shape)
    if len(reference.shape) != ndim or len(offsets) not in (0, 1, ndim - axis):
        raise r.error(f"two blobs of {ndim} axes, and an offset for each axis", offsets)
    starts = offsets * (ndim - axis) if len(offsets) == 1 else offsets or [0] * (ndim - axis)
    layers, shape = [], list(x.shape)
    for where, start in zip(range(axis, ndim), starts, strict=True):
        length, wanted = x.shape[where], reference.shape[where]
        if length is None or wanted is None:
            raise r.refusal(NEED_SHAPE)
        if start + wanted > length:
            raise r.error(f"a part of the {length} entries along axis {where}", start + wanted)
        shape[where] = wanted
        if (start, wanted) != (0, length):
            layers.append(Narrow(where, start, wanted))
    return r.chain(*layers, shape=tuple(shape)) if layers else [x]


def read_reduction(r: Reading) -> list[Flow]:
    p = r.param("reduction_param")
    r.needs(1, 1)
    axis = r.axis(p.axis)
    first: dict[int, list[Any]] = {2: [Abs()], 3: [Square()]}
    before = first.get(p.operation, [])
    if r.ndim is None or r.ndim - axis > 1:
        before.append(Flatten(axis, -1))
    layers = [*before, Mean(axis) if p.operation == 4 else Sum(axis)]
    if p.coeff != 1:
        layers.append(MulConstant(p.coeff))
    shape = None if r.shape is None else r.shape[:axis] or (1,)
    return r.chain(*layers, shape=shape)


def write_reduction(w: Writing, layer: Any) -> list[str]:
    ndim = w.ndim()
    if ndim is None:
        raise w.refusal("an example input, which says how many axes there are")
    axis = layer.dimension
    axis += ndim if axis < 0 else ndim == (layer.nInputDims or -1) + 1
    if axis != ndim - 1 or ndim < 2:
        raise w.refusal("a reduction of the last axis", f"axis {axis} of {ndim}")
    if not layer.squeeze:
        raise w.refusal("a reduction that drops the axis")
    operation = 4 if layer.sizeAverage else 1
    return w.put("Reduction", reduction_param={"operation": operation, "axis": axis})


def write_same(w: Writing, _: Any) -> list[str]:
    return w.put("Split")


OPERATORS = [
    Operator("Concat", read_concat, {JoinTable: write_join}),
    Operator("Slice", read_slice,
             {Narrow: write_narrow, Select: write_select, SplitTable: write_split_table},
             note="each top is a Narrow"),
    Operator("Split", read_split, {Contiguous: write_same}, note="the same blob under more names"),
    Operator("Silence", read_silence, note="left out"),
    Operator("Flatten", read_flatten),
    Operator(
        "Reshape", read_reshape_layer,
        dict.fromkeys((View, Reshape, Flatten, InferReshape, Squeeze, Unsqueeze, Collapse),
                      write_reshaping),
        note="what keeps the batch; to one row for each sample: Flatten",
    ),
    Operator("Permute", read_permute, {Transpose: write_transpose}, note="SSD's"),
    Operator("Tile", read_tile, {Tile: write_tile}),
    Operator("Crop", read_crop, note="of known sizes; read only"),
    Operator("Reduction", read_reduction, dict.fromkeys((Sum, Mean), write_reduction),
             note="of the last axes; one axis is written"),
]  # fmt: skip
