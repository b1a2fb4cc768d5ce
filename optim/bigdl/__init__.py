"""BigDL's names for training: `from tapegrad.optim.bigdl import Optimizer, SGD, Trigger, …`.

Nothing here has mathematics of its own: methods are the rules of `tapegrad.optim`, validation
methods those of `tapegrad.optim.validation`, and the `Optimizer` runs a Trainer.  What differs from
BigDL stands in optim/DIFFERENCES.md.
"""

from typing import TYPE_CHECKING

from tapegrad.optim import validation
from tapegrad.optim.bigdl import joint, methods, optimizer, schedules, summaries
from tapegrad.optim.bigdl.joint import *
from tapegrad.optim.bigdl.methods import *
from tapegrad.optim.bigdl.optimizer import *
from tapegrad.optim.bigdl.schedules import *
from tapegrad.optim.bigdl.summaries import *
from tapegrad.optim.training import triggers
from tapegrad.optim.training.triggers import *
from tapegrad.optim.validation import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *joint.__all__,
        *methods.__all__,
        *optimizer.__all__,
        *schedules.__all__,
        *summaries.__all__,
        *triggers.__all__,
        *validation.__all__,
    ]
