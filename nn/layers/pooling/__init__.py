"""Pooling over windows, and its inverse."""

from tapegrad.nn.layers.pooling import fixed
from tapegrad.nn.layers.pooling.fixed import *

__all__ = [
    *fixed.__all__,
]
