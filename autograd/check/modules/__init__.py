"""Laws of modules: what every layer and container must do, whoever wrote it.

Each file holds a table of the laws about one subject.  `MODULE_LAWS` joins the tables in the order
in which the laws are checked.
"""

from tapegrad.autograd.check.laws import join_laws
from tapegrad.autograd.check.modules import (
    copies,
    data,
    derivatives,
    integers,
    memory,
    methods,
    modes,
    precision,
    ways_to_run,
)
from tapegrad.autograd.check.modules.trial import Layer, ModuleTrial
from tapegrad.autograd.check.modules.ways_to_run import agree_on_device

__all__ = ["MODULE_LAWS", "Layer", "ModuleTrial", "agree_on_device"]

MODULE_LAWS = join_laws(
    "module",
    derivatives.LAWS,  # first of all, that equal calls give equal Tensors
    methods.LAWS,
    memory.LAWS,
    modes.LAWS,
    copies.LAWS,
    data.LAWS,
    integers.LAWS,
    precision.LAWS,
    ways_to_run.LAWS,
)
