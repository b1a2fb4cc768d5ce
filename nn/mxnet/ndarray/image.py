"""mx.nd.image: the operators whose names begin with _image_."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.ndarray.functions import named_function

__getattr__ = finder("mx.nd.image", ["_image_"], named_function)
