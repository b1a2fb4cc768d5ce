"""Convolutions."""

from tapegrad.nn.layers.convolution import plain, spatial
from tapegrad.nn.layers.convolution.plain import *
from tapegrad.nn.layers.convolution.spatial import *

__all__ = [
    *plain.__all__,
    *spatial.__all__,
]
