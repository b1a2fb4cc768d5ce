"""mx.sym.image: the operators whose names begin with _image_."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.symbol.functions import function_of

__getattr__ = finder("mx.sym.image", ["_image_"], function_of)
