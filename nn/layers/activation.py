"""Transfer functions: elementwise nonlinearities, the softmaxes, and gated halves.

Each is forward code of a line or two; stable forms and derivatives live with the primitives.  What
Torch7 does at a kink is kept: maximum and minimum give the gradient of a tie to their first
operand, so the order of the operands says on which side the kink belongs.  Conditions are written
so that NaN stays NaN.

`inplace` is accepted and kept, and saves no memory here: the caller's arrays are never overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tapegrad.autograd import Parameter, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import fill_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.trace import as_tensors
from tapegrad.nn.module import Module

__all__ = [
    "Abs",
    "CReLU",
    "Clamp",
    "ELU",
    "Exp",
    "GELU",
    "GatedLinearUnit",
    "HardShrink",
    "HardTanh",
    "Identity",
    "LeakyReLU",
    "Log",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "Power",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "SoftPlus",
    "SoftShrink",
    "SoftSign",
    "Sqrt",
    "Square",
    "Tanh",
    "TanhShrink",
    "Threshold",
]


class Identity(Module):
    """y = x, whatever x is: an array, or nested lists of arrays.  Source: nn.Identity."""

    def updateOutput(self, x: Any) -> Any:
        return x


# Without parameters -------------------------------------------------------------------------------


class Abs(Module):
    """y = |x|, elementwise: any shape -> the same shape; the derivative at 0 is 1.

    Source: nn.Abs.
    """

    def updateOutput(self, x: Any) -> Any:
        return magnitude(x)


class Exp(Module):
    """y = eˣ, elementwise: any shape -> the same shape.  Source: nn.Exp."""

    def updateOutput(self, x: Any) -> Any:
        return ops.exp(x)


class Log(Module):
    """y = log x, elementwise, x > 0: any shape -> the same shape.  Source: nn.Log."""

    def updateOutput(self, x: Any) -> Any:
        return ops.log(x)


class Sqrt(Module):
    """y = √x, elementwise, x >= 0: any shape -> the same shape; the derivative at 0 is 0.

    eps: kept, and without effect, as in Torch7.  Source: nn.Sqrt.
    """

    keeps = ("eps",)

    def __init__(self, eps: float = 0) -> None:
        self.eps = eps

    def updateOutput(self, x: Any) -> Any:
        zero = ops.equal(x, 0)
        return ops.where(zero, 0, ops.sqrt(ops.where(zero, 1, x)))


class Square(Module):
    """y = x², elementwise: any shape -> the same shape.  Source: nn.Square."""

    def updateOutput(self, x: Any) -> Any:
        return ops.square(x)


class Power(Module):
    """y = xᵖ, elementwise: any shape -> the same shape.  x >= 0 unless p is a whole number.

    Source: nn.Power.
    """

    keeps = ("pow",)

    def __init__(self, p: float) -> None:
        self.pow = p

    def updateOutput(self, x: Any) -> Any:
        return ops.power(x, self.pow)


class Tanh(Module):
    """y = tanh x, elementwise: any shape -> the same shape.  Source: nn.Tanh."""

    def updateOutput(self, x: Any) -> Any:
        return ops.tanh(x)


class TanhShrink(Module):
    """y = x - tanh x, elementwise: any shape -> the same shape.  Source: nn.TanhShrink."""

    def updateOutput(self, x: Any) -> Any:
        return x - ops.tanh(x)


class Sigmoid(Module):
    """y = 1 / (1 + e⁻ˣ), elementwise: any shape -> the same shape.  Source: nn.Sigmoid."""

    def updateOutput(self, x: Any) -> Any:
        return ops.sigmoid(x)


class LogSigmoid(Module):
    """y = log(1 / (1 + e⁻ˣ)), elementwise, without overflow: any shape -> the same shape.

    Source: nn.LogSigmoid.
    """

    def updateOutput(self, x: Any) -> Any:
        return -ops.logaddexp(-x, 0)


class SoftSign(Module):
    """y = x / (1 + |x|), elementwise: any shape -> the same shape.  Source: nn.SoftSign."""

    def updateOutput(self, x: Any) -> Any:
        return x / (ops.absolute(x) + 1)


class SoftPlus(Module):
    """y = log(1 + exp(beta·x)) / beta, elementwise: any shape -> the same shape.

    Where beta·x is above 20, y = x, as in Torch7; the two differ by 2e-9 there.
    Source: nn.SoftPlus.
    """

    keeps = ("beta",)
    threshold = 20

    def __init__(self, beta: float = 1) -> None:
        self.beta = beta

    def updateOutput(self, x: Any) -> Any:
        scaled = x * self.beta
        smooth = ops.logaddexp(scaled, 0) / self.beta
        return ops.where(ops.greater(scaled, self.threshold), x, smooth)


class SiLU(Module):
    """y = x·sigmoid(x), elementwise: any shape -> the same shape.

    Source: S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network
    function approximation in reinforcement learning", 2017, equation 3; also called Swish.
    """

    def updateOutput(self, x: Any) -> Any:
        return x * ops.sigmoid(x)


class Mish(Module):
    """y = x·tanh(log(1 + eˣ)), elementwise: any shape -> the same shape.

    Source: D. Misra, "Mish: a self regularized non-monotonic activation function", 2019.
    """

    def updateOutput(self, x: Any) -> Any:
        return x * ops.tanh(ops.logaddexp(x, 0))


class GELU(Module):
    """y = x·Φ(x), Φ the normal distribution function, elementwise: any shape -> the same shape.

    approximate "tanh": Φ(x) is taken to be (1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2, as the
    weights of many published models expect; "none", the default: Φ(x) = (1 + erf(x/√2)) / 2.
    Raises ValueError for other words.
    Source: D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016, section 2.
    """

    keeps = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in {"none", "tanh"}:
            raise ValueError(f'GELU: approximate is {approximate!r}, it must be "none" or "tanh"')
        self.approximate = approximate

    def updateOutput(self, x: Any) -> Any:
        if self.approximate == "tanh":
            bent = (x + x * x * x * 0.044715) * float(np.sqrt(2 / np.pi))
            return x * 0.5 * (ops.tanh(bent) + 1)
        return x * 0.5 * (ops.erf(x * float(np.sqrt(0.5))) + 1)


# With a threshold ---------------------------------------------------------------------------------


class Threshold(Module):
    """y = x where x > threshold, else val, elementwise: any shape -> the same shape.

    NaN stays NaN (in Torch7 it became val).  Source: nn.Threshold.
    """

    keeps = ("threshold", "val", "inplace")

    def __init__(self, threshold: float = 1e-6, val: float = 0, inplace: bool = False) -> None:
        self.threshold = threshold
        self.val = val
        self.inplace = bool(inplace)

    def updateOutput(self, x: Any) -> Any:
        return ops.where(ops.less_equal(x, self.threshold), self.val, x)


class ReLU(Threshold):
    """y = max(x, 0), elementwise: any shape -> the same shape.

    The derivative at 0 is 0, and NaN stays NaN (in Torch7 it became 0).
    Source: nn.ReLU, a Threshold with threshold 0 and replacement value 0.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0, 0, inplace)

    def updateOutput(self, x: Any) -> Any:
        return ops.relu(x)


