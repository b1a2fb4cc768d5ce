"""Every error class of tapegrad, and every class of its warnings.

Each error class derives from `TapegradError` and from a built-in class; each class of warnings from
UserWarning.
"""

from tapegrad.autograd.check.gradients import CheckError, UsageError
from tapegrad.autograd.check.report import GradientError, LawError
from tapegrad.autograd.check.running import UncheckedError
from tapegrad.autograd.core.errors import (
    BatchingError,
    ConversionError,
    InPlaceError,
    OperandError,
    ShapeError,
)
from tapegrad.autograd.debug.anomaly import AnomalyError
from tapegrad.autograd.replay.recording import ReplayError
from tapegrad.autograd.transforms.checkpoint import CheckpointError
from tapegrad.devices import CaptureError, DeviceError, TapegradError
from tapegrad.devices.collectives import CollectiveError
from tapegrad.nn.data.images.errors import ImageError
from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    SkippedFunctionWarning,
    TruncatedError,
    UnknownClassWarning,
    UnsafeError,
    UnsupportedError,
)
from tapegrad.nn.mxnet.errors import MXNetError, MXNetValueError
from tapegrad.optim.parallel.data_parallel import RanksDifferError
from tapegrad.optim.training.checkpoint import ResumeError

__all__ = [
    "AnomalyError",
    "BatchingError",
    "CaptureError",
    "CheckError",
    "CheckpointError",
    "CollectiveError",
    "ConversionError",
    "DeviceError",
    "FormatError",
    "GradientError",
    "ImageError",
    "InPlaceError",
    "LawError",
    "LimitError",
    "MXNetError",
    "MXNetValueError",
    "OperandError",
    "RanksDifferError",
    "ReplayError",
    "ResumeError",
    "ShapeError",
    "SkippedFunctionWarning",
    "TapegradError",
    "TruncatedError",
    "UncheckedError",
    "UnknownClassWarning",
    "UnsafeError",
    "UnsupportedError",
    "UsageError",
]
