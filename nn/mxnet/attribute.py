"""mx.attribute: attributes by the place where a symbol is made."""

from tapegrad.nn.mxnet.symbol.naming import AttrScope

__all__ = ["AttrScope"]
