"""tapegrad.array_api: the Python array API standard, on Tensors.

``x.__array_namespace__()`` is this module, by which SciPy, scikit-learn, einops and other libraries
that keep to the standard compute with Tensors, and differentiate.  Its functions are the
primitives, with the standard's names, signatures and dtypes.
"""

from typing import TYPE_CHECKING

from tapegrad.autograd.surface.array_api import (
    creation,
    data_types,
    elementwise,
    fft,
    information,
    linalg,
    manipulation,
    products,
    searching,
    statistics,
)
from tapegrad.autograd.surface.array_api import special as special  # SciPy looks for it
from tapegrad.autograd.surface.array_api.creation import *
from tapegrad.autograd.surface.array_api.data_types import *
from tapegrad.autograd.surface.array_api.elementwise import *
from tapegrad.autograd.surface.array_api.manipulation import *
from tapegrad.autograd.surface.array_api.products import *
from tapegrad.autograd.surface.array_api.searching import *
from tapegrad.autograd.surface.array_api.statistics import *

__array_api_version__ = information.VERSIONS[-1]
__array_namespace_info__ = information.NamespaceInfo

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        "__array_api_version__",
        "__array_namespace_info__",
        "fft",
        "linalg",
        *creation.__all__,
        *data_types.__all__,
        *elementwise.__all__,
        *manipulation.__all__,
        *products.__all__,
        *searching.__all__,
        *statistics.__all__,
    ]
