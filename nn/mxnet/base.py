"""mx.base: the error of MXNet's engine, and what counts as a number or a text."""

import numpy as np

from tapegrad.nn.mxnet.errors import MXNetError

__all__ = ["MXNetError", "integer_types", "numeric_types", "string_types"]

# What counts as a number, an integer and a text, for isinstance.
numeric_types = (float, int, np.generic)
integer_types = (int, np.int32, np.int64)
string_types = (str,)
