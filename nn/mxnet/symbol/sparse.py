"""mx.sym.sparse: operators that MXNet has for sparse arrays; storage is dense inside."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.symbol.functions import function_of

__getattr__ = finder("mx.sym.sparse", ["_sparse_"], function_of)
