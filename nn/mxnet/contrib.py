"""mx.contrib: `mx.contrib.sym` and `mx.contrib.nd`, the older names of mx.sym.contrib and mx.nd."""

from tapegrad.nn.mxnet.ndarray import contrib as ndarray
from tapegrad.nn.mxnet.symbol import contrib as symbol

__all__ = ["nd", "ndarray", "sym", "symbol"]

nd, sym = ndarray, symbol
