"""ConvRNNCell, ConvLSTMCell, ConvGRUCell: cells whose products are convolutions.

Source: mx.rnn.rnn_cell.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.rnn.base import BaseRNNCell, RNNParams, States, call
from tapegrad.nn.mxnet.symbol.symbol import var

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import InitializerName

__all__ = ["BaseConvRNNCell", "ConvGRUCell", "ConvLSTMCell", "ConvRNNCell"]

Pair = Sequence[int]
leaky: Callable[..., Any] = functools.partial(call, "LeakyReLU", act_type="leaky", slope=0.2)


class BaseConvRNNCell(BaseRNNCell):
    """What the cells have in common: states are maps of num_hidden channels.

    input_shape: the shape of one step's input, as (1, 3, 16, 10); the batch may have any size
    h2h_kernel, h2h_dilate: the kernel over states, odd, so that they keep their size
    i2h_kernel, i2h_stride, i2h_pad, i2h_dilate: the convolution over inputs
    …_initializer: first values of the variables i2h_weight, i2h_bias, h2h_weight, h2h_bias
    activation:  the name of a function of `Activation`, or a callable of a symbol
    prefix:      what names begin with; when omitted, the kind of cell, as "ConvLSTM_"
    conv_layout: "NCHW" or "NHWC"
    Raises AssertionError, as MXNet does, for an even kernel over states.
    """

    _states = 1
    _usual_prefix = ""

    def __init__(
        self,
        input_shape: Sequence[int],
        num_hidden: int,
        h2h_kernel: Pair = (3, 3),
        h2h_dilate: Pair = (1, 1),
        i2h_kernel: Pair = (3, 3),
        i2h_stride: Pair = (1, 1),
        i2h_pad: Pair = (1, 1),
        i2h_dilate: Pair = (1, 1),
        i2h_weight_initializer: InitializerName = None,
        h2h_weight_initializer: InitializerName = None,
        i2h_bias_initializer: InitializerName = "zeros",
        h2h_bias_initializer: InitializerName = "zeros",
        activation: str | Callable[..., Symbol] = leaky,
        prefix: str | None = None,
        params: RNNParams | None = None,
        conv_layout: str = "NCHW",
    ):
        super().__init__(self._usual_prefix if prefix is None else prefix, params)
        if not all(k % 2 for k in h2h_kernel):
            raise AssertionError(f"Only support odd number, get h2h_kernel= {h2h_kernel}")
        self._num_hidden, self._act, self._conv_layout = num_hidden, activation, conv_layout
        self._of_input = {
            "kernel": i2h_kernel, "stride": i2h_stride, "pad": i2h_pad, "dilate": i2h_dilate,
            "layout": conv_layout,
        }  # fmt: skip
        pad = tuple(d * (k - 1) // 2 for d, k in zip(h2h_dilate, h2h_kernel, strict=True))
        self._of_state = {
            "kernel": h2h_kernel, "dilate": h2h_dilate, "pad": pad, "stride": (1, 1),
            "layout": conv_layout,
        }  # fmt: skip
        y = call("Convolution", data=var("data"), num_filter=num_hidden, **self._of_input)
        found = y.infer_shape(data=tuple(input_shape))[1]
        assert found is not None
        self._state_shape = (0, *found[0][1:])
        self._iW = self.params.get("i2h_weight", init=i2h_weight_initializer)
        self._hW = self.params.get("h2h_weight", init=h2h_weight_initializer)
        self._iB = self.params.get("i2h_bias", init=i2h_bias_initializer)
        self._hB = self.params.get("h2h_bias", init=h2h_bias_initializer)
        self._own_params = params is None

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """The shape of each state, with 0 for the number of samples."""
        info = {"shape": self._state_shape, "__layout__": self._conv_layout}
        return [dict(info) for _ in range(self._states)]

    def _projections(self, name: str, inputs: Symbol, state: Symbol) -> tuple[Any, Any]:
        """W * x + b and R * h + c, each for all gates."""
        count = self._num_hidden * len(self._gate_names)
        return (
            call(
                "Convolution", name=f"{name}i2h", data=inputs, num_filter=count, weight=self._iW,
                bias=self._iB, **self._of_input,
            ),
            call(
                "Convolution", name=f"{name}h2h", data=state, num_filter=count, weight=self._hW,
                bias=self._hB, **self._of_state,
            ),
        )  # fmt: skip

    def _gates(self, gates: Symbol, name: str) -> Any:
        return call(
            "SliceChannel", gates, num_outputs=len(self._gate_names),
            axis=self._conv_layout.find("C"), name=name,
        )  # fmt: skip


class ConvRNNCell(BaseConvRNNCell):
    """h' = a(W * x + b + R * h + c), the products being convolutions; see `BaseConvRNNCell`."""

    _gate_names = ("",)
    _usual_prefix = "ConvRNN_"

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(h', [h']) of (x, [h])."""
        name = self._next_name()
        i2h, h2h = self._projections(name, inputs, states[0])
        output = self._activation(i2h + h2h, self._act, name=f"{name}out")
        return output, [output]


class ConvLSTMCell(BaseConvRNNCell):
    """c' = σ(f) c + σ(i) a(g), h' = σ(o) a(c'), with [i, f, g, o] = W * x + b + R * h + c.

    See `BaseConvRNNCell`.  Source: X. Shi et al., "Convolutional LSTM network", 2015.
    """

    _gate_names = ("_i", "_f", "_c", "_o")
    _usual_prefix = "ConvLSTM_"
    _states = 2

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(h', [h', c']) of (x, [h, c])."""
        name = self._next_name()
        i2h, h2h = self._projections(name, inputs, states[0])
        parts = self._gates(i2h + h2h, f"{name}slice")
        entered: Any = call("Activation", parts[0], act_type="sigmoid", name=f"{name}i")
        kept: Any = call("Activation", parts[1], act_type="sigmoid", name=f"{name}f")
        new: Any = self._activation(parts[2], self._act, name=f"{name}c")
        shown: Any = call("Activation", parts[3], act_type="sigmoid", name=f"{name}o")
        cell = call("elemwise_add", kept * states[1], entered * new, name=f"{name}state")
        output = call(
            "elemwise_mul", shown, self._activation(cell, self._act), name=f"{name}out"
        )  # fmt: skip
        return output, [output, cell]


class ConvGRUCell(BaseConvRNNCell):
    """h' = (1 - z) a(W * x + b + r (R * h + c)) + z h, with gates r and z; see `BaseConvRNNCell`.

    Source: N. Ballas et al., "Delving deeper into convolutional networks", 2016.
    """

    _gate_names = ("_r", "_z", "_o")
    _usual_prefix = "ConvGRU_"

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(h', [h']) of (x, [h])."""
        name = self._next_name()
        i2h, h2h = self._projections(name, inputs, states[0])
        of_x, of_h = self._gates(i2h, f"{name}_i2h_slice"), self._gates(h2h, f"{name}_h2h_slice")
        reset: Any = call("Activation", of_x[0] + of_h[0], act_type="sigmoid", name=f"{name}_r_act")
        update: Any = call(
            "Activation", of_x[1] + of_h[1], act_type="sigmoid", name=f"{name}_z_act"
        )
        new: Any = self._activation(of_x[2] + reset * of_h[2], self._act, name=f"{name}_h_act")
        output = call("elemwise_add", (1.0 - update) * new, update * states[0], name=f"{name}out")
        return output, [output]
