"""Normalization over batches, samples and neighbourhoods."""

from typing import TYPE_CHECKING

from tapegrad.nn.layers.normalization import batch, local, over_ranks, sample
from tapegrad.nn.layers.normalization.batch import *
from tapegrad.nn.layers.normalization.local import *
from tapegrad.nn.layers.normalization.over_ranks import *
from tapegrad.nn.layers.normalization.sample import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *batch.__all__,
        *local.__all__,
        *over_ranks.__all__,
        *sample.__all__,
    ]
