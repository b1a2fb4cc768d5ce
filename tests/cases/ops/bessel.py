"""Examples for autograd/ops/bessel.py; see `cases`."""

from __future__ import annotations

from cases.common import elementwise, of_order

OPERATIONS = {
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
    "kv": of_order("kv", 4.0),
    "special_i0": elementwise("special_i0", large=5.0),
    "y0": elementwise("y0", large=20.0),
    "y1": elementwise("y1", large=20.0),
    "yv": of_order("yv", 20.0),
}
