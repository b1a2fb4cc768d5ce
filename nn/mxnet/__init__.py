"""tapegrad.nn.mxnet: MXNet's Module and all around it, ``from tapegrad.nn import mxnet as mx``."""

from tapegrad.nn.mxnet import (
    callback,
    context,
    executor,
    image,
    initializer,
    io,
    kvstore,
    lr_scheduler,
    metric,
    model,
    module,
    monitor,
    ndarray,
    operator,
    operators,
    optimizer,
    random,
    recordio,
    rnn,
    symbol,
    visualization,
)
from tapegrad.nn.mxnet import image as img
from tapegrad.nn.mxnet import initializer as init
from tapegrad.nn.mxnet import kvstore as kv
from tapegrad.nn.mxnet import module as mod
from tapegrad.nn.mxnet import monitor as mon
from tapegrad.nn.mxnet import ndarray as nd
from tapegrad.nn.mxnet import optimizer as opt
from tapegrad.nn.mxnet import symbol as sym
from tapegrad.nn.mxnet import visualization as viz
from tapegrad.nn.mxnet.compat import compat
from tapegrad.nn.mxnet.context import Context, cpu, cpu_pinned, current_context, gpu, num_gpus
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.symbol.naming import AttrScope, NameManager, Prefix
from tapegrad.nn.mxnet.symbol_module import SymbolModule

__all__ = [
    "AttrScope",
    "Context",
    "MXNetError",
    "NameManager",
    "Prefix",
    "SymbolModule",
    "callback",
    "compat",
    "context",
    "cpu",
    "cpu_pinned",
    "current_context",
    "executor",
    "gpu",
    "image",
    "img",
    "init",
    "initializer",
    "io",
    "kv",
    "kvstore",
    "lr_scheduler",
    "metric",
    "mod",
    "model",
    "module",
    "mon",
    "monitor",
    "nd",
    "ndarray",
    "num_gpus",
    "operator",
    "operators",
    "opt",
    "optimizer",
    "random",
    "recordio",
    "rnn",
    "sym",
    "symbol",
    "visualization",
    "viz",
]
