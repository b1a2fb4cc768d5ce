"""BigDL's containers that run a cell, or a module, along the second axis of their input.

Sequences are (N, T, …): the samples come first, unlike in torch/rnn's layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.frames import current_frame
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.trace import as_tensors
from tapegrad.nn.core.transient import transient_state_of, transient_value
from tapegrad.nn.layers.normalization.batch import BatchNormalization
from tapegrad.nn.recurrent.cells import Cell, MultiRNNCell
from tapegrad.nn.recurrent.over_time import slices_of
from tapegrad.nn.recurrent.states import Remembering, check_states
from tapegrad.nn.recurrent.unseen import are_steps_unseen

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest
    from tapegrad.nn.module import Module

__all__ = ["BiRecurrent", "Recurrent", "RecurrentDecoder", "TimeDistributed"]


NO_CELL = (
    "{name} holds a cell, such as RnnCell, LSTMCell or GRUCell (BigDL's LSTM and GRU), not {kind}; "
    "LSTM and GRU are torch/rnn's, which a Sequencer runs"
)


class _Unrolled(Remembering, Container):
    """A container of one cell, with the state from which each call starts."""

    keeps: ClassVar[tuple[str, ...]] = ("initHiddenState",)
    initHiddenState: Nest = None

    def __init__(self) -> None:
        self.modules: list[Module] = []
        self._remember = "neither"

    def add(self, module: Module) -> Self:
        """Set the cell; returns the container.

        Raises TypeError for what is no cell, RuntimeError when there is one.
        """
        name = type(self).__name__
        if not isinstance(module, Cell):
            raise TypeError(NO_CELL.format(name=name, kind=type(module).__name__))
        if self.modules:
            raise RuntimeError(f"{name} has a cell; put several in a Sequential of {name}s")
        self.modules.append(module)
        return self

    def getCell(self) -> Cell:
        """The cell.  Raises RuntimeError without one."""
        if not self.modules:
            raise RuntimeError(f"{type(self).__name__} has no cell: add one")
        cell: Any = self.modules[0]
        return cell

    def setHiddenState(self, states: Nest) -> Self:
        """Let every call start from `states`, or from zeros if None; returns self.

        states: what `getHiddenState` returns, as arrays or Tensors; they are copied, and gradients
        end there.
        """
        if states is not None:
            states = map_leaves(lambda t: ops.copy(t.detach()), as_tensors(states))
        self.initHiddenState = states
        return self

    def getHiddenState(self) -> Nest:
        """The state after the last step of the last `forward`, untracked; None before it."""
        return transient_value(self, "last_state")

    def _first_state(self, x: Tensor) -> Nest:
        """The state before the first step, whose input is x."""
        zeros = self.getCell().start(x)
        states = self.start_states()
        states = self.initHiddenState if states is None else states
        if states is None:
            return zeros
        check_states(states, zeros)
        return states

    def _keep_last(self, state: Nest) -> None:
        self.keep_states(state)
        frame = current_frame()
        if frame is not None and frame.trace is not None:  # a plain call keeps nothing
            transient_state_of(self).last_state = map_leaves(lambda t: t.detach(), state)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first), 'no cell')}"


class Recurrent(_Unrolled):
    """yₜ of a cell along the second axis, from a state of zeros: Recurrent().add(LSTMCell(3, 4)).

    x: (N, T, …) -> (N, T, …).
    batchNormParams: a dict with eps, momentum and affine, any of them; then a BatchNormalization of
    what the cell computes of its input stands in front of the step, over samples and steps.
    maskZero: a step of a sample whose features are all 0 gives 0 and leaves the state as it is.
    Raises ShapeError for other inputs, TypeError for a cell without such a part, or for what is no
    cell, and for a MultiRNNCell.  Source: BigDL's Recurrent.
    """

    keeps = ("batchNormParams", "maskZero")

    def __init__(
        self, batchNormParams: Mapping[str, Any] | None = None, maskZero: bool = False
    ) -> None:
        super().__init__()
        self.batchNormParams = None if batchNormParams is None else dict(batchNormParams)
        self.maskZero = bool(maskZero)

    def add(self, module: Module) -> Self:
        """Set the cell; returns the container.

        Raises TypeError for what is no cell or cannot stand here, RuntimeError when there is one.
        """
        if isinstance(module, MultiRNNCell):
            raise TypeError("Recurrent: put cells in a Sequential of Recurrents, not MultiRNNCell")
        super().add(module)
        if self.batchNormParams is not None:
            width = self._prepared_width()
            if width is None:
                self.modules.clear()
                raise TypeError(f"Recurrent: {type(module).__name__} has nothing to normalize")
            self.modules.append(BatchNormalization(width, **self.batchNormParams))
        return self

    def _prepared_width(self) -> int | None:
        """Entries of what the cell computes of its input; None if it computes nothing."""
        cell: Any = self.getCell()
        weight = getattr(cell.modules[0], "weight", None)
        return None if getattr(cell, "p", 0) or weight is None or weight.ndim != 2 else len(weight)

    def updateOutput(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim < 3 or not x.shape[1]:
            raise ShapeError("the input must be a sequence (N, T, …) with T > 0")
        cell = self.getCell()
        first = x[:, 0]
        cell.check(first)
        if self._is_plain(x) and are_steps_unseen(cell):
            y, state = cell.run(ops.moveaxis(x, 1, 0), self._first_state(first))
            self._keep_last(state)
            return ops.moveaxis(y, 0, 1)
        parts = cell.prepare(x) if x.ndim == 3 else x
        if len(self.modules) > 1:
            rows = parts.reshape((-1, parts.shape[-1]))
            parts = self.modules[1](rows).reshape(parts.shape)
        state, noises = self._first_state(first), cell.noises(first)
        masks = self._masks(x) if self.maskZero else None
        outputs = []
        for t, part in enumerate(slices_of(ops.moveaxis(parts, 1, 0))):
            y, following = cell.step(part, state, noises)
            if masks is not None:
                y = ops.where(masks[t], y, 0)
                following = _chosen(masks[t], following, state)
            state = following
            outputs.append(y)
        self._keep_last(state)
        return ops.stack(outputs, axis=1)

    def _is_plain(self, x: Tensor) -> bool:
        """Whether the steps are those of the cell and nothing else, of floats."""
        is_cell_alone = len(self.modules) == 1 and not self.maskZero
        return is_cell_alone and x.ndim == 3 and x.size > 0 and x.dtype.kind == "f"

    def _masks(self, x: Tensor) -> list[Tensor]:
        """For each step, booleans (N, 1): whether any feature is not 0."""
        if x.ndim != 3:
            raise ShapeError(f"maskZero takes sequences (N, T, n), the input has shape {x.shape}")
        counted = ops.any(ops.not_equal(x.detach(), 0), axis=2, keepdims=True)
        return slices_of(ops.moveaxis(counted, 1, 0))


def _chosen(mask: Tensor, new: Nest, old: Nest) -> Nest:
    """The new state where the mask is true, else the old one."""
    if isinstance(new, list):
        return [_chosen(mask, a, b) for a, b in zip(new, old, strict=True)]
    return ops.where(mask, new, old)


class RecurrentDecoder(_Unrolled):
    """seqLength steps of a cell, the first on x, every other on the output of the one before.

    x: (N, …) -> (N, seqLength, …), outputs as large as the input.
    Raises ValueError unless seqLength > 0, ShapeError for a cell whose outputs are not as large as
    its inputs.  Source: BigDL's RecurrentDecoder.
    """

    keeps = ("seqLength",)

    def __init__(self, seqLength: int) -> None:
        if seqLength < 1:
            raise ValueError(f"RecurrentDecoder: seqLength is {seqLength}, it must be at least 1")
        super().__init__()
        self.seqLength = seqLength

    def updateOutput(self, x: Tensor) -> Tensor:
        cell = self.getCell()
        cell.check(x)
        if cell.inputSize != cell.hiddenSize:
            raise ShapeError(
                f"the cell makes {cell.hiddenSize} features of {cell.inputSize}; a decoder feeds "
                "outputs back as inputs, so they must be equal"
            )
        state, noises = self._first_state(x), cell.noises(x)
        outputs = []
        for _ in range(self.seqLength):
            x, state = cell.step(cell.prepare(x), state, noises)
            outputs.append(x)
        self._keep_last(state)
        return ops.stack(outputs, axis=1)


class BiRecurrent(Container):
    """merge([along, against]): a cell along the second axis, and a copy of it against it.

    x: (N, T, …) -> what merge makes of the list of both outputs; the sum if omitted.
    batchNormParams: as in Recurrent.  isSplitInput: each direction sees half of the features, the
    first ⌊n/2⌋ and the others, so that the cell's inputSize is half of n.
    `add` sets the cell; the copy starts with the same parameters.
    Raises as Recurrent does.  Source: BigDL's BiRecurrent; M. Schuster, K. Paliwal, "Bidirectional
    recurrent neural networks", 1997.
    """

    keeps = ("merge", "isSplitInput")

    def __init__(
        self,
        merge: Module | None = None,
        batchNormParams: Mapping[str, Any] | None = None,
        isSplitInput: bool = False,
    ) -> None:
        self.modules = [Recurrent(batchNormParams), Recurrent(batchNormParams)]
        self.merge = merge
        self.isSplitInput = bool(isSplitInput)

    def add(self, module: Module) -> Self:
        """Set the cell, and its copy; returns the container.

        Raises TypeError for what is no cell, RuntimeError when there is one.
        """
        recurrents: list[Any] = self.modules
        ahead, back = recurrents
        copied = module.clone() if isinstance(module, Cell) else module
        ahead.add(module)
        back.add(copied)
        return self

    def updateOutput(self, x: Tensor) -> Nest:
        if not isinstance(x, Tensor) or x.ndim < 3:
            raise ShapeError("the input must be a sequence (N, T, …)")
        first = second = x
        if self.isSplitInput:
            first, second = ops.split(x, (x.shape[2] // 2,), 2)
        ahead, back = self.modules
        y = ahead(first)
        z = ops.flip(back(ops.flip(second, axis=1)), axis=1)
        return y + z if self.merge is None else self.merge([y, z])


class TimeDistributed(Container):
    """y[n, t] = module(x[n, t]), in one call of the module on N·T samples.

    x: (N, T, …) -> (N, T, …).  maskZero: steps whose features are all 0 give 0.
    Raises ShapeError for less than three axes.  Source: BigDL's TimeDistributed.
    """

    keeps = ("maskZero",)

    def __init__(self, module: Module, maskZero: bool = False) -> None:
        super().__init__(module)
        self.maskZero = bool(maskZero)

    def updateOutput(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim < 3:
            raise ShapeError("the input must be a sequence (N, T, …)")
        lengths = x.shape[:2]
        y = self.modules[0](x.reshape((lengths[0] * lengths[1], *x.shape[2:])))
        y = y.reshape((*lengths, *y.shape[1:]))
        if self.maskZero:
            axes = tuple(range(2, x.ndim))
            counted = ops.any(ops.not_equal(x.detach(), 0), axis=axes)
            y = ops.where(counted.reshape((*lengths, *(1,) * (y.ndim - 2))), y, 0)
        return y

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first))}"
