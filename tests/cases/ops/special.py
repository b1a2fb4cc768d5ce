"""Examples for autograd/ops/special.py; see `cases`."""

from __future__ import annotations

from cases.common import elementwise

from tapegrad.autograd import primitives
from tapegrad.autograd.check import TrialCall


def of_order(name, large, orders=(0, 1, 2), *, last=False):
    """An integer order, and an x in the primitive's domain."""
    primitive = primitives()[name].primitive

    def draw(d):
        x = d.array(d.shape(), *primitive.domain.get("x", (None, None)), large=large)
        order = d.choice(orders)
        return TrialCall([x, order] if last else [order, x])

    return draw


OPERATIONS = {
    **{name: elementwise(name) for name in (
        "entr", "erfcinv", "erfinv", "logit", "ndtri", "xlog1py", "xlogy"
    )},
    "beta": elementwise("beta", large=4.0),
    "betaln": elementwise("betaln", large=20.0),
    "boxcox": of_order("boxcox", 5.0, (1, 2, 3), last=True),
    "digamma": elementwise("digamma", large=20.0),
    "erfcx": elementwise("erfcx", large=2.0),
    "exp10": elementwise("exp10", large=3.0),
    "expit": elementwise("expit", large=20.0),
    "gamma": elementwise("gamma", large=4.0),
    "gammainc": of_order("gammainc", 4.0, (1, 2, 3)),
    "gammaincc": of_order("gammaincc", 4.0, (1, 2, 3)),
    "gammaln": elementwise("gammaln", large=20.0),
    "i0e": elementwise("i0e", large=20.0),
    "i1": elementwise("i1", large=5.0),
    "i1e": elementwise("i1e", large=20.0),
    "iv": of_order("iv", 5.0),
    "ive": of_order("ive", 20.0),
    "j0": elementwise("j0", large=20.0),
    "j1": elementwise("j1", large=20.0),
    "jv": of_order("jv", 20.0),
    "k0": elementwise("k0", large=4.0),
    "k1": elementwise("k1", large=4.0),
    "kl_div": elementwise("kl_div", large=10.0),
    "kv": of_order("kv", 4.0),
    "log_expit": elementwise("log_expit", large=20.0),
    "log_ndtr": elementwise("log_ndtr", large=5.0),
    "ndtr": elementwise("ndtr", large=4.0),
    "polygamma": of_order("polygamma", 5.0, (0, 1, 2)),
    "rel_entr": elementwise("rel_entr", large=10.0),
    "rgamma": elementwise("rgamma", large=4.0),
    "special_i0": elementwise("special_i0", large=5.0),
    "y0": elementwise("y0", large=20.0),
    "y1": elementwise("y1", large=20.0),
    "yv": of_order("yv", 20.0),
}  # fmt: skip

EXCEPTIONS = {
    ("erfcx", "saturated_values_and_gradients_are_precise"): (
        "far out its derivative is the small difference of two terms"
    ),
}
