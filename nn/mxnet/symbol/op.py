"""mx.sym.op: every operator by its name."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.symbol.functions import function_of

__getattr__ = finder("mx.sym.op", [""], function_of)
