"""zeros, ones, full, arange: symbols without inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapegrad.nn.mxnet.symbol.symbol import Symbol, from_operator

__all__ = ["arange", "full", "ones", "zeros"]


def zeros(shape: int | Sequence[int], dtype: Any = None, **settings: Any) -> Symbol:
    """Zeros; a dimension 0 is inferred from where the symbol is used."""
    settings |= {"shape": shape, "dtype": dtype or "float32"}
    return from_operator("_zeros", "_zeros", [], settings)


def ones(shape: int | Sequence[int], dtype: Any = None, **settings: Any) -> Symbol:
    """Ones; a dimension 0 is inferred from where the symbol is used."""
    settings |= {"shape": shape, "dtype": dtype or "float32"}
    return from_operator("_ones", "_ones", [], settings)


def full(shape: int | Sequence[int], val: float, dtype: Any = None, **settings: Any) -> Symbol:
    """An array of one number."""
    settings |= {"shape": shape, "value": float(val), "dtype": dtype or "float32"}
    return from_operator("_full", "_full", [], settings)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool = False,
    name: str | None = None,
    dtype: Any = None,
) -> Symbol:
    """Numbers from start (0 if only one is given) up to stop, each `repeat` times."""
    settings = {
        "start": start, "stop": stop, "step": step, "repeat": repeat, "infer_range": infer_range,
        "name": name, "dtype": dtype or "float32",
    }  # fmt: skip
    return from_operator("_arange", "_arange", [], settings)
