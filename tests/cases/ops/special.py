"""Examples for autograd/ops/special.py; see `cases`."""

from __future__ import annotations

from cases.common import elementwise, of_order

from tapegrad.autograd.check import TrialCall


def kummer(d):
    """Parameters that are numbers, and x where terms do not cancel."""
    return TrialCall([d.choice([0.5, 2.0]), d.choice([1.5, 3.1]), d.array(d.shape(), -3, 3)])


OPERATIONS = {
    **{name: elementwise(name) for name in (
        "entr", "erfcinv", "erfinv", "logit", "ndtri", "xlog1py", "xlogy"
    )},
    "beta": elementwise("beta", large=4.0),
    "betaln": elementwise("betaln", large=20.0),
    "boxcox": elementwise("boxcox", large=3.0),
    "digamma": elementwise("digamma", large=20.0),
    "erfcx": elementwise("erfcx", large=2.0),
    "exp10": elementwise("exp10", large=3.0),
    "expit": elementwise("expit", large=20.0),
    "exprel": elementwise("exprel", large=5.0),
    "gamma": elementwise("gamma", large=4.0),
    "gammainc": of_order("gammainc", 4.0, (1, 2, 3)),
    "gammaincc": of_order("gammaincc", 4.0, (1, 2, 3)),
    "gammaln": elementwise("gammaln", large=20.0),
    "hyp1f1": kummer,
    "kl_div": elementwise("kl_div", large=10.0),
    "log_expit": elementwise("log_expit", large=20.0),
    "log_ndtr": elementwise("log_ndtr", large=5.0),
    "ndtr": elementwise("ndtr", large=4.0),
    "polygamma": of_order("polygamma", 5.0, (0, 1, 2)),
    "rel_entr": elementwise("rel_entr", large=10.0),
    "rgamma": elementwise("rgamma", large=4.0),
}  # fmt: skip

EXCEPTIONS = {
    ("erfcx", "saturated_values_and_gradients_are_precise"): (
        "far out its derivative is the small difference of two terms"
    ),
}
