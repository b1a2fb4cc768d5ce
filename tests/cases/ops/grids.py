"""Examples for autograd/ops/grids.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def ends(low=None):
    def draw(d):
        shape = d.choice([(), (d.size("A"),)])
        settings = {"endpoint": d.choice([True, False]), "axis": 0}
        return TrialCall([d.array(shape, low), d.array(shape, low), d.integer(1, 5)], settings)

    return draw


def logarithmic_ends(d):
    return TrialCall([d.normal((2,)), d.normal((2,)), d.integer(1, 4)])


OPERATIONS = {
    "geomspace": ends(0),
    "linspace": ends(),
    "logspace": logarithmic_ends,
}


EXCEPTIONS = {
    ("geomspace", "float32_agrees_with_float64"): "NumPy's points have double precision always",
}
