"""FusedRNNCell: several layers as one operator RNN.  Source: mx.rnn.FusedRNNCell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.initializer import FusedRNN
from tapegrad.nn.mxnet.ndarray.ndarray import zeros
from tapegrad.nn.mxnet.rnn.base import BaseRNNCell, RNNParams, States, call, sequence
from tapegrad.nn.mxnet.rnn.cells import GRUCell, LSTMCell, RNNCell
from tapegrad.nn.mxnet.rnn.modifiers import DropoutCell
from tapegrad.nn.mxnet.rnn.stacks import BidirectionalCell, SequentialRNNCell
from tapegrad.nn.mxnet.rnn_weights import GATES, VectorParts

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import Symbols

__all__ = ["FusedRNNCell"]


class FusedRNNCell(BaseRNNCell):
    """Layers of one kind over all steps at once, with one vector of weights, "parameters".

    mode:           "lstm", "gru", "rnn_relu" or "rnn_tanh"
    dropout:        between layers
    get_next_state: whether `unroll` gives the last states, too
    """

    def __init__(
        self,
        num_hidden: int,
        num_layers: int = 1,
        mode: str = "lstm",
        bidirectional: bool = False,
        dropout: float = 0.0,
        get_next_state: bool = False,
        forget_bias: float = 1.0,
        prefix: str | None = None,
        params: RNNParams | None = None,
    ):
        prefix = f"{mode}_" if prefix is None else prefix
        super().__init__(prefix, params)
        self._num_hidden, self._num_layers, self._mode = num_hidden, num_layers, mode
        self._bidirectional, self._dropout = bidirectional, dropout
        self._get_next_state = get_next_state
        self._forget_bias = forget_bias
        self._parts = VectorParts(mode, num_hidden, num_layers, bidirectional, prefix)
        self._gate_names = GATES[mode]
        first = FusedRNN(None, num_hidden, num_layers, mode, bidirectional, forget_bias)
        self._parameter = self._params.get("parameters", init=first)

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """States (layers · directions, N, num_hidden): h, and c of an LSTM."""
        count = self._num_layers * len(self._parts.directions)
        info = {"shape": (count, 0, self._num_hidden), "__layout__": "LNC"}
        return [dict(info) for _ in range(2 if self._mode == "lstm" else 1)]

    def unpack_weights(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters by name with one entry for each layer, direction and gate.

        Raises ValueError for a vector of another length.
        """
        args = dict(args)
        vector = args.pop(str(self._parameter.name))
        return args | {name: part.copy() for name, part in self._parts.views(vector).items()}

    def pack_weights(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The opposite of `unpack_weights`."""
        args = dict(args)
        first = args[self._parts.name_of_first()]
        vector = zeros((self._parts.size(first.shape[1]),), first.context, first.dtype)
        for name, part in self._parts.views(vector).items():
            part[:] = args.pop(name)
        args[str(self._parameter.name)] = vector
        return args

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """Not for a fused cell.  Raises NotImplementedError: use unroll, or unfuse."""
        raise NotImplementedError("FusedRNNCell cannot be stepped. Please use unroll")

    def unroll(
        self,
        length: int,
        inputs: Symbols,
        begin_state: States | None = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, States]:
        """(outputs, states); no states unless `get_next_state`.  As BaseRNNCell.unroll.

        Raises AssertionError for another layout.
        """
        self.reset()
        data, axis = sequence(length, inputs, layout, True)
        if axis not in (0, 1):
            raise AssertionError(f"layout is TNC or NTC, not {layout!r}")
        if axis == 1:
            data = call("swapaxes", data, dim1=0, dim2=1)
        states = self.begin_state() if begin_state is None else begin_state
        names = ("state", "state_cell")[: len(self.state_info)]
        rnn = call(
            "RNN", data=data, parameters=self._parameter, state_size=self._num_hidden,
            num_layers=self._num_layers, bidirectional=self._bidirectional, p=self._dropout,
            state_outputs=self._get_next_state, mode=self._mode, name=f"{self._prefix}rnn",
            **dict(zip(names, states, strict=True)),
        )  # fmt: skip
        outputs = rnn[0]
        found = [rnn[i] for i in range(1, len(names) + 1)] if self._get_next_state else []
        if axis == 1:
            outputs = call("swapaxes", outputs, dim1=0, dim2=1)
        return sequence(length, outputs, layout, merge_outputs)[0], found

    def unfuse(self) -> SequentialRNNCell:
        """The same layers as cells that can be stepped, with the names of `unpack_weights`."""
        stack = SequentialRNNCell()
        for i in range(self._num_layers):
            left = self._one(f"{self._prefix}l{i}_")
            if self._bidirectional:
                right = self._one(f"{self._prefix}r{i}_")
                name = f"{self._prefix}bi_l{i}_"
                stack.add(BidirectionalCell(left, right, output_prefix=name))
            else:
                stack.add(left)
            if self._dropout > 0 and i != self._num_layers - 1:
                stack.add(DropoutCell(self._dropout, prefix=f"{self._prefix}_dropout{i}_"))
        return stack

    def _one(self, prefix: str) -> BaseRNNCell:
        if self._mode == "lstm":
            return LSTMCell(self._num_hidden, prefix=prefix, forget_bias=self._forget_bias)
        if self._mode == "gru":
            return GRUCell(self._num_hidden, prefix=prefix)
        return RNNCell(self._num_hidden, self._mode.removeprefix("rnn_"), prefix=prefix)
