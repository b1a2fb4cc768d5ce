"""tapegrad.nn.mxnet: MXNet's Module and all around it, ``from tapegrad.nn import mxnet as mx``."""

from tapegrad.nn.mxnet import (
    callback,
    context,
    executor,
    initializer,
    io,
    kvstore,
    lr_scheduler,
    metric,
    checkpoint,
    module,
    monitor,
    ndarray,
    operators,
    optimizer,
    random,
    symbol,
)
from tapegrad.nn.mxnet import initializer as init
from tapegrad.nn.mxnet import kvstore as kv
from tapegrad.nn.mxnet import module as mod
from tapegrad.nn.mxnet import monitor as mon
from tapegrad.nn.mxnet import ndarray as nd
from tapegrad.nn.mxnet import optimizer as opt
from tapegrad.nn.mxnet import symbol as sym
from tapegrad.nn.mxnet.compat import compat
from tapegrad.nn.mxnet.context import Context, cpu, cpu_pinned, current_context, gpu, num_gpus
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.symbol.naming import AttrScope, NameManager, Prefix

__all__ = [
    "AttrScope",
    "Context",
    "MXNetError",
    "NameManager",
    "Prefix",
    "callback",
    "compat",
    "context",
    "cpu",
    "cpu_pinned",
    "current_context",
    "executor",
    "gpu",
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
    "operators",
    "opt",
    "optimizer",
    "random",
    "sym",
    "symbol",
]
