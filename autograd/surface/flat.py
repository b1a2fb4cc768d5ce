"""`Flat` is what ``x.flat`` gives: the entries in a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops import writing

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = ["Flat"]


class Flat:
    """``x.flat``: the entries in row-major order, to iterate over, read at any index, and write."""

    __slots__ = ("base",)

    def __init__(self, base: Tensor) -> None:
        self.base = base

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator[Any]:
        return iter(s.ravel(self.base))

    def __getitem__(self, index: Any) -> Tensor:
        return s.copy(s.ravel(self.base)[index])

    def __setitem__(self, index: Any, value: Operand) -> None:
        writing.put(self.base, np.arange(self.base.size)[index], value)

    def copy(self) -> Tensor:
        """The entries as a Tensor of one axis."""
        return s.copy(s.ravel(self.base))
