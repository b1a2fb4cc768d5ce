"""What flows between the nodes of a graph while it is read.

Const     an array that is known: weights, and all that is computed from them alone
Sizes     lengths of axes, of which some may be unknown: what becomes of Shape(x)
Computed  what the module computes.  Axes of images stand in our order there, whatever the graph's
          is; `order` says which axis of the graph each of ours is: a Transpose costs nothing
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.nn.formats.common.network import NetworkValue

__all__ = ["CHANNELS_FIRST", "Blocks", "Const", "Dim", "Computed", "Sizes", "Unknown", "same_order"]

CHANNELS_FIRST = (0, 3, 1, 2)  # our axes of an image that the graph has as N, H, W, C


class Unknown:
    """The length of an axis that no one knows; another one is another length, as far as we know."""

    def __repr__(self) -> str:
        return "?"


Dim = int | Unknown


@dataclass
class Const:
    """An array that is known."""

    array: np.ndarray[Any, Any]


@dataclass
class Sizes:
    """A vector of lengths of axes, or one of them alone."""

    dims: tuple[Dim, ...]
    scalar: bool = False


@dataclass
class Computed:
    """A value that the module computes.

    value:  where it comes from in the network
    shape:  lengths of axes as the graph has them; None: not even their number is known
    order:  our axis i is axis order[i] of the graph; () where the shape is None
    sole:   whether nothing else reads it, nor what it came from since the layer made it
    folded: images (our order, and the graph's lengths) whose axes 1, 2, … the graph has as one
            axis, while ours are in our order and not yet joined
    """

    value: NetworkValue
    shape: tuple[Dim, ...] | None
    order: tuple[int, ...] = ()
    sole: bool = True
    folded: tuple[Computed, tuple[int, ...]] | None = field(default=None, repr=False)

    @property
    def ndim(self) -> int | None:
        """How many axes it has, if that is known."""
        return None if self.shape is None else len(self.shape)


@dataclass
class Blocks:
    """Images (with channels first) that SpaceToBatchND cut into blocks, for a convolution with
    dilation; pads: what it put around height and width.  `convolve` is that convolution, once it is
    read: (images, dilation, pads) -> what it computes.
    """

    flow: Computed
    dilation: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    convolve: Callable[[Computed, tuple[int, int], Any], Computed] | None = None


def same_order(ndim: int) -> tuple[int, ...]:
    """The order of the graph itself."""
    return tuple(range(ndim))
