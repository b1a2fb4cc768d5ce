"""An exponential moving average of parameters, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad, ops
from tapegrad.autograd.core.tensor import array_of, as_array, untracked

__all__ = ["Average"]


class Average:
    """a = d·a + (1 - d)·p for each parameter p of a module, by `update()` after each step.

    decay: d, in [0, 1)
    warm:  let d grow as (1 + t)/(10 + t) up to `decay`, so that the start is forgotten soon
    ``with average.applied():`` evaluates the module with the averages in place of its parameters.
    Source: B. Polyak, A. Juditsky 1992; the warm-up is TensorFlow's.
    """

    def __init__(self, module: Any, decay: float = 0.999, *, warm: bool = False) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"Average: decay must lie in [0, 1), not {decay}")
        self.module, self.decay, self.warm = module, decay, warm
        self.count = untracked(np.array(0.0))
        self.values = {name: untracked(array_of(p).copy()) for name, p in module.named_parameters()}

    def update(self) -> None:
        """Take the parameters as they are into the averages; replay repeats it."""
        with no_grad():
            weight: Any = self.decay
            if self.warm:
                weight = ops.minimum((self.count + 1) / (self.count + 10), self.decay)
            for name, p in self.module.named_parameters():
                a = self.values[name]
                part = 1 - weight if not isinstance(weight, Tensor) else ops.cast(
                    1 - weight, dtype=a.dtype
                )  # fmt: skip
                ops.assign(a, a + (p.detach() - a) * part)
            ops.accumulate(self.count, 1)

    @contextmanager
    def applied(self) -> Iterator[Any]:
        """The module with the averages as parameters, inside a with statement; then as before."""
        named = dict(self.module.named_parameters())
        kept = {name: array_of(p).copy() for name, p in named.items()}
        with no_grad():
            try:
                for name, p in named.items():
                    ops.assign(p.detach(), self.values[name])
                yield self.module
            finally:
                for name, p in named.items():
                    ops.assign(p.detach(), untracked(kept[name]))

    def state_dict(self) -> dict[str, Any]:
        """The averages and the count, as NumPy arrays."""
        values = {name: np.array(devices.to_numpy(array_of(a))) for name, a in self.values.items()}
        return {"count": float(self.count), "values": values}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`; raises KeyError when a parameter is missing in it."""
        missing = sorted(self.values.keys() - saved["values"].keys())
        if missing:
            raise KeyError(f"Average.load_state_dict: nothing about {missing}")
        for name, a in self.values.items():
            ops.assign(a, devices.to_device(as_array(saved["values"][name], a.dtype), a.device))
        ops.assign(self.count, saved["count"])