class HardTanh(Module):
    """y = x limited to min_value … max_value, elementwise: any shape -> the same shape.

    The derivative at the bounds themselves is 0.  Raises ValueError unless max_value > min_value.
    Source: nn.HardTanh.
    """

    keeps = ("min_val", "max_val", "inplace")

    def __init__(self, min_value: float = -1, max_value: float = 1, inplace: bool = False) -> None:
        if not max_value > min_value:
            raise ValueError(
                f"{type(self).__name__}: max_value {max_value} must be larger than "
                f"min_value {min_value}"
            )
        self.min_val = min_value
        self.max_val = max_value
        self.inplace = bool(inplace)

    def updateOutput(self, x: Any) -> Any:
        return ops.minimum(self.max_val, ops.maximum(self.min_val, x))


class Clamp(HardTanh):
    """y = x limited to min_value … max_value, elementwise: any shape -> the same shape.

    The derivative at the bounds is 0.  Raises ValueError unless max_value > min_value.
    Source: nn.Clamp.
    """

    def __init__(self, min_value: float, max_value: float) -> None:
        super().__init__(min_value, max_value)


class ReLU6(Module):
    """y = min(max(x, 0), 6), elementwise: any shape -> the same shape; derivative 0 at 0 and 6.

    Source: nn.ReLU6.
    """

    keeps = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = bool(inplace)

    def updateOutput(self, x: Any) -> Any:
        return ops.minimum(6, ops.relu(x))


class HardShrink(Module):
    """y = x where |x| > lambda, else 0, elementwise: any shape -> the same shape.

    The field is called `lambda`, which Python reads with getattr only.  Source: nn.HardShrink.
    """

    keeps = ("lambda",)

    def __init__(self, lambda_: float = 0.5) -> None:
        setattr(self, "lambda", lambda_)

    def updateOutput(self, x: Any) -> Any:
        return ops.where(ops.less_equal(ops.absolute(x), getattr(self, "lambda")), 0, x)


