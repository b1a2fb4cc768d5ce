"""Minimizers of a function, in Torch7's functional form: they decide by the values they meet."""

from typing import TYPE_CHECKING

from tapegrad.optim.minimizers import evolution, fista, gradient_check, line_search
from tapegrad.optim.minimizers.evolution import *
from tapegrad.optim.minimizers.fista import *
from tapegrad.optim.minimizers.gradient_check import *
from tapegrad.optim.minimizers.line_search import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *evolution.__all__,
        *fista.__all__,
        *gradient_check.__all__,
        *line_search.__all__,
    ]
