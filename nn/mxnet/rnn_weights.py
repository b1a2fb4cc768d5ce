"""The one vector of weights of the operator RNN, and the names of its parts.

For each layer and direction ("l", and "r" backwards) first the weights, from the inputs (i2h) and
from the state before (h2h), gate by gate; behind all of them likewise the biases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray

__all__ = ["GATES", "VectorParts"]

GATES: dict[str, tuple[str, ...]] = {
    "rnn_relu": ("",),
    "rnn_tanh": ("",),
    "lstm": ("_i", "_f", "_c", "_o"),
    "gru": ("_r", "_z", "_o"),
}


@dataclass(frozen=True)
class VectorParts:
    """The parts of the vector for `layers` layers of `hidden` units; their names begin with prefix.

    Raises ValueError for another mode than lstm, gru, rnn_relu and rnn_tanh.
    """

    mode: str
    hidden: int
    layers: int
    bidirectional: bool
    prefix: str = ""

    def __post_init__(self) -> None:
        if self.mode not in GATES:
            raise ValueError(f"mode is one of {', '.join(GATES)}, not {self.mode!r}")

    @property
    def directions(self) -> tuple[str, ...]:
        """The names of the directions."""
        return ("l", "r") if self.bidirectional else ("l",)

    def size(self, inputs: int) -> int:
        """The length of the vector for data with `inputs` entries a step."""
        return sum(math.prod(shape) for _, shape in self._shapes(inputs))

    def inputs(self, size: int) -> int:
        """The entries of the data a step, from the vector's length.

        Raises ValueError for a length that no data have.
        """
        each = len(self.directions) * len(GATES[self.mode]) * self.hidden
        found = (size - self.size(0)) // each
        if found < 1 or self.size(found) != size:
            raise ValueError(
                f"a vector of {size} weights fits no {self.mode} of {self.layers} layers of "
                f"{self.hidden} units"
            )
        return found

    def name_of_first(self) -> str:
        """The name of the first part, whose second axis is the data's."""
        return next(self._shapes(1))[0]

    def views(self, vector: NDArray) -> dict[str, NDArray]:
        """Name -> the part of the vector, on its memory.  Raises ValueError as `inputs`."""
        found, at = {}, 0
        for name, shape in self._shapes(self.inputs(vector.size)):
            size = math.prod(shape)
            found[name] = vector[at : at + size].reshape(shape)
            at += size
        return found

    def _shapes(self, inputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        places = [(layer, d) for layer in range(self.layers) for d in self.directions]
        gates, h = GATES[self.mode], self.hidden
        for layer, direction in places:
            width = inputs if layer == 0 else h * len(self.directions)
            start = f"{self.prefix}{direction}{layer}"
            for group, columns in (("i2h", width), ("h2h", h)):
                yield from ((f"{start}_{group}{gate}_weight", (h, columns)) for gate in gates)
        for layer, direction in places:
            start = f"{self.prefix}{direction}{layer}"
            for group in ("i2h", "h2h"):
                yield from ((f"{start}_{group}{gate}_bias", (h,)) for gate in gates)
