"""mx.sym.linalg: the operators whose names begin with _linalg_."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.symbol.functions import function_of

__getattr__ = finder("mx.sym.linalg", ["_linalg_"], function_of)
