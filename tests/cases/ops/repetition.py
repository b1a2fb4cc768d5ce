"""Examples for autograd/ops/repetition.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def tile(d):
    reps = d.choice([2, (2,), (1, 3), (2, 1, 2)])
    return TrialCall([d.array(d.shape()), reps])


def repeat(d):
    shape = d.shape("N A")
    return TrialCall([d.array(shape), d.integer(1, 3)], {"axis": d.choice([None, 0, 1, -1])})


OPERATIONS = {
    "repeat": repeat,
    "tile": tile,
}
