"""The ufuncs of scipy.special that are rare: imported when the first of them meets a Tensor.

The common ones are in `ops/special.py` and `ops/bessel.py`.
"""

from tapegrad.autograd.scipy.ufuncs import (
    cylinder,
    elementary,
    elliptic,
    hypergeometric,
    integrals,
    noncentral,
    polynomials,
    probability,
    wave,
)

__all__ = [
    "cylinder",
    "elementary",
    "elliptic",
    "hypergeometric",
    "integrals",
    "noncentral",
    "polynomials",
    "probability",
    "wave",
]
