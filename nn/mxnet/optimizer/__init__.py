"""tapegrad.nn.mxnet.optimizer: `mx.optimizer`."""

from tapegrad.nn.mxnet.optimizer import adaptive, descent
from tapegrad.nn.mxnet.optimizer.adaptive import *
from tapegrad.nn.mxnet.optimizer.base import (
    Optimizer,
    Updater,
    create,
    get_updater,
    names,
    register,
)
from tapegrad.nn.mxnet.optimizer.descent import *

__all__ = [
    "Optimizer",
    "Updater",
    "create",
    "get_updater",
    "names",
    "register",
    *adaptive.__all__,
    *descent.__all__,
]
