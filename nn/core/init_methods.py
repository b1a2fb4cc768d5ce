"""Initialization methods: how a layer draws its weight or its bias, as objects that a layer keeps.

``layer.setInitMethod(Xavier(), Zeros())`` draws at once, and `reset` draws so from then on.  The
functions of `core.initialization` do the work; these are their names in BigDL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, ops
from tapegrad.nn.core.initialization import fans, fill_, normal_, uniform_, xavier_uniform_
from tapegrad.nn.core.state import saved_record

__all__ = [
    "BilinearFiller",
    "ConstInitMethod",
    "InitializationMethod",
    "MsraFiller",
    "Ones",
    "RandomNormal",
    "RandomUniform",
    "Xavier",
    "Zeros",
]

NO_FILTER = "BilinearFiller fills a weight (planes, planes, kH, kW) or (1, …), not shape {shape}"


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out); a weight with one axis counts as one output of all its entries."""
    return fans(shape) if len(shape) > 1 else (math.prod(shape), 1)


class InitializationMethod:
    """How entries of a Parameter are drawn.  (BigDL's InitializationMethod.)"""

    def init(self, parameter: Parameter) -> None:
        """Overwrite the entries of `parameter`."""
        raise NotImplementedError(f"{type(self).__name__} defines no init(parameter)")


@saved_record
@dataclass(frozen=True)
class Zeros(InitializationMethod):
    """Every entry is 0."""

    def init(self, parameter: Parameter) -> None:
        """Overwrite the entries of `parameter`."""
        fill_(parameter, 0.0)


@saved_record
@dataclass(frozen=True)
class Ones(InitializationMethod):
    """Every entry is 1."""

    def init(self, parameter: Parameter) -> None:
        """Overwrite the entries of `parameter`."""
        fill_(parameter, 1.0)


@saved_record
@dataclass(frozen=True)
class ConstInitMethod(InitializationMethod):
    """Every entry is `value`."""

    value: float

    def init(self, parameter: Parameter) -> None:
        """Overwrite the entries of `parameter`."""
        fill_(parameter, self.value)


@saved_record
@dataclass(frozen=True)
class RandomUniform(InitializationMethod):
    """U(lower, upper); without bounds U(-s, s), s = 1/√fan_in.

    Raises ValueError for one bound without the other.
    """

    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        if (self.lower is None) != (self.upper is None):
            raise ValueError("RandomUniform takes both bounds or none: RandomUniform(lower, upper)")

    def init(self, parameter: Parameter) -> None:
        """Overwrite the entries of `parameter`."""
        if self.lower is None or self.upper is None:
            s = 1 / math.sqrt(max(_fans(parameter.shape)[0], 1))
            uniform_(parameter, -s, s)
        else:
            uniform_(parameter, self.lower, self.upper)


@saved_record
@dataclass(frozen=True)
class RandomNormal(InitializationMethod):
    """N(mean, stdv²)."""

    mean: float = 0.0
    stdv: float = 1.0

    def init(self, parameter: Parameter) -> None:
        """Overwrite the entries of `parameter`."""
        normal_(parameter, self.mean, self.stdv)


@saved_record
@dataclass(frozen=True)
class Xavier(InitializationMethod):
    """U(-s, s), s = √(6 / (fan_in + fan_out)).

    varianceNormAverage: False takes s = √(3 / fan_in)
    Source: as `nn.init.xavier_uniform_`.
    """

    varianceNormAverage: bool = True

    def init(self, parameter: Parameter) -> None:
        """Overwrite the entries of `parameter`."""
        if self.varianceNormAverage and parameter.ndim > 1:
            xavier_uniform_(parameter)
            return
        fan_in, fan_out = _fans(parameter.shape)
        s = math.sqrt(6 / (fan_in + fan_out) if self.varianceNormAverage else 3 / max(fan_in, 1))
        uniform_(parameter, -s, s)


@saved_record
@dataclass(frozen=True)
class MsraFiller(InitializationMethod):
    """N(0, 2 / n), n = (fan_in + fan_out) / 2.

    varianceNormAverage: False takes n = fan_out
    Source: K. He et al., "Delving Deep into Rectifiers", ICCV 2015.
    """

    varianceNormAverage: bool = True

    def init(self, parameter: Parameter) -> None:
        """Overwrite the entries of `parameter`."""
        fan_in, fan_out = _fans(parameter.shape)
        n = (fan_in + fan_out) / 2 if self.varianceNormAverage else fan_out
        normal_(parameter, 0.0, math.sqrt(2 / max(n, 1)))


@saved_record
@dataclass(frozen=True)
class BilinearFiller(InitializationMethod):
    """The weights with which a transposed convolution enlarges images bilinearly.

    weight (n, m, k, k): each of its k × k filters is (1 - |i/f - c|)(1 - |j/f - c|), f = ⌈k/2⌉,
    c = (2f - 1 - f mod 2) / 2f.  Raises ValueError for a weight without a square filter.
    Source: Caffe's BilinearFiller.
    """

    def init(self, parameter: Parameter) -> None:
        """Overwrite the entries of `parameter`."""
        shape = parameter.shape
        if len(shape) < 4 or shape[-1] != shape[-2]:
            raise ValueError(NO_FILTER.format(shape=shape))
        k = shape[-1]
        f = math.ceil(k / 2)
        c = (2 * f - 1 - f % 2) / (2 * f)
        line = 1 - np.abs(np.arange(k) / f - c)
        entries = np.broadcast_to(np.outer(line, line), shape).astype(parameter.dtype)
        ops.assign(parameter.detach(), devices.to_device(entries, parameter.device))
