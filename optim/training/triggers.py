"""Triggers: when something is to happen in a run, as functions of the run's state.

A state is a mapping with "epoch" and "neval", the epoch and the step that come next, both from 1,
and with what has been measured: "Loss", and "score", the first validation method's last value.
Triggers compose: ``every_epoch() | several_iteration(500)``, ``max_epoch(20) & max_score(0.9)``.

Source: BigDL's optim.Trigger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

__all__ = [
    "Trigger",
    "every_epoch",
    "max_epoch",
    "max_iteration",
    "max_score",
    "min_loss",
    "several_iteration",
]

RunState: TypeAlias = Mapping[str, Any]

NOT_POSITIVE = "{name}: the number must be at least 1, not {number}"
NO_TRIGGER = "a trigger is a function of the run's state, not {kind}"


class Trigger:
    """Something that is true at some points of a run: called with the run's state.

    `first & second`, `and_`: true where all are;  `first | second`, `or_`: where one is.
    """

    everyEpoch: ClassVar[Callable[[], Trigger]]
    severalIteration: ClassVar[Callable[[int], Trigger]]
    maxEpoch: ClassVar[Callable[[int], Trigger]]
    maxIteration: ClassVar[Callable[[int], Trigger]]
    maxScore: ClassVar[Callable[[float], Trigger]]
    minLoss: ClassVar[Callable[[float], Trigger]]

    def __init__(self, condition: Callable[[RunState], bool], name: str) -> None:
        self.condition, self.name = condition, name

    def __call__(self, state: RunState) -> bool:
        """Tell whether it is time."""
        return bool(self.condition(state))

    def and_(self, *others: Callable[[RunState], bool]) -> Trigger:
        """Return a trigger that is true where this one and all others are."""
        return _Several("&", all, self, *others)

    def or_(self, *others: Callable[[RunState], bool]) -> Trigger:
        """Return a trigger that is true where this one or another is."""
        return _Several("|", any, self, *others)

    def __and__(self, other: Callable[[RunState], bool]) -> Trigger:
        return self.and_(other)

    def __or__(self, other: Callable[[RunState], bool]) -> Trigger:
        return self.or_(other)

    def state_dict(self) -> dict[str, Any]:
        """Return what the trigger remembers of earlier calls: nothing, for most."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""

    def __repr__(self) -> str:
        return self.name


class _Several(Trigger):
    """Triggers that decide together; each is asked each time, since some count their calls."""

    def __init__(
        self, sign: str, decide: Callable[[list[bool]], bool], *parts: Callable[[RunState], bool]
    ) -> None:
        for part in parts:
            if not callable(part):
                raise TypeError(NO_TRIGGER.format(kind=type(part).__name__))
        self.parts = parts
        self.decide = decide
        self.name = f"({f' {sign} '.join(map(repr, parts))})"

    def __call__(self, state: RunState) -> bool:
        return self.decide([bool(part(state)) for part in self.parts])

    def state_dict(self) -> dict[str, Any]:
        parts = [part for part in self.parts if isinstance(part, Trigger)]
        return {"parts": [part.state_dict() for part in parts]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        parts = [part for part in self.parts if isinstance(part, Trigger)]
        for part, own in zip(parts, saved["parts"], strict=True):
            part.load_state_dict(own)


class _EveryEpoch(Trigger):
    """True at the first call of each epoch but the one in which it is first called."""

    last: int | None = None

    def __init__(self) -> None:
        self.name = "every_epoch()"

    def __call__(self, state: RunState) -> bool:
        before, self.last = self.last, int(state["epoch"])
        return before is not None and self.last != before

    def state_dict(self) -> dict[str, Any]:
        return {"last": self.last}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.last = saved["last"]


def every_epoch() -> Trigger:
    """Return a trigger that is true once for each epoch, when it has ended.

    The first call tells it where the run stands, and is false; so ask it before the first step.
    """
    return _EveryEpoch()


def _checked(name: str, number: int) -> int:
    if not number >= 1:
        raise ValueError(NOT_POSITIVE.format(name=name, number=number))
    return number


def several_iteration(interval: int) -> Trigger:
    """Return a trigger that is true after `interval` steps, twice as many, and so on.

    Raises ValueError for less than 1.
    """
    _checked("several_iteration", interval)

    def condition(state: RunState) -> bool:
        made = int(state["neval"]) - 1
        return made > 0 and made % interval == 0

    return Trigger(condition, f"several_iteration({interval})")


def max_epoch(maximum: int) -> Trigger:
    """Return a trigger that is true from when `maximum` epochs have ended.

    Raises ValueError for less than 1.
    """
    _checked("max_epoch", maximum)
    return Trigger(lambda state: state["epoch"] > maximum, f"max_epoch({maximum})")


def max_iteration(maximum: int) -> Trigger:
    """Return a trigger that is true from when `maximum` steps have been made.

    Raises ValueError for less than 1.
    """
    _checked("max_iteration", maximum)
    return Trigger(lambda state: state["neval"] > maximum, f"max_iteration({maximum})")


def max_score(maximum: float) -> Trigger:
    """Return a trigger that is true when the last "score" is above `maximum`; false without one."""
    return Trigger(
        lambda state: "score" in state and state["score"] > maximum, f"max_score({maximum})"
    )


def min_loss(minimum: float) -> Trigger:
    """Return a trigger that is true when the last "Loss" is below `minimum`; false without one."""
    return Trigger(
        lambda state: "Loss" in state and state["Loss"] < minimum, f"min_loss({minimum})"
    )


# BigDL's spellings: Trigger.everyEpoch(), Trigger.maxEpoch(10), Trigger.or_(a, b).
Trigger.everyEpoch = staticmethod(every_epoch)
Trigger.severalIteration = staticmethod(several_iteration)
Trigger.maxEpoch = staticmethod(max_epoch)
Trigger.maxIteration = staticmethod(max_iteration)
Trigger.maxScore = staticmethod(max_score)
Trigger.minLoss = staticmethod(min_loss)
