"""Examples for autograd/ops/calculus.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import along

from tapegrad.autograd.check import TrialCall


def diff(d):
    shape, axis = along(d)
    return TrialCall([d.array(shape)], {"n": d.choice([1, 2, 0]), "axis": axis})


def ediff1d(d):
    return TrialCall([d.array((3, d.size("A")))], {"to_end": d.choice([None, 2.0])})


def gradient(d):
    shape = (d.size("A") + 2, d.size("B") + 2)
    spacing = d.choice([[], [0.5], [0.5, 2.0], [np.cumsum(d.rng.uniform(1, 2, shape[0])), 1.0]])
    return TrialCall([d.array(shape), *spacing], {"edge_order": d.choice([1, 2])})


def trapezoid(d):
    shape, axis = along(d)
    x = d.choice([None, d.rng.standard_normal(shape[axis]), d.rng.standard_normal(shape)])
    return TrialCall([d.array(shape)] + [x] * (x is not None), {"axis": axis})


def interp(d):
    n = d.integer(2, 5)
    points = np.arange(n) + d.rng.uniform(0.1, 0.4, n)
    x = d.integers(d.shape("N A"), 0, n) + d.rng.uniform(0.5, 0.9)
    return TrialCall([x, points, d.array((n,))])


def unwrap(d):
    shape = (d.size("N"), d.size("A") + 1)
    return TrialCall([d.normal(shape) * 4])


OPERATIONS = {
    "diff": diff,
    "ediff1d": ediff1d,
    "gradient": gradient,
    "interp": interp,
    "trapezoid": trapezoid,
    "unwrap": unwrap,
}
