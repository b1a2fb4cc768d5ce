"""Regularizers: what a layer adds to the gradients of its parameters for their size.

A regularizer changes gradients as they are accumulated and never the loss, as in BigDL.  (An
optimizer's weight decay does the same for all parameters at once.)  Files keep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from tapegrad import devices
from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.state import saved_record

__all__ = ["L1L2Regularizer", "L1Regularizer", "L2Regularizer", "Regularizer"]

NEGATIVE = "{name}: {which} is {value!r}, it must be a number of at least 0"


@dataclass
class Regularizer:
    """gradient += l1 · sign(w) + l2 · w, while it is enabled.

    l1, l2: numbers of at least 0.  Raises ValueError for others.  The factor of a layer's gradients
    (`setScaleW`) multiplies what is added.  Source: BigDL's L1L2Regularizer, whose term is l2 · w
    and not 2 · l2 · w.
    """

    l1: float
    l2: float
    enabled: bool = True

    def __post_init__(self) -> None:
        for which in ("l1", "l2"):
            value = getattr(self, which)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                name = type(self).__name__
                raise ValueError(NEGATIVE.format(name=name, which=which, value=value))

    def enable(self) -> Self:
        """Let the regularizer add its term again; returns self."""
        self.enabled = True
        return self

    def disable(self) -> Self:
        """Let the regularizer add nothing until `enable`; returns self."""
        self.enabled = False
        return self

    def add_to(self, g: Any, parameter: Any) -> Any:
        """g + l1 · sign(w) + l2 · w for the Parameter w, as a Tensor or an array as g is."""
        if not self.enabled:
            return g
        w = parameter.detach() if isinstance(g, Tensor) else parameter._bare
        if self.l1:
            sign = ops.sign(w) if isinstance(w, Tensor) else devices.namespace(w).sign(w)
            g = g + self.l1 * sign
        return g + self.l2 * w if self.l2 else g


@saved_record
@dataclass
class L1L2Regularizer(Regularizer):
    """gradient += l1 · sign(w) + l2 · w.  Raises ValueError for a negative factor."""


@saved_record
@dataclass
class L1Regularizer(Regularizer):
    """gradient += l1 · sign(w).  Raises ValueError for a negative factor."""

    def __init__(self, l1: float) -> None:
        super().__init__(l1, 0.0)


@saved_record
@dataclass
class L2Regularizer(Regularizer):
    """gradient += l2 · w.  Raises ValueError for a negative factor."""

    def __init__(self, l2: float) -> None:
        super().__init__(0.0, l2)
