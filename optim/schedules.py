"""Learning rates that change: functions of the number of steps made, usable as any `lr`.

A schedule is a small frozen object, called with a step count from 0.  It is evaluated from the
rule's own counter, in every step and in every replayed step: nothing is recorded anew, and there is
no scheduler to forget.  Only `ReduceOnPlateau`, which waits for a measured value, has a state.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.core.settings_text import ShowsSettings
from tapegrad.autograd.core.tensor import untracked

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = [
    "ReduceOnPlateau", "constant_rate", "cosine_decay", "exponential_decay", "join_schedules",
    "linear_warmup", "multi_step_decay", "one_cycle", "plot_schedule", "polynomial_decay",
    "step_decay",
]  # fmt: skip

# A learning rate as a function of the number of steps made.
Schedule: TypeAlias = Callable[[float], float]

NO_SCHEDULE = (
    "linear_warmup leads to a schedule, a function of the step, and this is {found!r:.60}: for a "
    "rate that stays write optim.constant_rate(rate)"
)
JOINED = (
    "join_schedules: {found}. Schedules alternate with the steps at which the next one begins: "
    "join_schedules(first, 100, second)"
)


@dataclass(frozen=True)
class _FromRate:
    """A schedule that begins with, or is measured by, the rate `lr`."""

    lr: float

    def __post_init__(self) -> None:
        if not self.lr >= 0:
            raise ValueError(f"{type(self).__name__}: lr must be at least 0, not {self.lr}")

    def __call__(self, t: float) -> float:  # the class's own formula
        return self.lr


@dataclass(frozen=True)
class constant_rate(_FromRate):
    """lr, always: a part of `join_schedules`."""


@dataclass(frozen=True)
class step_decay(_FromRate):
    """lr · gamma^⌊t/every⌋."""

    every: int = 1000
    gamma: float = 0.1

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        return self.lr * self.gamma ** (t // self.every)


@dataclass(frozen=True)
class multi_step_decay(_FromRate):
    """lr · gamma^(number of milestones reached)."""

    milestones: tuple[int, ...] = ()
    gamma: float = 0.1

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        return self.lr * self.gamma ** sum(t >= m for m in self.milestones)


@dataclass(frozen=True)
class exponential_decay(_FromRate):
    """lr · gammaᵗ."""

    gamma: float = 0.999

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        return self.lr * self.gamma**t


@dataclass(frozen=True)
class polynomial_decay(_FromRate):
    """end + (lr - end)(1 - t/total)^power, and `end` after `total` steps."""

    total: int = 1000
    power: float = 1.0
    end: float = 0.0

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        left = 1 - min(t, self.total) / self.total
        return self.end + (self.lr - self.end) * left**self.power


@dataclass(frozen=True)
class cosine_decay(_FromRate):
    """end + (lr - end)(1 + cos(πt/period))/2, and `end` after `period` steps.

    restarts: begin again after each period; each is `stretch` times as long as the one before
    Source: I. Loshchilov, F. Hutter, "SGDR", ICLR 2017, equation 5.

    >>> rate = cosine_decay(0.1, 100)
    >>> rate(0), rate(50), rate(100)
    (0.1, 0.05, 0.0)
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
class one_cycle(_FromRate):
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
class linear_warmup:
    """A line from start · then(0) up to then(0) in `steps` steps, and then(t - steps) after it.

    Raises TypeError for a `then` that is no schedule.
    """

    then: Schedule
    steps: int = 100
    start: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.then):
            raise TypeError(NO_SCHEDULE.format(found=self.then))

    def __call__(self, t: float) -> float:  # noqa: D102  # the class's own formula
        if t < self.steps:
            share = self.start + (1 - self.start) * t / self.steps
            return share * self.then(0)
        return self.then(t - self.steps)


class join_schedules:
    """Schedules one after another: join_schedules(first, 100, second, 500, third).

    Each number is the step at which the next schedule begins, with its own step 0.
    Raises TypeError for what is no schedule, ValueError for numbers that do not increase.
    """

    def __init__(self, first: Schedule, *rest: Schedule | int) -> None:
        self.parts: tuple[Any, ...] = (first, *rest[1::2])
        self.starts: tuple[Any, ...] = (0, *rest[::2])
        for part in self.parts:
            if not callable(part):
                raise TypeError(JOINED.format(found=f"{part!r:.60} is no schedule"))
        if len(self.parts) != len(self.starts) or not all(
            isinstance(start, numbers.Real) for start in self.starts
        ):
            raise TypeError(JOINED.format(found="a step or a schedule is missing"))
        if list(self.starts) != sorted(set(self.starts)):
            raise ValueError(JOINED.format(found=f"the steps {list(rest[::2])} do not increase"))

    def __call__(self, t: float) -> float:
        """Return the rate of step t."""
        index = sum(t >= start for start in self.starts[1:])
        return float(self.parts[index](t - self.starts[index]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, join_schedules) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.parts, self.starts))


class ReduceOnPlateau(ShowsSettings):
    """A rate that falls by `factor` when a reported value has not improved for `patience` reports.

    Give ``plateau.rate``, a 0-d Tensor, as lr, and call ``plateau.report(loss)`` now and then.
    lr, factor (0.1), patience (10), threshold (1e-4, relative), cooldown (0 reports of rest after
    a fall), minimum (0), mode "min" or "max".  Raises ValueError for another mode or factor.
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
            raise ValueError(f"ReduceOnPlateau: factor must lie in (0, 1), not {factor}")
        if mode not in {"min", "max"}:
            raise ValueError(f"ReduceOnPlateau: mode must be 'min' or 'max', not {mode!r}")
        self.rate = untracked(np.array(float(lr)))
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.cooldown, self.minimum, self.mode = cooldown, minimum, mode
        self.best = math.inf
        self.bad = self.resting = 0

    def report(self, value: float | Tensor) -> bool:
        """Take a measured value into account; True when the rate fell."""
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
        """Return the rate and what has been reported, as far as later reports depend on it."""
        return {
            "rate": float(self.rate), "best": self.best, "bad": self.bad, "resting": self.resting
        }  # fmt: skip

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        ops.assign(self.rate, saved["rate"])
        self.best, self.bad, self.resting = saved["best"], saved["bad"], saved["resting"]


def plot_schedule(
    schedule: Callable[[float], float | Tensor], steps: int, path: str | Path | None = None
) -> Figure | None:
    """Draw a schedule's rate over its first steps, with Matplotlib.

    Returns the figure, or saves it under `path`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3))
    axes = figure.subplots()
    axes.plot(range(steps), [float(schedule(t)) for t in range(steps)])
    axes.set(xlabel="step", ylabel="learning rate")
    if path is None:
        return figure
    figure.savefig(path, dpi=120)
    return None
