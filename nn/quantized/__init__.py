"""Models of int8 weights: `quantize(model)` makes one of a model that has been trained.

The classes of quantized layers are nobody's to make: they come out of `quantize`, and of files.
"""

from typing import TYPE_CHECKING

from tapegrad.nn.quantized import layers, recurrent
from tapegrad.nn.quantized.quantizing import quantize as quantize

if not TYPE_CHECKING:
    __all__ = ["quantize"]
