"""The triggers by the names of BigDL's Python API, in which they are classes."""

from __future__ import annotations

from tapegrad.optim.training.triggers import (
    Trigger,
    every_epoch,
    max_epoch,
    max_iteration,
    max_score,
    min_loss,
    several_iteration,
)

__all__ = [
    "EveryEpoch",
    "MaxEpoch",
    "MaxIteration",
    "MaxScore",
    "MinLoss",
    "SeveralIteration",
    "TriggerAnd",
    "TriggerOr",
]

EveryEpoch = every_epoch
MaxEpoch = max_epoch
MaxIteration = max_iteration
MaxScore = max_score
MinLoss = min_loss
SeveralIteration = several_iteration
TriggerAnd = Trigger.and_
TriggerOr = Trigger.or_
