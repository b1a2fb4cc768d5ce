"""Starting values of parameters; `nn.init`.

Torch7's layers start from U(-s, s) with s = 1/√fan_in, LeCun's rule for tanh networks; `reset`
draws them again in place, so that flat buffers, shared weights and optimizers keep pointing to the
same memory.  Numbers come from the explicit generator of the parameter's own device.

Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient BackProp", 1998, section 4.6.
"""

from __future__ import annotations

import math

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, ops

__all__ = [
    "bound",
    "calculate_gain",
    "eye_",
    "fans",
    "fill_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "orthogonal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
]


def bound(fan_in: int, stdv: float | None) -> float:
    """s of U(-s, s): 1/√fan_in, or stdv·√3, which has the standard deviation `stdv`."""
    return 1.0 / math.sqrt(max(fan_in, 1)) if stdv is None else stdv * math.sqrt(3.0)


def uniform_(parameter: Tensor | None, low: float, high: float) -> None:
    """Overwrite `parameter` with draws from U(low, high); does nothing to None, a missing bias."""
    if parameter is None:
        return
    generator = devices.generator(parameter.device)
    draws = ops.uniform(generator=generator, shape=parameter.shape, dtype=parameter.dtype)
    ops.assign(parameter.detach(), low + (high - low) * draws)


def normal_(parameter: Tensor | None, mean: float, std: float) -> None:
    """Overwrite `parameter` with draws from N(mean, std²); does nothing to None."""
    if parameter is None:
        return
    generator = devices.generator(parameter.device)
    draws = ops.normal(generator=generator, shape=parameter.shape, dtype=parameter.dtype)
    ops.assign(parameter.detach(), mean + std * draws)


def fill_(tensor: Tensor | None, value: float) -> None:
    """Overwrite every entry of `tensor` with `value`; does nothing to None, a missing bias."""
    if tensor is not None:
        ops.assign(tensor.detach(), value)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (n_out, n_in, *kernel).

    fan_in counts the entries of the weight that reach one output, fan_out those that one input
    reaches.

    Raises ValueError for fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"a weight of shape {shape} has no fans: it needs two axes or more")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def calculate_gain(nonlinearity: str, slope: float | None = None) -> float:
    """The factor on a weight that preserves the variance of a signal across a nonlinearity.

    nonlinearity: "linear", "sigmoid", "tanh", "relu" or "leaky_relu", with its negative slope
    Raises ValueError for any other.
    """
    known = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + (0.01 if slope is None else slope) ** 2)),
    }
    if nonlinearity not in known:
        raise ValueError(f"no gain is known for {nonlinearity!r}, only for {', '.join(known)}")
    return known[nonlinearity]


def xavier_uniform_(weight: Tensor, gain: float = 1.0) -> None:
    """Overwrite `weight` with draws from U(-s, s), s = gain·√(6 / (fan_in + fan_out)).

    X. Glorot, Y. Bengio, "Understanding the Difficulty of Training Deep Feedforward Neural
    Networks", AISTATS 2010, equation 16.
    """
    s = gain * math.sqrt(6.0 / sum(fans(weight.shape)))
    uniform_(weight, -s, s)


def xavier_normal_(weight: Tensor, gain: float = 1.0) -> None:
    """Overwrite `weight` with draws from N(0, s²), s = gain·√(2 / (fan_in + fan_out)).

    Source: as `xavier_uniform_`.
    """
    normal_(weight, 0.0, gain * math.sqrt(2.0 / sum(fans(weight.shape))))


def kaiming_uniform_(
    weight: Tensor, slope: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> None:
    """Overwrite `weight` with draws from U(-s, s), s = gain·√(3 / fan).

    The gain is that of the nonlinearity which follows.  slope: negative slope of a leaky ReLU, 0
    for ReLU;  mode: "fan_in" preserves the variance of signals, "fan_out" that of gradients.
    K. He et al., "Delving Deep into Rectifiers", ICCV 2015, equations 10 and 14.
    """
    s = math.sqrt(3.0) * _kaiming(weight, slope, mode, nonlinearity)
    uniform_(weight, -s, s)


def kaiming_normal_(
    weight: Tensor, slope: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> None:
    """Overwrite `weight` with draws from N(0, s²), s = gain/√fan.

    Arguments and source as `kaiming_uniform_`.
    """
    normal_(weight, 0.0, _kaiming(weight, slope, mode, nonlinearity))


def _kaiming(weight: Tensor, slope: float, mode: str, nonlinearity: str) -> float:
    if mode not in {"fan_in", "fan_out"}:
        raise ValueError(f"mode is {mode!r}, it must be 'fan_in' or 'fan_out'")
    fan = fans(weight.shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, slope) / math.sqrt(fan)


def orthogonal_(weight: Tensor, gain: float = 1.0) -> None:
    """Overwrite `weight` with gain times a random matrix with orthonormal rows, or columns.

    The matrix is (n_out, all other axes).  Raises ValueError for fewer than two axes.
    A. Saxe, J. McClelland, S. Ganguli, "Exact Solutions to the Nonlinear Dynamics of Learning in
    Deep Linear Neural Networks", ICLR 2014.
    """
    fans(weight.shape)
    n_out = weight.shape[0]
    generator = devices.generator("cpu")
    draws = generator.normal((n_out, weight.size // n_out), np.float64)
    tall = draws.shape[0] >= draws.shape[1]
    q, r = np.linalg.qr(draws if tall else draws.T)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the distribution uniform
    matrix = (gain * (q if tall else q.T)).reshape(weight.shape).astype(weight.dtype)
    ops.assign(weight.detach(), devices.to_device(matrix, weight.device))


def eye_(weight: Tensor) -> None:
    """Overwrite `weight` with the identity matrix.  Raises ValueError unless it has two axes."""
    if weight.ndim != 2:
        raise ValueError(f"eye_ needs a matrix, not shape {weight.shape}")
    matrix = np.eye(*weight.shape, dtype=weight.dtype)
    ops.assign(weight.detach(), devices.to_device(matrix, weight.device))
