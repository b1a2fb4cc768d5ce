"""Examples for autograd/ops/vector_convolution.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def vectors(d):
    settings = {"mode": d.choice(["full", "same", "valid"])}
    return TrialCall([d.array((d.integer(1, 5),)), d.array((d.integer(1, 5),))], settings)


def convolve_full(d):
    return TrialCall([d.array((d.integer(1, 5),)), d.array((d.integer(1, 5),))])


OPERATIONS = {
    "convolve": vectors,
    "convolve_full": convolve_full,
    "correlate": vectors,
}
