"""Torch7's trainer."""

from typing import TYPE_CHECKING

from tapegrad.nn.training import stochastic_gradient
from tapegrad.nn.training.stochastic_gradient import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *stochastic_gradient.__all__,
    ]
