"""Examples for autograd/ops/counting.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import elementwise, one, reduced, setting

from tapegrad.autograd.check import TrialCall


def bytes_(d):
    return TrialCall([d.integers((d.size("A"),), 0, 255).astype(np.uint8)])


def truths(d):
    return TrialCall([d.booleans(d.shape("A B"))])


def searched(d):
    return TrialCall([np.sort(d.array((4,))), d.array(d.shape("N A"))], {"side": "right"})


def finite_gaps(d):
    x = d.array((d.size("N"), 4))
    x[:, 0] = np.nan
    return TrialCall([x], {"axis": -1})


OPERATIONS = {
    **{name: elementwise(name) for name in (
        "binary_exponent", "iscomplex", "isreal"
    )},
    **dict.fromkeys((
        "fix", "flatnonzero", "isneginf", "isposinf"
    ), one),
    "argwhere": lambda d: TrialCall([d.array(d.shape("A B"))]),
    "array_equiv": lambda d: TrialCall([d.array((2, 3)), d.array((3,))]),
    "count_nonzero": reduced,
    "digitize": lambda d: TrialCall([d.array(d.shape("N A")), np.array([-1.0, 0.0, 2.0])]),
    "isin": lambda d: TrialCall([d.array(d.shape("N A")), np.array([-1.0, 0.0, 2.0])]),
    "lexsort": lambda d: TrialCall([[d.array((5,)), d.array((5,))]]),
    "lexsort_rows": lambda d: TrialCall([d.array((2, 5))], {"axis": -1}),
    "nanargmax": finite_gaps,
    "nanargmin": finite_gaps,
    "nonzero": lambda d: TrialCall([d.array(d.shape("A B"))]),
    "nonzero_parts": lambda d: TrialCall([d.array(d.shape("A B"))]),
    "numpy_round": lambda d: TrialCall([d.array(d.shape()), 1]),
    "packbits": truths,
    "ravel_multi_index": lambda d: TrialCall(
        [[d.integers((3,), 0, 2), d.integers((3,), 0, 4)], (2, 4)]
    ),
    "round": setting(decimals=1),
    "searchsorted": searched,
    "to_index": lambda d: TrialCall([np.rint(d.array(d.shape()))]),
    "unpackbits": bytes_,
    "unravel_index": lambda d: TrialCall([d.integers((5,), 0, 12), (3, 4)]),
}  # fmt: skip


EXCEPTIONS = {
    ("nonzero_parts", "a_batch_agrees_with_the_loop_over_samples"): (
        "its results have as many entries as are not 0, which differs from sample to sample"
    ),
    ("digitize", "nan_stays_nan"): "the result is a position; NaN among the bins is refused",
}
