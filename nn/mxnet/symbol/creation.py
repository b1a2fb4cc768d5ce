"""zeros, ones, full, eye, arange, linspace: symbols without inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.symbol.symbol import Symbol, from_operator

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import DTypeLike


__all__ = ["arange", "eye", "full", "linspace", "ones", "zeros"]


def zeros(shape: int | Sequence[int], dtype: DTypeLike | None = None, **settings: Any) -> Symbol:
    """Zeros; a dimension 0 is inferred from where the symbol is used."""
    settings |= {"shape": shape, "dtype": dtype or "float32"}
    return from_operator("_zeros", "_zeros", [], settings)


def ones(shape: int | Sequence[int], dtype: DTypeLike | None = None, **settings: Any) -> Symbol:
    """Ones; a dimension 0 is inferred from where the symbol is used."""
    settings |= {"shape": shape, "dtype": dtype or "float32"}
    return from_operator("_ones", "_ones", [], settings)


def full(
    shape: int | Sequence[int], val: float, dtype: DTypeLike | None = None, **settings: Any
) -> Symbol:
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
    dtype: DTypeLike | None = None,
) -> Symbol:
    """Numbers from start (0 if only one is given) up to stop, each `repeat` times."""
    settings = {
        "start": start, "stop": stop, "step": step, "repeat": repeat, "infer_range": infer_range,
        "name": name, "dtype": dtype or "float32",
    }  # fmt: skip
    return from_operator("_arange", "_arange", [], settings)


def eye(N: int, M: int = 0, k: int = 0, dtype: DTypeLike | None = None, **settings: Any) -> Symbol:
    """(N, M or N): ones on a diagonal, k above the main one."""
    settings |= {"N": N, "M": M, "k": k, "dtype": dtype or "float32"}
    return from_operator("_eye", "_eye", [], settings)


def linspace(
    start: float,
    stop: float,
    num: int,
    endpoint: bool = True,
    name: str | None = None,
    dtype: DTypeLike | None = None,
) -> Symbol:
    """`num` numbers in equal steps from start to stop."""
    settings = {
        "start": start, "stop": stop, "num": num, "endpoint": endpoint, "name": name,
        "dtype": dtype or "float32",
    }  # fmt: skip
    return from_operator("_linspace", "_linspace", [], settings)
