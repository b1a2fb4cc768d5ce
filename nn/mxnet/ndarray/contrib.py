"""mx.nd.contrib: the operators whose names begin with _contrib_."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.ndarray.functions import named_function

__getattr__ = finder("mx.nd.contrib", ["_contrib_"], named_function)
