"""mx.nd.op: every operator by its name."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.ndarray.functions import named_function

__getattr__ = finder("mx.nd.op", [""], named_function)
