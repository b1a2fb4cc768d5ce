"""The primitives, in one flat namespace, `from tapegrad import ops`: `ops.log`, `ops.conv2d`, …

Files and rooms group them by kind; importing this package declares them all.  In bodies and rules
`Array` stands for a bare array or a Tensor: both have an array's attributes and operators.
"""

from typing import TYPE_CHECKING

from tapegrad.autograd.ops import (
    activation,
    arrays,
    attention,
    bessel,
    building,
    calculus,
    complex_domain,
    conversion,
    convolution,
    counting,
    distance,
    elementwise,
    error_function,
    facts,
    fourier,
    gradient_identities,
    grids,
    histograms,
    indexing,
    inplace,
    integral_functions,
    linalg,
    matrices,
    normalization,
    number_parts,
    padding,
    polynomials,
    pooling,
    quantiles,
    quantization,
    random,
    ranks,
    rearranging,
    recurrent,
    reduction,
    repetition,
    shape,
    sorting,
    special,
    statistics,
    transfer,
    vector_convolution,
    vector_products,
    windows,
    writing,
)
from tapegrad.autograd.ops.activation import *
from tapegrad.autograd.ops.arrays import *
from tapegrad.autograd.ops.attention import *
from tapegrad.autograd.ops.bessel import *
from tapegrad.autograd.ops.building import *
from tapegrad.autograd.ops.calculus import *
from tapegrad.autograd.ops.complex_domain import *
from tapegrad.autograd.ops.conversion import *
from tapegrad.autograd.ops.convolution import *
from tapegrad.autograd.ops.counting import *
from tapegrad.autograd.ops.distance import *
from tapegrad.autograd.ops.elementwise import *
from tapegrad.autograd.ops.error_function import *
from tapegrad.autograd.ops.facts import *
from tapegrad.autograd.ops.fourier import *
from tapegrad.autograd.ops.gradient_identities import *
from tapegrad.autograd.ops.grids import *
from tapegrad.autograd.ops.histograms import *
from tapegrad.autograd.ops.indexing import *
from tapegrad.autograd.ops.inplace import *
from tapegrad.autograd.ops.integral_functions import *
from tapegrad.autograd.ops.linalg import *
from tapegrad.autograd.ops.matrices import *
from tapegrad.autograd.ops.normalization import *
from tapegrad.autograd.ops.number_parts import *
from tapegrad.autograd.ops.padding import *
from tapegrad.autograd.ops.polynomials import *
from tapegrad.autograd.ops.pooling import *
from tapegrad.autograd.ops.quantiles import *
from tapegrad.autograd.ops.quantization import *
from tapegrad.autograd.ops.random import *
from tapegrad.autograd.ops.ranks import *
from tapegrad.autograd.ops.rearranging import *
from tapegrad.autograd.ops.recurrent import *
from tapegrad.autograd.ops.reduction import *
from tapegrad.autograd.ops.repetition import *
from tapegrad.autograd.ops.shape import *
from tapegrad.autograd.ops.sorting import *
from tapegrad.autograd.ops.special import *
from tapegrad.autograd.ops.statistics import *
from tapegrad.autograd.ops.transfer import *
from tapegrad.autograd.ops.vector_convolution import *
from tapegrad.autograd.ops.vector_products import *
from tapegrad.autograd.ops.windows import *
from tapegrad.autograd.ops.writing import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *arrays.__all__,
        *activation.__all__,
        *attention.__all__,
        *bessel.__all__,
        *building.__all__,
        *calculus.__all__,
        *complex_domain.__all__,
        *conversion.__all__,
        *convolution.__all__,
        *counting.__all__,
        *distance.__all__,
        *elementwise.__all__,
        *error_function.__all__,
        *facts.__all__,
        *fourier.__all__,
        *gradient_identities.__all__,
        *grids.__all__,
        *histograms.__all__,
        *indexing.__all__,
        *inplace.__all__,
        *integral_functions.__all__,
        *linalg.__all__,
        *matrices.__all__,
        *normalization.__all__,
        *number_parts.__all__,
        *padding.__all__,
        *polynomials.__all__,
        *pooling.__all__,
        *quantiles.__all__,
        *quantization.__all__,
        *random.__all__,
        *ranks.__all__,
        *rearranging.__all__,
        *recurrent.__all__,
        *reduction.__all__,
        *repetition.__all__,
        *shape.__all__,
        *sorting.__all__,
        *special.__all__,
        *statistics.__all__,
        *transfer.__all__,
        *vector_convolution.__all__,
        *vector_products.__all__,
        *windows.__all__,
        *writing.__all__,
    ]


def __dir__() -> list[str]:
    return sorted({*globals()["__all__"], *(name for name in globals() if name.startswith("__"))})
