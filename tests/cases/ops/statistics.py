"""Examples for autograd/ops/statistics.py; see `cases`."""

from __future__ import annotations

from cases.common import along, along_axis, reduced, reduced_with_gaps, with_gaps

from tapegrad.autograd.check import TrialCall


def along_with_gaps(d):
    return TrialCall([with_gaps(d)], {"axis": -1})


def variance_with_gaps(d):
    call = reduced_with_gaps(d)
    call.settings["ddof"] = d.choice([0, 0.5])
    return call


def average(d):
    shape, axis = along(d)
    kind = d.choice(["none", "full", "line"])
    if kind == "none":
        return TrialCall([d.array(shape)], {"axis": axis})
    size = shape if kind == "full" else (shape[axis],)
    return TrialCall([d.array(shape), axis, d.rng.uniform(0.5, 2, size)])


def observations(d):
    return TrialCall([d.normal((d.size("A"), 4)) * 2], {"rowvar": d.choice([True, True])})


def covariance(d):
    call = observations(d)
    kind = d.choice(["plain", "bias", "weights"])
    if kind == "bias":
        call.settings["bias"] = True
    if kind == "weights":
        call.settings["aweights"] = d.rng.uniform(0.5, 2, 4).tolist()
    return call


OPERATIONS = {
    "backward_scan": lambda d: TrialCall(
        [d.array((2, 3, 4)), d.array((2, 2, 4))], {"axis": 1}
    ),
    **dict.fromkeys((
        "nanmax", "nanmean", "nanmin", "nanprod", "nansum"
    ), reduced_with_gaps),
    **dict.fromkeys((
        "cumprod", "cumulative_prod", "cumulative_sum"
    ), along_axis),
    "average": average,
    "corrcoef": lambda d: TrialCall([d.normal((d.size("A"), 4)) * 2]),
    "cov": covariance,
    "nancumprod": along_with_gaps,
    "nancumsum": along_with_gaps,
    "nanstd": variance_with_gaps,
    "nanvar": variance_with_gaps,
    "ptp": reduced,
}  # fmt: skip


EXCEPTIONS = {
    ("backward_scan", "nan_stays_nan"): "a factor also moves the last bit of entries behind it",
    ("corrcoef", "float32_agrees_with_float64"): "it computes in double precision",
    ("cov", "float32_agrees_with_float64"): "it computes in double precision",
    **{
        (name, "nan_stays_nan"): "leaving NaN out is what it is for"
        for name in (
            "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum",
            "nanvar"
        )
    },
}  # fmt: skip
