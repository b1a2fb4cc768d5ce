"""What the files of this folder share: reasons why a derivative is not known, and sums of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd.ops.scipy_ufuncs import UnknownSlope

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = ["COINCIDENT", "INVERSE", "PARAMETER", "SERIES", "VALUE", "WHOLE", "joined"]

PARAMETER = UnknownSlope("no closed form in SciPy's functions is known")
WHOLE = UnknownSlope("it counts in whole numbers", whole=True)
INVERSE = UnknownSlope("it is one over a derivative in a parameter, which is not known")
COINCIDENT = UnknownSlope("it is a difference divided by one that may be 0")
SERIES = UnknownSlope("it is a sum over all terms of a series, which SciPy does not offer")
VALUE = UnknownSlope("it is an integral over the function, which SciPy does not offer")


def joined(g: Any, *slopes: Any) -> Array:
    """The sum of cotangents times slopes; a slope is a function, called where one is used."""
    used = [part * slope() for part, slope in zip(g, slopes, strict=True) if part is not None]
    total = used[0]
    for term in used[1:]:
        total = total + term
    return total
