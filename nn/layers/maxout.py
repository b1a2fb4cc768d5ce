"""Maxout: the largest of several linear functions, unit by unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.nn.containers.container import Sequential
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.reduction import Max
from tapegrad.nn.layers.shape import View

if TYPE_CHECKING:
    from tapegrad.nn.module import Module

__all__ = ["Maxout"]


class Maxout(Sequential):
    """y = maxₖ (Wₖ·x + bₖ), the largest of maxoutNumber linear functions, unit by unit.

    x: (N, inputSize) or (inputSize,) -> (N, outputSize) or (outputSize,).  The children are a
    Linear with weight (maxoutNumber·outputSize, inputSize), a View, and a Max; preprocess: a module
    of (N, maxoutNumber, outputSize) in front of the Max.
    Raises ShapeError when the last axis of x is not inputSize long.
    Source: nn.Maxout; I. Goodfellow et al., "Maxout networks", ICML 2013.
    """

    def __init__(
        self,
        inputSize: int,
        outputSize: int,
        maxoutNumber: int,
        preprocess: Module | None = None,
    ) -> None:
        super().__init__(
            Linear(inputSize, outputSize * maxoutNumber),
            View(maxoutNumber, outputSize).setNumInputDims(1),
        )
        if preprocess is not None:
            self.add(preprocess)
        self.add(Max(0, 2))

    def __tostring__(self) -> str:
        """Return Torch7's text, which has the name of the parent class."""
        return super().__tostring__().replace("nn.Maxout", "nn.Sequential", 1)
