"""mx.nd.linalg: the operators whose names begin with _linalg_."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.ndarray.functions import named_function

__getattr__ = finder("mx.nd.linalg", ["_linalg_"], named_function)
