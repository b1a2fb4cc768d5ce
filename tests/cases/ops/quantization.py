"""Examples for autograd/ops/quantization.py; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad.autograd.check import TrialCall


def int8_product(d):
    k, rows = d.size("A"), d.size("B")
    x = d.integers((*d.shape("N?"), k), -127, 127).astype(np.int8)
    return TrialCall([x, d.integers((rows, k), -127, 127).astype(np.int8)])


OPERATIONS = {"int8_product": int8_product}
