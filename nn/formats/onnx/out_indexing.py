"""Primitives that read and write at indices that are arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.onnx.building import GraphBuilder, GraphValue
from tapegrad.nn.formats.onnx.calls import Call, fixed, refuses, writes
from tapegrad.nn.formats.onnx.dims import Dim, Size, product
from tapegrad.nn.formats.onnx.out_shape import full_index, taken_slice

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__: list[str] = []

INT64 = np.dtype(np.int64)


class _ArrayIndex:
    """An index with arrays, taken apart.

    x is first taken by the basic parts of the index, in which arrays count as full slices; `axes`
    are the axes of the result of that which the arrays index, and `arrays` their values.
    together: whether these axes are neighbours, so that the arrays' own axes take their place;
              else these come first
    """

    def __init__(
        self,
        call: Call,
        template: tuple[Any, ...],
        shape: Sequence[Size],
        indices: Sequence[GraphValue],
        index_shapes: Sequence[Sequence[Size]],
    ) -> None:
        parts: list[Any] = []
        arrays = iter(zip(indices, index_shapes, strict=True))
        given: list[tuple[GraphValue, Sequence[Size]]] = []
        for part in template:
            if part is not HOLE:
                parts.append(part)
                continue
            value, its_shape = next(arrays)
            given.append((value, its_shape))
            count = len(its_shape) if value.dtype == bool else 1
            parts.extend([HOLE] * count)
        self.w = call.builder
        listed = full_index(tuple(parts), len(shape))
        basic = tuple(slice(None) if part is HOLE else part for part in listed)
        # with arrays beside them, integers are arrays too, which NumPy broadcasts
        numbers = [i for i, part in enumerate(listed) if _is_number(part)]
        basic = tuple(slice(None) if i in numbers else part for i, part in enumerate(basic))
        self.basic, self.shape = basic, list(shape)
        self.axes: list[int] = []
        self.arrays: list[GraphValue] = []
        self.index_shape: Sequence[Size] = ()
        self._place(listed, given)
        self.together = self.axes == list(range(self.axes[0], self.axes[0] + len(self.axes)))

    def _place(self, listed: list[Any], given: list[tuple[GraphValue, Sequence[Size]]]) -> None:
        """Fill axes, arrays and index_shape."""
        waiting, skip = list(given), 0
        shapes: list[Sequence[Size]] = []
        for axis, part in enumerate(listed):
            if part is HOLE and skip:  # a further axis of a mask
                skip -= 1
            elif part is HOLE:
                value, shape = waiting.pop(0)
                if value.dtype.kind != "b":
                    self.arrays.append(value.cast(INT64))
                    self.axes.append(axis)
                    shapes.append(shape)
                    continue
                if len(given) > 1:
                    raise UnsupportedError("a mask beside other arrays in one index")
                skip = len(shape) - 1
                self.arrays += _places_of(value, len(shape))
                self.axes += range(axis, axis + len(shape))
                shapes.append((Dim((-1, -2, -3)),))  # known when the file runs
            elif _is_number(part):
                is_dim = isinstance(part, Dim)
                self.arrays.append(self.w.dim(part) if is_dim else self.w.number(part, INT64))
                self.axes.append(axis)
                shapes.append(())
        self.index_shape = _broadcast(shapes)

    @property
    def is_mask(self) -> bool:
        """Whether the arrays come of a mask: their length is known when the file runs."""
        return any(isinstance(n, Dim) and n.values[0] < 0 for n in self.index_shape)

    def taken_shape(self) -> list[Size]:
        """The shape of x taken by the basic parts.  Slices of it must be full."""
        sizes = iter(self.shape)
        result: list[Size] = []
        for part in self.basic:
            if part is None:
                result.append(1)
                continue
            length = next(sizes)
            if part == slice(None):
                result.append(length)
            elif isinstance(length, Dim):
                raise UnsupportedError("a slice of the batch beside arrays in one index")
            else:
                result.append(len(range(*part.indices(length))))
        return result


def _places_of(mask: GraphValue, ndim: int) -> list[GraphValue]:
    """Where a mask holds, a vector for each axis."""
    w = mask.builder
    found = w.op("NonZero", mask, dtype=INT64)
    rows = w.ops("Split", [found, w.vector([1] * ndim)], ndim, axis=0)
    return [w.squeeze(row, [0]) for row in rows]


def _is_number(part: Any) -> bool:
    return part is not None and part is not HOLE and not isinstance(part, slice)


def _broadcast(shapes: Sequence[Sequence[Size]]) -> list[Size]:
    """The common shape of arrays that broadcast, whose lengths may be Dims."""
    ndim = max((len(shape) for shape in shapes), default=0)
    result: list[Size] = [1] * ndim
    for shape in shapes:
        for i, size in enumerate(shape, ndim - len(shape)):
            if size != 1:
                result[i] = size
    return result


@writes("take_index")
def _take_index(call: Call) -> GraphValue:
    index = _ArrayIndex(call, call.setting("template"), call.shapes[0], call.operands[1],
                     call.shapes[1])  # fmt: skip
    w = call.builder
    x = taken_slice(w, call.x, index.basic, call.shapes[0])
    if len(index.axes) == 1:
        return w.op("Gather", x, index.arrays[0], axis=index.axes[0])
    ndim = len(index.basic)
    rest = [axis for axis in range(ndim) if axis not in index.axes]
    if index.axes != list(range(len(index.axes))):
        x = w.op("Transpose", x, perm=[*index.axes, *rest])
    y = w.op("GatherND", x, _stacked(w, index))
    if not index.together or not index.axes[0]:
        return y
    many = 1 if index.is_mask else len(index.index_shape)
    before = index.axes[0]
    order = [*range(many, many + before), *range(many), *range(many + before, many + len(rest))]
    return w.op("Transpose", y, perm=order)


def _stacked(w: GraphBuilder, index: _ArrayIndex) -> GraphValue:
    """The index arrays, broadcast, side by side along a last axis."""
    if index.is_mask:
        columns = [w.unsqueeze(array, [1]) for array in index.arrays]
        return w.op("Concat", *columns, axis=1)
    shape = w.sizes_of(index.index_shape)
    columns = []
    for array in index.arrays:
        wide = w.op("Expand", array, shape) if index.index_shape else array
        columns.append(w.unsqueeze(wide, [len(index.index_shape)]))
    return columns[0] if len(columns) == 1 else w.op("Concat", *columns, axis=-1)


def _scattered(call: Call, x: GraphValue, v: GraphValue, index: _ArrayIndex, *, add: bool,
               v_shape: Sequence[Size]) -> GraphValue:  # fmt: skip
    """x with v written, or added, at an index whose slices are full."""
    w = call.builder
    if any(part != slice(None) for part in index.basic):
        raise UnsupportedError("a write at arrays beside slices in one index")
    ndim = len(index.basic)
    rest = [axis for axis in range(ndim) if axis not in index.axes]
    order = [*index.axes, *rest]
    moved = order != list(range(ndim))
    target = w.op("Transpose", x, perm=order) if moved else x
    many = len(index.index_shape)
    sizes = index.taken_shape()
    tail = [sizes[a] for a in rest]
    place = index.axes[0] if index.together else 0
    region = [*tail[:place], *index.index_shape, *tail[place:]]
    if not index.is_mask and list(v_shape) != region:
        v = w.op("Expand", v, w.sizes_of(region))
    elif index.is_mask:
        count = w.op("Shape", _stacked(w, index), dtype=INT64)
        length = w.slice(count, [0], [1], [0])
        parts = [w.sizes_of(tail)] if tail else []
        v = w.op("Expand", v, w.op("Concat", length, *parts, axis=0))
        if place:
            raise UnsupportedError("a write at a mask that is not the first part of its index")
    if place:
        back = [*range(place, place + many), *range(place), *range(place + many, len(region))]
        v = w.op("Transpose", v, perm=back)
    reduction = "add" if add else None
    y = w.op("ScatterND", target, _stacked(w, index), v, reduction=reduction)
    if not moved:
        return y
    return w.op("Transpose", y, perm=[order.index(axis) for axis in range(ndim)])


def _zeros(w: GraphBuilder, shape: Sequence[Size], dtype: Any) -> GraphValue:
    return w.op("Expand", w.number(0, dtype), w.sizes_of(shape))


@writes("index_add")
def _index_add(call: Call) -> GraphValue:
    shape = call.setting("shape")
    index = _ArrayIndex(call, call.setting("template"), shape, call.operands[1], call.shapes[1])
    zeros = _zeros(call.builder, shape, call.dtype)
    return _scattered(call, zeros, call.value(0, call.dtype), index, add=True,
                      v_shape=call.shapes[0])  # fmt: skip


@writes("replace_entries", "assign_at")
def _replace_entries(call: Call) -> GraphValue:
    x, shape, template = call.x, call.shapes[0], call.setting("template")
    v = call.value(1, x.dtype)
    path = call.setting("path") if call.primitive.name == "replace_entries" else ()
    if path and (call.operands[2] or any(isinstance(size, Dim) for size in shape)):
        raise UnsupportedError("a write into a view at arrays; write into the array itself")
    if not call.operands[2]:
        return _replace_slice(call, x, v, template, path)
    index = _ArrayIndex(call, template, shape, call.operands[2], call.shapes[2])
    return _scattered(call, x, v, index, add=False, v_shape=call.shapes[1])


def _replace_slice(
    call: Call, x: GraphValue, v: GraphValue, template: tuple[Any, ...], path: tuple[Any, ...]
) -> GraphValue:
    """x with v at an index of integers and slices: the flat places are known when it is written."""
    w = call.builder
    if any(isinstance(size, Dim) for size in call.shapes[0]):
        return _replace_in_samples(call, x, v, template)
    shape = fixed(call.shapes[0], "a write")
    places = _view(np.arange(math.prod(shape)).reshape(shape), path)[template]
    flat = w.reshape(x, [-1])
    wide = w.op("Expand", v, w.sizes_of(places.shape)) if places.shape else v
    where = w.array(places.reshape(-1))
    y = w.op("ScatterElements", flat, where, w.reshape(wide, [-1]), axis=0)
    return w.reshape(y, shape)


def _view(array: Any, path: tuple[Any, ...]) -> Any:
    """The view of an array that the steps of a path lead to."""
    for function, arguments, item in path:
        primitive = function.primitive
        operands = len(primitive.arguments) - 1
        settings = dict(zip(primitive.settings, arguments[operands:], strict=True))
        array = primitive.body(np, array, *arguments[:operands], **settings)
        array = array if item is None else array[item]
    return array


def _replace_in_samples(
    call: Call, x: GraphValue, v: GraphValue, template: tuple[Any, ...]
) -> GraphValue:
    """The same for arrays whose first axis is the batch, of which the index takes everything."""
    w, shape = call.builder, call.shapes[0]
    parts = full_index(template, len(shape))
    if parts[0] != slice(None) or any(isinstance(size, Dim) for size in shape[1:]):
        raise UnsupportedError("a write into a part of the batch")
    sample = fixed(shape[1:], "a write")
    places = np.arange(math.prod(sample)).reshape(sample)[tuple(parts[1:])]
    v = w.op("Expand", v, w.sizes_of([shape[0], *places.shape]))
    flat = w.op("Transpose", w.reshape(x, [shape[0], math.prod(sample)]), perm=[1, 0])
    rows = w.op("Transpose", w.reshape(v, [shape[0], places.size]), perm=[1, 0])
    where = w.array(places.reshape(-1, 1))
    y = w.op("ScatterND", flat, where, rows)
    return w.reshape(w.op("Transpose", y, perm=[1, 0]), shape)


@writes("assign")
def _assign(call: Call) -> GraphValue:
    v = call.value(1, call.x.dtype)
    if call.shapes[0] == call.shapes[1]:
        return v
    return call.builder.op("Expand", v, call.builder.sizes_of(call.shapes[0]))


@writes("accumulate")
def _accumulate(call: Call) -> GraphValue:
    return call.x + call.value(1, call.x.dtype)


# Counting ----------------------------------------------------------------------------------------


@writes("nonzero_parts")
def _nonzero_parts(call: Call) -> list[GraphValue]:
    return _places_of(call.x, call.ndim)


@writes("searchsorted")
def _searchsorted(call: Call) -> GraphValue:
    w = call.builder
    dtype = np.result_type(*(x.dtype for x in call.operands if isinstance(x, GraphValue)))
    v = w.unsqueeze(call.value(1, dtype), [len(call.shapes[1])])
    op = "Less" if call.setting("side") == "left" else "LessOrEqual"
    smaller = call.value(0, dtype).compare(op, v)
    return w.reduce("ReduceSum", smaller.cast(INT64), [len(call.shapes[1])])


@writes("digitize")
def _digitize(call: Call) -> GraphValue:
    w, right = call.builder, call.setting("right")
    dtype = np.result_type(*(x.dtype for x in call.operands if isinstance(x, GraphValue)))
    x, bins = w.unsqueeze(call.value(0, dtype), [call.ndim]), call.value(1, dtype)
    rising = bins.compare("Less" if right else "LessOrEqual", x)
    falling = x.compare("LessOrEqual" if right else "Less", bins)
    first, last = (w.slice(bins, [i], [j], [0]) for i, j in ((0, 1), (-1, 2**63 - 1)))
    passed = w.where(first.compare("Greater", last), falling.cast(INT64), rising.cast(INT64))
    return w.reduce("ReduceSum", passed, [call.ndim])


@writes("isin")
def _isin(call: Call) -> GraphValue:
    w = call.builder
    dtype = np.result_type(*(x.dtype for x in call.operands if isinstance(x, GraphValue)))
    x = w.unsqueeze(call.value(0, dtype), [call.ndim])
    tests = w.reshape(call.value(1, dtype), [-1])
    if product(call.shapes[1]) == 0:
        raise UnsupportedError("isin of no test elements")
    equal = x.compare("Equal", tests).cast(np.int32)
    found = w.reduce("ReduceMax", equal, [call.ndim]).cast(bool)
    return ~found if call.setting("invert") else found


@writes("leading_labels")
def _leading_labels(call: Call) -> GraphValue:
    w, x = call.builder, call.value(0, call.dtype)
    ended = x.compare("Less", 0).cast(np.int32)
    before = w.op("CumSum", ended, w.number(call.ndim - 1, INT64))
    return w.where(before.compare("Equal", 0), x, -1)


@writes("numbers_of_steps")
def _numbers_of_steps(call: Call) -> GraphValue:
    return call.builder.unsqueeze(call.value(0, INT64), [call.ndim])


@writes("outside_unit_interval", "below_zero")
def _zeros_like(call: Call) -> GraphValue:
    return _zeros(call.builder, call.shape, call.dtype)


refuses("a step of an optimizer is no model", "optimizer_step")
refuses("which of several writes to one entry is the last is not defined in ONNX",
        "is_last_write")  # fmt: skip
refuses("labels with blanks between them are built for losses alone, which are no models",
        "extended_labels")  # fmt: skip
refuses(
    "boxes are chosen by their scores in a way of its own: NonMaxSuppression is another",
    "pyramid_regions", "detected_rows", "frcnn_detections", "proposed_regions", "detections",
)  # fmt: skip
refuses("a random draw; export in evaluation mode, or pass the noise as an input",
        "uniform", "normal", "bernoulli")  # fmt: skip
