"""tapegrad.nn.mxnet.ndarray: `mx.nd`, arrays and one function for each operator and alias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.nn.mxnet.ndarray.files import load, load_frombuffer, save
from tapegrad.nn.mxnet.ndarray.functions import function_of
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array, empty, full, ones, zeros

__all__ = [
    "NDArray",
    "array",
    "empty",
    "full",
    "load",
    "load_frombuffer",
    "ones",
    "save",
    "waitall",
    "zeros",
]


def waitall() -> None:
    """Nothing: every call here has ended when it returns."""


def __getattr__(name: str) -> Callable[..., Any]:
    """The function of an operator.  Raises AttributeError with the nearest names."""
    if name.startswith("__"):
        raise AttributeError(name)
    return function_of(name)