class SoftShrink(Module):
    """y = x moved towards 0 by lambda, and 0 where |x| <= lambda: any shape -> the same shape.

    The field is called `lambda`, which Python reads with getattr only.  Source: nn.SoftShrink.
    """

    keeps = ("lambda",)

    def __init__(self, lambda_: float = 0.5) -> None:
        setattr(self, "lambda", lambda_)

    def updateOutput(self, x: Any) -> Any:
        limit = getattr(self, "lambda")
        return x - ops.clip(x, -limit, limit)


# With a slope below zero --------------------------------------------------------------------------


class LeakyReLU(Module):
    """y = x where x > 0, else negval·x, elementwise: any shape -> the same shape.

    Source: nn.LeakyReLU; A. Maas, A. Hannun, A. Ng, "Rectifier nonlinearities improve neural
    network acoustic models", 2013.
    """

    keeps = ("negval", "inplace")

    def __init__(self, negval: float = 0.01, inplace: bool = False) -> None:
        # Torch7 also takes the flag alone: LeakyReLU(true).
        negval, inplace = (0.01, negval) if isinstance(negval, bool) else (negval, inplace)
        self.negval = negval
        self.inplace = bool(inplace)

    def updateOutput(self, x: Any) -> Any:
        return ops.where(ops.greater(x, 0), x, x * self.negval)

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.negval:g})"


class ELU(Module):
    """y = x where x > 0, else alpha·(eˣ - 1), elementwise: any shape -> the same shape.

    Source: nn.ELU; D.-A. Clevert et al., "Fast and accurate deep network learning by exponential
    linear units (ELUs)", ICLR 2016.
    """

    keeps = ("alpha", "inplace")

    def __init__(self, alpha: float = 1, inplace: bool = False) -> None:
        self.alpha = alpha
        self.inplace = bool(inplace)

    def updateOutput(self, x: Any) -> Any:
        below = ops.expm1(ops.minimum(x, 0)) * self.alpha  # eˣ must not overflow where x is large
        return ops.where(ops.greater(x, 0), x, below)

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

    def __init__(self, nOutputPlane: int = 0) -> None:
        self.nOutputPlane = nOutputPlane
        self.weight = Parameter(np.empty(nOutputPlane or 1, default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Set every slope to 0.25; stdv has no meaning here."""
        fill_(self.weight, 0.25)

    def updateOutput(self, x: Any) -> Any:
        planes, axis = self.nOutputPlane, min(x.ndim - 1, 1)
        slope = self.weight
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

    While training, each factor is drawn from U(lower, upper); `noise` holds them, with 1 where
    x > 0.  In evaluate() the slope is (lower + upper) / 2.
    Raises ValueError unless lower <= upper.
    Source: nn.RReLU; B. Xu et al., "Empirical evaluation of rectified activations in convolutional
    network", 2015.
    """

    keeps = ("lower", "upper", "inplace", "noise")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        if not 0 <= lower <= upper:
            raise ValueError(f"RReLU: 0 <= lower <= upper must hold, they are {lower} and {upper}")
        self.lower = lower
        self.upper = upper
        self.inplace = bool(inplace)
        self.noise: Any = None

    def updateOutput(self, x: Any) -> Any:
        if not self.train:
            return ops.where(ops.greater(x, 0), x, x * ((self.lower + self.upper) / 2))
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

    def __init__(self, nInputDims: int, inplace: bool = False) -> None:
        self.nInputDims = nInputDims
        self.inplace = bool(inplace)

    def updateOutput(self, x: Any) -> Any:
        if x.ndim < self.nInputDims:
            raise ShapeError(f"the input has {x.ndim} axes, nInputDims is {self.nInputDims}")
        return ops.relu(ops.concatenate([x, -x], axis=x.ndim - self.nInputDims))

    def __repr__(self) -> str:
        return f"{torch7_name(self).removeprefix('nn.')}()"


class GatedLinearUnit(Module):
    """y = a·sigmoid(b), where a and b are the halves of x along axis `dim`.

    x: (…, 2·F, …) -> (…, F, …); dim None is the last axis.
    Raises ShapeError when there is no such axis, or its length is odd.
    Source: nn.GatedLinearUnit; Y. Dauphin et al., "Language modeling with gated convolutional
    networks", ICML 2017.
    """

    keeps = ("dim",)
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension"}

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def updateOutput(self, x: Any) -> Any:
        axis = -1 if self.dim is None else self.dim
        if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
            raise ShapeError(f"the input of shape {x.shape} has no axis {axis} of even length")
        a, b = ops.split(x, 2, axis)
        return a * ops.sigmoid(b)


# Softmaxes ----------------------------------------------------------------------------------------


def magnitude(x: Any) -> Any:
    """|x| whose derivative at 0 is 1, as that of Torch7's absolute values."""
    return ops.where(ops.greater_equal(x, 0), x, -x)
