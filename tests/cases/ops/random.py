"""Examples for autograd/ops/random.py; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad.autograd.check import TrialCall


def drawing(**settings):
    def draw(d):
        return TrialCall([], {**settings, "shape": d.shape(), "dtype": np.dtype(np.float64)})

    return draw


OPERATIONS = {
    "bernoulli": drawing(p=0.25),
    "normal": drawing(),
    "uniform": drawing(),
}
