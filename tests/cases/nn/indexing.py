"""Examples for nn/layers/indexing.py; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Layer, TrialCall


def indices_within(d):
    length = d.integer(1, 4)
    return TrialCall([d.integers(d.shape("N A"), 0, length)], {"length": length})


def select(d):
    a = d.size("A")
    index = d.integer(-a, a - 1)
    wrong = d.array((2, 0, 3))
    return Layer(nn.Select(d.choice([1, -2]), index), d.array(d.shape("N A B")), wrong, "always")


def narrow(d):
    a = d.size("A")
    start = d.integer(0, a - 1)
    length = d.choice([d.integer(1, a - start), -1])
    module = nn.Narrow(d.choice([1, -2]), start, length)
    shorter = start if length > 0 else start - 1  # with -1, none left is still a slice
    wrong = d.array((2, shorter, 3)) if shorter >= 0 else None
    return Layer(module, d.array(d.shape("N A B")), wrong, "always")


def index(d):
    a = d.size("A")
    chosen = d.integers((d.integer(1, 5),), 0, a)
    x = d.array(d.shape("N A B"))
    return Layer(nn.Index(d.choice([1, -2])), [x, chosen], [x, chosen + a])


def masked_select(d):
    shape = d.shape("N A")
    x, mask = d.array(shape), d.booleans(shape)
    return Layer(
        nn.MaskedSelect(), [x, d.choice([mask, mask.astype(np.uint8)])], [x, mask[..., None]]
    )


OPERATIONS = {
    "indices_within": indices_within,
}


def masked_steps(d):
    x = d.array(d.shape("N T A?"))
    if x.ndim > 1 and x.shape[1] > 1:
        x[:, 0] = 0
    return Layer(nn.Masking(0.0), x, d.array((2,)), "always")


MODULES = {
    "Masking": masked_steps,
    "Index": index,
    "MaskedSelect": masked_select,
    "Narrow": narrow,
    "Select": select,
}
