"""The equations of one step, LSTM and GRU, as functions and as layers of (x, state).

Layers that keep their state, and layers over sequences, run them.  Weights and orders of gates are
those of the source, Element Research's torch/rnn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import fill_, normal_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapegrad.autograd.core.types import Nest

__all__ = ["StepGRU", "StepLSTM"]


def lstm_step(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """(h, c) of the next step; gates (N, 4·H): input, forget, output, candidate."""
    size = c.shape[-1]
    openings, candidate = ops.split(gates, (3 * size,), -1)
    i, f, o = ops.split(ops.sigmoid(openings), 3, -1)
    c = f * c + i * ops.tanh(candidate)
    return o * ops.tanh(c), c


def gru_step(x_part: Tensor, h: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The next h; x_part (N, 3·H): reset, update, candidate; weights (H, 2·H) and (H, H)."""
    gates, candidate = ops.split(x_part, (2 * h.shape[-1],), -1)
    reset, update = ops.split(ops.sigmoid(gates + h @ weights[0]), 2, -1)
    candidate = ops.tanh(candidate + (reset * h) @ weights[1])
    return candidate + update * (h - candidate)


def zeros_beside(x: Tensor, *shape: int) -> Tensor:
    """Zeros of `shape`, in the dtype and on the device of x."""
    return Tensor(devices.namespace(array_of(x)).zeros(shape, dtype=x.dtype))


def check_batches(x: Tensor, **states: Tensor) -> None:
    """Raise ShapeError unless the states are of as many samples as x: states never broadcast."""
    for name, state in states.items():
        if state.shape[:-1] != x.shape[:-1]:
            raise ShapeError(
                f"x has shape {x.shape} and {name} {state.shape}: both must be of the same samples"
            )


def check_step_input(x: Tensor, size: int, axes: tuple[int, ...], name: str = "inputsize") -> None:
    """Raise ShapeError unless x has one of these numbers of axes, the last of length `size`."""
    if x.ndim not in axes or x.shape[-1] != size:
        wanted = " or ".join(map(str, axes))
        raise ShapeError(
            f"the input of shape {x.shape} must have {wanted} axes, the last of length {size}, "
            f"{name}"
        )


class StepLSTM(Module):
    """One step of an LSTM without peepholes: [x, h, c] -> [h', c'].

    (i, f, o, g) = [x, h]·weight + bias;  c' = σ(f)·c + σ(i)·tanh g;  h' = σ(o)·tanh c'.
    x: (N, D), h: (N, O), c: (N, H);  weight (D + O, 4·H), bias (4·H,).  With an outputsize O that
    is not the hiddensize H, h' is projected by weightO (H, O).
    Weights start from N(0, 1/(D + O)), biases at 0, those of the forget gate at 1.
    Raises ShapeError for other sizes.  Source: torch/rnn's nn.StepLSTM; S. Hochreiter, J.
    Schmidhuber, "Long short-term memory", 1997.
    """

    keeps: ClassVar[tuple[str, ...]] = (
        "inputsize",
        "hiddensize",
        "outputsize",
        "weight",
        "bias",
        "weightO",
    )
    promotes = True
    maskzero = False
    v2 = True

    def __init__(self, inputsize: int, hiddensize: int, outputsize: int | None = None) -> None:
        self.inputsize = inputsize
        self.hiddensize = hiddensize
        self.outputsize = hiddensize if outputsize is None else outputsize
        dtype = default_dtype()
        rows = inputsize + self.outputsize
        self.weight = Parameter(np.empty((rows, 4 * hiddensize), dtype))
        self.bias = Parameter(np.empty(4 * hiddensize, dtype))
        if self.outputsize != hiddensize:
            self.weightO = Parameter(np.empty((hiddensize, self.outputsize), dtype))
        self.reset()

    weightO: Any = None

    def reset(self, stdv: float | None = None) -> None:
        """Draw the weights from N(0, stdv²), stdv² = 1/(D + O) when None; biases to 0 and 1."""
        deviation = 1 / math.sqrt(self.weight.shape[0]) if stdv is None else stdv
        normal_(self.weight, 0.0, deviation)
        fill_(self.bias, 0.0)
        fill_(self.bias.detach()[self.hiddensize : 2 * self.hiddensize], 1.0)
        if self.weightO is not None:
            normal_(self.weightO, 0.0, deviation)

    def updateOutput(self, inputs: Nest) -> Nest:
        x, h, c = _check_list(inputs, 3, "[x, h, c]")
        check_step_input(x, self.inputsize, (1, 2))
        check_step_input(h, self.outputsize, (x.ndim,), "outputsize")
        check_step_input(c, self.hiddensize, (x.ndim,), "hiddensize")
        check_batches(x, h=h, c=c)
        gates = x @ self.weight[: self.inputsize] + h @ self.weight[self.inputsize :] + self.bias
        h, c = lstm_step(gates, c)
        return [h if self.weightO is None else h @ self.weightO, c]

    def __repr__(self) -> str:
        return f"{torch7_name(self)}{sizes_text(self)}"


class StepGRU(Module):
    """One step of a GRU: [x, h] -> h'.

    (r, u) = σ([x, h]·W₁ + b₁);  g = tanh([x, r·h]·W₂ + b₂);  h' = (1 - u)·g + u·h.
    x: (N, D), h: (N, H);  weight (D + H, 3·H) holds W₁ and W₂, bias (3·H,).
    Weights start from N(0, 1/(D + H)), biases at 0.
    Raises ShapeError for other sizes.  Source: torch/rnn's nn.StepGRU; K. Cho et al., "Learning
    phrase representations using RNN encoder-decoder", 2014.
    """

    keeps: ClassVar[tuple[str, ...]] = ("inputsize", "outputsize", "weight", "bias")
    promotes = True
    maskzero = False
    v2 = True

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        dtype = default_dtype()
        self.weight = Parameter(np.empty((inputsize + outputsize, 3 * outputsize), dtype))
        self.bias = Parameter(np.empty(3 * outputsize, dtype))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw the weights from N(0, stdv²), stdv² = 1/(D + H) when None; biases to 0."""
        normal_(self.weight, 0.0, 1 / math.sqrt(self.weight.shape[0]) if stdv is None else stdv)
        fill_(self.bias, 0.0)

    def updateOutput(self, inputs: Nest) -> Tensor:
        x, h = _check_list(inputs, 2, "[x, h]")
        check_step_input(x, self.inputsize, (1, 2))
        check_step_input(h, self.outputsize, (x.ndim,), "outputsize")
        check_batches(x, h=h)
        weights = ops.split(self.weight[self.inputsize :], (2 * self.outputsize,), -1)
        return gru_step(x @ self.weight[: self.inputsize] + self.bias, h, weights)

    def __repr__(self) -> str:
        return f"{torch7_name(self)}{sizes_text(self)}"


def sizes_text(module: Any) -> str:
    """The sizes of a recurrent layer as torch/rnn prints them: "(3 -> 5)", "(3 -> 5 -> 4)"."""
    hidden = getattr(module, "hiddensize", module.outputsize)
    middle = "" if hidden == module.outputsize else f"{hidden} -> "
    return f"({module.inputsize} -> {middle}{module.outputsize})"


def _check_list(inputs: Nest, count: int, names: str) -> Nest:
    """`inputs`.  Raises ShapeError unless it is a list of `count` entries."""
    if not isinstance(inputs, (list, tuple)) or len(inputs) != count:
        raise ShapeError(f"the input must be a list {names}")
    return inputs
