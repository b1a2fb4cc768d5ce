"""Rectifiers: y = x for positive x; for other x a constant, a multiple of x, or a curve.

Each class is forward code of a line or two.  The derivative at 0 is that of the negative side, as
in Torch7; conditions are written so that NaN stays NaN.  `inplace` is accepted and kept, and saves
no memory here: the caller's arrays are never overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import fill_, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.trace import as_tensors
from tapegrad.nn.module import Module

__all__ = [
    "BinaryThreshold",
    "CReLU",
    "ELU",
    "LeakyReLU",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SReLU",
    "Threshold",
]


class Threshold(Module):
    """y = x where x > threshold, else val, elementwise: any shape -> the same shape.

    NaN stays NaN (in Torch7 it became val).  Raises ValueError for inplace with a val above the
    threshold, whose output does not show where x was.  Source: nn.Threshold.
    """

    keeps = ("threshold", "val", "inplace")
    promotes = True

    def __init__(self, threshold: float = 1e-6, val: float = 0, inplace: bool = False) -> None:
        if inplace and val > threshold:
            raise ValueError(
                f"{type(self).__name__}: in place, val must be at most threshold, found val {val} "
                f"and threshold {threshold}"
            )
        self.threshold = threshold
        self.val = val
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.threshold(x, limit=self.threshold, value=self.val)


class ReLU(Threshold):
    """y = max(x, 0), elementwise: any shape -> the same shape.

    The derivative at 0 is 0, and NaN stays NaN (in Torch7 it became 0).
    Source: nn.ReLU, a Threshold with threshold 0 and replacement value 0.

    >>> from tapegrad import nn
    >>> nn.ReLU()(np.array([-1.0, 0.0, 2.0]))
    Tensor([0., 0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0, 0, inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class ReLU6(Module):
    """y = min(max(x, 0), 6), elementwise: any shape -> the same shape; derivative 0 at 0 and 6.

    Source: nn.ReLU6.
    """

    keeps = ("inplace",)
    promotes = True

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.hard_tanh(x, low=0, high=6)


class LeakyReLU(Module):
    """y = x where x > 0, else negval·x, elementwise: any shape -> the same shape.

    Source: nn.LeakyReLU; A. Maas, A. Hannun, A. Ng, "Rectifier nonlinearities improve neural
    network acoustic models", 2013.
    """

    keeps = ("negval", "inplace")
    promotes = True

    def __init__(self, negval: float = 0.01, inplace: bool = False) -> None:
        # Torch7 also takes the flag alone: LeakyReLU(true).
        negval, inplace = (0.01, negval) if isinstance(negval, bool) else (negval, inplace)
        self.negval = negval
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, slope=self.negval)

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.negval:g})"


class ELU(Module):
    """y = x where x > 0, else alpha·(eˣ - 1), elementwise: any shape -> the same shape.

    Source: nn.ELU; D.-A. Clevert et al., "Fast and accurate deep network learning by exponential
    linear units (ELUs)", ICLR 2016.
    """

    keeps = ("alpha", "inplace")
    promotes = True

    def __init__(self, alpha: float = 1, inplace: bool = False) -> None:
        self.alpha = alpha
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.elu(x, alpha=self.alpha)

    def __repr__(self) -> str:
        return f"{torch7_name(self)} (alpha:{self.alpha:f})"


