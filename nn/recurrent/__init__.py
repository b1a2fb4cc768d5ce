"""Recurrent layers: single steps, layers of one step or of an entire sequence, runs over time."""

from typing import TYPE_CHECKING

from tapegrad.nn.recurrent import (
    cells,
    convolutional_cells,
    layered,
    layers,
    masking,
    over_time,
    recurrence,
    sequence,
    steps,
    trees,
    unrolled,
)
from tapegrad.nn.recurrent.cells import *
from tapegrad.nn.recurrent.convolutional_cells import *
from tapegrad.nn.recurrent.layered import *
from tapegrad.nn.recurrent.layers import *
from tapegrad.nn.recurrent.masking import *
from tapegrad.nn.recurrent.over_time import *
from tapegrad.nn.recurrent.recurrence import *
from tapegrad.nn.recurrent.sequence import *
from tapegrad.nn.recurrent.steps import *
from tapegrad.nn.recurrent.trees import *
from tapegrad.nn.recurrent.unrolled import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *cells.__all__,
        *convolutional_cells.__all__,
        *layered.__all__,
        *layers.__all__,
        *masking.__all__,
        *over_time.__all__,
        *recurrence.__all__,
        *sequence.__all__,
        *steps.__all__,
        *trees.__all__,
        *unrolled.__all__,
    ]
