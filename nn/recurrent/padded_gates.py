"""Padding in a run over time that is one operation: gates that padded steps shut or open.

A mask that multiplies the state after each step needs a loop of operations.  The operations over
all steps have none; but a step whose gates are shut is a step that does nothing, and a further
column of the input can shut them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tapegrad.autograd import Tensor, ops

__all__ = ["OPEN", "SHUT", "at_padding"]

SHUT, OPEN = -1, 1


def at_padding(
    x: Tensor, weight: Tensor, bias: Tensor, factors: Tensor, gates: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """x, weight and bias of a run over time in which the gates of padded steps are set.

    gates: of each part of the sums: SHUT, σ(-10³⁷) = 0; OPEN, σ(10³⁷) = 1; or 0, the sum is 0 but
    for what the state brings
    x has two more columns: 1 at steps, which brings the bias, and 1 at padding, which sets the
    gates.  All else that comes in at padding is 0, and no gradient passes there.  x (T, N, D),
    weight (D + H, parts·H), bias (parts·H,), factors (T, N, 1), 0 for padding -> (T, N, D + 2),
    (D + 2 + H, parts·H), (parts·H,)
    """
    inputs, dtype = x.shape[-1], weight.dtype
    each = weight.shape[-1] // len(gates)
    far = np.repeat(np.array(gates, dtype), each) * (np.finfo(dtype).max / 4)
    row = Tensor(far.reshape(1, -1), device=x.device)
    rows = [weight[:inputs], bias.reshape((1, -1)), row, weight[inputs:]]
    x = ops.where(factors, x, 0)  # whatever stands there, also NaN
    x = ops.concatenate([x, factors, 1 - factors], axis=-1)
    return x, ops.concatenate(rows, axis=0), Tensor(far * 0, device=x.device)
