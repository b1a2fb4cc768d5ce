"""Examples for autograd/ops/sorting.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import along, along_axis, apart, reduced, reduced_with_gaps

from tapegrad.autograd.check import TrialCall


def argsort(d):
    """NumPy's own order of ties is nobody's business, unless a stable one is asked for."""
    shape, axis = along(d)
    return TrialCall([d.array(shape)], {"axis": axis, "stable": True})


def share(low, high, *, gaps=False):
    def draw(d):
        call = reduced_with_gaps(d) if gaps else reduced(d)
        q = d.choice([low + (high - low) * 0.3, np.array([0.25, 1.0, 0.5]) * high])
        if not np.ndim(q):
            call.settings["method"] = d.choice(["linear", "lower", "higher", "midpoint"])
        # a list holds no floating point array: the shares are not differentiated
        return TrialCall([*call.args, q if not np.ndim(q) else q.tolist()], call.settings)

    return draw


def kth(d):
    shape = (d.size("N", may_be_empty=True), d.size("A"))
    return TrialCall([d.array(shape), tuple(range(shape[1]))], {"axis": d.choice([-1, 1])})


def argpartition(d):
    call = kth(d)
    return TrialCall(call.args[:1], {"kth": call.args[1], "axis": -1})


def of_set(d):
    return TrialCall([apart(d, (d.size("A") + 2,))])


def of_sets(d):
    # Entries that both have would part at the slightest change: values of sets are tested apart.
    return TrialCall([apart(d, (4,)), apart(d, (3,), low=20)])


def lines(d):
    shape = (d.size("N", may_be_empty=True), d.size("A"), d.size("B"))
    return TrialCall([d.array(shape)])


OPERATIONS = {
    **dict.fromkeys((
        "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"
    ), of_set),
    **dict.fromkeys((
        "intersect1d", "setdiff1d", "setxor1d", "union1d"
    ), of_sets),
    "argpartition": argpartition,
    "argsort": argsort,
    "median": reduced,
    "nanmedian": reduced_with_gaps,
    "nanpercentile": share(0, 100, gaps=True),
    "nanquantile": share(0, 1, gaps=True),
    "partition": kth,
    "percentile": share(0, 100),
    "quantile": share(0, 1),
    "sort": along_axis,
    "sort_complex": lines,
}  # fmt: skip


EXCEPTIONS = {
    **{
        (name, "nan_stays_nan"): "leaving NaN out is what it is for"
        for name in (
            "nanmedian", "nanpercentile", "nanquantile"
        )
    },
    **{
        (name, "replay_equals_eager"): "how many results there are is decided by their values"
        for name in (
            "intersect1d", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all",
            "unique_counts", "unique_inverse", "unique_values"
        )
    },
}  # fmt: skip
