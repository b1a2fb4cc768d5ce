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


def normalize(d):
    """With a weight and a bias, either or neither, for channels or for the last axes."""
    shape = d.shape("N A B")
    shape = (shape[0], shape[1] + 1, shape[2])
    if d.empties:
        axes, own = d.choice([((1,), (1, shape[1], 1)), ((1, 2), shape[1:]), ((-1,), shape[2:])])
    else:
        axes, own = d.choice(
            [((0,), shape[1:]), ((1,), (1, shape[1], 1)), ((0, 2), (shape[1], 1)),
             ((2,), (shape[1], 1)), ((-1, -2), shape[1:]), ((1, 2), (shape[1], 1))]
        )  # fmt: skip
    weight = d.choice([True, True, False])
    bias = d.choice([True, True, False])
    arrays = [d.array(shape), d.array(own) if weight else None, d.array(own) if bias else None]
    while arrays[-1] is None:
        arrays.pop()
    return TrialCall(arrays, {"axes": axes, "eps": d.choice([1e-5, 0.1])})


OPERATIONS = {
    "normalize": normalize,
    "standardize": standardize,
}
