"""Examples for autograd/ops/number_parts.py; see `cases`."""

from __future__ import annotations

from cases.common import complex_one, one

from tapegrad.autograd.check import TrialCall

OPERATIONS = {
    **dict.fromkeys((
        "frexp", "modf", "nan_to_num", "real_if_close"
    ), one),
    "angle": complex_one,
    "divmod": lambda d: TrialCall([d.array((2, 3)), d.array((3,), 0)]),
    "float_power": lambda d: TrialCall([d.array((2, 3), 0, large=5.0), d.array((3,), large=3.0)]),
}  # fmt: skip


EXCEPTIONS = {
    ("nan_to_num", "nan_stays_nan"): "leaving NaN out is what it is for",
    ("float_power", "float32_agrees_with_float64"): "it computes in double precision",
}
