"""tapegrad.nn.mxnet.image: `mx.image`, pictures as arrays (H, W, channels), red first."""

from tapegrad.nn.mxnet.image import detection as det
from tapegrad.nn.mxnet.image.augmenters import *
from tapegrad.nn.mxnet.image.augmenters import __all__ as _augmenters
from tapegrad.nn.mxnet.image.detection import *
from tapegrad.nn.mxnet.image.detection import __all__ as _detection
from tapegrad.nn.mxnet.image.functions import *
from tapegrad.nn.mxnet.image.functions import __all__ as _functions
from tapegrad.nn.mxnet.image.iterator import ImageIter

__all__ = [*_functions, *_augmenters, *_detection, "ImageIter", "det"]
