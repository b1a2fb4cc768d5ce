"""Modules made of modules."""

from typing import TYPE_CHECKING

from tapegrad.nn.containers import container, decorators, graph
from tapegrad.nn.containers.container import *
from tapegrad.nn.containers.decorators import *
from tapegrad.nn.containers.graph import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *container.__all__,
        *decorators.__all__,
        *graph.__all__,
    ]
