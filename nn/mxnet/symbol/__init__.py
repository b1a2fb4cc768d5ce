"""tapegrad.nn.mxnet.symbol: `mx.sym`, symbols and one function for each operator and alias."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import finder
from tapegrad.nn.mxnet.symbol import _internal, contrib, image, linalg, op, random, sparse
from tapegrad.nn.mxnet.symbol.creation import arange, eye, full, linspace, ones, zeros
from tapegrad.nn.mxnet.symbol.functions import function_of
from tapegrad.nn.mxnet.symbol.pairs import (
    histogram,
    hypot,
    maximum,
    minimum,
    power,
    split_v2,
)
from tapegrad.nn.mxnet.symbol.symbol import Group, Symbol, Variable, load, load_json, var

pow = power  # MXNet's name

__all__ = [
    "Group",
    "Symbol",
    "Variable",
    "_internal",
    "arange",
    "contrib",
    "eye",
    "full",
    "histogram",
    "hypot",
    "image",
    "linalg",
    "linspace",
    "load",
    "load_json",
    "maximum",
    "minimum",
    "ones",
    "op",
    "pow",
    "power",
    "random",
    "sparse",
    "split_v2",
    "var",
    "zeros",
]

__getattr__ = finder("mx.sym", [""], function_of)
