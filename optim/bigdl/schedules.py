"""BigDL's learning rate schedules: functions of the step, the epoch and what is measured.

A schedule is a small object, called with a `Moment`.  Each is a formula and nothing else, but for
`Plateau`, which waits for a measured value and keeps what it has seen.  Epochs count from 1 and
steps from 0, as in BigDL.

Source: the schedules in BigDL's optim.SGD.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = [
    "Default",
    "EpochDecay",
    "EpochDecayWithWarmUp",
    "EpochSchedule",
    "EpochStep",
    "Exponential",
    "Moment",
    "MultiStep",
    "NaturalExp",
    "Plateau",
    "Poly",
    "Regime",
    "Schedule",
    "SequentialSchedule",
    "Step",
    "Warmup",
]

NOTHING_MEASURED = (
    "Plateau watches {monitor!r}, and in epoch {epoch} there is only {known}: watch 'Loss', or let "
    "setValidation measure a 'score' before each epoch's end"
)


@dataclass(frozen=True)
class Moment:
    """Where a run is: what a schedule makes a rate of.

    learningRate, learningRateDecay: of the method
    steps:    updates made so far
    epoch:    from 1
    measured: the last values by name, such as "Loss" and "score"
    """

    learningRate: float
    learningRateDecay: float = 0.0
    steps: int = 0
    epoch: int = 1
    measured: Mapping[str, float] = field(default_factory=dict)


class Schedule:
    """A learning rate that changes: called with a Moment, it returns the rate."""

    def __call__(self, at: Moment) -> float:
        """Return the rate of the step that comes next."""
        return self._rate(at)

    def _rate(self, at: Moment) -> float:
        """Compute the rate: a subclass's own formula."""
        raise NotImplementedError(f"{type(self).__name__} does not say what the rate is")

    def options(self, epoch: int) -> Mapping[str, Any]:
        """Return the options of the method that the schedule sets, beside the rate."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what later rates depend on: nothing, for a formula."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""


def _check_positive(schedule: Schedule, **numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{type(schedule).__name__}: {name} must be positive, not {value}")


@dataclass(frozen=True)
class Default(Schedule):
    """rate = learningRate / (1 + steps · learningRateDecay)."""

    def _rate(self, at: Moment) -> float:
        return at.learningRate / (1 + at.steps * at.learningRateDecay)


@dataclass(frozen=True)
class Poly(Schedule):
    """rate = learningRate · (1 - steps/maxIteration)^power, and 0 after maxIteration steps.

    Raises ValueError unless maxIteration is positive.
    """

    power: float
    maxIteration: int

    def __post_init__(self) -> None:
        _check_positive(self, maxIteration=self.maxIteration)

    def _rate(self, at: Moment) -> float:
        if at.steps > self.maxIteration:
            return 0.0
        return at.learningRate * (1 - at.steps / self.maxIteration) ** self.power


@dataclass(frozen=True)
class Step(Schedule):
    """rate = learningRate · gamma^⌊steps/stepSize⌋.  Raises ValueError for a stepSize below 1."""

    stepSize: int
    gamma: float

    def __post_init__(self) -> None:
        _check_positive(self, stepSize=self.stepSize)

    def _rate(self, at: Moment) -> float:
        return at.learningRate * self.gamma ** (at.steps // self.stepSize)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """rate = learningRate · gamma^(how many of the increasing stepSizes have been reached)."""

    stepSizes: Sequence[int]
    gamma: float

    def _rate(self, at: Moment) -> float:
        return at.learningRate * self.gamma ** sum(at.steps >= step for step in self.stepSizes)


@dataclass(frozen=True)
class EpochDecay(Schedule):
    """rate = learningRate · 0.1^decayType(epoch)."""

    decayType: Callable[[int], float]

    def _rate(self, at: Moment) -> float:
        return float(at.learningRate * 0.1 ** self.decayType(at.epoch))


@dataclass(frozen=True)
class EpochStep(Schedule):
    """rate = learningRate · gamma^⌊epoch/stepSize⌋.  Raises ValueError for a stepSize below 1."""

    stepSize: int
    gamma: float

    def __post_init__(self) -> None:
        _check_positive(self, stepSize=self.stepSize)

    def _rate(self, at: Moment) -> float:
        return at.learningRate * self.gamma ** (at.epoch // self.stepSize)


@dataclass(frozen=True)
class NaturalExp(Schedule):
    """rate = learningRate · exp(-gamma · ⌊steps/decay_step⌋).

    Raises ValueError for a decay_step below 1.
    """

    decay_step: int
    gamma: float

    def __post_init__(self) -> None:
        _check_positive(self, decay_step=self.decay_step)

    def _rate(self, at: Moment) -> float:
        return at.learningRate * math.exp(-self.gamma * (at.steps // self.decay_step))


@dataclass(frozen=True)
class Exponential(Schedule):
    """rate = learningRate · decayRate^(steps/decayStep); stairCase: ⌊steps/decayStep⌋.

    Raises ValueError unless decayStep is positive.
    """

    decayStep: int
    decayRate: float
    stairCase: bool = False

    def __post_init__(self) -> None:
        _check_positive(self, decayStep=self.decayStep)

    def _rate(self, at: Moment) -> float:
        share = at.steps / self.decayStep
        return at.learningRate * self.decayRate ** (math.floor(share) if self.stairCase else share)


@dataclass(frozen=True)
class Warmup(Schedule):
    """rate = learningRate + delta · steps."""

    delta: float

    def _rate(self, at: Moment) -> float:
        return at.learningRate + self.delta * at.steps


@dataclass(frozen=True)
class EpochDecayWithWarmUp(Schedule):
    """rate = learningRate + warmUpDelta · steps for warmUpIteration steps.

    From then on (learningRate + warmUpDelta · warmUpIteration) · 0.1^decayType(epoch).
    """

    warmUpIteration: int
    warmUpDelta: float
    decayType: Callable[[int], float]

    def _rate(self, at: Moment) -> float:
        if at.steps < self.warmUpIteration:
            return at.learningRate + self.warmUpDelta * at.steps
        highest = at.learningRate + self.warmUpDelta * self.warmUpIteration
        return float(highest * 0.1 ** self.decayType(at.epoch))


@dataclass(frozen=True)
class Regime:
    """Options of a method, by name, for the epochs from startEpoch to endEpoch, both included."""

    startEpoch: int
    endEpoch: int
    config: Mapping[str, Any]


@dataclass(frozen=True)
class EpochSchedule(Schedule):
    """The options of the regime that the epoch lies in; after the last, those that came last.

    Any option of the method may stand in a regime: learningRate, weightDecay, momentum ….
    """

    regimes: Sequence[Regime]

    def options(self, epoch: int) -> Mapping[str, Any]:
        """Return what the regimes up to this epoch have set, the later ones last."""
        found: dict[str, Any] = {}
        for now in range(1, epoch + 1):
            for regime in self.regimes:
                if regime.startEpoch <= now <= regime.endEpoch:
                    found.update(regime.config)
        return found

    def _rate(self, at: Moment) -> float:
        return float(self.options(at.epoch).get("learningRate", at.learningRate))


class Plateau(Schedule):
    """The rate falls to factor · rate when a measured value has not improved for patience epochs.

    monitor:  "Loss" or "score";  mode: "min" if smaller is better, "max" if larger is
    epsilon:  how much better counts as better
    cooldown: epochs of rest after a fall;  minLr: the rate falls no lower
    Raises ValueError for another mode and a factor of 1 or more, RuntimeError where the value has
    not been measured when an epoch has ended.
    """

    def __init__(
        self,
        monitor: str,
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "min",
        epsilon: float = 1e-4,
        cooldown: int = 0,
        minLr: float = 0.0,
    ) -> None:
        if not factor < 1:
            raise ValueError(f"Plateau: factor must be below 1, not {factor}")
        if mode not in {"min", "max"}:
            raise ValueError(f"Plateau: mode must be 'min' or 'max', not {mode!r}")
        self.monitor, self.factor, self.patience, self.mode = monitor, factor, patience, mode
        self.epsilon, self.cooldown, self.minLr = epsilon, cooldown, minLr
        self.best = math.inf if mode == "min" else -math.inf
        self.waited = self.resting = 0
        self.epoch = 1
        self.rate: float | None = None

    def _rate(self, at: Moment) -> float:
        if self.rate is None or at.epoch == 1:
            self.rate = at.learningRate
        if at.epoch != self.epoch:
            if self.monitor not in at.measured:
                known = ", ".join(map(repr, at.measured)) or "nothing"
                raise RuntimeError(
                    NOTHING_MEASURED.format(monitor=self.monitor, epoch=at.epoch, known=known)
                )
            self.epoch = at.epoch
            self.rate = self._after(at.measured[self.monitor], self.rate)
        return self.rate

    def _after(self, value: float, rate: float) -> float:
        """Take the value of an epoch into account, and return the rate from then on."""
        if self.resting > 0:
            self.resting -= 1
            self.waited = 0
        better = value < self.best - self.epsilon
        if self.mode == "max":
            better = value > self.best + self.epsilon
        if better:
            self.best, self.waited = value, 0
        elif self.resting <= 0:
            if self.waited >= self.patience and rate > self.minLr * (1 + 1e-4):
                rate = max(rate * self.factor, self.minLr)
                self.resting, self.waited = self.cooldown, 0
            self.waited += 1
        return rate

    def state_dict(self) -> dict[str, Any]:
        """Return the rate, the best value, and how long it is ago."""
        return {
            "best": self.best, "waited": self.waited, "resting": self.resting,
            "epoch": self.epoch, "rate": self.rate,
        }  # fmt: skip

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.best, self.waited, self.resting = saved["best"], saved["waited"], saved["resting"]
        self.epoch, self.rate = saved["epoch"], saved["rate"]


class SequentialSchedule(Schedule):
    """Schedules one after another: SequentialSchedule(100).add(Warmup(0.1), 5).add(Poly(0.5, 90), 85).

    iterationPerEpoch: steps of an epoch
    Each schedule begins with the rate that the one before it has reached, and runs for so many
    steps (the first for one more, as in BigDL).  Steps and epochs of its own count from where it
    begins; those of Poly from the start of the run.  The last one goes on when all have ended.
    """  # noqa: E501  # one call

    def __init__(self, iterationPerEpoch: int) -> None:
        _check_positive(self, iterationPerEpoch=iterationPerEpoch)
        self.iterationPerEpoch = iterationPerEpoch
        self.schedules: list[Schedule] = []
        self.ends: list[int] = []

    def add(self, schedule: Schedule, maxIteration: int) -> Self:
        """Append a schedule that runs for maxIteration steps."""
        _check_positive(self, maxIteration=maxIteration)
        self.schedules.append(schedule)
        self.ends.append((self.ends[-1] if self.ends else 0) + maxIteration)
        return self

    def _rate(self, at: Moment) -> float:
        if not self.schedules:
            raise ValueError(
                "SequentialSchedule: add(schedule, maxIteration) before the first step"
            )
        base = at.learningRate
        last = len(self.schedules) - 1
        for index, end in enumerate(self.ends):
            if index == last or at.steps <= end:
                return self._rate_of(index, dataclasses.replace(at, learningRate=base))
            base = self._last_rate(index, dataclasses.replace(at, learningRate=base))
        return base

    def _last_rate(self, index: int, at: Moment) -> float:
        """Return the rate that a schedule has ended with."""
        schedule, end = self.schedules[index], self.ends[index]
        if isinstance(schedule, Plateau):  # asked again, it would take the value as a further one
            return at.learningRate if schedule.rate is None else schedule.rate
        epoch = end // self.iterationPerEpoch + 1
        return self._rate_of(index, dataclasses.replace(at, steps=end, epoch=epoch))

    def _rate_of(self, index: int, at: Moment) -> float:
        schedule, start = self.schedules[index], self.ends[index - 1] if index else 0
        if isinstance(schedule, Poly):
            return schedule(at)
        skipped = start // self.iterationPerEpoch
        return schedule(dataclasses.replace(at, steps=at.steps - start, epoch=at.epoch - skipped))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each schedule."""
        return {str(i): schedule.state_dict() for i, schedule in enumerate(self.schedules)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        for i, schedule in enumerate(self.schedules):
            schedule.load_state_dict(saved[str(i)])
