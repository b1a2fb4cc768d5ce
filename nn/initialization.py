"""Starting values of parameters.

Torch7's layers start from U(-s, s) with s = 1/√fan_in, LeCun's rule for tanh networks; `reset`
draws them again in place, so that flat buffers, shared weights and optimizers keep pointing to the
same memory.  Numbers come from the explicit generator of the parameter's own device.

Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient BackProp", 1998, section 4.6.
"""

from __future__ import annotations

import math

from tapegrad import devices
from tapegrad.autograd import Tensor, ops

__all__ = ["bound", "fill_", "uniform_"]


def bound(fan_in: int, stdv: float | None) -> float:
    """s of U(-s, s): 1/√fan_in, or the one whose standard deviation is `stdv`: stdv·√3."""
    return 1.0 / math.sqrt(max(fan_in, 1)) if stdv is None else stdv * math.sqrt(3.0)


def uniform_(parameter: Tensor | None, low: float, high: float) -> None:
    """Overwrite `parameter` with draws from U(low, high); does nothing to None, a missing bias."""
    if parameter is None:
        return
    generator = devices.generator(parameter.device)
    draws = ops.uniform(generator=generator, shape=parameter.shape, dtype=parameter.dtype)
    ops.assign(parameter.detach(), low + (high - low) * draws)


def fill_(tensor: Tensor | None, value: float) -> None:
    """Overwrite every entry of `tensor` with `value`; does nothing to None, a missing bias."""
    if tensor is not None:
        ops.assign(tensor.detach(), value)
