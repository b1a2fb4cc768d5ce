"""Modules made of modules."""

from tapegrad.nn.containers import container, decorators, graph
from tapegrad.nn.containers.container import *
from tapegrad.nn.containers.decorators import *
from tapegrad.nn.containers.graph import *

__all__ = [
    *container.__all__,
    *decorators.__all__,
    *graph.__all__,
]
