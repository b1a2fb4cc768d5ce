"""Operators about shapes and axes, and what is computed from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.nn.formats.tensorflow.reading import Dead, NodeReading
from tapegrad.nn.formats.tensorflow.values import (
    CHANNELS_FIRST,
    Computed,
    Const,
    Dim,
    Sizes,
    Unknown,
    same_order,
)
from tapegrad.nn.layers.pooling.fixed import SpatialAveragePooling
from tapegrad.nn.layers.rearranging import InferReshape
from tapegrad.nn.layers.reduction import Max, Mean, Min, Sum
from tapegrad.nn.layers.shape import Reshape, Squeeze, Unsqueeze

__all__ = ["MOST", "READERS", "plain", "without_axes"]

Array = np.ndarray[Any, Any]
MOST = 1 << 31  # of a length, a number of copies, …


def plain(r: NodeReading, index: int = 0) -> tuple[Computed, tuple[Dim, ...]]:
    """A flow whose axes are not yet to be joined, and its shape."""
    flow, shape = r.shaped(index)
    if flow.folded is not None:
        flow = r.session.graph_order(flow, r.path)
    return flow, shape


def without_axes(order: Sequence[int], axes: set[int]) -> tuple[int, ...]:
    """The order of what remains without these axes of the graph."""
    return tuple(o - sum(axis < o for axis in axes) for o in order if o not in axes)


# Values that are known, lengths -------------------------------------------------------------------


def _read_const(r: NodeReading) -> list[Any]:
    return [Const(r.tensor("value"))]


def _read_shape(r: NodeReading) -> list[Any]:
    r.needs(1)
    if r.all_const():
        return [Const(np.array(r.const(0).shape, np.int32))]
    return [Sizes(r.shaped(0)[1])]


def _read_rank(r: NodeReading) -> list[Any]:
    r.needs(1)
    if r.all_const():
        return [Const(np.array(r.const(0).ndim, np.int32))]
    return [Const(np.array(len(r.shaped(0)[1]), np.int32))]


def _read_cast(r: NodeReading) -> list[Any]:
    r.needs(1)
    wanted = r.dtype("DstT")
    if isinstance(r.ins[0], Sizes) and wanted.kind in "iu":
        return [r.ins[0]]
    if r.all_const():
        found = r.const(0)
        return r.folded(lambda a: a.astype(wanted), found, size=found.size * wanted.itemsize)
    if r.dtype("SrcT") != wanted:
        raise r.refusal("one type of numbers throughout the module", wanted)
    return [r.ins[0]]


def _read_fill(r: NodeReading) -> list[Any]:
    r.needs(2)
    shape, value = r.integers(0), r.const(1)
    if value.ndim or min(shape, default=0) < 0 or len(shape) > 32:
        raise r.error("a shape and one number", (shape, value.shape))
    size = math.prod(shape) * value.itemsize
    r.session.charge(size, r.path)
    return [Const(np.full(shape, value))]


def _read_range(r: NodeReading) -> list[Any]:
    r.needs(3)
    start, stop, step = (r.const(i) for i in range(3))
    if any(a.ndim for a in (start, stop, step)) or step == 0:
        raise r.error("three numbers, and a step that is not 0")
    count = float(stop - start) / float(step)
    if not count < MOST:
        raise r.error("so many numbers", count)
    r.session.charge(8 * max(int(count), 0), r.path)
    return [Const(np.arange(start.item(), stop.item(), step.item(), dtype=start.dtype))]


def _read_like(r: NodeReading) -> list[Any]:
    r.needs(1)
    make = np.zeros_like if r.op == "ZerosLike" else np.ones_like
    return r.folded(make, r.const(0))


def _read_gather(r: NodeReading) -> list[Any]:
    """Gather, GatherV2 of constants or of lengths along axis 0."""
    r.needs(2, 3)
    if len(r.ins) == 3 and r.integers(2) != [0]:
        raise r.refusal("a choice along axis 0", r.integers(2))
    indices = r.const(1)
    if isinstance(r.ins[0], Sizes):
        dims = r.ins[0].dims
        if indices.ndim > 1 or any(not 0 <= i < len(dims) for i in indices.reshape(-1)):
            raise r.error(f"places of {len(dims)} lengths", indices.shape)
        return [Sizes(tuple(dims[i] for i in indices.reshape(-1)), scalar=not indices.ndim)]
    table = r.const(0)
    if not table.ndim or indices.dtype.kind not in "iu":
        raise r.error("a table and places in it", table.shape)
    if indices.size and not 0 <= indices.min() <= indices.max() < len(table):
        raise r.error(f"places in {len(table)} rows", indices.shape)
    size = indices.size * table[:1].nbytes
    r.session.charge(size, r.path)
    return [Const(table[indices])]


def _read_switch(r: NodeReading) -> list[Any]:
    r.needs(2)
    taken = r.const(1)
    if taken.dtype != np.bool or taken.size != 1:
        raise r.error("true or false", taken.dtype)
    return [Dead(), r.ins[0]] if taken else [r.ins[0], Dead()]


def _read_merge(r: NodeReading) -> list[Any]:
    alive = [(i, each) for i, each in enumerate(r.ins) if not isinstance(each, Dead)]
    if len(alive) != 1:
        raise r.refusal("one branch that is taken", f"{len(alive)}")
    index, value = alive[0]
    return [value, Const(np.array(index, np.int32))]


# Axes ---------------------------------------------------------------------------------------------


def _read_transpose(r: NodeReading) -> list[Any]:
    r.needs(2)
    turn = r.integers(1)
    if r.all_const():
        array = r.const(0)
        if sorted(turn) != list(range(array.ndim)):
            raise r.error("each axis once", turn)
        return [Const(array.transpose(turn))]
    flow, shape = plain(r)
    if sorted(turn) != list(range(len(shape))):
        raise r.error("each axis once", turn)
    order = tuple(turn.index(axis) for axis in flow.order)
    return [Computed(flow.value, tuple(shape[axis] for axis in turn), order, flow.sole)]


def _read_expand_dims(r: NodeReading) -> list[Any]:
    r.needs(2)
    if r.all_const():
        return [Const(np.expand_dims(r.const(0), r.axis(1, r.const(0).ndim + 1)))]
    if isinstance(r.ins[0], Sizes):
        if not r.ins[0].scalar:
            raise r.refusal("one length")
        return [Sizes(r.ins[0].dims)]
    flow, shape = plain(r)
    axis = r.axis(1, len(shape) + 1)
    out = (*shape[:axis], 1, *shape[axis:])
    moved = tuple(o + (o >= axis) for o in flow.order)
    place = axis if flow.order == same_order(len(shape)) else len(shape)
    order = (*moved[:place], axis, *moved[place:])
    return [r.then(Unsqueeze(place), flow, out, order)]


def _read_squeeze(r: NodeReading) -> list[Any]:
    r.needs(1)
    axes = r.wholes("squeeze_dims") or r.wholes("axis")
    if r.all_const():
        array = r.const(0)
        return [Const(np.squeeze(array, tuple(axes) or None))]
    if isinstance(r.ins[0], Sizes):
        return [Sizes(r.ins[0].dims, scalar=True)] if len(r.ins[0].dims) == 1 else [r.ins[0]]
    flow, shape = plain(r)
    if any(not -len(shape) <= a < len(shape) for a in axes):
        raise r.error(f"axes of {len(shape)}", axes)
    gone = {a % len(shape) for a in axes} or {i for i, n in enumerate(shape) if n == 1}
    if any(isinstance(shape[a], int) and shape[a] != 1 for a in gone):
        raise r.error("axes of length 1", shape)
    return [_squeezed(r, flow, shape, gone)]


def _squeezed(r: NodeReading, flow: Computed, shape: tuple[Dim, ...], gone: set[int]) -> Computed:
    """A flow without these axes of the graph."""
    order, dropped = flow.order, set[int]()
    for ours in sorted((order.index(a) for a in gone), reverse=True):
        dropped.add(order[ours])
        left = [n for i, n in enumerate(shape) if i not in dropped]
        now = without_axes(order, dropped)
        flow = r.then(
            Squeeze(ours), flow, left, now, "" if len(dropped) == len(gone) else f"{ours}"
        )
    return flow


REDUCTIONS: dict[str, tuple[type, Callable[..., Any]]] = {
    "Mean": (Mean, np.mean),
    "Sum": (Sum, np.sum),
    "Max": (Max, np.max),
    "Min": (Min, np.min),
}


def _read_reduction(r: NodeReading) -> list[Any]:
    r.needs(2)
    keep = r.flag("keep_dims")
    axes = r.integers(1)
    if r.all_const() or r.op == "Prod":
        if isinstance(r.ins[0], Sizes) and not r.all_const():
            raise r.refusal("lengths that are known")
        array = r.const(0)
        compute = np.prod if r.op == "Prod" else REDUCTIONS[r.op][1]
        return r.folded(
            lambda a: compute(a, axis=tuple(axes), keepdims=keep).astype(a.dtype), array
        )
    flow, shape = plain(r)
    if any(not -len(shape) <= a < len(shape) for a in axes):
        raise r.error(f"axes of {len(shape)}", axes)
    gone = {a % len(shape) for a in axes}
    out = tuple(1 if a in gone else n for a, n in enumerate(shape))
    places = sorted(flow.order.index(a) for a in gone)
    if r.op == "Mean" and len(shape) == 4 and places == [2, 3]:
        layer: Any = SpatialAveragePooling(1, 1, globalPooling=True)
        pooled = r.then(layer, flow, out, flow.order, "" if keep else "pool")
        return [pooled if keep else _squeezed(r, pooled, out, gone)]
    if len(gone) == len(shape):
        raise r.refusal("a reduction that leaves an axis", axes)
    cls = REDUCTIONS[r.op][0]
    dropped: set[int] = set()
    order = flow.order
    for ours in reversed(places):
        dropped.add(order[ours])
        left = [n for i, n in enumerate(shape) if i not in dropped]
        last = len(dropped) == len(gone) and not keep
        flow = r.then(
            cls(ours), flow, left, without_axes(order, dropped), "" if last else f"{ours}"
        )
    if keep:
        for number, ours in enumerate(places, 1):
            dropped.discard(order[ours])
            left = [n for i, n in enumerate(out) if i not in dropped]
            now = without_axes(order, dropped)
            name = "" if number == len(places) else f"keep{ours}"
            flow = r.then(Unsqueeze(ours), flow, left, now, name)
    return [flow]


# Reshape ------------------------------------------------------------------------------------------


def _same_length(a: Dim, b: Dim) -> bool:
    return a is b or (isinstance(a, int) and isinstance(b, int) and a == b)


def _product(dims: Sequence[Dim]) -> int | None:
    found = [n for n in dims if isinstance(n, int)]
    return math.prod(found) if len(found) == len(dims) else None


def _completed(r: NodeReading, shape: tuple[Dim, ...], target: list[Dim]) -> list[Dim]:
    """The target with the length that -1 stands for, where that is known."""
    if target.count(-1) > 1 or any(isinstance(n, int) and n < -1 for n in target):
        raise r.error("lengths, and at most one -1", target)
    if -1 not in target:
        return target
    place = target.index(-1)
    have, want = list(shape), [n for i, n in enumerate(target) if i != place]
    for n in list(want):  # lengths that nobody knows, on both sides
        same = next((i for i, m in enumerate(have) if not isinstance(n, int) and m is n), None)
        if same is not None:
            have.pop(same)
            want.remove(n)
    unknown = [n for n in have if not isinstance(n, int)]
    total, known = _product(have), _product(want)
    if known and total is not None and total % known == 0:
        target[place] = total // known
    elif (
        known and len(unknown) == 1 and _product([n for n in have if n is not unknown[0]]) == known
    ):
        target[place] = unknown[0]
    else:
        target[place] = Unknown()
    return target


def _read_reshape(r: NodeReading) -> list[Any]:
    r.needs(2)
    if r.all_const():
        array, sizes = r.const(0), r.integers(1)
        known = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) > 1 or min(sizes, default=0) < -1 or len(sizes) > 32 or (
            array.size != known if -1 not in sizes else not known or array.size % known
        ):  # fmt: skip
            raise r.error(f"a shape for {array.size} entries", sizes)
        return [Const(array.reshape(sizes))]
    if isinstance(r.ins[0], Sizes):
        sizes = r.integers(1)
        if sizes in ([], [-1], [1], [len(r.ins[0].dims)]):
            return [Sizes(r.ins[0].dims, scalar=not sizes)]
        raise r.refusal("a vector of lengths", sizes)
    flow, shape = r.shaped(0)
    wanted = r.dims(1)
    inferred = next((i for i, n in enumerate(wanted) if isinstance(n, int) and n == -1), None)
    target = _completed(r, shape, list(wanted))
    if len(target) == len(shape) and all(map(_same_length, target, shape)):
        return [flow]
    inner = _product(shape[1:])
    if (
        shape
        and inner is not None
        and _product(target) == inner
        and not (isinstance(shape[0], int) and shape[0] == 1)
    ):
        target = [shape[0], *target]  # BigDL's saver leaves out the axis of the batch
    keeps_batch = (
        bool(target)
        and bool(shape)
        and _product(target[1:]) is not None
        and (
            _same_length(target[0], shape[0])
            or (inferred == 0 and inner is not None and _product(target[1:]) == inner)
        )
    )
    total, made = _product(shape), _product(target)
    if total is not None and made is not None and total != made:
        raise r.error(f"a shape for {total} entries", target)
    if keeps_batch:
        target[0] = shape[0]
        sizes = [n for n in target[1:] if isinstance(n, int)]
        if inner is not None and math.prod(sizes) != inner:
            raise r.error(f"a shape for {inner} entries", sizes)
        return [_of_samples(r, flow, shape, target, sizes)]
    flow = r.session.graph_order(flow, r.path)
    lengths = [n if isinstance(n, int) else -1 for n in target]
    for i, n in enumerate(target):
        if lengths.count(-1) > 1 and i < len(shape) and n is shape[i]:
            lengths[i] = 0  # as long as that of the input
    if lengths.count(-1) > 1 or (0 in target):
        raise r.refusal("a shape with one length that is not known", target)
    return [r.then(InferReshape(lengths), flow, target, same_order(len(target)))]


def _of_samples(
    r: NodeReading, flow: Computed, shape: tuple[Dim, ...], target: list[Dim], sizes: list[int]
) -> Computed:
    """A Reshape that leaves the batch alone."""
    lengths = tuple(n if isinstance(n, int) else 0 for n in shape)
    if flow.folded is None and flow.order != same_order(len(shape)):
        trivial = [axis for axis in flow.order if shape[axis] != 1]
        if trivial != sorted(trivial):
            flat = len(target) == 2 and flow.order[0] == 0 and 0 not in lengths[1:]
            if flat and flow.order == CHANNELS_FIRST:
                return Computed(flow.value, tuple(target), (0, 1), flow.sole, (flow, lengths))
            flow = r.session.graph_order(flow, r.path)
    elif flow.folded is not None:
        flow = r.session.graph_order(flow, r.path)
    layer = Reshape(sizes, batchMode=True)
    return r.then(layer, flow, target, same_order(len(target)))


READERS: dict[str, Callable[[NodeReading], list[Any]]] = {
    "Const": _read_const,
    "Shape": _read_shape,
    "Rank": _read_rank,
    "Cast": _read_cast,
    "Fill": _read_fill,
    "Range": _read_range,
    "ZerosLike": _read_like,
    "OnesLike": _read_like,
    "GatherV2": _read_gather,
    "Switch": _read_switch,
    "Merge": _read_merge,
    "Transpose": _read_transpose,
    "ExpandDims": _read_expand_dims,
    "Squeeze": _read_squeeze,
    "Mean": _read_reduction,
    "Sum": _read_reduction,
    "Max": _read_reduction,
    "Min": _read_reduction,
    "Prod": _read_reduction,
    "Reshape": _read_reshape,
}
