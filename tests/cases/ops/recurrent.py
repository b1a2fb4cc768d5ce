"""Examples for autograd/ops/recurrent.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def lstm_over_time(d):
    """Of any length; small weights, so that no gate is shut."""
    steps, samples, inputs = d.shape("T N D")
    size = d.size("H")
    weight, bias = d.array((inputs + size, 4 * size)) * 0.5, d.array((4 * size,)) * 0.5
    states = [d.array((samples, size)) for _ in range(2)]
    return TrialCall([d.array((steps, samples, inputs)), weight, bias, *states])


def gru_over_time(d):
    """As `lstm_over_time`."""
    steps, samples, inputs = d.shape("T N D")
    size = d.size("H")
    weight, bias = d.array((inputs + size, 3 * size)) * 0.5, d.array((3 * size,)) * 0.5
    return TrialCall([d.array((steps, samples, inputs)), weight, bias, d.array((samples, size))])


def gru_reset_after_over_time(d):
    """As `lstm_over_time`."""
    steps, samples, inputs = d.shape("T N D")
    size = d.size("H")
    weight, bias = d.array((inputs + size, 3 * size)) * 0.5, d.array((3 * size,)) * 0.5
    x, shift = d.array((steps, samples, inputs)), d.array((size,)) * 0.5
    return TrialCall([x, weight, bias, shift, d.array((samples, size))])


OPERATIONS = {
    "gru_over_time": gru_over_time,
    "gru_reset_after_over_time": gru_reset_after_over_time,
    "lstm_over_time": lstm_over_time,
}
