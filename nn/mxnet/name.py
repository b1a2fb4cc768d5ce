"""mx.name: names by the place where a symbol is made."""

from tapegrad.nn.mxnet.symbol.naming import NameManager, Prefix

__all__ = ["NameManager", "Prefix"]
