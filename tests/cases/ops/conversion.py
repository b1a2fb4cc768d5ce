"""Examples for autograd/ops/conversion.py; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import setting

OPERATIONS = {
    "to_device": setting(device="cpu"),
    "to_integer": setting(dtype=np.dtype(np.int64)),
}


EXCEPTIONS = {
    ("to_device", "strict_arrays_agree_with_numpy"): "its setting says where the result goes",
}
