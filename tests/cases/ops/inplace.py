"""Examples for autograd/ops/inplace.py; see `cases`."""

from __future__ import annotations

from cases.common import array_index

from tapegrad.autograd.check import TrialCall


def assign(d):
    shape = d.shape()
    return TrialCall([d.array(shape), d.array(shape[d.integer(0, len(shape)) :])])


def assign_at(d):
    shape, template, arrays = array_index(d)
    return TrialCall([d.array(shape), d.array(()), arrays], {"template": template})


OPERATIONS = {
    "accumulate": assign,
    "assign": assign,
    "assign_at": assign_at,
}
