"""What is done with functions of the user: their values for SciPy, and derivatives in their args.

SciPy's solvers call a function with arrays, for numbers.  The derivative of what they find comes
from derivatives of the function at the result, in its arguments `args`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd.core.mode import derivative_depth
from tapegrad.autograd.core.tensor import Tensor, as_array
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand

__all__ = ["Given", "numbers", "packed"]

CLOSED = (
    "{name} gives a tracked Tensor for untracked arguments: it uses something tracked that is not "
    "among its args, whose gradient would be lost; pass it in args"
)


def packed(y: Any) -> Any:
    """A function's result as one array or Tensor, also where it is a list of numbers."""
    if isinstance(y, (list, tuple)) and any(isinstance(part, Tensor) for part in y):
        return s.stack([packed(part) for part in y])
    return as_operand(y)


def numbers(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
    """fn, whose results are arrays.  It raises TypeError where something tracked is behind it."""

    def plain(*args: Any) -> Any:
        # derivatives of what fn itself differentiates are not asked for, whoever calls the solver
        token = derivative_depth.set(0)
        try:
            y = packed(fn(*args))
        finally:
            derivative_depth.reset(token)
        if isinstance(y, Tensor) and y.tracked:
            raise TypeError(CLOSED.format(name=name))
        return as_array(y)

    return plain


class Given:
    """The args of a function: those that are floats, in which there are derivatives, and others.

    floats: the arrays and Tensors among them, in order; Python's numbers become arrays
    """

    def __init__(self, args: Any) -> None:
        self._args = list(args) if isinstance(args, (tuple, list)) else [args]
        self.floats: list[Any] = []
        self._places: list[int] = []
        for i, value in enumerate(self._args):
            if isinstance(value, (float, complex, Tensor, np.ndarray, np.inexact)):
                array = as_operand(value)
                if array.dtype.kind in "fc":
                    self.floats.append(array)
                    self._places.append(i)

    def filled(self, floats: Sequence[Any]) -> list[Any]:
        """All args, with these in the places of `floats`."""
        args = list(self._args)
        for i, value in zip(self._places, floats, strict=True):
            args[i] = value
        return [as_array(x) if isinstance(x, Tensor) and not x.tracked else x for x in args]

    def bound(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """fn(…, *args) as a function of what comes first and a list of floats."""
        return lambda *first_and_floats: packed(
            fn(*first_and_floats[:-1], *self.filled(first_and_floats[-1]))
        )
