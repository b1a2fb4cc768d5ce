"""tapegrad.nn.mxnet: MXNet's Module and all around it, ``from tapegrad.nn import mxnet as mx``."""

from typing import Any

from tapegrad.nn.mxnet import (
    attribute,
    base,
    callback,
    context,
    contrib,
    engine,
    executor,
    executor_manager,
    image,
    initializer,
    io,
    kvstore,
    log,
    lr_scheduler,
    metric,
    model,
    module,
    monitor,
    name,
    ndarray,
    operator,
    operators,
    optimizer,
    random,
    recordio,
    rnn,
    scala,
    symbol,
    test_utils,
    util,
    visualization,
)
from tapegrad.nn.mxnet import (
    distributed as distributed,
)
from tapegrad.nn.mxnet import image as img
from tapegrad.nn.mxnet import initializer as init
from tapegrad.nn.mxnet import kvstore as kv
from tapegrad.nn.mxnet import module as mod
from tapegrad.nn.mxnet import monitor as mon
from tapegrad.nn.mxnet import ndarray as nd
from tapegrad.nn.mxnet import optimizer as opt
from tapegrad.nn.mxnet import random as rnd
from tapegrad.nn.mxnet import symbol as sym
from tapegrad.nn.mxnet import visualization as viz
from tapegrad.nn.mxnet.compat import compat
from tapegrad.nn.mxnet.context import Context, cpu, cpu_pinned, current_context, gpu, num_gpus
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.installing import OUT_OF_SCOPE, install
from tapegrad.nn.mxnet.symbol.naming import AttrScope, NameManager, Prefix
from tapegrad.nn.mxnet.symbol_module import SymbolModule

__version__ = "1.9.1"  # the version whose behaviour this is

__all__ = [
    "AttrScope",
    "Context",
    "MXNetError",
    "NameManager",
    "Prefix",
    "SymbolModule",
    "attribute",
    "base",
    "callback",
    "compat",
    "context",
    "contrib",
    "cpu",
    "cpu_pinned",
    "current_context",
    "engine",
    "executor",
    "executor_manager",
    "gpu",
    "image",
    "img",
    "init",
    "initializer",
    "install",
    "io",
    "kv",
    "kvstore",
    "log",
    "lr_scheduler",
    "metric",
    "mod",
    "model",
    "module",
    "mon",
    "monitor",
    "name",
    "nd",
    "ndarray",
    "num_gpus",
    "operator",
    "operators",
    "opt",
    "optimizer",
    "random",
    "recordio",
    "rnd",
    "rnn",
    "sym",
    "symbol",
    "visualization",
    "viz",
    "scala",
    "test_utils",
    "util",
]


def __getattr__(name: str) -> Any:
    """Raises AttributeError, with the reason for what is out of scope."""
    reason = OUT_OF_SCOPE.get(name)
    because = f": {reason}" if reason else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{because}")
