"""tapegrad.scipy.stats: densities and distribution functions on Tensors.

The derivatives are those in x, loc, scale and every shape parameter whose derivative has a formula;
another raises TypeError, which names it.
"""

from tapegrad.autograd.scipy.stats import continuous, discrete, multivariate
from tapegrad.autograd.scipy.stats.continuous import *
from tapegrad.autograd.scipy.stats.discrete import *
from tapegrad.autograd.scipy.stats.multivariate import *

__all__ = [*continuous.__all__, *discrete.__all__, *multivariate.__all__]
