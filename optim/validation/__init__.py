"""BigDL's validation methods: figures of merit whose results add up exactly, in any order."""

from typing import TYPE_CHECKING

from tapegrad.optim.validation import curves, detection, methods, ranking, results
from tapegrad.optim.validation.curves import *
from tapegrad.optim.validation.detection import *
from tapegrad.optim.validation.methods import *
from tapegrad.optim.validation.ranking import *
from tapegrad.optim.validation.results import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *curves.__all__,
        *detection.__all__,
        *methods.__all__,
        *ranking.__all__,
        *results.__all__,
    ]
