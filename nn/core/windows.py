"""The names of lengths, and the batch axis, in layers that slide windows.

Torch7 has one length per axis (kW, kH, kT): width before height, and time first.  Arrays have their
axes in another order.  Torch7's layers take (C, H, W) as well as (N, C, H, W), but the primitives
take batches only.  So a layer puts an axis of length 1 in front of a single sample, and drops it
from the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.autograd import ops
from tapegrad.nn.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor

__all__ = [
    "Lengths",
    "batch_of",
    "channels_first",
    "channels_last",
    "checked_format",
    "cross_text",
    "drop_added_batch",
    "pad_same",
    "same_padding",
]

FORMATS = ("NCHW", "NHWC")


class Lengths:
    """A mixin with one attribute per length, kW and kH, read in the order of the array's axes.

    `order` holds the letters of the axes in the order of Torch7's arguments and texts, `axes` those
    of a sample's array, channels first.
    """

    order = "WH"
    axes = "C H W"
    # kernel, stride and padding; T where there is time
    kT: int
    kH: int
    kW: int
    dT: int
    dH: int
    dW: int
    padT: int
    padH: int
    padW: int

    def along(self, name: str) -> tuple[int, ...]:
        """The lengths called `name`, in the order of the array's axes."""
        return tuple(getattr(self, name + letter) for letter in self.axes.split()[1:])

    def lengths_text(self, name: str, separator: str = ",") -> str:
        """The lengths called `name`, in Torch7's order."""
        return separator.join(str(getattr(self, name + letter)) for letter in self.order)


def cross_text(lengths: tuple[int, ...]) -> str:
    """The lengths as text with crosses in between: "3 x 4" for (3, 4)."""
    return " x ".join(map(str, lengths))


def batch_of(x: Tensor, axes: str, planes: int | None = None, name: str = "nInputPlane") -> Tensor:
    """x as a batch (N, …): a single sample gets an axis of length 1 in front.

    axes:   the letters of a sample's axes, "C H W"
    planes: the required length of the axis C, if any; errors call it `name`
    Raises ShapeError for other numbers of axes or planes.
    """
    letters = axes.split()
    single = x.ndim == len(letters)
    if x.ndim != len(letters) + 1 and not single:
        _refuse(x, letters, planes, name)
    channel_axis = letters.index("C") if planes is not None else 0
    if planes is not None and x.shape[x.ndim - len(letters) + channel_axis] != planes:
        _refuse(x, letters, planes, name)
    return x.reshape((1, *x.shape)) if single else x


def drop_added_batch(y: Tensor, x: Tensor, axes: str) -> Tensor:
    """y without its batch axis if x is a single sample, else y."""
    return y.reshape(y.shape[1:]) if x.ndim == len(axes.split()) else y


def _refuse(x: Tensor, letters: list[str], planes: int | None, name: str) -> None:
    wanted = [str(planes) if c == "C" and planes is not None else c for c in letters]
    sample, batch = ", ".join(wanted), ", ".join(["N", *wanted])
    known = f"; {name} is {planes}" if planes is not None else ""
    raise ShapeError(f"the input of shape {x.shape} is neither ({sample}) nor ({batch}){known}")


def checked_format(format: str, known: tuple[str, ...] = FORMATS) -> str:
    """The format.  Raises ValueError for one that is not known."""
    if format not in known:
        raise ValueError(f"format is {format!r}, it must be one of {', '.join(known)}")
    return format


def channels_first(x: Tensor, format: str) -> Tensor:
    """(…, H, W, C) as (…, C, H, W) if the format is "NHWC"; else x."""
    return ops.moveaxis(x, -1, -3) if format == "NHWC" and x.ndim >= 3 else x


def channels_last(y: Tensor, format: str) -> Tensor:
    """(…, C, H, W) as (…, H, W, C) if the format is "NHWC"; else y."""
    return ops.moveaxis(y, -3, -1) if format == "NHWC" else y


def pad_same(
    batch: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float = 0
) -> Tensor:
    """A batch (N, C, …) with `value` around its sides, as `same_padding` says."""
    widths = same_padding(batch.shape[2:], kernel, stride)
    return ops.pad(batch, ((0, 0), (0, 0), *widths), value)


def same_padding(
    sides: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Entries before and after each side, so that ⌈side / stride⌉ windows fit; more of them after.

    Source: TensorFlow's padding "SAME", which BigDL calls -1.
    """
    widths = []
    for side, k, d in zip(sides, kernel, stride, strict=True):
        total = max((-(-side // d) - 1) * d + k - side, 0)
        widths.append((total // 2, total - total // 2))
    return widths
