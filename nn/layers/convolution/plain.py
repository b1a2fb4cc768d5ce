"""Conv1d, Conv2d, Conv3d: convolution with groups and dilation, in today's vocabulary.

Torch7's layers take width before height.  These take their settings in the order of the array's
axes, as one number for all axes or one number per axis.  groups = in_channels gives every channel
kernels of its own (depthwise convolution).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import batch_of, drop_added_batch
from tapegrad.nn.module import Module

__all__ = ["Conv1d", "Conv2d", "Conv3d"]

Sizes = int | tuple[int, ...]

SAME = "; of an odd kernel and stride 1 the same is dilation * (kernel_size - 1) // 2"


class _GroupedConvolution(Module):
    """Convolution over the axes that `axes` names."""

    keeps = (
        "in_channels",
        "out_channels",
        "groups",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "weight",
        "bias",
    )
    promotes = True
    renamed: ClassVar[Mapping[str, str]] = {
        "n_in": "in_channels", "n_out": "out_channels", "kernel": "kernel_size"
    }  # fmt: skip
    axes = ""
    convolve: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{type(self).__name__}: groups = {groups} must divide in_channels = "
                f"{in_channels} and out_channels = {out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = self._size_per_axis("kernel_size", kernel_size, 1)
        self.stride = self._size_per_axis("stride", stride, 1)
        self.padding = self._size_per_axis("padding", padding, 0)
        self.dilation = self._size_per_axis("dilation", dilation, 1)
        dtype = default_dtype()
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(np.empty(shape, dtype))
        self.bias = Parameter(np.empty(out_channels, dtype)) if bias else None
        self.reset()

    def _size_per_axis(self, name: str, setting: Sizes, least: int) -> tuple[int, ...]:
        """Return a setting as one int per axis.  Raises ValueError for anything else."""
        count = len(self.axes.split()) - 1
        try:
            given = setting if isinstance(setting, (tuple, list)) else (setting,) * count
            sizes = tuple(operator.index(size) for size in given)
        except TypeError:
            sizes = ()
        if len(sizes) != count or min(sizes) < least:
            raise ValueError(
                f"{type(self).__name__}: {name} must be {count} int(s) of at least {least}, or one "
                f"for all, found {setting!r}{SAME if str(setting) == 'same' else ''}"
            )
        return sizes

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(entries of one kernel), or stdv·√3."""
        s = bound(math.prod(self.weight.shape[1:]), stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = batch_of(x, self.axes, self.in_channels, "in_channels")
        for axis, (n, k, p, d) in enumerate(
            zip(batch.shape[2:], self.kernel_size, self.padding, self.dilation, strict=True)
        ):
            if n + 2 * p < d * (k - 1) + 1:
                raise ShapeError(
                    f"the input of shape {x.shape} has {n} entries along "
                    f"{self.axes.split()[axis + 1]}, padded to {n + 2 * p}; the kernel spans "
                    f"{d * (k - 1) + 1}"
                )
        settings: tuple[Any, ...] = (self.stride, self.padding, self.dilation)
        if len(self.kernel_size) == 1:
            settings = tuple(setting[0] for setting in settings)
        y = type(self).convolve(batch, self.weight, *settings, self.groups)
        if self.bias is not None:
            y = y + self.bias.reshape((-1,) + (1,) * len(self.kernel_size))
        return drop_added_batch(y, x, self.axes)

    def __repr__(self) -> str:
        kernel = "x".join(map(str, self.kernel_size))
        text = f"{self.in_channels} -> {self.out_channels}, {kernel}"
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1)):
            sizes = getattr(self, name)
            if any(size != usual for size in sizes):
                text += f", {name} {','.join(map(str, sizes))}"
        if self.groups != 1:
            text += f", groups {self.groups}"
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({text}){ending}"


class Conv1d(_GroupedConvolution):
    """y[o, i] = Σ weight[o, c, k] · x[g + c, i·stride + k·dilation - padding] + bias[o].

    x: (C, L) or (N, C, L) -> (N,) O, L' with C = in_channels, O = out_channels, K = kernel_size and
    L' = ⌊(L + 2·padding - dilation·(K - 1) - 1) / stride⌋ + 1.  The output channels are divided
    into `groups` groups; the O / groups channels of one group see C / groups input channels, of
    which channel g is the first.
    weight (O, C / groups, K) and bias (O,), or None, start from U(-s, s), s = 1/√(C / groups · K).
    Raises ValueError for settings and groups that do not fit, ShapeError for other inputs.
    """

    axes = "C L"
    convolve = staticmethod(ops.conv1d)


class Conv2d(_GroupedConvolution):
    """Conv1d over images: x (C, H, W) or (N, C, H, W) -> (N,) O, H', W'.

    kernel_size and the other settings are one int or (height, width);
    weight (O, C / groups, kH, kW).  Everything else as in Conv1d.
    """

    axes = "C H W"
    convolve = staticmethod(ops.conv2d)


class Conv3d(_GroupedConvolution):
    """Conv1d over films: x (C, T, H, W) or (N, C, T, H, W) -> (N,) O, T', H', W'.

    kernel_size and the other settings are one int or (time, height, width);
    weight (O, C / groups, kT, kH, kW).  Everything else as in Conv1d.
    """

    axes = "C T H W"
    convolve = staticmethod(ops.conv3d)
