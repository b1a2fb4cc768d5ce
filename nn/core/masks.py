"""Masks of booleans that people set on layers and criterions, or pass as inputs.

One convention holds everywhere: True stands for padding, for what is left out.  Numbers other than
0 and 1 are refused, because a mask of other numbers means something else: PyTorch's float masks are
added to scores, and 0 keeps there.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.core.errors import ShapeError

__all__ = ["boolean_mask", "checked_mask"]

NOT_BOOLEAN = (
    "{name}: the mask has dtype {dtype}: booleans are needed, True for what is left out (mask == 0 "
    "turns a mask around in which 1 stands for what is kept)"
)

Mask = TypeVar("Mask")


def boolean_mask(mask: Any, name: str) -> np.ndarray[Any, Any]:
    """A copy of `mask` as booleans; integers 0 and 1 count as such, as in Torch7's ByteTensors.

    name: of the class that is given the mask, for errors.  Raises TypeError for other numbers.
    """
    array = np.array(mask.numpy() if isinstance(mask, Tensor) else mask)
    if array.dtype.kind not in "biu" or not np.isin(array, (0, 1)).all():
        raise TypeError(NOT_BOOLEAN.format(name=name, dtype=array.dtype))
    return array.astype(bool)


def checked_mask(mask: Mask, shape: tuple[int, ...], axes: str) -> Mask:
    """`mask`.  Raises ShapeError unless it holds booleans and has this shape.

    axes: the names of the axes, for the error
    """
    found: Any = mask
    if found.shape != shape:
        raise ShapeError(f"the mask has shape {found.shape}, this input needs {axes} = {shape}")
    if found.dtype != bool:
        raise ShapeError(NOT_BOOLEAN.format(name="the call", dtype=found.dtype))
    return mask
