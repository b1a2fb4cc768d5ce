"""Lists and tuples that hold Tensors, as operands: NumPy makes an array of them, we a stack.

To stack is an operation, which stands above this room and is registered by the file that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapegrad.autograd.core.tensor import Tensor

__all__ = ["holds_tensors", "as_one_tensor", "register_stack"]

_registered: list[Callable[[Sequence[Any]], Tensor]] = []


def register_stack(stack: Callable[[Sequence[Any]], Tensor]) -> None:
    """Register the function that makes one Tensor of several of one shape, along a new axis."""
    _registered[:] = [stack]


def holds_tensors(data: Any) -> bool:
    """Whether a nested list or tuple holds a Tensor anywhere."""
    if isinstance(data, (list, tuple)):
        return any(isinstance(item, Tensor) or holds_tensors(item) for item in data)
    return False


def as_one_tensor(data: Any) -> Any:
    """A nested list or tuple that holds Tensors as one Tensor; anything else as it is.

    Raises ShapeError for parts of different shapes.
    """
    if not holds_tensors(data):
        return data
    [stack] = _registered
    return stack([as_one_tensor(item) for item in data])
