"""Torch7's files: `load`, `load_all`, `objects` and `save`."""

from tapegrad.nn.formats.torch7.files import *
from tapegrad.nn.formats.torch7.files import __all__ as __all__
