"""Random zeros and random noise while training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.hooks import has_hooks
from tapegrad.nn.core.tables import entries_of_one_shape
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.trace import as_tensors
from tapegrad.nn.core.windows import checked_format
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "GaussianSampler",
    "SpatialDropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "VolumetricDropout",
    "WhiteNoise",
]

SELU_LIMIT = -1.0507009873554805 * 1.6732632423543772  # -λα of SELU

NO_PROBABILITY = "{name}: p is {p}, it must be 0 <= p < 1"


class Dropout(Module):
    """y = x·noise, where an entry of noise is 0 with probability p, else 1 / (1 - p).

    x: any shape -> the same shape.  In evaluate() y = x.  The attribute `noise` has the factors of
    the last call that drew some.
    v1: the first version, which does not divide by 1 - p in training and multiplies by it in
    evaluate().  stochasticInference: draw in evaluate() too.  inplace: accepted and kept; the
    caller's arrays are never overwritten.
    Raises ValueError unless 0 <= p < 1.  Source: nn.Dropout; N. Srivastava et al., "Dropout", JMLR
    15 (2014).

    >>> from tapegrad import nn
    >>> layer = nn.Dropout(0.5)
    >>> sorted(set(layer(np.ones(100, np.float32)).numpy().tolist()))
    [0.0, 2.0]
    >>> layer.evaluate()(np.ones(2, np.float32))
    Tensor([1., 1.], float32)
    """

    keeps = ("v2", "inplace", "stochastic_inference", "noise", "p")
    promotes = True

    def __init__(
        self,
        p: float = 0.5,
        v1: bool = False,
        inplace: bool = False,
        stochasticInference: bool = False,
    ) -> None:
        self.setp(p)
        self.v2 = not v1
        self.inplace = bool(inplace)
        self.stochastic_inference = bool(stochasticInference)
        self.noise: Tensor | None = None

    def setp(self, p: float) -> Self:
        """Set the probability p of dropping an entry.  Raises ValueError unless 0 <= p < 1."""
        if not 0 <= p < 1:
            raise ValueError(NO_PROBABILITY.format(name=type(self).__name__, p=p))
        self.p = p
        return self

    def updateOutput(self, x: Tensor) -> Tensor:
        if self.p == 0:
            return x
        if self.train or self.stochastic_inference:
            stream = self.random_stream(x)
            kept = ops.bernoulli(generator=stream, p=1 - self.p, shape=x.shape, dtype=x.dtype)
            noise = as_tensors(kept)
            self.noise = noise / (1 - self.p) if self.v2 else noise
            return x * self.noise
        return x if self.v2 else x * (1 - self.p)

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and the noise."""
        self.noise = None
        return super().clearState()

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.p:f})"


def is_idle(layer: Module) -> bool:
    """Whether a layer is a Dropout that returns its input as it is, and no hook looks on."""
    if type(layer) is not Dropout or has_hooks(layer):
        return False
    return layer.p == 0 or (layer.v2 and not (layer.train or layer.stochastic_inference))


class AlphaDropout(Module):
    """y = a·(x where kept, α where dropped) + b, so that mean 0 and variance 1 stay 0 and 1.

    x: any shape -> the same shape.  An entry is dropped with probability p; α = -1.7581 is the
    limit of SELU at -∞, a = 1/√(q + α²pq) with q = 1 - p, and b = -a·α·p.  In evaluate() y = x.
    Raises ValueError unless 0 <= p < 1.
    Source: G. Klambauer et al., "Self-normalizing neural networks", 2017, section "New dropout".
    """

    keeps = ("p",)
    promotes = True

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p < 1:
            raise ValueError(NO_PROBABILITY.format(name=type(self).__name__, p=p))
        self.p = p

    def updateOutput(self, x: Tensor) -> Tensor:
        if self.p == 0 or not self.train:
            return x
        q = 1 - self.p
        stream = self.random_stream(x)
        kept = ops.bernoulli(generator=stream, p=q, shape=x.shape, dtype=x.dtype)
        a = (q + SELU_LIMIT**2 * self.p * q) ** -0.5
        return a * (x * kept + SELU_LIMIT * (1 - as_tensors(kept))) - a * SELU_LIMIT * self.p

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.p:f})"


