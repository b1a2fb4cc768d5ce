"""Recurrent layers: single steps, layers of one step or of an entire sequence, runs over time."""

from typing import TYPE_CHECKING

from tapegrad.nn.recurrent import (
    layered,
    layers,
    masking,
    over_time,
    recurrence,
    sequence,
    steps,
)
from tapegrad.nn.recurrent.layered import *
from tapegrad.nn.recurrent.layers import *
from tapegrad.nn.recurrent.masking import *
from tapegrad.nn.recurrent.over_time import *
from tapegrad.nn.recurrent.recurrence import *
from tapegrad.nn.recurrent.sequence import *
from tapegrad.nn.recurrent.steps import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *layered.__all__,
        *layers.__all__,
        *masking.__all__,
        *over_time.__all__,
        *recurrence.__all__,
        *sequence.__all__,
        *steps.__all__,
    ]
