"""Examples for autograd/ops/shape.py; see `cases`."""

from __future__ import annotations

import math

from cases.common import elementwise, one

from tapegrad.autograd.check import TrialCall


def reshape(d):
    shape = d.shape()
    size = math.prod(shape)
    target = d.choice([shape[::-1], (-1,) if size else (0,), (1, *shape), (size, 1), size])
    return TrialCall([d.array(shape)], {"shape": target})


def transpose(d):
    shape = d.shape()
    axes = None
    if shape and d.choice([True, False]):
        axes = tuple(int(a) for a in d.rng.permutation(len(shape)))
        axes = tuple(a - len(shape) if d.choice([False, True]) else a for a in axes)
    return TrialCall([d.array(shape)], {"axes": axes})


def broadcast_to(d):
    full = d.shape()
    kept = full[d.integer(0, len(full)) :]
    own = tuple(1 if d.choice([False, True]) else n for n in kept)
    return TrialCall([d.array(own)], {"shape": full})


def flip(d):
    shape = d.shape()
    return TrialCall([d.array(shape)], {"axis": d.axes(len(shape))})


def concatenate(d):
    shape = d.shape("N A B")
    axis = d.choice([0, 1, -1, None])
    parts = []
    for _ in range(d.integer(1, 3)):
        own = list(shape)
        if axis is not None:
            own[axis] = d.integer(0, 3)
        parts.append(d.array(tuple(own)))
    return TrialCall([parts], {"axis": axis})


def split(d):
    axis = d.choice([0, 1, -1])
    shape = list(d.shape("N A B"))
    if d.choice([True, False]):
        sections = d.integer(1, 3)
        shape[axis] *= sections
    else:
        sections = tuple(sorted(d.integer(0, shape[axis]) for _ in range(d.integer(1, 2))))
    return TrialCall([d.array(tuple(shape))], {"sections": sections, "axis": axis})


def pad(d):
    shape = d.shape()
    widths = tuple((d.integer(0, 2), d.integer(0, 2)) for _ in shape)
    if shape and shape[0] > 1:  # cutting off, too
        widths = ((d.choice([1, -1]), 1), *widths[1:])
    return TrialCall([d.array(shape)], {"widths": widths, "value": d.choice([0, 1.5])})


def expand_dims(d):
    shape = d.shape()
    axis = d.integer(-len(shape) - 1, len(shape))
    return TrialCall([d.array(shape), d.choice([axis, (0, -1)])])


def squeeze(d):
    shape = (d.size("N", may_be_empty=True), 1, d.size("A"), 1)
    return TrialCall([d.array(shape)], {"axis": d.choice([None, 1, -1, (1, 3)])})


def stack(d):
    shape = d.shape()
    axis = d.integer(-len(shape) - 1, len(shape))
    return TrialCall([[d.array(shape) for _ in range(d.integer(1, 3))]], {"axis": axis})


def swapaxes(d):
    return TrialCall([d.array(d.shape("N A B")), d.integer(-3, 2), d.integer(-3, 2)])


def moveaxis(d):
    source, destination = d.choice([(0, -1), (2, 0), ((0, 1), (1, 2)), ((-1, 0), (0, 1))])
    return TrialCall([d.array(d.shape("N A B")), source, destination])


OPERATIONS = {
    **{name: elementwise(name) for name in (
        "copy",
    )},
    "atleast_1d": one,
    "broadcast_to": broadcast_to,
    "concatenate": concatenate,
    "expand_dims": expand_dims,
    "flip": flip,
    "moveaxis": moveaxis,
    "pad": pad,
    "ravel": one,
    "reshape": reshape,
    "split": split,
    "squeeze": squeeze,
    "stack": stack,
    "swapaxes": swapaxes,
    "transpose": transpose,
}  # fmt: skip
