"""Examples for autograd/ops/building.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def nested(d):
    x = d.array((d.size("A"),))
    return TrialCall([[[x, x * 2], [d.array(x.shape), x]]], {"ndmin": d.choice([0, 4])})


def full(d):
    shape = d.choice([(), (1, 3), (3,)])
    return TrialCall([(2, 3), d.array(shape)])


def windows(d):
    x = d.array((d.size("N", may_be_empty=True), d.size("A") + 2, 3))
    size, axis = d.choice([(2, 1), ((2, 2), (1, 2)), ((2, 1), (-1, 1))])
    return TrialCall([x, size], {"axis": axis})


OPERATIONS = {
    "array": nested,
    "full": full,
    "sliding_window_view": windows,
}
