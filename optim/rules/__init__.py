"""Every optimizer: an update rule, and the class that runs it on modules."""

from typing import TYPE_CHECKING

from tapegrad.optim.rules import adaptive, descent, layerwise, moments, proximal, sign
from tapegrad.optim.rules.adaptive import *
from tapegrad.optim.rules.descent import *
from tapegrad.optim.rules.layerwise import *
from tapegrad.optim.rules.moments import *
from tapegrad.optim.rules.proximal import *
from tapegrad.optim.rules.sign import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *adaptive.__all__,
        *descent.__all__,
        *layerwise.__all__,
        *moments.__all__,
        *proximal.__all__,
        *sign.__all__,
    ]
