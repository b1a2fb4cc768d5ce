"""Running state machines: so many examples with fixed seeds, counted and timed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as with_seed
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

__all__ = ["Figures", "run_machine"]


@dataclass
class Figures:
    """What a run has done; those of several runs add up."""

    examples: int = 0
    steps: int = 0
    seconds: float = 0.0
    faults: int = 0

    def __str__(self) -> str:
        return (
            f"{self.examples:,} examples, {self.steps:,} steps, {self.seconds:.0f} s, "
            f"{self.faults} faults"
        )


def run_machine(
    machine: type[RuleBasedStateMachine],
    examples: int,
    steps: int,
    *,
    seed: int | None = None,
    shrink: bool = True,
    figures: Figures | None = None,
) -> Figures:
    """Run a machine for so many examples of so many steps each; the first fault is raised.

    seed:    of the examples; None takes those that are the same everywhere
    shrink:  look for the smallest example of a fault, which may take long
    figures: those to which this run is added, also where it raises
    """
    figures = Figures() if figures is None else figures

    class Counted(machine):
        def __init__(self) -> None:
            figures.examples += 1
            super().__init__()

        @invariant()
        def _a_step_is_counted(self) -> None:
            figures.steps += 1

    Counted.__name__ = Counted.__qualname__ = machine.__name__
    options = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=seed is None,
        database=None,
        phases=(Phase.generate, *([Phase.shrink] if shrink else [])),
        report_multiple_bugs=False,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    started = time.perf_counter()
    try:
        run_state_machine_as_test(
            Counted if seed is None else with_seed(seed)(Counted), settings=options
        )
    except BaseException:
        figures.faults += 1
        raise
    finally:
        figures.seconds += time.perf_counter() - started
    return figures
