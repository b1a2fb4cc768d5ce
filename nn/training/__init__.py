"""Torch7's trainer."""

from tapegrad.nn.training import stochastic_gradient
from tapegrad.nn.training.stochastic_gradient import *

__all__ = [
    *stochastic_gradient.__all__,
]
