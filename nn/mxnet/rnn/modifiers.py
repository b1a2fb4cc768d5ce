"""DropoutCell, ZoneoutCell, ResidualCell: cells that change what another gives.

Source: mx.rnn.rnn_cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet import symbol
from tapegrad.nn.mxnet.rnn.base import BaseRNNCell, RNNParams, States, call, sequence
from tapegrad.nn.mxnet.rnn.stacks import BidirectionalCell
from tapegrad.nn.mxnet.symbol.symbol import Symbol

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import Symbols


__all__ = ["DropoutCell", "ModifierCell", "ResidualCell", "ZoneoutCell"]


class DropoutCell(BaseRNNCell):
    """Dropout of the inputs with probability `dropout`; it has no states."""

    def __init__(self, dropout: float, prefix: str = "dropout_", params: RNNParams | None = None):
        super().__init__(prefix, params)
        self.dropout = dropout

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """No states."""
        return []

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(inputs, some of them 0, the same states)."""
        if self.dropout > 0:
            inputs = call("Dropout", data=inputs, p=self.dropout)
        return inputs, states

    def unroll(
        self,
        length: int,
        inputs: Symbols,
        begin_state: States | None = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, States]:
        """(outputs, no states); steps in one symbol are dropped at once.  As BaseRNNCell.unroll."""
        self.reset()
        inputs, _ = sequence(length, inputs, layout, merge_outputs)
        if isinstance(inputs, Symbol):
            return self(inputs, [])
        return super().unroll(length, inputs, begin_state, layout, merge_outputs)


class ModifierCell(BaseRNNCell):
    """A cell around another, whose variables and states it has; from now on that one is its own."""

    def __init__(self, base_cell: BaseRNNCell):
        super().__init__()
        base_cell._modified = True
        self.base_cell = base_cell
        self._cells = [base_cell]

    @property
    def params(self) -> RNNParams:
        """The variables of the cell inside."""
        self._own_params = False
        return self.base_cell.params

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """The states of the cell inside."""
        return self.base_cell.state_info

    def begin_state(self, func: Callable[..., Any] = symbol.zeros, **settings: Any) -> States:
        """The first states of the cell inside.

        Raises AssertionError as BaseRNNCell.begin_state.
        """
        self._must_be_free()
        func = settings.pop("init_sym", func)
        return self._with_base(lambda cell: cell.begin_state(func=func, **settings))

    def _with_base(self, function: Callable[[BaseRNNCell], Any]) -> Any:
        """What a function gives for the cell inside, which may be called so long."""
        self.base_cell._modified = False
        try:
            return function(self.base_cell)
        finally:
            self.base_cell._modified = True

    def unpack_weights(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """As the cell inside."""
        return self.base_cell.unpack_weights(args)

    def pack_weights(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """As the cell inside."""
        return self.base_cell.pack_weights(args)


class ZoneoutCell(ModifierCell):
    """Outputs and states that keep their old value with a probability, entry by entry.

    Raises AssertionError for a fused or bidirectional cell.
    Source: D. Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden
    activations", ICLR 2017.
    """

    def __init__(
        self, base_cell: BaseRNNCell, zoneout_outputs: float = 0.0, zoneout_states: float = 0.0
    ):
        if _cannot_be_stepped(base_cell):
            raise AssertionError(
                f"{type(base_cell).__name__} doesn't support zoneout: put it around the cells "
                "inside (FusedRNNCell.unfuse gives them)"
            )
        super().__init__(base_cell)
        self.zoneout_outputs, self.zoneout_states = zoneout_outputs, zoneout_states
        self.prev_output: Symbol | None = None

    def reset(self) -> None:
        """Begin anew, without an output before."""
        super().reset()
        self.prev_output = None

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(output, states) of the cell inside, some entries as they were before."""
        output, new = self.base_cell(inputs, states)
        if self.zoneout_outputs != 0:
            before = symbol.zeros((0, 0)) if self.prev_output is None else self.prev_output
            output = _mixed(self.zoneout_outputs, output, before)
        if self.zoneout_states != 0:
            new = [_mixed(self.zoneout_states, s, old) for s, old in zip(new, states, strict=True)]
        self.prev_output = output
        return output, new


def _cannot_be_stepped(cell: BaseRNNCell) -> bool:
    stepless = type(cell).__call__ is BidirectionalCell.__call__ or hasattr(cell, "unfuse")
    return stepless or any(_cannot_be_stepped(inner) for inner in cell._cells)


def _mixed(p: float, new: Symbol, old: Symbol) -> Symbol:
    """`new`, and `old` in the entries that Dropout makes 0."""
    kept = call("Dropout", call("ones_like", new), p=p)
    return call("where", kept, new, old)


class ResidualCell(ModifierCell):
    """The output of the cell inside plus its input.

    Source: Y. Wu et al., "Google's neural machine translation system", 2016.
    """

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(output + inputs, states)."""
        output, states = self.base_cell(inputs, states)
        return _plus(output, inputs), states

    def unroll(
        self,
        length: int,
        inputs: Symbols,
        begin_state: States | None = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, States]:
        """(outputs + inputs, states).  As BaseRNNCell.unroll."""
        self.reset()
        outputs, states = self._with_base(
            lambda cell: cell.unroll(
                length, inputs=inputs, begin_state=begin_state, layout=layout,
                merge_outputs=merge_outputs,
            )
        )  # fmt: skip
        merged = isinstance(outputs, Symbol)
        given, _ = sequence(length, inputs, layout, merged)
        if merged:
            return _plus(outputs, given), states
        return [_plus(y, x) for y, x in zip(outputs, given, strict=True)], states


def _plus(output: Symbol, inputs: Symbol) -> Symbol:
    return call("elemwise_add", output, inputs, name=f"{output.name}_plus_residual")
