"""Examples for autograd/ops/normalization.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def standardize(d):
    """Over one axis or several; never an empty one."""
    shape = d.shape("N A B")
    shape = (shape[0], shape[1] + 1, shape[2])
    axes = (
        d.choice([(1,), (1, 2), (-1,)]) if d.empties else d.choice([(0,), (1,), (0, 2), (-1, -2)])
    )
    return TrialCall([d.array(shape)], {"axes": axes, "eps": d.choice([1e-5, 0.1])})


OPERATIONS = {
    "standardize": standardize,
}
