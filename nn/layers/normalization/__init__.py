"""Normalization over batches, samples and neighbourhoods."""

from tapegrad.nn.layers.normalization import batch, local, sample
from tapegrad.nn.layers.normalization.batch import *
from tapegrad.nn.layers.normalization.local import *
from tapegrad.nn.layers.normalization.sample import *

__all__ = [
    *batch.__all__,
    *local.__all__,
    *sample.__all__,
]
