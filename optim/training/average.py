"""An exponential moving average of parameters, for evaluation, and statistics that fit them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad, ops
from tapegrad.autograd.core.progress import with_bar
from tapegrad.autograd.core.settings_text import ShowsSettings
from tapegrad.autograd.core.tensor import array_of, as_array, untracked
from tapegrad.optim.training.data import as_batches, length_of
from tapegrad.optim.training.evaluation import NO_BATCHES, keep_modes, to_tensors

if TYPE_CHECKING:
    from tapegrad.optim.core.groups import HasParameters
    from tapegrad.optim.training.data import Data

__all__ = ["ExponentialMovingAverage", "update_bn"]


class ExponentialMovingAverage(ShowsSettings):
    """a = d·a + (1 - d)·p for each parameter p of a module, by `update()` after each step.

    decay:  d, in [0, 1)
    warmup: let d grow as (1 + t)/(10 + t) up to `decay`, so that the start is forgotten soon
    buffers: average running statistics and other Buffers of floating point numbers as well;
             otherwise they stay the module's own, which `update_bn` computes anew
    ``with average.apply():`` evaluates the module with the averages in place of its parameters.
    Raises ValueError for another decay.
    Source: B. Polyak, A. Juditsky 1992; the warm-up is TensorFlow's.
    """

    def __init__(
        self,
        module: HasParameters,
        decay: float = 0.999,
        *,
        warmup: bool = False,
        buffers: bool = False,
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ExponentialMovingAverage: decay must lie in [0, 1), not {decay}")
        self.module, self.decay, self.warmup, self.buffers = module, decay, warmup, buffers
        self.count = untracked(np.array(0.0))
        self.values = {name: untracked(array_of(p).copy()) for name, p in self._named()}

    def _named(self) -> list[tuple[str, Any]]:
        """Return what is averaged, by name: parameters, and Buffers of real numbers."""
        named: list[tuple[str, Any]] = list(self.module.named_parameters())
        if self.buffers:
            found: Any = self.module
            named += [(n, b) for n, b in found.named_buffers() if b.dtype.kind in "fc"]
        return named

    def update(self) -> None:
        """Take the parameters as they are into the averages; replay repeats it."""
        with no_grad():
            weight: Any = self.decay
            if self.warmup:
                weight = ops.minimum((self.count + 1) / (self.count + 10), self.decay)
            for name, p in self._named():
                a = self.values[name]
                if a.dtype.kind not in "fc":
                    ops.assign(a, p.detach())
                    continue
                part = 1 - weight if not isinstance(weight, Tensor) else ops.cast(
                    1 - weight, dtype=a.dtype
                )  # fmt: skip
                ops.assign(a, a + (p.detach() - a) * part)
            ops.accumulate(self.count, 1)

    @contextmanager
    def apply(self) -> Iterator[HasParameters]:
        """Give the module the averages as parameters, inside a with statement."""
        named = dict(self._named())
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


def update_bn(model: Any, data: Data, *, batch_size: int = 32) -> None:
    """Compute the running statistics of normalizing layers anew, as means over batches of `data`.

    It is for parameters that were not trained by steps, such as averages.
    data: as `Trainer.predict` takes it
    The model runs in training mode, and its parts have their own modes afterwards.
    Raises ValueError for data without samples.
    Source: P. Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    2018, section 3.2.
    """
    batches = as_batches(data, batch_size, 0, shuffle=False, place="update_bn", entries=1)
    layers = [m for m in model.listModules() if hasattr(m, "running_mean")]
    momenta = [layer.momentum for layer in layers]
    with keep_modes(model), no_grad():
        model.training()
        count = 0
        try:
            for inputs in with_bar(batches.epoch(0), length_of(batches), "batch", name="update_bn"):
                count += 1
                for layer in layers:
                    layer.momentum = 1 / count  # so that the running mean is that of all batches
                model(*[to_tensors(x) for x in inputs])
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
    if not count:
        raise ValueError(NO_BATCHES.format(place="update_bn"))
