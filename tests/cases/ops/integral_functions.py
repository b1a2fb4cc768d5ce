"""Examples for autograd/ops/integral_functions.py; see `cases`."""

from __future__ import annotations

from cases.common import elementwise

from tapegrad.autograd.check import TrialCall

OPERATIONS = {
    "i0": elementwise("i0", large=5.0),
    "i0_derivative": lambda d: TrialCall(
        [d.array(d.shape(), large=5.0)], {"order": d.integer(0, 2)}
    ),
    "sinc": elementwise("sinc", large=20.0),
    "sinc_derivative": lambda d: TrialCall(
        [d.array(d.shape(), large=20.0)], {"order": d.integer(1, 3)}
    ),
}