class PReLU(Module):
    """y = x where x > 0, else weight·x, with a slope that is learned.

    x: any shape -> the same shape, with one slope for all entries, weight (1,), if nOutputPlane is
    0; else x: (nOutputPlane,) or (N, nOutputPlane, …), weight (nOutputPlane,): the planes are the
    second axis of everything but vectors.  Slopes start at 0.25.
    Raises ShapeError for another number of planes.
    Source: nn.PReLU; K. He et al., "Delving deep into rectifiers", ICCV 2015.
    """

    keeps = ("nOutputPlane", "weight")
    promotes = True

    def __init__(self, nOutputPlane: int = 0) -> None:
        self.nOutputPlane = nOutputPlane
        self.weight = Parameter(np.empty(nOutputPlane or 1, default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Set every slope to 0.25; stdv has no meaning here."""
        fill_(self.weight, 0.25)

    def updateOutput(self, x: Tensor) -> Tensor:
        planes, axis = self.nOutputPlane, min(x.ndim - 1, 1)
        slope: Tensor = self.weight
        if planes:
            if not x.ndim or x.shape[axis] != planes:
                raise ShapeError(
                    f"the input of shape {x.shape} has not {planes} planes, nOutputPlane, "
                    f"along axis {max(axis, 0)}"
                )
            slope = slope.reshape([planes if a == axis else 1 for a in range(x.ndim)])
        else:
            slope = slope.reshape((1,) * x.ndim)
        return ops.where(ops.greater(x, 0), x, x * slope)


class RReLU(Module):
    """y = x where x > 0, else noise·x, elementwise: any shape -> the same shape.

    In training each factor is drawn from U(lower, upper); the attribute `noise` has the factors,
    and 1 where x > 0.  In evaluate() the slope is (lower + upper) / 2.
    Raises ValueError unless lower <= upper.
    Source: nn.RReLU; B. Xu et al., "Empirical evaluation of rectified activations in convolutional
    network", 2015.
    """

    keeps = ("lower", "upper", "inplace", "noise")
    promotes = True

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        if not 0 <= lower <= upper:
            raise ValueError(f"RReLU: 0 <= lower <= upper must hold, they are {lower} and {upper}")
        self.lower = lower
        self.upper = upper
        self.inplace = bool(inplace)
        self.noise: Tensor | None = None

    def updateOutput(self, x: Tensor) -> Tensor:
        if not self.train:
            return ops.leaky_relu(x, slope=(self.lower + self.upper) / 2)
        stream = self.random_stream(x)
        # In double precision, so that equal seeds give equal slopes in every dtype.
        draws = ops.uniform(generator=stream, shape=x.shape, dtype=np.dtype(np.float64))
        slopes = ops.cast(as_tensors(draws) * (self.upper - self.lower) + self.lower, dtype=x.dtype)
        self.noise = ops.where(ops.greater(x, 0), 1, slopes)
        return x * self.noise

    def clearState(self) -> RReLU:
        """Forget outputs, gradients of inputs, and the factors."""
        self.noise = None
        return super().clearState()

    def __repr__(self) -> str:
        return f"{torch7_name(self)} (l:{self.lower:f}, u:{self.upper:f})"


class CReLU(Module):
    """y = (max(x, 0), max(-x, 0)), concatenated along the features.

    x: (…, F, …) -> (…, 2·F, …), where F is the first of the last nInputDims axes.
    Raises ShapeError for an input with fewer axes.
    Source: nn.CReLU; W. Shang et al., "Understanding and improving convolutional neural networks
    via concatenated rectified linear units", ICML 2016.
    """

    keeps = ("nInputDims", "inplace")
    promotes = True

    def __init__(self, nInputDims: int, inplace: bool = False) -> None:
        self.nInputDims = nInputDims
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim < self.nInputDims:
            raise ShapeError(f"the input has {x.ndim} axes, nInputDims is {self.nInputDims}")
        return ops.relu(ops.concatenate([x, -x], axis=x.ndim - self.nInputDims))

    def __repr__(self) -> str:
        return f"{torch7_name(self).removeprefix('nn.')}()"


class BinaryThreshold(Module):
    """y = 1 where x > threshold, else 0, elementwise: any shape -> the same shape.

    The gradient passes where x > threshold, as that of Threshold does, which is no derivative.
    inplace: accepted and kept; the caller's arrays are never overwritten.
    Source: BigDL's BinaryThreshold.
    """

    keeps = ("threshold", "inplace")
    promotes = True

    def __init__(self, threshold: float = 1e-6, inplace: bool = False) -> None:
        self.threshold = threshold
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.step_with_gate(x, threshold=self.threshold)


class SReLU(Module):
    """y = x between two learned thresholds l <= r, and two learned slopes beyond them.

    y = r + aRight·(x - r) where x >= r, l + aLeft·(x - l) where x <= l, with l = tLeft, r = tRight.
    x: (N, *shape) -> the same shape;  tLeft, aLeft, tRight, aRight have the shape `shape`, with
    length 1 along `shareAxes`, axes of a sample counted from 0.  A tRight below tLeft counts as far
    above it: r = l + |tRight - l|.
    They start at 0, Xavier's U(-s, s), its magnitude, and 1.  Raises ShapeError for other shapes.
    Source: BigDL's SReLU; X. Jin et al., "Deep learning with S-shaped rectified linear activation
    units", AAAI 2016, equation 1.
    """

    keeps = ("tLeft", "aLeft", "tRight", "aRight")
    promotes = True

    def __init__(self, shape: Iterable[int], shareAxes: Iterable[int] | None = None) -> None:
        lengths = list(shape)
        for axis in shareAxes or ():
            lengths[axis] = 1
        dtype = default_dtype()
        self.tLeft = Parameter(np.empty(lengths, dtype))
        self.aLeft = Parameter(np.empty(lengths, dtype))
        self.tRight = Parameter(np.empty(lengths, dtype))
        self.aRight = Parameter(np.empty(lengths, dtype))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Set tLeft to 0 and aRight to 1; draw aLeft from U(-s, s), tRight from U(0, s)."""
        lengths = self.tLeft.shape
        fans = (lengths[0] + lengths[-1]) if len(lengths) > 1 else 2 * sum(lengths)
        s = math.sqrt(6 / fans) if stdv is None else stdv * math.sqrt(3)
        fill_(self.tLeft, 0.0)
        uniform_(self.aLeft, -s, s)
        uniform_(self.tRight, 0.0, s)
        fill_(self.aRight, 1.0)

    def updateOutput(self, x: Tensor) -> Tensor:
        lengths = self.tLeft.shape
        pairs = zip(x.shape[1:], lengths, strict=False)
        if x.ndim != len(lengths) + 1 or any(b not in (1, a) for a, b in pairs):
            raise ShapeError(f"the input of shape {x.shape} is no batch of samples {lengths}")
        left = self.tLeft
        right = left + ops.absolute(self.tRight - left)
        y = ops.where(ops.less_equal(x, left), left + self.aLeft * (x - left), x)
        return ops.where(ops.greater_equal(x, right), right + self.aRight * (x - right), y)
