"""Examples for autograd/ops/sorting.py; see `cases`."""

from __future__ import annotations

from cases.common import along, along_axis, apart

from tapegrad.autograd.check import TrialCall


def argsort(d):
    """NumPy's own order of ties is nobody's business, unless a stable one is asked for."""
    shape, axis = along(d)
    return TrialCall([d.array(shape)], {"axis": axis, "stable": True})


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
    "partition": kth,
    "sort": along_axis,
    "sort_complex": lines,
}  # fmt: skip


EXCEPTIONS = {
    **{
        (name, "replay_equals_eager"): "how many results there are is decided by their values"
        for name in (
            "intersect1d", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all",
            "unique_counts", "unique_inverse", "unique_values"
        )
    },
}  # fmt: skip
