"""save_checkpoint, load_checkpoint: prefix-symbol.json and prefix-0001.params.

Source: mx.model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.ndarray.files import load as load_arrays
from tapegrad.nn.mxnet.ndarray.files import save as save_arrays
from tapegrad.nn.mxnet.ndarray.files import split_params
from tapegrad.nn.mxnet.symbol.symbol import load as load_symbol

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
    from tapegrad.nn.mxnet.symbol.symbol import Symbol

__all__ = ["load_checkpoint", "load_params", "save_checkpoint"]


def save_checkpoint(
    prefix: str,
    epoch: int,
    symbol: Symbol | None,
    arg_params: Mapping[str, Any],
    aux_params: Mapping[str, Any],
    remove_amp_cast: bool = True,
) -> None:
    """Write prefix-symbol.json, if there is a symbol, and prefix-%04d.params."""
    if symbol is not None:
        symbol.save(f"{prefix}-symbol.json", remove_amp_cast=remove_amp_cast)
    found = {f"arg:{name}": x for name, x in arg_params.items()}
    found |= {f"aux:{name}": x for name, x in aux_params.items()}
    save_arrays(f"{prefix}-{epoch:04d}.params", found)


def load_params(prefix: str, epoch: int) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """(parameters, states) of prefix-%04d.params.  Raises ValueError, MXNetError, OSError."""
    place = f"{prefix}-{epoch:04d}.params"
    return split_params(load_arrays(place), place)


def load_checkpoint(
    prefix: str, epoch: int
) -> tuple[Symbol, dict[str, NDArray], dict[str, NDArray]]:
    """(symbol, parameters, states) of a checkpoint.  Raises ValueError, MXNetError, OSError."""
    symbol = load_symbol(f"{prefix}-symbol.json")
    return (symbol, *load_params(prefix, epoch))
