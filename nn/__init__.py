"""tapegrad.nn: modules, containers, layers and criterions.

The front door hands on what the rooms export.  Nothing in nn imports it.
"""

from typing import TYPE_CHECKING

from tapegrad.autograd import Parameter
from tapegrad.devices import manual_seed
from tapegrad.nn import (
    containers,
    criterions,
    formats,  # noqa: F401  # formats tell core.files of themselves
    layers,
    recurrent,
    training,
)
from tapegrad.nn.containers import *
from tapegrad.nn.core import initialization as init
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError, shape_check
from tapegrad.nn.core.files import load
from tapegrad.nn.core.picture import picture
from tapegrad.nn.criterions import *
from tapegrad.nn.layers import *
from tapegrad.nn.layers.convolution import connection_tables as tables
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent import *
from tapegrad.nn.training import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        "Buffer",
        "Module",
        "Parameter",
        "ShapeError",
        "init",
        "load",
        "manual_seed",
        "picture",
        "shape_check",
        "tables",
        *containers.__all__,
        *criterions.__all__,
        *layers.__all__,
        *recurrent.__all__,
        *training.__all__,
    ]
