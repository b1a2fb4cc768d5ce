"""Examples for autograd/ops/error_function.py; see `cases`."""

from __future__ import annotations

from cases.common import elementwise

OPERATIONS = {
    "erf": elementwise("erf", large=3.0),
    "erfc": elementwise("erfc", large=3.0),
}
