"""The Trainer's state machine, for many steps."""

from __future__ import annotations

import traceback

import test_machine_trainer

from tests.nightly import nightly

__all__ = ["trainer_machine"]


@nightly(minutes=30)
def trainer_machine(*, steps: int = 100_000) -> int:
    """Use a Trainer as people do, beside a plain NumPy model of it.

    steps: how many, at 50 an example
    """
    try:
        test_machine_trainer.run_machine(max(steps // 50, 1), 50)
    except Exception:  # noqa: BLE001  # whatever it is, the report has the steps that lead there
        traceback.print_exc()
        return 1
    print(f"{test_machine_trainer.run_machine.examples} examples")
    return 0
