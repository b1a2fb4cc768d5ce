"""Linear: the fully connected layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from tapegrad.autograd import Parameter, default_dtype
from tapegrad.nn._text import torch7_name
from tapegrad.nn.initialization import bound, uniform_
from tapegrad.nn.module import Module, ShapeError

__all__ = ["Linear"]


class Linear(Module):
    """y = x Wᵀ + b.

    x: (n_in,) or (…, n_in) -> (…, n_out);  weight (n_out, n_in), bias (n_out,) or None.
    Weight and bias start from U(-s, s), s = 1/√n_in.  Raises ShapeError when the last axis of x is
    not n_in long.  Source: nn.Linear, which takes one or two axes only.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # two sizes and a flag: nothing to translate

    def __init__(self, n_in: int, n_out: int, bias: bool = True) -> None:
        self.weight = Parameter(np.empty((n_out, n_in), default_dtype()))
        self.bias = Parameter(np.empty(n_out, default_dtype())) if bias else None
        self.reset()

    def noBias(self) -> Self:
        """Drop the bias."""
        self.bias = None
        return self

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√n_in, or stdv·√3."""
        s = bound(self.weight.shape[1], stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Any) -> Any:
        n_in = self.weight.shape[1]
        if not x.ndim or x.shape[-1] != n_in:
            found = x.shape[-1] if x.ndim else "missing (a single number)"
            raise ShapeError(f"last axis of the input is {found}, n_in is {n_in}")
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def __repr__(self) -> str:
        n_out, n_in = self.weight.shape
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({n_in} -> {n_out}){ending}"
