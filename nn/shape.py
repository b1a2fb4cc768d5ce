"""Reshape and View: the same entries, arranged along other axes.

Torch7 has both because its View refuses arrays that are not contiguous in memory and its Reshape
copies them.  Here both share memory where the layout allows it and copy where it does not; what
remains different is how they tell a batch from a single sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from tapegrad.nn._text import torch7_name
from tapegrad.nn.module import Module, ShapeError

__all__ = ["Reshape", "View"]


class Reshape(Module):
    """The entries of x, row by row, in the shape `sizes`: Reshape(3, 4).

    x: (…) with 3·4 entries -> (3, 4), or (N, …) with N·3·4 entries -> (N, 3, 4).
    batchMode True: the first axis is always the batch; False: never; None, the default: x is a
    single sample if it has exactly as many entries as one, unless its first axis has length 1.
    It may also be the last positional argument, as in Torch7: Reshape(3, 4, True).
    Raises ShapeError when the numbers of entries differ.  Source: nn.Reshape.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # lengths and a flag

    def __init__(
        self, *sizes: int | Iterable[int] | bool | None, batchMode: bool | None = None
    ) -> None:
        if sizes and isinstance(sizes[-1], bool):
            *sizes, batchMode = sizes  # type: ignore[assignment]  # just seen to be a bool
        self.size = lengths_of(sizes)
        if min(self.size, default=0) < 0:
            raise ValueError(f"Reshape takes lengths, got {self.size}; View accepts one -1")
        self.nelement = math.prod(self.size)
        self.batchMode = batchMode

    def updateOutput(self, x: Any) -> Any:
        single = self.batchMode is False or (
            self.batchMode is None and x.size == self.nelement and (not x.ndim or x.shape[0] != 1)
        )
        shape = self.size if single else (*x.shape[:1], *self.size)
        if math.prod(shape) != x.size:
            raise ShapeError(
                f"the input of shape {x.shape} has {x.size} entries, "
                f"{shape} would have {math.prod(shape)}"
            )
        return x.reshape(shape)

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({'x'.join(map(str, self.size))})"


class View(Module):
    """The entries of x, row by row, in the shape `sizes`, one of which may be -1: View(3, -1).

    x: (…) with as many entries -> sizes;  with k times as many -> (k, *sizes), a batch of k.
    -1 stands for whatever is left, so that nothing remains to be a batch: say how many axes a
    single sample has with `setNumInputDims`, and every axis in front of them is batch.  Then, too,
    a batch of one keeps its axis.
    Raises ShapeError when the entries do not fit.  Source: nn.View.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # lengths, and a count of axes

    def __init__(self, *sizes: int | Iterable[int]) -> None:
        self.numInputDims: int | None = None
        self.resetSize(*sizes)

    def resetSize(self, *sizes: int | Iterable[int]) -> Self:
        """View as another shape from now on."""
        size = lengths_of(sizes)
        known = [length for length in size if length != -1]
        if min(known, default=1) < 1 or len(size) - len(known) > 1:
            raise ValueError(f"View takes positive lengths and at most one -1, got {size}")
        self.size = size
        self.numElements = math.prod(known)
        return self

    def setNumInputDims(self, numInputDims: int) -> Self:
        """Say how many axes a single sample has; what is in front of them is batch."""
        self.numInputDims = numInputDims
        return self

    def updateOutput(self, x: Any) -> Any:
        axes = x.ndim if self.numInputDims is None else self.numInputDims
        if axes > x.ndim:
            raise ShapeError(f"the input has {x.ndim} axes, a single sample has {axes}")
        entries = math.prod(x.shape[x.ndim - axes :])
        if entries % self.numElements:
            raise ShapeError(
                f"the input of shape {x.shape} has {entries} entries per sample, which is no "
                f"multiple of the {self.numElements} of View{self.size}"
            )
        batch = math.prod(x.shape[: x.ndim - axes])
        left = entries // self.numElements
        if -1 in self.size:
            size = tuple(left if length == -1 else length for length in self.size)
        else:
            size, batch = self.size, batch * left
        single = batch == 1 and (self.numInputDims is None or x.ndim <= axes)
        return x.reshape(size if single else (batch, *size))

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({', '.join(map(str, self.size))})"


def lengths_of(sizes: Iterable[Any]) -> tuple[int, ...]:
    """Lengths given one by one or as one sequence, as a tuple of ints."""
    sizes = tuple(sizes)
    if len(sizes) == 1 and isinstance(sizes[0], Iterable):
        sizes = tuple(sizes[0])
    return tuple(int(length) for length in sizes)
