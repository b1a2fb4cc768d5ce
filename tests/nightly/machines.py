"""The state machines, for many steps."""

from __future__ import annotations

import itertools
import traceback
from typing import TYPE_CHECKING

import machine_runs
import pytest

from tests.nightly import nightly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.stateful import RuleBasedStateMachine

__all__ = [
    "attention_machine",
    "module_machine",
    "pytorch_machine",
    "recurrent_machine",
    "trainer_machine",
]

EACH, PART = 50, 40  # steps of an example; examples with one seed, of which a fault ends the rest


def _run(machines: Sequence[type[RuleBasedStateMachine]], steps: int, seed: int) -> int:
    """Run machines in turn, each part with a seed of its own, and print figures; returns faults."""
    figures = machine_runs.Figures()
    in_turn = itertools.cycle(machines)
    while figures.steps < steps:
        machine = next(in_turn)
        examples = min(PART, -(-(steps - figures.steps) // EACH))
        try:
            machine_runs.run_machine(machine, examples, EACH, seed=seed, figures=figures)
        except (Exception, pytest.fail.Exception):  # noqa: BLE001  # the report has the steps that lead there
            print(f"FAILED with seed {seed}", flush=True)
            traceback.print_exc()
        print(f"seed {seed}: {figures}", flush=True)
        seed += 1
    return figures.faults


@nightly(minutes=30)
def module_machine(*, steps: int = 100_000, seed: int = 1) -> int:
    """Do everything that people do with modules and optimizers, beside a plain NumPy model of it.

    steps: how many, up to 50 an example
    """
    import test_machine_modules

    return _run([test_machine_modules.Modules], steps, seed)


@nightly(minutes=30)
def recurrent_machine(*, steps: int = 100_000, seed: int = 1, kinds: str = "") -> int:
    """Use layers over sequences, their states and masks, beside a plain NumPy model of them.

    steps: how many, up to 50 an example
    kinds: the layers, with commas; all by default
    """
    from test_machine_recurrent import KINDS, of_kind

    chosen = kinds.split(",") if kinds else KINDS
    return _run([of_kind(kind) for kind in chosen], steps, seed)


@nightly(minutes=15)
def attention_machine(*, steps: int = 100_000, seed: int = 1) -> int:
    """Use attention and its masks, beside a plain NumPy model of it.

    steps: how many, up to 50 an example
    """
    import test_machine_attention

    return _run([test_machine_attention.Attentions], steps, seed)


@nightly(minutes=60)
def trainer_machine(*, steps: int = 100_000, seed: int = 1) -> int:
    """Use a Trainer as people do, beside a plain NumPy model of it.

    steps: how many, up to 50 an example
    """
    import test_machine_trainer

    return _run([test_machine_trainer.TrainerMachine], steps, seed)


@nightly(minutes=60)
def pytorch_machine(*, steps: int = 100_000, seed: int = 1) -> int:
    """Do the same with modules and optimizers here and in PyTorch, which must be installed.

    steps: how many, up to 50 an example
    """
    import test_machine_modules_torch

    return _run([test_machine_modules_torch.BothModules], steps, seed)
