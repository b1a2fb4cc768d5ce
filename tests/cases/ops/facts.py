"""Examples for autograd/ops/facts.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import one, two, written

from tapegrad.autograd.check import TrialCall


def same_or_not(d):
    x = d.array(d.shape())
    return TrialCall([x, np.array(x) if d.choice([True, False]) else np.array(x + 1)])


OPERATIONS = {
    **dict.fromkeys((
        "iscomplexobj", "isrealobj", "ndim", "ones_like", "shape", "size", "zeros_like"
    ), one),
    **dict.fromkeys((
        "allclose", "array_equal", "isclose", "shares_memory"
    ), same_or_not),
    **dict.fromkeys((
        "array_repr", "array_text", "common_type", "diag_indices_from", "tril_indices_from",
        "triu_indices_from"
    ), written()),
    "einsum_path": lambda d: TrialCall(["ij,jk,kl->il", *(d.array((2, 2)) for _ in range(3))]),
    "full_like": lambda d: TrialCall([d.array(d.shape()), 2.5]),
    "result_type": two,
}  # fmt: skip
