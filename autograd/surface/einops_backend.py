"""Tensors for einops, which asks its backends, one by one, whether a type is theirs.

`einops.array_api` needs none of this: it computes with the array API standard.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd.core.tensor import Tensor

__all__ = ["register_einops"]

_registered: list[type] = []


def register_einops() -> None:
    """Let `einops.rearrange`, `reduce`, `repeat`, `einsum`, `pack`, … take Tensors; once suffices.

    Raises ImportError where einops is not installed.
    """
    from einops._backends import NumpyBackend

    if _registered:
        return

    class TapegradBackend(NumpyBackend):
        """NumPy's functions, which Tensors answer; einops finds the class as a subclass."""

        framework_name = "tapegrad"

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, Tensor)

        def from_numpy(self, x: np.ndarray) -> Tensor:
            return Tensor(x)

        def to_numpy(self, x: Tensor) -> np.ndarray:
            return np.asarray(x)

        def arange(self, start: int, stop: int) -> Tensor:
            return Tensor(np.arange(start, stop))

        def is_float_type(self, x: Tensor) -> bool:
            return x.dtype.kind == "f"

    _registered.append(TapegradBackend)  # einops itself holds classes only weakly
