"""as_symbol: a Symbol, or any module or function of Tensors in a Symbol's place."""

from __future__ import annotations

from typing import Any

from tapegrad.nn.mxnet.symbol.symbol import Symbol

__all__ = ["as_symbol"]


def as_symbol(given: Any) -> Symbol:
    """The Symbol itself.  Raises TypeError for anything else."""
    if isinstance(given, Symbol):
        return given
    raise TypeError(f"a Module takes a Symbol, not {type(given).__name__}")
