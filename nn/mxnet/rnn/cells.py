"""RNNCell, LSTMCell, GRUCell.  Source: mx.rnn.rnn_cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.initializer import LSTMBias
from tapegrad.nn.mxnet.rnn.base import BaseRNNCell, RNNParams, States, call
from tapegrad.nn.mxnet.rnn_weights import GATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapegrad.nn.mxnet.symbol.symbol import Symbol

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]


class _OneLayer(BaseRNNCell):
    """A cell with the variables i2h_weight, i2h_bias, h2h_weight, h2h_bias."""

    def __init__(self, num_hidden: int, prefix: str, params: RNNParams | None, bias: Any = None):
        super().__init__(prefix, params)
        self._num_hidden = num_hidden
        settings = {} if bias is None else {"init": bias}
        self._iW = self.params.get("i2h_weight")
        self._iB = self.params.get("i2h_bias", **settings)
        self._hW = self.params.get("h2h_weight")
        self._hB = self.params.get("h2h_bias")
        self._own_params = params is None

    def _projections(self, name: str, inputs: Symbol, state: Symbol) -> tuple[Any, Any]:
        """W x + b and R h + c, each for all gates."""
        size = self._num_hidden * len(self._gate_names)
        return (
            call(
                "FullyConnected", data=inputs, weight=self._iW, bias=self._iB, num_hidden=size,
                name=f"{name}i2h",
            ),
            call(
                "FullyConnected", data=state, weight=self._hW, bias=self._hB, num_hidden=size,
                name=f"{name}h2h",
            ),
        )  # fmt: skip

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """One state (N, num_hidden)."""
        return [{"shape": (0, self._num_hidden), "__layout__": "NC"}]


class RNNCell(_OneLayer):
    """h' = a(W x + b + R h + c).

    activation: the name of a function of `Activation`, or a callable of a symbol
    """

    _gate_names = GATES["rnn_tanh"]

    def __init__(
        self,
        num_hidden: int,
        activation: str | Callable[..., Symbol] = "tanh",
        prefix: str = "rnn_",
        params: RNNParams | None = None,
    ):
        super().__init__(num_hidden, prefix, params)
        self._act = activation

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(h', [h']) of (x, [h])."""
        name = self._next_name()
        i2h, h2h = self._projections(name, inputs, states[0])
        output = self._activation(i2h + h2h, self._act, name=f"{name}out")
        return output, [output]


class LSTMCell(_OneLayer):
    """c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c'), with [i, f, g, o] = W x + b + R h + c.

    forget_bias: first value of the forget gate's bias
    Source: S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997.
    """

    _gate_names = GATES["lstm"]

    def __init__(
        self,
        num_hidden: int,
        prefix: str = "lstm_",
        params: RNNParams | None = None,
        forget_bias: float = 1.0,
    ):
        super().__init__(num_hidden, prefix, params, LSTMBias(forget_bias=forget_bias))

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """Two states (N, num_hidden): h and c."""
        return [{"shape": (0, self._num_hidden), "__layout__": "NC"} for _ in range(2)]

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(h', [h', c']) of (x, [h, c])."""
        name = self._next_name()
        i2h, h2h = self._projections(name, inputs, states[0])
        parts = call("SliceChannel", i2h + h2h, num_outputs=4, name=f"{name}slice")
        gates: dict[str, Any] = {
            gate: call("Activation", parts[k], act_type=kind, name=f"{name}{gate}")
            for k, (gate, kind) in enumerate(
                [("i", "sigmoid"), ("f", "sigmoid"), ("c", "tanh"), ("o", "sigmoid")]
            )
        }
        kept, new = gates["f"] * states[1], gates["i"] * gates["c"]
        cell = call("elemwise_add", kept, new, name=f"{name}state")
        shown = call("Activation", cell, act_type="tanh")
        output = call("elemwise_mul", gates["o"], shown, name=f"{name}out")
        return output, [output, cell]


class GRUCell(_OneLayer):
    """h' = (1 - z) tanh(W x + b + r (R h + c)) + z h, with gates r and z, as cuDNN computes it.

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.
    """

    _gate_names = GATES["gru"]

    def __init__(self, num_hidden: int, prefix: str = "gru_", params: RNNParams | None = None):
        super().__init__(num_hidden, prefix, params)

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(h', [h']) of (x, [h])."""
        name = self._next_name()
        i2h, h2h = self._projections(name, inputs, states[0])
        of_x: Any = call("SliceChannel", i2h, num_outputs=3, name=f"{name}_i2h_slice")
        of_h: Any = call("SliceChannel", h2h, num_outputs=3, name=f"{name}_h2h_slice")
        reset: Any = call("Activation", of_x[0] + of_h[0], act_type="sigmoid", name=f"{name}_r_act")
        update: Any = call(
            "Activation", of_x[1] + of_h[1], act_type="sigmoid", name=f"{name}_z_act"
        )
        new: Any = call(
            "Activation", of_x[2] + reset * of_h[2], act_type="tanh", name=f"{name}_h_act"
        )
        output = call("elemwise_add", (1.0 - update) * new, update * states[0], name=f"{name}out")
        return output, [output]