class SpatialDropout(Module):
    """y = x·noise, where noise is 0 for an entire feature map with probability p, else 1.

    x: (C, H, W) or (N, C, H, W) -> the same shape.  Nothing is divided by 1 - p; in evaluate()
    y = (1 - p)·x.  The attribute `noise`, (C, 1, 1) or (N, C, 1, 1), has the factors of the last
    call that drew some.  stochasticInference: draw in evaluate() too.
    Raises ValueError unless 0 <= p < 1, ShapeError for other shapes.  Source: nn.SpatialDropout;
    J. Tompson et al., "Efficient Object Localization Using Convolutional Networks", CVPR 2015.
    """

    keeps = ("stochastic_inference", "noise", "p")
    promotes = True
    axes = 4

    def __init__(self, p: float = 0.5, stochasticInference: bool = False) -> None:
        self.setp(p)
        self.stochastic_inference = bool(stochasticInference)
        self.noise: Tensor | None = None

    def setp(self, p: float) -> Self:
        """Set the probability p of dropping an entry.  Raises ValueError unless 0 <= p < 1."""
        if not 0 <= p < 1:
            raise ValueError(NO_PROBABILITY.format(name=type(self).__name__, p=p))
        self.p = p
        return self

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim not in (self.axes - 1, self.axes):
            raise ShapeError(
                f"the input of shape {x.shape} has {x.ndim} axes, it must have {self.axes}, "
                f"or {self.axes - 1} for a single sample"
            )
        if not (self.train or self.stochastic_inference):
            return x * (1 - self.p)
        leading_axes = x.ndim - self.axes + 2
        shape = (*x.shape[:leading_axes], *(1,) * (self.axes - 2))
        stream = self.random_stream(x)
        kept = ops.bernoulli(generator=stream, p=1 - self.p, shape=shape, dtype=x.dtype)
        self.noise = as_tensors(kept)
        return x * self.noise

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and the noise."""
        self.noise = None
        return super().clearState()

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.p:f})"


class VolumetricDropout(SpatialDropout):
    """SpatialDropout of volumes: (C, T, H, W) or (N, C, T, H, W) -> the same shape.

    Source: nn.VolumetricDropout.
    """

    axes = 5


class WhiteNoise(Module):
    """y = x + noise, with noise from N(mean, std²) in training, and y = x + mean in evaluate().

    x: any shape -> the same shape.  The attribute `noise` has the draws of the last call.
    Source: nn.WhiteNoise.
    """

    keeps = ("mean", "std", "noise")
    promotes = True

    def __init__(self, mean: float = 0.0, std: float = 0.1) -> None:
        self.mean = mean
        self.std = std
        self.noise: Tensor | None = None

    def updateOutput(self, x: Tensor) -> Tensor:
        if not self.train:
            return x + self.mean
        stream = self.random_stream(x)
        draws = as_tensors(ops.normal(generator=stream, shape=x.shape, dtype=x.dtype))
        self.noise = draws * self.std + self.mean
        return x + self.noise

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and the noise."""
        self.noise = None
        return super().clearState()

    def __repr__(self) -> str:
        return f"{torch7_name(self)} mean: {self.mean:f}, std: {self.std:f}"


