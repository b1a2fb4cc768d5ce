"""``import tapegrad.array_api as xp``: the one module that `__array_namespace__` returns."""

import sys
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.surface import array_api

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


# The module that is imported here stands under both names, and this one is forgotten.
sys.modules |= {
    __name__: array_api,
    f"{__name__}.fft": array_api.fft,
    f"{__name__}.linalg": array_api.linalg,
}
