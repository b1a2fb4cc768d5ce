"""Save and load modules in our own format: one safetensors file."""

from tapegrad.nn.formats.native.files import *
from tapegrad.nn.formats.native.files import __all__ as __all__
