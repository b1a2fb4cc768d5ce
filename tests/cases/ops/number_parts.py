"""Examples for autograd/ops/number_parts.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import complex_one, one

from tapegrad.autograd.check import TrialCall


def between_jumps(d):
    """One array; the fractional part jumps at every whole number but 0."""
    x = d.array(d.shape())
    return TrialCall([np.where((x == np.round(x)) & (x != 0), x + 0.25, x)])


OPERATIONS = {
    **dict.fromkeys((
        "frexp", "nan_to_num", "real_if_close"
    ), one),
    **dict.fromkeys((
        "fractional_part", "modf"
    ), between_jumps),
    "angle": complex_one,
    "divmod": lambda d: TrialCall([d.array((2, 3)), d.array((3,), 0)]),
    "float_power": lambda d: TrialCall([d.array((2, 3), 0, large=5.0), d.array((3,), large=3.0)]),
}  # fmt: skip


EXCEPTIONS = {
    ("nan_to_num", "nan_stays_nan"): "leaving NaN out is what it is for",
    ("float_power", "float32_agrees_with_float64"): "it computes in double precision",
}
