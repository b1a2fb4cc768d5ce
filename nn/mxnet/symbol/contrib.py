"""mx.sym.contrib: the operators whose names begin with _contrib_."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.symbol.functions import function_of

__getattr__ = finder("mx.sym.contrib", ["_contrib_"], function_of)
