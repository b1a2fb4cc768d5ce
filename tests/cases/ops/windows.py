"""Examples for autograd/ops/windows.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd import ops
from tapegrad.autograd.check import TrialCall


def unfold(d):
    axis, size, dilation = d.integer(0, 2), d.integer(1, 3), d.integer(1, 2)
    shape = [*d.shape("N A B")[:2], d.size("C", may_be_empty=True)]
    shape[axis] = dilation * (size - 1) + 1 + d.integer(0, 3)
    settings = {"axis": d.choice([axis, axis - 3]), "size": size}
    return TrialCall([d.array(tuple(shape))], {
        **settings, "step": d.integer(1, 3), "dilation": dilation
    })  # fmt: skip


def fold(d):
    call = unfold(d)
    [x] = call.args
    settings = dict(call.settings)
    y = ops.unfold(x, **settings)
    del settings["size"]
    return TrialCall([d.array(y.shape)], {"shape": x.shape, **settings})


def largest_positions(d):
    shape = (d.size("N", may_be_empty=True), d.integer(1, 4), d.size("C"))
    axis = d.choice([1, -2])
    return TrialCall([d.array(shape)], {"count": d.integer(1, shape[1]), "axis": axis})


OPERATIONS = {
    "fold": fold,
    "largest_positions": largest_positions,
    "unfold": unfold,
}
