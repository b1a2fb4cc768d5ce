"""Examples for autograd/ops/reduction.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def reduction(d):
    """x over one axis, several or all of them; never over an empty one."""
    shape = d.shape("N A B") if d.empties else d.shape()
    axis = d.choice([1, (1, 2), -1]) if d.empties else d.axes(len(shape))
    return TrialCall([d.array(shape)], {"axis": axis, "keepdims": d.choice([False, True])})


def along_one_axis(d):
    """x along one axis, or flattened."""
    shape = d.shape("N A B") if d.empties else d.shape()
    axis = d.choice([1, -1]) if d.empties else d.axis(len(shape)) if shape else None
    if axis is not None and not d.empties and d.choice([False, False, True]):
        axis = None
    return TrialCall([d.array(shape)], {"axis": axis})


def statistic(d):
    shape = d.shape("N A B")
    shape = (shape[0], shape[1] + 1, shape[2])
    axis = (
        d.choice([1, (1, 2), -2]) if d.empties or shape[0] < 2 else d.choice([0, 1, None, (0, 1)])
    )
    return TrialCall([d.array(shape)], {"axis": axis, "keepdims": d.choice([False, True])})


def variance(d):
    call = statistic(d)
    call.settings["ddof"] = d.choice([0, 1])
    return call


OPERATIONS = {
    **dict.fromkeys((
        "all", "any", "logsumexp", "max", "mean", "min", "sum"
    ), reduction),
    **dict.fromkeys((
        "argmax", "argmin", "cumsum"
    ), along_one_axis),
    "prod": statistic,
    "std": variance,
    "var": variance,
}  # fmt: skip
