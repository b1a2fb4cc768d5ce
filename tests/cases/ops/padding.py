"""Examples for autograd/ops/padding.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def numpy_pad(d):
    shape = d.shape("N A")
    width = d.choice([1, (1, 2), ((1, 0), (0, 2))])
    options = [{"constant_values": 0}, {"constant_values": (2.5, -1.0)}]
    if 0 not in shape:  # the other modes repeat entries
        options += [
            {"mode": "linear_ramp", "end_values": 1.5},
            {"mode": "mean", "stat_length": 2},
            {"mode": "maximum"},
            {"mode": "edge"},
            {"mode": "symmetric", "reflect_type": "odd"},
        ]
    return TrialCall([d.array(shape), width], d.choice(options))


OPERATIONS = {"numpy_pad": numpy_pad}
