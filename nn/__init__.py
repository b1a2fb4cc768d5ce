"""tapegrad.nn: modules, containers, layers and criterions.

The front door hands on what the rooms export.  Nothing in nn imports it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tapegrad.autograd import Parameter as Parameter
from tapegrad.devices import manual_seed as manual_seed
from tapegrad.nn import containers, criterions, data, layers, plots, quantized, recurrent, training
from tapegrad.nn.containers import *
from tapegrad.nn.core import initialization as init
from tapegrad.nn.core.buffer import Buffer as Buffer
from tapegrad.nn.core.errors import ShapeError as ShapeError
from tapegrad.nn.core.errors import shape_check as shape_check
from tapegrad.nn.core.files import add_importer
from tapegrad.nn.core.files import load as load
from tapegrad.nn.core.files import save as save
from tapegrad.nn.core.functional_call import functional_call as functional_call
from tapegrad.nn.core.init_methods import BilinearFiller as BilinearFiller
from tapegrad.nn.core.init_methods import ConstInitMethod as ConstInitMethod
from tapegrad.nn.core.init_methods import InitializationMethod as InitializationMethod
from tapegrad.nn.core.init_methods import MsraFiller as MsraFiller
from tapegrad.nn.core.init_methods import Ones as Ones
from tapegrad.nn.core.init_methods import RandomNormal as RandomNormal
from tapegrad.nn.core.init_methods import RandomUniform as RandomUniform
from tapegrad.nn.core.init_methods import Xavier as Xavier
from tapegrad.nn.core.init_methods import Zeros as Zeros
from tapegrad.nn.core.picture import picture as picture
from tapegrad.nn.core.regularizers import L1L2Regularizer as L1L2Regularizer
from tapegrad.nn.core.regularizers import L1Regularizer as L1Regularizer
from tapegrad.nn.core.regularizers import L2Regularizer as L2Regularizer
from tapegrad.nn.core.regularizers import Regularizer as Regularizer
from tapegrad.nn.core.weights import load_weights as load_weights
from tapegrad.nn.core.weights import save_weights as save_weights
from tapegrad.nn.criterions import *
from tapegrad.nn.layers import *
from tapegrad.nn.layers.convolution import connection_tables as tables
from tapegrad.nn.methods.advice import absent_class
from tapegrad.nn.module import Module as Module
from tapegrad.nn.plots import *
from tapegrad.nn.quantized import *
from tapegrad.nn.recurrent import *
from tapegrad.nn.training import *

if TYPE_CHECKING:
    from tapegrad.nn import formats as formats

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        "BilinearFiller",
        "Buffer",
        "ConstInitMethod",
        "InitializationMethod",
        "L1L2Regularizer",
        "L1Regularizer",
        "L2Regularizer",
        "Module",
        "MsraFiller",
        "Ones",
        "Parameter",
        "RandomNormal",
        "RandomUniform",
        "Regularizer",
        "ShapeError",
        "Xavier",
        "Zeros",
        "data",
        "functional_call",
        "init",
        "load",
        "load_weights",
        "manual_seed",
        "picture",
        "save",
        "save_weights",
        "shape_check",
        "tables",
        *containers.__all__,
        *criterions.__all__,
        *layers.__all__,
        *plots.__all__,
        *quantized.__all__,
        *recurrent.__all__,
        *training.__all__,
    ]


def __dir__() -> list[str]:
    return sorted(
        {*globals()["__all__"], "formats", *(name for name in globals() if name.startswith("__"))}
    )


def __getattr__(name: str) -> Any:
    if name == "formats":  # imported when first named, or when a file is read or written
        return import_module("tapegrad.nn.formats")
    raise absent_class(name, list(globals()))


add_importer(lambda: import_module("tapegrad.nn.formats"))
