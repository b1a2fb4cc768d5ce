"""mx.nd._internal: every operator by its name."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.ndarray.functions import named_function

__getattr__ = finder("mx.nd._internal", [""], named_function)
