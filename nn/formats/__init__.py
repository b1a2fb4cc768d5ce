"""tapegrad.nn.formats: model files, ours and other systems'.

Nothing here runs code that a file brings along; what is wrong with a file is a FormatError.
"""

from tapegrad.nn.core.files import FileFormat, register_format
from tapegrad.nn.formats import bigdl, caffe, mxnet, native, onnx, tensorflow, torch7, weights
from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    SkippedFunctionWarning,
    TruncatedError,
    UnknownClassWarning,
    UnsafeError,
    UnsupportedError,
)
from tapegrad.nn.formats.native import safetensors_file
from tapegrad.nn.formats.native.files import register_class

register_class(onnx.OnnxGraph)

__all__ = [
    "FileFormat",
    "FormatError",
    "LimitError",
    "Limits",
    "TruncatedError",
    "SkippedFunctionWarning",
    "UnknownClassWarning",
    "UnsafeError",
    "UnsupportedError",
    "bigdl",
    "caffe",
    "mxnet",
    "native",
    "onnx",
    "register_class",
    "register_format",
    "safetensors_file",
    "tensorflow",
    "torch7",
    "weights",
]
