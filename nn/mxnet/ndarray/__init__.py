"""tapegrad.nn.mxnet.ndarray: `mx.nd`, arrays and one function for each operator and alias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.ndarray import _internal, contrib, image, linalg, op, random, sparse
from tapegrad.nn.mxnet.ndarray.files import load, load_frombuffer, save
from tapegrad.nn.mxnet.ndarray.functions import named_function
from tapegrad.nn.mxnet.ndarray.making import (
    PAIRS,
    arange,
    concatenate,
    eye,
    from_dlpack,
    from_numpy,
    histogram,
    linspace,
    moveaxis,
    onehot_encode,
    pair_function,
    split_v2,
    zeros,
)
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array, empty, full, ones

__all__ = [
    "NDArray",
    "_internal",
    "arange",
    "array",
    "concatenate",
    "contrib",
    "empty",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "histogram",
    "image",
    "linalg",
    "linspace",
    "load",
    "load_frombuffer",
    "moveaxis",
    "onehot_encode",
    "ones",
    "op",
    "random",
    "save",
    "sparse",
    "split_v2",
    "waitall",
    "zeros",
]

_operator = finder("mx.nd", [""], named_function)


def waitall() -> None:
    """Nothing: every call here has ended when it returns."""


def __getattr__(name: str) -> Callable[..., Any]:
    """The function of a pair or an operator.  Raises AttributeError with the nearest names."""
    return pair_function(name) if name in PAIRS else _operator(name)
