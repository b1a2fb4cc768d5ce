"""Masks of attention: booleans, True for what must not be seen, or floats to add to the scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError

__all__ = ["add_mask", "attention_mask", "checked_attention_mask", "fitted_padding", "joined_mask"]

NO_MASK = (
    "the mask has dtype {dtype} and entries that are no mask of attention: pass booleans, True for "
    "what must not be seen (mask == 0 turns a mask around in which 1 stands for what is kept), or "
    "floats to add to the scores, 0 and -inf"
)


def attention_mask(mask: Any) -> np.ndarray[Any, Any] | None:
    """A copy of a mask of attention, booleans or floats; None for None.

    Raises TypeError for integers and for floats that are 0 or 1 throughout: added to scores, a mask
    in which 1 stands for what is kept would change the weights a little, and mask nothing.
    """
    if mask is None:
        return None
    array = np.array(mask.numpy() if isinstance(mask, Tensor) else mask)
    kind = array.dtype.kind
    if kind not in "bf" or (kind == "f" and array.any() and np.isin(array, (0, 1)).all()):
        raise TypeError(NO_MASK.format(dtype=array.dtype))
    return array


def fitted_padding(mask: Any, scores: tuple[int, ...]) -> Any:
    """A key_padding_mask (N, S) as (N, 1, 1, S).  Raises ShapeError for other shapes.

    scores: their shape, (N, heads, T, S)
    """
    n, _, _, s = scores
    if mask.ndim == 1 and n == 1:
        mask = mask.reshape((1, -1))
    if mask.shape != (n, s):
        raise ShapeError(
            f"the key_padding_mask has shape {mask.shape}; it must be (N, S) = ({n}, {s})"
        )
    return mask.reshape((n, 1, 1, s))


def checked_attention_mask(mask: Any, q: Tensor) -> Tensor:
    """A mask of booleans, or of floats in the dtype of q.  Raises TypeError for integers."""
    if not isinstance(mask, Tensor):
        mask = Tensor(mask, device=q.device)
    if mask.dtype.kind not in "bf":
        raise TypeError(NO_MASK.format(dtype=mask.dtype))
    found: Tensor = mask if mask.dtype == bool else ops.cast(mask, dtype=q.dtype)
    return found


def add_mask(scores: Tensor, mask: Tensor) -> Tensor:
    """scores, with -inf where a mask of booleans holds, or plus a mask of floats."""
    if mask.dtype == bool:
        masked: Tensor = ops.where(mask, -math.inf, scores)
        return masked
    return scores + mask


def joined_mask(masks: list[Tensor]) -> Tensor | None:
    """Masks of one kind as one: what any of them hides, or their sum."""
    if not masks:
        return None
    joined, *others = masks
    for mask in others:
        joined = ops.logical_or(joined, mask) if mask.dtype == bool else joined + mask
    return joined
