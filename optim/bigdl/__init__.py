"""BigDL's names for training: `from tapegrad.optim.bigdl import Optimizer, SGD, Trigger, …`.

Nothing here has mathematics of its own: methods are the rules of `tapegrad.optim`, and the
`Optimizer` runs its Trainer.  What differs from BigDL stands in optim/DIFFERENCES.md.
"""

from typing import TYPE_CHECKING

from tapegrad.optim.bigdl import methods, schedules
from tapegrad.optim.bigdl.methods import *
from tapegrad.optim.bigdl.schedules import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *methods.__all__,
        *schedules.__all__,
    ]
