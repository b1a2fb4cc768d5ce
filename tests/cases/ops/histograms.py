"""Examples for autograd/ops/histograms.py; see `cases`."""

from __future__ import annotations

from cases.common import apart

from tapegrad.autograd.check import TrialCall


def bincount(d):
    n = d.size("A")
    return TrialCall([d.integers((n,), 0, 4), d.array((n,))], {"minlength": d.choice([0, 6])})


def histogram(d):
    return TrialCall([apart(d, (6,))], {"bins": d.choice([3, 5])})


OPERATIONS = {
    "bincount": bincount,
    "histogram": histogram,
    "histogram_bin_edges": lambda d: TrialCall([apart(d, (6,)), 4]),
}


EXCEPTIONS = {
    ("bincount", "replay_equals_eager"): "how many results there are is decided by their values",
}
