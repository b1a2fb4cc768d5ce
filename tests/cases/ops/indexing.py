"""Examples for autograd/ops/indexing.py; see `cases`."""

from __future__ import annotations

import math

import numpy as np
from cases.common import array_index

from tapegrad.autograd import ops
from tapegrad.autograd.check import TrialCall
from tapegrad.autograd.ops.index_template import HOLE


def basic_index(d, shape):
    """Slices, integers, None and Ellipsis that fit `shape`."""
    index = []
    for n in shape[: d.integer(0, len(shape))]:
        kind = d.choice(["slice", "step", "back", "int", "new"])
        if kind == "new":
            index.append(None)
            kind = "slice"
        if kind == "int" and n:
            index.append(d.integer(-n, n - 1))
        else:
            start = d.integer(0, n)
            index.append({
                "step": slice(start, None, 2), "back": slice(None, None, -1)
            }.get(kind, slice(start, n)))  # fmt: skip
    if d.choice([False, True]):
        index.append(Ellipsis)
    return tuple(index)


def take_slice(d):
    shape = d.shape()
    return TrialCall([d.array(shape)], {"index": basic_index(d, shape)})


def unslice(d):
    shape = d.shape()
    index = basic_index(d, shape)
    return TrialCall([d.array(np.empty(shape)[index].shape)], {"index": index, "shape": shape})


def filled(template, arrays):
    arrays = iter(arrays)
    return tuple(next(arrays) if part is HOLE else part for part in template)


def take_index(d):
    shape, template, arrays = array_index(d)
    return TrialCall([d.array(shape), arrays], {"template": template})


def index_add(d):
    shape, template, arrays = array_index(d)
    own = np.empty(shape)[filled(template, arrays)].shape
    return TrialCall([d.array(own), arrays], {"template": template, "shape": shape})


def replace_entries(d):
    if d.choice(["arrays", "slices"]) == "arrays":
        shape, template, indices = array_index(d)
    else:
        shape, indices = d.shape(), []
        template = basic_index(d, shape)
    value = [d.choice([1, n]) for n in np.empty(shape)[filled(template, indices)].shape]
    path = ()
    if d.choice(["itself", "a view"]) == "a view":
        flips = [(ops.flip, (0,), None)] if shape else []
        path = (*flips, (ops.transpose, (None,), None))
        shape = shape[::-1]
    arguments = [d.array(shape), d.array(value), indices]
    return TrialCall(arguments, {"template": template, "path": path})


def is_last_write(d):
    shape, template, indices = array_index(d)
    return TrialCall([indices], {"template": template, "shape": shape})


def take(d):
    shape = (d.size("N"), d.size("A"))
    axis = d.choice([None, 0, 1, -1])
    n = math.prod(shape) if axis is None else shape[axis]
    many = (0,) if d.empties else d.shape("K T?")
    return TrialCall([d.array(shape), d.integers(many, -n, n)], {"axis": axis})


def take_along_axis(d):
    shape = d.shape("N A B")
    axis = d.choice([1, 2, -1])
    wanted = list(shape)
    wanted[axis] = d.integer(1, 3)
    if d.choice([True, False]):
        wanted[0] = 1
    return TrialCall([d.array(shape), d.integers(tuple(wanted), 0, shape[axis])], {"axis": axis})


OPERATIONS = {
    "index_add": index_add,
    "is_last_write": is_last_write,
    "replace_entries": replace_entries,
    "take": take,
    "take_along_axis": take_along_axis,
    "take_index": take_index,
    "take_slice": take_slice,
    "unslice": unslice,
}
