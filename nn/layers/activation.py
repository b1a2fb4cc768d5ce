"""Transfer functions: elementwise nonlinearities, and gated halves.

Each class is forward code of a line or two; the primitives (`autograd/ops/transfer.py`) have the
stable forms and the derivatives.  At a kink the derivative is Torch7's.  `inplace` is accepted and
kept, as in `rectifiers.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "Abs",
    "Clamp",
    "Exp",
    "GELU",
    "GatedLinearUnit",
    "HardShrink",
    "HardSigmoid",
    "HardTanh",
    "Identity",
    "Log",
    "LogSigmoid",
    "Mish",
    "Negative",
    "Power",
    "SiLU",
    "Sigmoid",
    "SoftPlus",
    "SoftShrink",
    "SoftSign",
    "Sqrt",
    "Square",
    "Tanh",
    "TanhShrink",
]


class Identity(Module):
    """y = x, whatever x is: an array, or nested lists of arrays.  Source: nn.Identity."""

    def updateOutput(self, x: Nest) -> Nest:
        return x


# Without parameters -------------------------------------------------------------------------------


class Abs(Module):
    """y = |x|, elementwise: any shape -> the same shape; the derivative at 0 is 1.

    Source: nn.Abs.
    """

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.magnitude(x)


class Exp(Module):
    """y = eˣ, elementwise: any shape -> the same shape.  Source: nn.Exp."""

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.exp(x)


class Log(Module):
    """y = log x, elementwise, x > 0: any shape -> the same shape.  Source: nn.Log."""

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.log(x)


class Sqrt(Module):
    """y = √x, elementwise, x >= 0: any shape -> the same shape; the derivative at 0 is 0.

    eps: accepted and kept without effect, as in Torch7.  Source: nn.Sqrt.
    """

    keeps = ("eps",)
    promotes = True

    def __init__(self, eps: float = 0) -> None:
        self.eps = eps

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.root(x)


class Square(Module):
    """y = x², elementwise: any shape -> the same shape.  Source: nn.Square."""

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.square(x)


class Power(Module):
    """y = (shift + scale·x)ᵖ, elementwise: any shape -> the same shape.

    The base is not negative unless p is an integer.  Source: nn.Power; scale and shift, 1 and 0 if
    omitted, are those of BigDL's.
    """

    keeps = ("pow", "scale", "shift")
    promotes = True
    scale: float = 1
    shift: float = 0

    def __init__(self, p: float, scale: float = 1, shift: float = 0) -> None:
        self.pow = p
        if (scale, shift) != (1, 0):
            self.scale, self.shift = scale, shift

    def updateOutput(self, x: Tensor) -> Tensor:
        if (self.scale, self.shift) != (1, 0):
            x = x * self.scale + self.shift
        return ops.power(x, self.pow)


class Negative(Module):
    """y = -x, elementwise: any shape -> the same shape.

    inplace: accepted and kept; the caller's arrays are never overwritten.
    Source: BigDL's Negative.
    """

    keeps = ("inplace",)
    promotes = True

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return -x


class Tanh(Module):
    """y = tanh x, elementwise: any shape -> the same shape.  Source: nn.Tanh."""

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class TanhShrink(Module):
    """y = x - tanh x, elementwise: any shape -> the same shape.  Source: nn.TanhShrink."""

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return x - ops.tanh(x)


class Sigmoid(Module):
    """y = 1 / (1 + e⁻ˣ), elementwise: any shape -> the same shape.  Source: nn.Sigmoid."""

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class LogSigmoid(Module):
    """y = log(1 / (1 + e⁻ˣ)), elementwise, without overflow: any shape -> the same shape.

    Source: nn.LogSigmoid.
    """

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.log_sigmoid(x)


class SoftSign(Module):
    """y = x / (1 + |x|), elementwise: any shape -> the same shape.

    The second derivative, which jumps at 0, is taken as 0 there.  Source: nn.SoftSign.
    """

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.softsign(x)


class SoftPlus(Module):
    """y = log(1 + exp(beta·x)) / beta, elementwise: any shape -> the same shape.

    Where beta·x is above 20, y = x, as in Torch7; the two differ by 2e-9 there.
    Source: nn.SoftPlus.
    """

    keeps = ("beta",)
    promotes = True
    threshold = 20

    def __init__(self, beta: float = 1) -> None:
        self.beta = beta

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.soft_plus(x, beta=self.beta, threshold=self.threshold)


class SiLU(Module):
    """y = x·sigmoid(x), elementwise: any shape -> the same shape.

    Source: S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network
    function approximation in reinforcement learning", 2017, equation 3; also called Swish.
    """

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class Mish(Module):
    """y = x·tanh(log(1 + eˣ)), elementwise: any shape -> the same shape.

    Source: D. Misra, "Mish: a self regularized non-monotonic activation function", 2019.
    """

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.mish(x)


class GELU(Module):
    """y = x·Φ(x), Φ the normal distribution function, elementwise: any shape -> the same shape.

    approximate "tanh": Φ(x) ≈ (1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2, as the
    weights of many published models expect; "none", the default: Φ(x) = erfc(-x/√2) / 2.
    Raises ValueError for other words.
    Source: D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016, section 2.
    """

    keeps = ("approximate",)
    promotes = True

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in {"none", "tanh"}:
            raise ValueError(f'GELU: approximate is {approximate!r}, it must be "none" or "tanh"')
        self.approximate = approximate

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.gelu_by_tanh(x) if self.approximate == "tanh" else ops.gelu(x)


# With limits --------------------------------------------------------------------------------------


class HardSigmoid(Module):
    """y = 0.2·x + 0.5, cut off at 0 and 1, elementwise: any shape -> the same shape.

    Source: BigDL's HardSigmoid; M. Courbariaux et al., "BinaryConnect", 2015, section 2.3, has
    another slope.
    """

    promotes = True

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.clip(0.2 * x + 0.5, 0, 1)


class HardTanh(Module):
    """y = x limited to min_value … max_value, elementwise: any shape -> the same shape.

    The derivative at the bounds themselves is 0.  Raises ValueError unless max_value > min_value.
    Source: nn.HardTanh.
    """

    keeps = ("min_val", "max_val", "inplace")
    promotes = True

    def __init__(self, min_value: float = -1, max_value: float = 1, inplace: bool = False) -> None:
        if not max_value > min_value:
            raise ValueError(
                f"{type(self).__name__}: max_value {max_value} must be larger than "
                f"min_value {min_value}"
            )
        self.min_val = min_value
        self.max_val = max_value
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.hard_tanh(x, low=self.min_val, high=self.max_val)


class Clamp(HardTanh):
    """y = x limited to min_value … max_value, elementwise: any shape -> the same shape.

    The derivative at the bounds is 0.  Raises ValueError unless max_value > min_value.
    Source: nn.Clamp.
    """

    def __init__(self, min_value: float, max_value: float) -> None:
        super().__init__(min_value, max_value)


class HardShrink(Module):
    """y = x where |x| > lambda, else 0, elementwise: any shape -> the same shape.

    The field is called `lambda`, a reserved word: read it with getattr.  Source: nn.HardShrink.
    """

    keeps = ("lambda",)
    promotes = True

    def __init__(self, lambda_: float = 0.5) -> None:
        setattr(self, "lambda", lambda_)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.hard_shrink(x, limit=getattr(self, "lambda"))


class SoftShrink(Module):
    """y = x moved towards 0 by lambda, and 0 where |x| <= lambda: any shape -> the same shape.

    The field is called `lambda`, a reserved word: read it with getattr.  Source: nn.SoftShrink.
    """

    keeps = ("lambda",)
    promotes = True

    def __init__(self, lambda_: float = 0.5) -> None:
        setattr(self, "lambda", lambda_)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.soft_shrink(x, limit=getattr(self, "lambda"))


# Gated halves -------------------------------------------------------------------------------------


class GatedLinearUnit(Module):
    """y = a·sigmoid(b), where a and b are the halves of x along axis `dim`.

    x: (…, 2·F, …) -> (…, F, …); dim None is the last axis.
    Raises ShapeError when there is no such axis, or its length is odd.
    Source: nn.GatedLinearUnit; Y. Dauphin et al., "Language modeling with gated convolutional
    networks", ICML 2017.
    """

    keeps = ("dim",)
    promotes = True
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension"}

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def updateOutput(self, x: Tensor) -> Tensor:
        axis = -1 if self.dim is None else self.dim
        if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
            raise ShapeError(f"the input of shape {x.shape} has no axis {axis} of even length")
        return ops.gated_linear(x, axis=axis)
