"""tapegrad.nn.mxnet: MXNet's Module and all around it, ``from tapegrad.nn import mxnet as mx``."""

from tapegrad.nn.mxnet import context, executor, ndarray, operator, operators, symbol
from tapegrad.nn.mxnet import ndarray as nd
from tapegrad.nn.mxnet import symbol as sym
from tapegrad.nn.mxnet.compat import compat
from tapegrad.nn.mxnet.context import Context, cpu, current_context, gpu
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.symbol.naming import AttrScope

__all__ = [
    "AttrScope",
    "Context",
    "MXNetError",
    "compat",
    "context",
    "cpu",
    "current_context",
    "executor",
    "gpu",
    "nd",
    "ndarray",
    "operator",
    "operators",
    "sym",
    "symbol",
]
