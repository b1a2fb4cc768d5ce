"""Lengths and axes of convolutions and pooling, for one, two and three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapegrad.autograd import ops

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.nn.mxnet.attributes import Attributes

__all__ = [
    "as_planes",
    "channels_first",
    "convolved",
    "convolved_back",
    "from_planes",
    "length",
    "of_rank",
    "stretched",
]


def of_rank(a: Attributes, name: str, default: int) -> tuple[int, ...]:
    """An attribute with a number for each axis of the kernel; `default` where it is absent."""
    given = tuple(getattr(a, name))
    rank = len(a.kernel)
    return given or (default,) * rank


def length(n: int, kernel: int, stride: int, pad: int, dilate: int = 1) -> int:
    """⌊(n + 2·pad - (dilate·(kernel - 1) + 1)) / stride⌋ + 1; 0 stays 0.

    Raises ValueError for a kernel that is larger than the padded axis.
    """
    if n == 0:
        return 0
    found = (n + 2 * pad - (dilate * (kernel - 1) + 1)) // stride + 1
    if found < 1:
        raise ValueError(f"kernel {kernel} is larger than {n} entries with {pad} of padding")
    return found


def stretched(n: int, kernel: int, stride: int, pad: int, dilate: int, adj: int) -> int:
    """stride·(n - 1) + dilate·(kernel - 1) + 1 - 2·pad + adj; 0 stays 0."""
    return stride * (n - 1) + dilate * (kernel - 1) + 1 - 2 * pad + adj if n else 0


def channels_first(layout: str | None) -> bool:
    """Do the channels stand behind the batch, as in NCHW?"""
    return layout is None or layout.startswith("NC")


def as_planes(x: Tensor, layout: str | None) -> Tensor:
    """x with the channels behind the batch."""
    return x if channels_first(layout) else ops.moveaxis(x, -1, 1)


def from_planes(y: Tensor, layout: str | None) -> Tensor:
    """The inverse of `as_planes`."""
    return y if channels_first(layout) else ops.moveaxis(y, 1, -1)


def convolved(
    x: Tensor,
    w: Tensor,
    stride: Sequence[int],
    pad: Sequence[int],
    dilate: Sequence[int],
    groups: int,
) -> Tensor:
    """The cross-correlation of x (N, C, …) with w (O, C / groups, …)."""
    if len(stride) == 1:
        return ops.conv1d(x, w, stride[0], pad[0], dilate[0], groups)
    function = ops.conv2d if len(stride) == 2 else ops.conv3d
    return function(x, w, tuple(stride), tuple(pad), tuple(dilate), groups)


def convolved_back(
    x: Tensor,
    w: Tensor,
    stride: Sequence[int],
    pad: Sequence[int],
    dilate: Sequence[int],
    groups: int,
    size: Sequence[int],
) -> Tensor:
    """The gradient of `convolved` in x, for images of `size`: a transposed convolution."""
    planes = w.shape[1] * groups
    if len(stride) == 3:
        return ops.conv3d_input_gradient(
            x, w, shape=(x.shape[0], planes, *size), stride=tuple(stride), padding=tuple(pad),
            dilation=tuple(dilate), groups=groups,
        )  # fmt: skip
    if len(stride) == 1:
        y = convolved_back(
            ops.expand_dims(x, 2), ops.expand_dims(w, 2), (1, *stride), (0, *pad), (1, *dilate),
            groups, (1, *size),
        )  # fmt: skip
        return ops.squeeze(y, 2)
    return ops.conv2d_input_gradient(
        x, w, shape=(x.shape[0], planes, *size), stride=tuple(stride), padding=tuple(pad),
        dilation=tuple(dilate), groups=groups,
    )  # fmt: skip
