"""Convolutions of images, films and volumes."""

from typing import TYPE_CHECKING

from tapegrad.nn.layers.convolution import by_table, local, plain, spatial, volumetric
from tapegrad.nn.layers.convolution.by_table import *
from tapegrad.nn.layers.convolution.local import *
from tapegrad.nn.layers.convolution.plain import *
from tapegrad.nn.layers.convolution.spatial import *
from tapegrad.nn.layers.convolution.volumetric import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *by_table.__all__,
        *local.__all__,
        *plain.__all__,
        *spatial.__all__,
        *volumetric.__all__,
    ]
