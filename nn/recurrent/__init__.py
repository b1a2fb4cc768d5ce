"""Layers that run over time."""

from tapegrad.nn.recurrent import layers, masking, sequence
from tapegrad.nn.recurrent.layers import *
from tapegrad.nn.recurrent.masking import *
from tapegrad.nn.recurrent.sequence import *

__all__ = [
    *layers.__all__,
    *masking.__all__,
    *sequence.__all__,
]
