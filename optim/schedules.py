"""Learning rates that change: functions of the number of steps made, usable as any `lr`.

A schedule is a small frozen object, called with a step count from 0.  The rule itself evaluates it
from its own counter, in every step and in every replayed step: nothing is recorded anew, and there
is no scheduler to forget.  Only `Plateau`, which waits for a measured value, has a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.core.tensor import untracked

__all__ = [
    "Plateau", "constant", "cosine", "exponential", "multi_step", "one_cycle", "plot_schedule",
    "poly", "sequential", "step", "warmup",
]  # fmt: skip


@dataclass(frozen=True)
class _Schedule:
    lr: float

    def __post_init__(self) -> None:
        if not self.lr >= 0:
            raise ValueError(f"{type(self).__name__}: lr must be at least 0, not {self.lr}")

    def __call__(self, t: float) -> float:  # the class's own formula
        return self.lr


@dataclass(frozen=True)
class constant(_Schedule):  # noqa: N801  # reads as a function: lr=constant(0.1)
    """Lr, always: a part of `sequential`."""


@dataclass(frozen=True)
class step(_Schedule):  # noqa: N801
    """Lr · gamma^⌊t/every⌋."""

    every: int = 1000
    gamma: float = 0.1

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        return self.lr * self.gamma ** (t // self.every)


@dataclass(frozen=True)
class multi_step(_Schedule):  # noqa: N801
    """Lr · gamma^(number of milestones reached)."""

    milestones: tuple[int, ...] = ()
    gamma: float = 0.1

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        return self.lr * self.gamma ** sum(t >= m for m in self.milestones)


@dataclass(frozen=True)
class exponential(_Schedule):  # noqa: N801
    """Lr · gammaᵗ."""

    gamma: float = 0.999

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        return self.lr * self.gamma**t


@dataclass(frozen=True)
class poly(_Schedule):  # noqa: N801
    """end + (lr - end)(1 - t/total)^power, `end` after `total` steps."""

    total: int = 1000
    power: float = 1.0
    end: float = 0.0

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        left = 1 - min(t, self.total) / self.total
        return self.end + (self.lr - self.end) * left**self.power


@dataclass(frozen=True)
class cosine(_Schedule):  # noqa: N801
    """end + (lr - end)(1 + cos(πt/period))/2; `restarts`: again and again, each period `stretch`
    times as long as the one before, else `end` from then on.

    Source: I. Loshchilov, F. Hutter, "SGDR", ICLR 2017, equation 5.
    """

    period: int = 1000
    end: float = 0.0
    restarts: bool = False
    stretch: float = 1.0

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        period: float = self.period
        if self.restarts:
            while t >= period:
                t -= period
                period *= self.stretch
        else:
            t = min(t, period)
        return self.end + (self.lr - self.end) * (1 + math.cos(math.pi * t / period)) / 2


@dataclass(frozen=True)
class one_cycle(_Schedule):  # noqa: N801
    """From lr/divide up to lr in `rise` (0.3) of `total` steps, then to lr/divide/final_divide.

    Both ways are halves of a cosine.  Source: L. Smith, N. Topin, arXiv:1708.07120.
    """

    total: int = 1000
    rise: float = 0.3
    divide: float = 25.0
    final_divide: float = 1e4

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        low, end = self.lr / self.divide, self.lr / self.divide / self.final_divide
        top = self.rise * self.total - 1
        if t <= top:
            return self.lr + (low - self.lr) * (1 + math.cos(math.pi * t / top)) / 2
        share = min((t - top) / (self.total - 1 - top), 1.0)
        return end + (self.lr - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class warmup:  # noqa: N801
    """From start · (first value) linearly to `then` in `steps` steps; `then` begins with step 0."""

    then: Callable[[float], float]
    steps: int = 100
    start: float = 0.0

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        if t < self.steps:
            share = self.start + (1 - self.start) * t / self.steps
            return share * self.then(0)
        return self.then(t - self.steps)


class sequential:  # noqa: N801
    """Schedules one after another: sequential(first, 100, second, 500, third).

    Each number is the step at which the next schedule begins, with its own step 0.
    """

    def __init__(self, first: Callable[[float], float], *rest: Any) -> None:
        self.parts = (first, *rest[1::2])
        self.starts = (0, *rest[::2])
        if len(self.parts) != len(self.starts) or list(self.starts) != sorted(set(self.starts)):
            raise ValueError("sequential takes schedules with increasing steps between them")

    def __call__(self, t: float) -> float:  # the class's own formula
        """The rate of step t."""
        which = sum(t >= start for start in self.starts[1:])
        return self.parts[which](t - self.starts[which])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, sequential) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.parts, self.starts))


class Plateau:
    """A rate that falls by `factor` when a reported value has not improved for `patience` reports.

    Give ``plateau.rate``, a 0-d Tensor, as lr, and call ``plateau.report(loss)`` now and then.
    lr, factor (0.1), patience (10), threshold (1e-4, relative), cooldown (0 reports of rest after
    a fall), minimum (0), mode "min" or "max".
    """

    def __init__(
        self,
        lr: float,
        *,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        minimum: float = 0.0,
        mode: str = "min",
    ) -> None:
        if not 0 < factor < 1:
            raise ValueError(f"Plateau: factor must lie in (0, 1), not {factor}")
        if mode not in {"min", "max"}:
            raise ValueError(f"Plateau: mode must be 'min' or 'max', not {mode!r}")
        self.rate = untracked(np.array(float(lr)))
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.cooldown, self.minimum, self.mode = cooldown, minimum, mode
        self.best = math.inf
        self.bad = self.resting = 0

    def report(self, value: Any) -> bool:
        """Take a measured value; True when the rate fell."""
        v = float(value) * (1 if self.mode == "min" else -1)
        if math.isinf(self.best) or v < self.best - self.threshold * abs(self.best):
            self.best, self.bad = v, 0
        else:
            self.bad += 1
        if self.resting:
            self.resting -= 1
            self.bad = 0
        if self.bad <= self.patience:
            return False
        ops.assign(self.rate, max(float(self.rate) * self.factor, self.minimum))
        self.resting, self.bad = self.cooldown, 0
        return True

    def state_dict(self) -> dict[str, Any]:
        """The rate and what it waits for."""
        return {
            "rate": float(self.rate), "best": self.best, "bad": self.bad, "resting": self.resting
        }  # fmt: skip

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        ops.assign(self.rate, saved["rate"])
        self.best, self.bad, self.resting = saved["best"], saved["bad"], saved["resting"]


def plot_schedule(schedule: Callable[[float], float], steps: int, path: Any = None) -> Any:
    """Draw a schedule's rate over its first steps (Matplotlib): the figure, or a file at path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3))
    axes = figure.subplots()
    axes.plot(range(steps), [_number(schedule(t)) for t in range(steps)])
    axes.set(xlabel="step", ylabel="learning rate")
    if path is None:
        return figure
    figure.savefig(path, dpi=120)
    return None


def _number(value: Any) -> float:
    return value.item() if isinstance(value, Tensor) else float(value)
