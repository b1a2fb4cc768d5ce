"""SequentialRNNCell, BidirectionalCell: cells of cells.  Source: mx.rnn.rnn_cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.rnn.base import BaseRNNCell, RNNParams, States, call, sequence
from tapegrad.nn.mxnet.symbol.symbol import Symbol

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import Symbols


__all__ = ["BidirectionalCell", "SequentialRNNCell"]


class _Stack(BaseRNNCell):
    """A cell with cells inside: their states stand one behind another."""

    def __init__(self, params: RNNParams | None):
        super().__init__("", params)
        self._override_cell_params = params is not None

    def _take(self, cell: BaseRNNCell) -> None:
        self._cells.append(cell)
        if self._override_cell_params:
            if not cell._own_params:
                raise AssertionError(
                    "Either specify params for the stack or for the cells inside, not both"
                )
            cell.params._params.update(self.params._params)
        self._params._params.update(cell.params._params)

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """The states of all cells."""
        return [info for cell in self._cells for info in cell.state_info]

    def begin_state(self, *args: Any, **settings: Any) -> States:
        """The first states of all cells.  Raises AssertionError as BaseRNNCell.begin_state."""
        self._must_be_free()
        return [s for cell in self._cells for s in cell.begin_state(*args, **settings)]

    def unpack_weights(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters by name with one entry for each gate of each cell."""
        for cell in self._cells:
            args = cell.unpack_weights(args)
        return dict(args)

    def pack_weights(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The opposite of `unpack_weights`."""
        for cell in self._cells:
            args = cell.pack_weights(args)
        return dict(args)


class SequentialRNNCell(_Stack):
    """Cells one above another.

    params: variables for all cells.  Raises AssertionError where cells have shared ones, too.
    """

    def __init__(self, params: RNNParams | None = None):
        super().__init__(params)

    def add(self, cell: BaseRNNCell) -> None:
        """Put a cell on top."""
        self._take(cell)

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(output of the last cell, all new states).

        Raises AssertionError for a BidirectionalCell.
        """
        self._counter += 1
        found: States = []
        for cell, own in self._with_states(states):
            if isinstance(cell, BidirectionalCell):
                raise AssertionError("a BidirectionalCell cannot be stepped: use unroll")  # noqa: TRY004  # MXNet's type
            inputs, new = cell(inputs, own)
            found += new
        return inputs, found

    def _with_states(self, states: States) -> list[tuple[BaseRNNCell, States]]:
        found, at = [], 0
        for cell in self._cells:
            count = len(cell.state_info)
            found.append((cell, list(states[at : at + count])))
            at += count
        return found

    def unroll(
        self,
        length: int,
        inputs: Symbols,
        begin_state: States | None = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, States]:
        """(outputs of the last cell, all states).  As BaseRNNCell.unroll."""
        self.reset()
        states = self.begin_state() if begin_state is None else begin_state
        found: States = []
        for i, (cell, own) in enumerate(self._with_states(states)):
            last = i == len(self._cells) - 1
            inputs, new = cell.unroll(
                length, inputs=inputs, begin_state=own, layout=layout,
                merge_outputs=merge_outputs if last else None,
            )  # fmt: skip
            found += new
        return inputs, found


class BidirectionalCell(_Stack):
    """One cell over the steps and another over them backwards; outputs are joined step by step.

    output_prefix: what the names of the joined outputs begin with
    """

    def __init__(
        self,
        l_cell: BaseRNNCell,
        r_cell: BaseRNNCell,
        params: RNNParams | None = None,
        output_prefix: str = "bi_",
    ):
        super().__init__(params)
        self._output_prefix = output_prefix
        self._take(l_cell)
        self._take(r_cell)

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """Not for this cell.  Raises NotImplementedError: use unroll."""
        raise NotImplementedError("Bidirectional cannot be stepped. Please use unroll")

    def unroll(
        self,
        length: int,
        inputs: Symbols,
        begin_state: States | None = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, States]:
        """(outputs, [states of the one, states of the other]).  As BaseRNNCell.unroll."""
        self.reset()
        steps, axis = sequence(length, inputs, layout, False)
        states = self.begin_state() if begin_state is None else begin_state
        forth, back = self._cells
        count = len(forth.state_info)
        left, left_states = forth.unroll(
            length, inputs=steps, begin_state=states[:count], layout=layout,
            merge_outputs=merge_outputs,
        )  # fmt: skip
        right, right_states = back.unroll(
            length, inputs=steps[::-1], begin_state=states[count:], layout=layout,
            merge_outputs=merge_outputs,
        )  # fmt: skip
        if merge_outputs is None:
            merge_outputs = isinstance(left, Symbol) and isinstance(right, Symbol)
            left, _ = sequence(None if merge_outputs else length, left, layout, merge_outputs)
            right, _ = sequence(None if merge_outputs else length, right, layout, merge_outputs)
        both = [left_states, right_states]
        if merge_outputs:
            right = call("reverse", right, axis=axis)
            return call("Concat", left, right, dim=2, name=f"{self._output_prefix}out"), both
        outputs = [
            call("Concat", one, other, dim=1, name=f"{self._output_prefix}t{i}")
            for i, (one, other) in enumerate(zip(left, right[::-1], strict=True))
        ]
        return outputs, both
