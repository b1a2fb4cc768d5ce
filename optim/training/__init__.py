"""The loop around a step, and what is measured, averaged and saved there."""

from typing import TYPE_CHECKING

from tapegrad.optim.training import (
    average,
    callbacks,
    checkpoint,
    classification,
    confusion,
    data,
    history,
    logger,
    lr_finder,
    metrics,
    trainer,
    triggers,
)
from tapegrad.optim.training.average import *
from tapegrad.optim.training.callbacks import *
from tapegrad.optim.training.checkpoint import *
from tapegrad.optim.training.classification import *
from tapegrad.optim.training.confusion import *
from tapegrad.optim.training.data import *
from tapegrad.optim.training.history import *
from tapegrad.optim.training.logger import *
from tapegrad.optim.training.lr_finder import *
from tapegrad.optim.training.metrics import *
from tapegrad.optim.training.trainer import *
from tapegrad.optim.training.triggers import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *average.__all__,
        *callbacks.__all__,
        *checkpoint.__all__,
        *classification.__all__,
        *confusion.__all__,
        *data.__all__,
        *history.__all__,
        *logger.__all__,
        *lr_finder.__all__,
        *metrics.__all__,
        *trainer.__all__,
        *triggers.__all__,
    ]
