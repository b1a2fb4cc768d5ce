"""Examples for autograd/ops/quantiles.py; see `cases`."""

from __future__ import annotations

from cases.common import reduced, reduced_with_gaps

from tapegrad.autograd.check import TrialCall

METHODS = ("linear", "lower", "higher", "midpoint", "hazen", "weibull", "closest_observation")


def share(low, high, *, gaps=False):
    def draw(d):
        call = reduced_with_gaps(d) if gaps else reduced(d)
        q = low + (high - low) * d.choice([0.3, 0.5, 1.0])
        call.settings["method"] = d.choice(METHODS)
        return TrialCall([*call.args, q], call.settings)

    return draw


OPERATIONS = {
    "median": reduced,
    "nanmedian": reduced_with_gaps,
    "nanpercentile": share(0, 100, gaps=True),
    "nanquantile": share(0, 1, gaps=True),
    "percentile": share(0, 100),
    "quantile": share(0, 1),
}


EXCEPTIONS = {
    (name, "nan_stays_nan"): "leaving NaN out is what it is for"
    for name in ("nanmedian", "nanpercentile", "nanquantile")
}
