"""An exponential moving average of parameters, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad, ops
from tapegrad.autograd.core.tensor import array_of, as_array, untracked

if TYPE_CHECKING:
    from tapegrad.optim.core.groups import HasParameters

__all__ = ["ExponentialMovingAverage"]


class ExponentialMovingAverage:
    """a = d·a + (1 - d)·p for each parameter p of a module, by `update()` after each step.

    decay:  d, in [0, 1)
    warmup: let d grow as (1 + t)/(10 + t) up to `decay`, so that the start is forgotten soon
    ``with average.apply():`` evaluates the module with the averages in place of its parameters.
    Raises ValueError for another decay.
    Source: B. Polyak, A. Juditsky 1992; the warm-up is TensorFlow's.
    """

    def __init__(
        self, module: HasParameters, decay: float = 0.999, *, warmup: bool = False
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ExponentialMovingAverage: decay must lie in [0, 1), not {decay}")
        self.module, self.decay, self.warmup = module, decay, warmup
        self.count = untracked(np.array(0.0))
        self.values = {name: untracked(array_of(p).copy()) for name, p in module.named_parameters()}

    def update(self) -> None:
        """Take the parameters as they are into the averages; replay repeats it."""
        with no_grad():
            weight: Any = self.decay
            if self.warmup:
                weight = ops.minimum((self.count + 1) / (self.count + 10), self.decay)
            for name, p in self.module.named_parameters():
                a = self.values[name]
                part = 1 - weight if not isinstance(weight, Tensor) else ops.cast(
                    1 - weight, dtype=a.dtype
                )  # fmt: skip
                ops.assign(a, a + (p.detach() - a) * part)
            ops.accumulate(self.count, 1)

    @contextmanager
    def apply(self) -> Iterator[HasParameters]:
        """Give the module the averages as parameters, inside a with statement."""
        named = dict(self.module.named_parameters())
        copies = {name: array_of(p).copy() for name, p in named.items()}
        with no_grad():
            try:
                for name, p in named.items():
                    ops.assign(p.detach(), self.values[name])
                yield self.module
            finally:
                for name, p in named.items():
                    ops.assign(p.detach(), untracked(copies[name]))

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the count, as NumPy arrays."""
        values = {name: np.array(devices.to_numpy(array_of(a))) for name, a in self.values.items()}
        return {"count": float(self.count), "values": values}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`; raises KeyError when a parameter is missing in it."""
        missing = sorted(self.values.keys() - saved["values"].keys())
        if missing:
            raise KeyError(f"ExponentialMovingAverage.load_state_dict: nothing about {missing}")
        for name, a in self.values.items():
            ops.assign(a, devices.to_device(as_array(saved["values"][name], a.dtype), a.device))
        ops.assign(self.count, saved["count"])
