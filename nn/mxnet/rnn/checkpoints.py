"""Checkpoints with one entry for each gate, whatever cells made them.  Source: mx.rnn.rnn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.model import load_checkpoint, save_checkpoint
from tapegrad.nn.mxnet.rnn.base import BaseRNNCell

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.rnn.base import States
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import Symbols


__all__ = ["do_rnn_checkpoint", "load_rnn_checkpoint", "rnn_unroll", "save_rnn_checkpoint"]


def _listed(cells: BaseRNNCell | Sequence[BaseRNNCell]) -> list[BaseRNNCell]:
    return [cells] if isinstance(cells, BaseRNNCell) else list(cells)


def save_rnn_checkpoint(
    cells: BaseRNNCell | Sequence[BaseRNNCell],
    prefix: str,
    epoch: int,
    symbol: Symbol,
    arg_params: Mapping[str, Any],
    aux_params: Mapping[str, Any],
) -> None:
    """As `model.save_checkpoint`, with the weights unpacked by the cells: one or a list."""
    for cell in _listed(cells):
        arg_params = cell.unpack_weights(arg_params)
    save_checkpoint(prefix, epoch, symbol, arg_params, aux_params)


def load_rnn_checkpoint(
    cells: BaseRNNCell | Sequence[BaseRNNCell], prefix: str, epoch: int
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """(symbol, parameters, states) of a checkpoint, with the weights packed by the cells.

    Raises as `model.load_checkpoint`.
    """
    symbol, arg_params, aux_params = load_checkpoint(prefix, epoch)
    for cell in _listed(cells):
        arg_params = cell.pack_weights(arg_params)
    return symbol, arg_params, aux_params


def do_rnn_checkpoint(
    cells: BaseRNNCell | Sequence[BaseRNNCell], prefix: str, period: int = 1
) -> Callable[..., None]:
    """A callback for the end of an epoch that saves every `period` epochs."""
    period = max(1, int(period))

    def callback(iter_no: int, sym: Any = None, arg: Any = None, aux: Any = None) -> None:
        if (iter_no + 1) % period == 0:
            save_rnn_checkpoint(cells, prefix, iter_no + 1, sym, arg, aux)

    return callback


def rnn_unroll(
    cell: BaseRNNCell,
    length: int,
    inputs: Symbols | None = None,
    begin_state: States | None = None,
    input_prefix: str = "",
    layout: str = "NTC",
) -> tuple[Any, Any]:
    """The old name of ``cell.unroll``; without inputs they are variables t0_data, t1_data, …"""
    from tapegrad.nn.mxnet.symbol.symbol import var

    if inputs is None:
        inputs = [var(f"{input_prefix}t{i}_data") for i in range(length)]
    return cell.unroll(length, inputs=inputs, begin_state=begin_state, layout=layout)
