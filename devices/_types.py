"""Names for annotations: an array of any library, its namespace, a dtype, a shape.

NumPy's and CuPy's arrays have no base class and no protocol in common that a type checker could
follow.  So `Array` and `Namespace` are names for the reader; a type checker takes them for `Any`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Array", "DTypeLike", "Namespace", "Shape"]

# An array of a registered library: `numpy.ndarray`, `cupy.ndarray`, …
Array: TypeAlias = Any
# The module whose functions take such arrays: `numpy`, `cupy`, …
Namespace: TypeAlias = Any
# What `numpy.dtype` takes: a dtype, a scalar type, a name such as "float32".
DTypeLike: TypeAlias = Any
# The length of each axis.
Shape: TypeAlias = tuple[int, ...]
