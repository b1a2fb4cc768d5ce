"""Examples for autograd/ops/rearranging/; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import apart, diagonal, matrices, one, two

from tapegrad.autograd.check import TrialCall


def from_diagonal(d):
    m, n = d.size("A"), d.size("B")
    offset = d.choice([0, 1, -1])
    first, second = d.choice([(0, 2), (2, 0), (-1, -3)])
    shape = (m, d.size("C"), n) if first == 0 else (n, d.size("C"), m)
    count = np.diagonal(np.zeros((m, n)), offset).size
    settings = {"shape": shape, "offset": offset, "axis1": first, "axis2": second}
    return TrialCall([d.array((d.size("C"), count))], settings)


def diag(d):
    shape = d.choice([(d.size("A"),), (d.size("A"), d.size("B"))])
    return TrialCall([d.array(shape)], {"k": d.choice([0, 1, -1])})


def roll(d):
    shape = d.shape("N A B")
    shift, axis = d.choice([(1, None), (2, 1), (-1, -1), ((1, -2), (0, 2)), (5, 0)])
    return TrialCall([d.array(shape), shift], {"axis": axis})


def roll_entries(d):
    call = roll(d)
    return TrialCall(call.args[:1], {"shift": call.args[1], **call.settings})


def joined(ndim=2):
    def draw(d):
        shape = d.shape("N A B")[-ndim:]
        return TrialCall([[d.array(shape) for _ in range(d.integer(1, 3))]])

    return draw


def block(d):
    m, n = d.size("A"), d.size("B")
    return TrialCall([[[d.array((m, 2)), d.array((m, n))], [d.array((1, 2)), d.array((1, n))]]])


def parted(axis):
    def draw(d):
        shape = [d.size("N"), d.size("A"), d.size("B")]
        shape[axis] *= 2
        return TrialCall([d.array(tuple(shape)), d.choice([2, [1], [0, 1]])])

    return draw


def array_split(d):
    return TrialCall([d.array((d.size("A") + 2, 2)), d.choice([2, 3, [1]])], {"axis": 0})


def split(d):
    return TrialCall([d.array((4, 2)), d.choice([2, [1, 3]])], {"axis": d.choice([0, -2])})


def insert(d):
    index, values = d.choice([(1, d.array(())), (-1, d.array((3,))), ([0, 2], d.array((2, 3)))])
    return TrialCall([d.array((2, 3)), index, values], {"axis": 0})


def delete(d):
    settings = {"axis": d.choice([0, 1, None])}
    return TrialCall([d.array((3, 4)), d.choice([1, -1, [0, 2], slice(0, 2)])], settings)


def choose(d):
    shape = d.shape("N A")
    return TrialCall([d.integers(shape, 0, 3), [d.array(shape) for _ in range(3)]])


def select(d):
    shape = d.shape("N A")
    masks = [d.booleans(shape) for _ in range(2)]
    return TrialCall([masks, [d.array(shape) for _ in range(2)]], {"default": 0.5})


def piecewise(d):
    x = apart(d, (d.size("A"), 4))
    return TrialCall([x, [x < 0, x > 1], [lambda v: v * v, lambda v: v * 3, 1.5]])


def apply_along_axis(d):
    shape = (d.size("A"), 3, d.size("B"))
    return TrialCall([lambda v: v * v.sum(), d.choice([0, 1, -1]), d.array(shape)])


def apply_over_axes(d):
    return TrialCall([np.sum, d.array((d.size("A"), 2, 3)), d.choice([0, (0, 2), [1, -1]])])


def compress(d):
    return TrialCall([np.array([True, False, True]), d.array((3, d.size("A")))], {"axis": 0})


def extract(d):
    shape = (d.size("A"), 3)
    return TrialCall([d.booleans(shape), d.array(shape)])


OPERATIONS = {
    **dict.fromkeys((
        "atleast_2d", "atleast_3d", "diagflat"
    ), one),
    **dict.fromkeys((
        "column_stack", "dstack", "vstack"
    ), joined()),
    "append": lambda d: TrialCall(
        [d.array((2, 3)), d.array((1, 3))], {"axis": d.choice([0, None])}
    ),
    "apply_along_axis": apply_along_axis,
    "apply_over_axes": apply_over_axes,
    "array_split": array_split,
    "block": block,
    "broadcast_arrays": two,
    "choose": choose,
    "compress": compress,
    "delete": delete,
    "diag": diag,
    "diagonal": diagonal,
    "dsplit": parted(2),
    "extract": extract,
    "fliplr": matrices(),
    "flipud": matrices(),
    "from_diagonal": from_diagonal,
    "hsplit": parted(1),
    "hstack": joined(),
    "insert": insert,
    "matrix_diagonal": matrices({"offset": 0}, {"offset": 1}),
    "matrix_transpose": matrices(),
    "meshgrid": lambda d: TrialCall([d.array((d.size("A"),)), d.array((d.size("B"),))],
                               {"indexing": d.choice(["xy", "ij"])}),
    "numpy_split": split,
    "piecewise": piecewise,
    "resize": lambda d: TrialCall([d.array((2, d.size("A"))), d.choice([(3, 2), (2,), (4, 4)])]),
    "roll": roll,
    "rollaxis": lambda d: TrialCall([d.array((2, 3, d.size("A"))), d.choice([2, -1, 1])],
                               {"start": d.choice([0, 1, 2])}),
    "roll_entries": roll_entries,
    "rot90": matrices({"k": 1, "axes": (-2, -1)}, {"k": 2, "axes": (-2, -1)},
                      {"k": -1, "axes": (-1, -2)}, {"k": 0, "axes": (-2, -1)}),
    "select": select,
    "tril": matrices({}, {"k": 1}, {"k": -1}),
    "trim_zeros": lambda d: TrialCall([apart(d, (5,), low=1)]),
    "triu": matrices({}, {"k": 1}, {"k": -1}),
    "unstack": lambda d: TrialCall([d.array((2, d.size("A"), 3))], {"axis": d.choice([0, 1, -1])}),
    "vsplit": parted(0),
}  # fmt: skip


EXCEPTIONS = {
    ("trim_zeros", "replay_equals_eager"): (
        "how many results there are is decided by their values"
    ),
}