class SpatialDropout1D(Module):
    """y = x·noise, where noise is 0 for an entire channel of a sequence with probability p, else 1.

    x: (T, C) or (N, T, C) -> the same shape.  Nothing is divided by 1 - p; in evaluate()
    y = (1 - p)·x.  Raises ValueError unless 0 <= p < 1, ShapeError for other shapes.
    Source: BigDL's SpatialDropout1D; J. Tompson et al., "Efficient Object Localization Using
    Convolutional Networks", CVPR 2015.
    """

    keeps: ClassVar[tuple[str, ...]] = ("p",)
    promotes = True
    sides = 1

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p < 1:
            raise ValueError(NO_PROBABILITY.format(name=type(self).__name__, p=p))
        self.p = p

    def _channels_last(self) -> bool:
        return True

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim not in (self.sides + 1, self.sides + 2):
            raise ShapeError(
                f"the input of shape {x.shape} has {x.ndim} axes, it must have {self.sides + 2}, "
                f"or {self.sides + 1} for a single sample"
            )
        if not self.train:
            return x * (1 - self.p)
        ones = (1,) * self.sides
        batch = x.shape[: x.ndim - self.sides - 1]
        last = self._channels_last()
        shape = (*batch, *ones, x.shape[-1]) if last else (*batch, x.shape[len(batch)], *ones)
        stream = self.random_stream(x)
        return x * as_tensors(
            ops.bernoulli(generator=stream, p=1 - self.p, shape=shape, dtype=x.dtype)
        )

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.p:f})"


class SpatialDropout2D(SpatialDropout1D):
    """SpatialDropout1D of feature maps: (C, H, W) or (N, C, H, W), channels last with "NHWC".

    Everything else as there; raises ValueError for another format, too.
    Source: BigDL's SpatialDropout2D.
    """

    keeps = ("format",)
    sides = 2

    def __init__(self, p: float = 0.5, format: str = "NCHW") -> None:
        super().__init__(p)
        self.format = checked_format(format)

    def _channels_last(self) -> bool:
        return self.format == "NHWC"


class SpatialDropout3D(SpatialDropout2D):
    """SpatialDropout2D of volumes: (C, D1, D2, D3) or (N, C, D1, D2, D3).

    Source: BigDL's SpatialDropout3D.
    """

    sides = 3


class GaussianDropout(Module):
    """y = x·noise, with noise from N(1, rate / (1 - rate)) in training, and y = x in evaluate().

    x: any shape -> the same shape.  Raises ValueError unless 0 <= rate < 1.
    Source: BigDL's GaussianDropout; N. Srivastava et al., "Dropout", JMLR 15 (2014), section 10.
    """

    keeps = ("rate",)
    promotes = True

    def __init__(self, rate: float) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"GaussianDropout: rate is {rate}, it must be 0 <= rate < 1")
        self.rate = rate

    def updateOutput(self, x: Tensor) -> Tensor:
        if not self.train or not self.rate:
            return x
        stream = self.random_stream(x)
        draws = as_tensors(ops.normal(generator=stream, shape=x.shape, dtype=x.dtype))
        return x * (1 + draws * (self.rate / (1 - self.rate)) ** 0.5)


class GaussianNoise(Module):
    """y = x + noise, with noise from N(0, stddev²) in training, and y = x in evaluate().

    x: any shape -> the same shape.  Source: BigDL's GaussianNoise.
    """

    keeps = ("stddev",)
    promotes = True

    def __init__(self, stddev: float) -> None:
        self.stddev = stddev

    def updateOutput(self, x: Tensor) -> Tensor:
        if not self.train:
            return x
        stream = self.random_stream(x)
        draws = as_tensors(ops.normal(generator=stream, shape=x.shape, dtype=x.dtype))
        return x + draws * self.stddev


class GaussianSampler(Module):
    """y = m + e^(v/2)·ε, with ε drawn from N(0, 1): a sample of N(m, eᵛ), also in evaluate().

    [m, v]: means and logarithms of variances, of one shape -> that shape.
    Raises ShapeError when the shapes differ.  Source: BigDL's GaussianSampler; D. Kingma,
    M. Welling, "Auto-encoding variational Bayes", 2014, section 2.4.
    """

    promotes = True

    def updateOutput(self, x: Nest) -> Tensor:
        mean, logarithm = entries_of_one_shape(x, 2)
        stream = self.random_stream(mean)
        draws = as_tensors(ops.normal(generator=stream, shape=mean.shape, dtype=mean.dtype))
        return mean + ops.exp(logarithm * 0.5) * draws
