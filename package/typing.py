"""Names for annotations of code that uses tapegrad: what its functions take and return."""

from tapegrad.autograd.core.types import Axes, Nest, Operand, Scalar
from tapegrad.devices import Array, DTypeLike, Namespace, Shape

__all__ = ["Array", "Axes", "DTypeLike", "Namespace", "Nest", "Operand", "Scalar", "Shape"]
