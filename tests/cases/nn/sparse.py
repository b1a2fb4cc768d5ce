"""Examples for nn/layers/sparse.py; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Layer


def dense(d):
    """Without zeros: how many entries there are must not change near x."""
    x = d.array((2, 3), 0.5, 2)
    return Layer(nn.DenseToSparse(), x, d.array(()))


def table(d, values, width=3):
    """Two rows with one and two entries."""
    return [np.array([[0, 1], [1, 0], [1, 2]]), values, np.array([2, width])]


def joined(d):
    x = [table(d, d.array((3,))), table(d, d.array((3,)), 4)]
    return Layer(nn.SparseJoinTable(1), x, [x[0], [x[0][0], d.array((2,)), x[0][2]]])


def looked_up(d):
    module = nn.LookupTableSparse(4, 2, d.choice(["sum", "mean", "sqrtn"]), d.choice([-1, 0.5]))
    ids = table(d, np.array([3, 0, 3]))
    x = d.choice([ids, [ids, table(d, np.array([0.5, 2.0, 1.0]))]])
    return Layer(module, x, table(d, np.array([4, 0, 1])))


MODULES = {
    "DenseToSparse": dense,
    "LookupTableSparse": looked_up,
    "SparseJoinTable": joined,
}


EXCEPTIONS = {
    **{
        (name, law): "how many entries there are depends on the data"
        for name in ("DenseToSparse", "LookupTableSparse", "SparseJoinTable")
        for law in ("replay_equals_eager", "a_setting_changed_after_recording_is_seen")
    },
    ("DenseToSparse", "float32_agrees_with_float64"): "indices are integers in any precision",
    ("SparseJoinTable", "float32_agrees_with_float64"): "indices are integers in any precision",
}
