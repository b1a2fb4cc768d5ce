"""RNNParams, BaseRNNCell: what all cells have.  Source: mx.rnn.rnn_cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet import symbol
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array
from tapegrad.nn.mxnet.symbol.symbol import Symbol, var

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import Symbols


__all__ = ["BaseRNNCell", "RNNParams", "call", "sequence"]

States = list[Any]


def call(operator: str, *inputs: Any, **settings: Any) -> Symbol:
    """The symbol of an operator, as ``mx.sym.NAME(…)`` makes it."""
    found: Symbol = getattr(symbol, operator)(*inputs, **settings)
    return found


def sequence(
    length: int | None,
    inputs: Symbols | None,
    layout: str,
    merge: bool | None,
    from_layout: str | None = None,
) -> tuple[Any, int]:
    """(inputs, axis of time): one symbol or a list of one for each step.

    merge: True for one symbol, False for a list, None for what they are
    Raises AssertionError, as MXNet does, for no inputs, a symbol of several outputs, or a list of
    another length.
    """
    if inputs is None:
        raise AssertionError("unroll needs inputs: a symbol, or a list with one for each step")
    axis = layout.find("T")
    old = axis if from_layout is None else from_layout.find("T")
    if isinstance(inputs, Symbol):
        if merge is False:
            if len(inputs.list_outputs()) != 1:
                raise AssertionError("unroll doesn't allow grouped symbol as input: make it a list")
            steps = call("split", inputs, axis=old, num_outputs=length, squeeze_axis=1)
            return list(steps), axis
    else:
        inputs = list(inputs)
        if length is not None and len(inputs) != length:
            raise AssertionError(f"{len(inputs)} inputs for {length} steps")
        if merge is True:
            inputs = [call("expand_dims", one, axis=axis) for one in inputs]
            inputs, old = call("Concat", *inputs, dim=axis), axis
    if isinstance(inputs, Symbol) and axis != old:
        inputs = call("swapaxes", inputs, dim1=axis, dim2=old)
    return inputs, axis


class RNNParams:
    """Variables by name, so that cells can share them.  Source: mx.rnn.RNNParams."""

    def __init__(self, prefix: str = ""):
        self._prefix = prefix
        self._params: dict[str, Symbol] = {}

    def get(self, name: str, **settings: Any) -> Symbol:
        """The variable of this name behind the prefix, made when it is first asked for."""
        name = self._prefix + name
        if name not in self._params:
            self._params[name] = var(name, **settings)
        return self._params[name]


class BaseRNNCell:
    """One step of a recurrent layer: ``output, states = cell(input, states)``.

    prefix: what the names of variables and nodes begin with
    params: variables shared with another cell
    A subclass gives `state_info` and __call__.  Source: mx.rnn.BaseRNNCell.
    """

    _gate_names: tuple[str, ...] = ()
    _num_hidden = 0

    def __init__(self, prefix: str = "", params: RNNParams | None = None):
        self._own_params = params is None
        self._prefix = prefix
        self._params = RNNParams(prefix) if params is None else params
        self._modified = False
        self._cells: list[BaseRNNCell] = []
        self.reset()

    def reset(self) -> None:
        """Begin to count steps anew; before the cell is unrolled into another graph."""
        self._init_counter = -1
        self._counter = -1
        for cell in self._cells:
            cell.reset()

    def __call__(self, inputs: Symbol, states: States) -> tuple[Symbol, States]:
        """(output, new states) of one step."""
        raise NotImplementedError

    @property
    def params(self) -> RNNParams:
        """The variables; who asks for them shares them."""
        self._own_params = False
        return self._params

    @property
    def state_info(self) -> list[dict[str, Any]]:
        """Shape (0 for the number of samples) and layout of each state."""
        raise NotImplementedError

    @property
    def state_shape(self) -> list[tuple[int, ...]]:
        """The shapes of the states."""
        return [info["shape"] for info in self.state_info]

    def begin_state(self, func: Callable[..., Any] = symbol.zeros, **settings: Any) -> States:
        """The states before the first step: zeros, or what `func` makes of name and shape.

        Raises AssertionError for a cell inside a ZoneoutCell or ResidualCell: ask that one.
        """
        self._must_be_free()
        states = []
        for info in self.state_info:
            self._init_counter += 1
            name = f"{self._prefix}begin_state_{self._init_counter}"
            states.append(func(name=name, **settings, **info))
        return states

    def _must_be_free(self) -> None:
        if self._modified:
            raise AssertionError(
                "After applying modifier cells (e.g. DropoutCell) the base cell cannot be called "
                "directly. Call the modifier cell instead."
            )

    def unpack_weights(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters by name with one entry for each gate: lstm_i2h_i_weight, …"""
        args = dict(args)
        h = self._num_hidden
        for group in ("i2h", "h2h") if self._gate_names else ():
            for kind in ("weight", "bias"):
                whole = args.pop(f"{self._prefix}{group}_{kind}")
                for j, gate in enumerate(self._gate_names):
                    name = f"{self._prefix}{group}{gate}_{kind}"
                    args[name] = whole[j * h : (j + 1) * h].copy()
        return args

    def pack_weights(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The opposite of `unpack_weights`."""
        args = dict(args)
        for group in ("i2h", "h2h") if self._gate_names else ():
            for kind in ("weight", "bias"):
                names = [f"{self._prefix}{group}{gate}_{kind}" for gate in self._gate_names]
                args[f"{self._prefix}{group}_{kind}"] = joined([args.pop(name) for name in names])
        return args

    def unroll(
        self,
        length: int,
        inputs: Symbols,
        begin_state: States | None = None,
        layout: str = "NTC",
        merge_outputs: bool | None = None,
    ) -> tuple[Any, States]:
        """(outputs, states) of `length` steps.

        inputs:        one symbol of the layout, or a list of one (N, C) for each step
        layout:        "NTC" or "TNC"
        merge_outputs: True for outputs in one symbol, False for a list, None for either
        Raises AssertionError for inputs of another number of steps.
        """
        self.reset()
        steps, _ = sequence(length, inputs, layout, False)
        states = self.begin_state() if begin_state is None else begin_state
        outputs = []
        for step in steps:
            output, states = self(step, states)
            outputs.append(output)
        return sequence(length, outputs, layout, merge_outputs)[0], states

    def _next_name(self) -> str:
        """The beginning of the names of the next step's nodes."""
        self._counter += 1
        return f"{self._prefix}t{self._counter}_"

    def _activation(self, inputs: Symbol, activation: Any, **settings: Any) -> Symbol:
        if isinstance(activation, str):
            return call("Activation", inputs, act_type=activation, **settings)
        found: Symbol = activation(inputs, **settings)
        return found


def joined(parts: Sequence[NDArray]) -> NDArray:
    """Several arrays as one, along the first axis."""
    return array(
        np.concatenate([part.asnumpy() for part in parts]), parts[0].context, parts[0].dtype
    )
