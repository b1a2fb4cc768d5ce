"""Recurrent layers that take an entire sequence at once.

One matrix product over all steps computes the products with the input; the loop over time computes
those with the state.  Weights and orders of gates are those of torch/rnn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.masks import boolean_mask, checked_mask
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.recurrent.over_time import slices_of
from tapegrad.nn.recurrent.padded_gates import SHUT, at_padding
from tapegrad.nn.recurrent.states import Remembering, check_states, split_states
from tapegrad.nn.recurrent.steps import (
    StepGRU,
    StepLSTM,
    check_step_input,
    lstm_step,
    zeros_beside,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.autograd.core.types import Nest
    from tapegrad.nn.module import Module

__all__ = ["SeqBGRU", "SeqBLSTM", "SeqGRU", "SeqLSTM"]


class Masked(Remembering):
    """A base for sequences of several lengths in one array: a masked step gives 0 and resets the
    state to 0.
    """

    keeps: ClassVar[tuple[str, ...]] = ("maskzero", "_mask")
    maskzero: bool
    _mask: Any = None

    def maskZero(self) -> Self:
        """Treat the steps of a sample whose features are all 0 as padding; returns self."""
        self.maskzero = True
        return self

    def setZeroMask(self, mask: npt.ArrayLike | None) -> Self:
        """Set which steps are padding, as booleans (T, N), or None for none; returns self.

        Raises TypeError for numbers other than 0 and 1.
        """
        self._mask = None if mask is None else boolean_mask(mask, type(self).__name__)
        return self

    def step_factors(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """Factors (T, N, 1), 1 for a step and 0 for padding; None when there is no padding.

        mask: that of the call, in place of the one that was set
        """
        if mask is not None:
            is_step = ops.logical_not(checked_mask(mask, x.shape[:2], "(T, N)"))
        elif (fixed := self._zero_mask()) is not None:
            is_step = Tensor(~checked_mask(fixed, x.shape[:2], "(T, N)"), device=x.device)
        elif self.maskzero:
            is_step = ops.any(ops.not_equal(x, 0), axis=-1)
        else:
            return None
        factors: Tensor = ops.cast(is_step, dtype=x.dtype)
        return factors.reshape((*x.shape[:2], 1))

    def _zero_mask(self) -> Any:
        return self._mask

    def first_states(self, given: Nest, zeros: Nest) -> Nest:
        """The states that the call starts from: given, remembered, or zeros.

        Raises ShapeError for states of other shapes than those of the zeros.
        """
        states = self.start_states() if given is None else given
        if states is None:
            return zeros
        check_states(states, zeros)
        return states


class SeqLSTM(Masked, StepLSTM):
    """An LSTM over an entire sequence, with StepLSTM's equations and weights.

    x: (T, N, D) -> (T, N, O), from a state of zeros, or the remembered one;
    or [x, [h, c]] -> [y, [h', c']], with None in place of [h, c] for zeros: the states before the
    first and after the last step, h (N, O) and c (N, H).
    mask: booleans (T, N), True for padding, in place of `setZeroMask`'s.
    weight (D + O, 4·H), bias (4·H,), and weightO (H, O) if outputsize O is not hiddensize H.
    Raises ShapeError for other shapes.  Source: torch/rnn's nn.SeqLSTM.
    """

    def __init__(self, inputsize: int, hiddensize: int, outputsize: int | None = None) -> None:
        super().__init__(inputsize, hiddensize, outputsize)
        self.maskzero = False
        self._remember = "neither"

    def updateOutput(self, inputs: Nest, mask: Tensor | None = None) -> Nest:
        x, given, with_states = split_states(inputs)
        check_step_input(x, self.inputsize, (3,))
        factors = self.step_factors(x, mask)
        sizes = (self.outputsize, self.hiddensize)
        h, c = self.first_states(given, [zeros_beside(x, x.shape[1], size) for size in sizes])
        if self.weightO is None and x.shape[0]:
            operands: tuple[Tensor, Tensor, Tensor] = (x, self.weight, self.bias)
            if factors is not None:
                operands = at_padding(*operands, factors, [SHUT, SHUT, SHUT, 0])
            y, cells, _ = ops.lstm_over_time(*operands, h, c)
            if with_states or self.passes_states():
                h, c = y[-1], cells[-1]
                c = c if factors is None else c * factors[-1]  # machine code's σ(-10³⁷) is 10⁻³⁸
                self.keep_states([h, c])
            return [y, [h, c]] if with_states else y
        x_part = x @ self.weight[: self.inputsize] + self.bias
        weight = self.weight[self.inputsize :]
        outputs = []
        for t, part in enumerate(slices_of(x_part)):
            h, c = lstm_step(part + h @ weight, c)
            if self.weightO is not None:
                h = h @ self.weightO
            if factors is not None:
                h, c = h * factors[t], c * factors[t]
            outputs.append(h)
        self.keep_states([h, c])
        y = ops.stack(outputs) if outputs else zeros_beside(x, 0, x.shape[1], self.outputsize)
        return [y, [h, c]] if with_states else y


class SeqGRU(Masked, StepGRU):
    """A GRU over an entire sequence, with StepGRU's equations and weights.

    x: (T, N, D) -> (T, N, H), from a state of zeros, or the remembered one;
    or [x, h] -> [y, h'], with None in place of h for zeros: the states (N, H) before the first and
    after the last step.
    mask: booleans (T, N), True for padding, in place of `setZeroMask`'s.
    weight (D + H, 3·H), bias (3·H,).
    Raises ShapeError for other shapes.  Source: torch/rnn's nn.SeqGRU.
    """

    def __init__(self, inputsize: int, outputsize: int) -> None:
        super().__init__(inputsize, outputsize)
        self.maskzero = False
        self._remember = "neither"

    def updateOutput(self, inputs: Nest, mask: Tensor | None = None) -> Nest:
        x, given, with_states = split_states(inputs)
        check_step_input(x, self.inputsize, (3,))
        factors = self.step_factors(x, mask)
        h = self.first_states(given, zeros_beside(x, x.shape[1], self.outputsize))
        if x.shape[0]:
            operands: tuple[Tensor, Tensor, Tensor] = (x, self.weight, self.bias)
            if factors is not None:
                operands = at_padding(*operands, factors, [SHUT, SHUT, 0])
            y, _ = ops.gru_over_time(*operands, h)
            y = y if factors is None else y * factors  # machine code's σ(-10³⁷) is 10⁻³⁸
            if with_states or self.passes_states():
                h = y[-1]
                self.keep_states(h)
            return [y, h] if with_states else y
        self.keep_states(h)
        y = zeros_beside(x, 0, x.shape[1], self.outputsize)
        return [y, h] if with_states else y


class Bidirectional(Container):
    """y = merge([forward(x), backward(x reversed) reversed]), for layers over entire sequences.

    mask: booleans (T, N), True for padding, in place of `setZeroMask`'s.  Both directions start
    afresh after padding, so that the samples of a batch may have several lengths.
    """

    merge: Module | None = None

    def maskZero(self) -> Self:
        """Treat the steps of a sample whose features are all 0 as padding; returns self."""
        layers: list[Any] = self.modules
        for layer in layers:
            layer.maskZero()
        return self

    def setZeroMask(self, mask: npt.ArrayLike | None) -> Self:
        """Set which steps are padding, as booleans (T, N), or None for none; returns self.

        Raises TypeError for numbers other than 0 and 1.
        """
        layers: list[Any] = self.modules
        ahead, back = layers
        if mask is not None:
            mask = boolean_mask(mask, type(self).__name__)
        ahead.setZeroMask(mask)
        back.setZeroMask(None if mask is None else mask[::-1])
        return self

    def updateOutput(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not isinstance(x, Tensor):
            raise ShapeError("the input must be an array; nn.WithStates(…) takes [x, states]")
        ahead, back = self.modules
        if mask is None:
            first, second = ahead(x), back(ops.flip(x, axis=0))
        else:
            first, second = ahead(x, mask), back(ops.flip(x, axis=0), ops.flip(mask, axis=0))
        second = ops.flip(second, axis=0)
        return first + second if self.merge is None else self.merge([first, second])

    def describe(self, first: int) -> str:
        ahead, back = (repr(module) for module in self.modules)
        merge = "nn.CAddTable" if self.merge is None else repr(self.merge)
        lines = f"forward:  {ahead}\n  backward: {back}\n  merge:    {merge}"
        return f"{torch7_name(self)} {{\n  {lines}\n}}"


class SeqBLSTM(Bidirectional):
    """A SeqLSTM along the sequence and one against it, added: (T, N, D) -> (T, N, H).

    merge: a module of the list of both outputs, in place of their sum.
    Raises ShapeError for other shapes.  Source: torch/rnn's nn.SeqBLSTM; A. Graves, J. Schmidhuber,
    "Framewise phoneme classification with bidirectional LSTM", 2005.
    """

    keeps = ("merge",)

    def __init__(self, inputsize: int, outputsize: int, merge: Module | None = None) -> None:
        super().__init__(SeqLSTM(inputsize, outputsize), SeqLSTM(inputsize, outputsize))
        self.merge = merge


class SeqBGRU(Bidirectional):
    """A SeqGRU along the sequence and one against it, added: (T, N, D) -> (T, N, H).

    merge: a module of the list of both outputs, in place of their sum.
    Raises ShapeError for other shapes.  Source: torch/rnn's nn.SeqBGRU.
    """

    keeps = ("merge",)

    def __init__(self, inputsize: int, outputsize: int, merge: Module | None = None) -> None:
        super().__init__(SeqGRU(inputsize, outputsize), SeqGRU(inputsize, outputsize))
        self.merge = merge
