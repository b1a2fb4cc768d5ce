"""Conv1d, Conv2d, Conv3d: convolution with groups and dilation, as people write it today.

Unlike Torch7's layers they take their settings in the order of the array's axes, as one number or
one per axis.  With groups = n_in every channel has kernels of its own (depthwise convolution).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tapegrad.autograd import Parameter, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import batch_of, drop_added_batch
from tapegrad.nn.module import Module

__all__ = ["Conv1d", "Conv2d", "Conv3d"]

Lengths = int | tuple[int, ...]


class _Conv(Module):
    """Convolution over the axes that `axes` names."""

    keeps = ("n_in", "n_out", "groups", "kernel", "stride", "padding", "dilation", "weight", "bias")
    axes = ""
    convolve: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: Lengths,
        *,
        stride: Lengths = 1,
        padding: Lengths = 0,
        dilation: Lengths = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        if groups < 1 or n_in % groups or n_out % groups:
            raise ValueError(
                f"{type(self).__name__}: groups = {groups} must divide n_in = {n_in} and "
                f"n_out = {n_out}"
            )
        self.n_in, self.n_out, self.groups = n_in, n_out, groups
        self.kernel = self._each("kernel", kernel, 1)
        self.stride = self._each("stride", stride, 1)
        self.padding = self._each("padding", padding, 0)
        self.dilation = self._each("dilation", dilation, 1)
        dtype = default_dtype()
        self.weight = Parameter(np.empty((n_out, n_in // groups, *self.kernel), dtype))
        self.bias = Parameter(np.empty(n_out, dtype)) if bias else None
        self.reset()

    def _each(self, name: str, setting: Lengths, least: int) -> tuple[int, ...]:
        """A setting as one length per axis.  Raises ValueError for what is none."""
        count = len(self.axes.split()) - 1
        try:
            given = setting if isinstance(setting, (tuple, list)) else (setting,) * count
            lengths = tuple(operator.index(length) for length in given)
        except TypeError:
            lengths = ()
        if len(lengths) != count or min(lengths) < least:
            raise ValueError(
                f"{type(self).__name__}: {name} must be {count} int(s) of at least {least}, or one "
                f"for all, found {setting!r}"
            )
        return lengths

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(entries of one kernel), or stdv·√3."""
        s = bound(math.prod(self.weight.shape[1:]), stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Any) -> Any:
        batch = batch_of(x, self.axes, self.n_in, "n_in")
        for axis, (n, k, p, d) in enumerate(
            zip(batch.shape[2:], self.kernel, self.padding, self.dilation, strict=True)
        ):
            if n + 2 * p < d * (k - 1) + 1:
                raise ShapeError(
                    f"the input of shape {x.shape} has {n} entries along "
                    f"{self.axes.split()[axis + 1]}, padded to {n + 2 * p}; the kernel spans "
                    f"{d * (k - 1) + 1}"
                )
        settings: tuple[Any, ...] = (self.stride, self.padding, self.dilation)
        if len(self.kernel) == 1:
            settings = tuple(setting[0] for setting in settings)
        y = type(self).convolve(batch, self.weight, *settings, self.groups)
        if self.bias is not None:
            y = y + self.bias.reshape((-1,) + (1,) * len(self.kernel))
        return drop_added_batch(y, x, self.axes)

    def __repr__(self) -> str:
        text = f"{self.n_in} -> {self.n_out}, {'x'.join(map(str, self.kernel))}"
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1)):
            lengths = getattr(self, name)
            if any(length != usual for length in lengths):
                text += f", {name} {','.join(map(str, lengths))}"
        if self.groups != 1:
            text += f", groups {self.groups}"
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({text}){ending}"


class Conv1d(_Conv):
    """y[o, i] = Σ weight[o, c, k] · x[g + c, i·stride + k·dilation - padding] + bias[o].

    x: (n_in, L) or (N, n_in, L) -> (N,) n_out, L' with
    L' = ⌊(L + 2·padding - dilation·(k - 1) - 1) / stride⌋ + 1.  Output channels are dealt out to
    `groups` of n_out / groups; a group sees n_in / groups input channels, from its g on.
    weight (n_out, n_in / groups, k) and bias (n_out,) or None start from U(-s, s),
    s = 1/√(n_in / groups · k).
    Raises ValueError for settings and groups that do not fit, ShapeError for other inputs.
    """

    axes = "C L"
    convolve = staticmethod(ops.conv1d)


class Conv2d(_Conv):
    """Conv1d over images: x (n_in, H, W) or (N, n_in, H, W) -> (N,) n_out, H', W'.

    kernel and the settings are one int or (height, width); weight (n_out, n_in / groups, kH, kW).
    Everything else as in Conv1d.
    """

    axes = "C H W"
    convolve = staticmethod(ops.conv2d)


class Conv3d(_Conv):
    """Conv1d over films: x (n_in, T, H, W) or (N, n_in, T, H, W) -> (N,) n_out, T', H', W'.

    kernel and the settings are one int or (time, height, width); weight
    (n_out, n_in / groups, kT, kH, kW).  Everything else as in Conv1d.
    """

    axes = "C T H W"
    convolve = staticmethod(ops.conv3d)
