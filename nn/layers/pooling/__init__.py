"""Pooling: one number for each window of a feature map, and the inverse of max pooling."""

from typing import TYPE_CHECKING

from tapegrad.nn.layers.pooling import adaptive, fixed, fractional, powers, unpooling
from tapegrad.nn.layers.pooling.adaptive import *
from tapegrad.nn.layers.pooling.fixed import *
from tapegrad.nn.layers.pooling.fractional import *
from tapegrad.nn.layers.pooling.powers import *
from tapegrad.nn.layers.pooling.unpooling import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *adaptive.__all__,
        *fixed.__all__,
        *fractional.__all__,
        *powers.__all__,
        *unpooling.__all__,
    ]
