"""Recurrence: any module of [input, last output] as a recurrent layer."""

from __future__ import annotations

from typing import Any

from tapegrad.autograd.core.tree import leaves
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.part import text_of
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.over_time import AbstractRecurrent
from tapegrad.nn.recurrent.steps import zeros_beside

__all__ = ["Recurrence"]


class Recurrence(AbstractRecurrent):
    """yₜ = module([xₜ, yₜ₋₁]), from zeros.

    x: what the module takes as its first entry: arrays with nInputDim axes, or with one more for
    the batch -> what the module returns.
    outputSize: the size of a sample's output, or a list of its sizes along several axes; for a
    module that returns a list, a list of such lists.
    nInputDim: how many axes a sample has in the first array of x.
    Raises ShapeError for an input with another number of axes.  Source: torch/rnn's nn.Recurrence.
    """

    keeps = ("modules", "outputSize", "nInputDim")

    def __init__(self, stepmodule: Module, outputSize: Any, nInputDim: int) -> None:
        self.modules = [stepmodule]
        self.outputSize = [outputSize] if isinstance(outputSize, int) else outputSize
        self.nInputDim = nInputDim

    def check(self, x: Any) -> None:
        first = leaves(x)[0]
        if first.ndim - self.nInputDim not in {0, 1}:
            raise ShapeError(
                f"the input of shape {first.shape} has not {self.nInputDim} axes a sample"
            )

    def start(self, x: Any) -> Any:
        first = leaves(x)[0]
        batch = first.shape[:1] if first.ndim > self.nInputDim else ()
        like = next((p for p in self._parameters() if p.dtype.kind == "f"), first)
        return _zeros_of(self.outputSize, batch, like)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        y = self.modules[0]([x, state])
        return y, y

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {text_of(self.modules[0], first)}"

    __repr__ = Module.__repr__  # with children counted from where `describe` is told to


def _zeros_of(sizes: Any, batch: tuple[int, ...], like: Any) -> Any:
    """Zeros of these sizes for each sample, or a list of them, in the dtype of `like`."""
    if isinstance(sizes[0], (list, tuple)):
        return [_zeros_of(inner, batch, like) for inner in sizes]
    return zeros_beside(like, *batch, *sizes)
