"""Models of int8 weights: `quantize(model)` makes one of a model that has been trained.

The classes of quantized layers are nobody's to make: they come out of `quantize`, and of files.
"""

from tapegrad.nn.quantized import layers as layers
from tapegrad.nn.quantized import recurrent as recurrent
from tapegrad.nn.quantized.quantizing import quantize as quantize

__all__ = ["quantize"]
