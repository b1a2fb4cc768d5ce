"""tapegrad.nn.formats: model files, ours and other systems'.

Nothing here runs code that a file brings along; what is wrong with a file is a FormatError.
"""

from tapegrad.nn.formats import native, torch7
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
from tapegrad.nn.formats.native.files import register

__all__ = [
    "FormatError",
    "LimitError",
    "Limits",
    "TruncatedError",
    "SkippedFunctionWarning",
    "UnknownClassWarning",
    "UnsafeError",
    "UnsupportedError",
    "native",
    "register",
    "safetensors_file",
    "torch7",
]
