"""Half precision: sums of powers do not fit into float16, so some layers compute in float32.

The largest float16 is 65,504, which is the square of 256, or the number of entries of an image of
256 × 256; and 1e-8 is 0.  Layers and losses whose results are ordinary numbers, although sums
inside are not, convert float16 inputs to float32 and their results back, as PyTorch does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.core.tree import leaves, map_leaves

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["in_single", "run_in_single"]


def run_in_single(forward: Callable[..., Any], x: Nest, *more: Nest) -> Any:
    """forward(x, *more); with float16 in x, of float32 copies, and with results in float16."""
    if not (_is_half(x) if isinstance(x, Tensor) else any(map(_is_half, leaves(x)))):
        return forward(x, *more)
    y = forward(*(map_leaves(_widen, nest) for nest in (x, *more)))
    return map_leaves(_narrow, y)


def in_single(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The method `forward(self, x)` such that it computes in float32 where x is float16."""

    @wraps(forward)
    def wide(self: Any, x: Nest) -> Any:
        return run_in_single(lambda x: forward(self, x), x)

    return wide


def _is_half(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype == np.float16


def _widen(x: Any) -> Any:
    return ops.cast(x, dtype=np.float32) if _is_half(x) else x


def _narrow(y: Any) -> Any:
    is_single = isinstance(y, Tensor) and y.dtype == np.float32
    return ops.cast(y, dtype=np.float16) if is_single else y
