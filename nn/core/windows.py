"""What the layers that slide windows have in common: names of lengths, and samples or batches.

Torch7 names one length per axis (kW, kH, kT), width before height, time in front; arrays have their
axes in another order.  Its layers take (C, H, W) as well as (N, C, H, W); the primitives take
batches only, so that a layer puts an axis of length 1 in front of a single sample and drops it from
the result.
"""

from __future__ import annotations

from typing import Any

from tapegrad.nn.core.errors import ShapeError

__all__ = ["Lengths", "batch_of", "drop_added_batch", "cross_text"]


class Lengths:
    """Lengths kept one by one under Torch7's names (kW, kH), read in the order of the array's axes.

    `order` holds the letters of the axes as Torch7's arguments and texts have them, `axes` those of
    a sample array, channels first.
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
    """The lengths with crosses in between: (3, 4) is 3 x 4."""
    return " x ".join(map(str, lengths))


def batch_of(x: Any, axes: str, planes: int | None = None, name: str = "nInputPlane") -> Any:
    """x (N, …), with an axis in front if it is a single sample.

    axes:   the sample's, "C H W"; `planes` is the length of that called C, which `name` sets
    Raises ShapeError for other numbers of axes or planes.
    """
    letters = axes.split()
    single = x.ndim == len(letters)
    if x.ndim != len(letters) + 1 and not single:
        _refuse(x, letters, planes, name)
    place = letters.index("C") if planes is not None else 0
    if planes is not None and x.shape[x.ndim - len(letters) + place] != planes:
        _refuse(x, letters, planes, name)
    return x.reshape((1, *x.shape)) if single else x


def drop_added_batch(y: Any, x: Any, axes: str) -> Any:
    """y without its batch axis, if x was a single sample."""
    return y.reshape(y.shape[1:]) if x.ndim == len(axes.split()) else y


def _refuse(x: Any, letters: list[str], planes: int | None, name: str) -> None:
    wanted = [str(planes) if c == "C" and planes is not None else c for c in letters]
    sample, batch = ", ".join(wanted), ", ".join(["N", *wanted])
    known = f"; {name} is {planes}" if planes is not None else ""
    raise ShapeError(f"the input of shape {x.shape} is neither ({sample}) nor ({batch}){known}")
