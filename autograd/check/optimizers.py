"""Laws of optimizers in Torch7's functional form, `optimizer(feval, x, config, state)`.

The problem is a drawn quadratic, whose gradients are exact and cheap.  The laws are about the form:
x is updated in place, the state carries everything, and replay, float32 and resuming agree.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_be_close,
    must_be_equal,
    must_leave_no_cycles,
)
from tapegrad.autograd.check.report import LawError
from tapegrad.autograd.compiling.compiled import compile
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.replay.entry import replay
from tapegrad.autograd.replay.recording import ReplayError

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = ["OPTIMIZER_LAWS", "OptimizerTrial", "Setting"]

OPTIMIZER_LAWS = Laws("optimizer")


@dataclass
class Setting:
    """One drawn example: a configuration, and the number of parameters."""

    config: dict[str, Any] = field(default_factory=dict)
    size: int = 5


class OptimizerTrial:
    """An optimizer that minimises ½·Σ a·(x − b)², a > 0."""

    def __init__(
        self, name: str, function: Any, case: Callable[[Draws], Setting], draws: Draws
    ) -> None:
        self.name = name
        self.function = function
        self.draws = draws
        self.setting = case(draws)
        size = self.setting.size
        self.a = draws.rng.uniform(0.5, 2.0, size)
        self.b = gaussian(draws.rng, size)
        self.start = gaussian(draws.rng, size)

    def __repr__(self) -> str:
        return f"{self.name} with {self.setting.config} on {self.setting.size} numbers"

    def config(self) -> dict[str, Any]:
        """A copy of the configuration."""
        return {k: np.array(v) if isinstance(v, np.ndarray) else v
                for k, v in self.setting.config.items()}  # fmt: skip

    def feval(self, x: Tensor) -> tuple[Any, Any]:
        """The value of the quadratic and its gradient."""
        device = x.device
        a = Tensor(self.a.astype(x.dtype), device=device)
        b = Tensor(self.b.astype(x.dtype), device=device)
        gap = x - b
        return ((a * gap) * gap).sum() / 2, a * gap

    def run(
        self, steps: int, *, dtype: Any = np.float64, state: dict[str, Any] | None = None,
        x: Tensor | None = None, device: str = "cpu",
    ) -> tuple[Tensor, dict[str, Any]]:  # fmt: skip
        """x and the state after `steps` steps."""
        x = Tensor(self.start.astype(dtype), device=device) if x is None else x
        state = {} if state is None else state
        config = {
            key: Tensor(value.astype(dtype), device=device)
            if isinstance(value, np.ndarray) else value
            for key, value in self.config().items()
        }  # fmt: skip
        for _ in range(steps):
            self.function(self.feval, x, config, state)
        return x, state


@OPTIMIZER_LAWS()
def x_is_updated_in_place_and_returned_with_the_loss(trial: OptimizerTrial) -> None:
    """The optimizer returns the same object x, and the value of feval before the step."""
    x = Tensor(trial.start.copy())
    memory, before = x.numpy(), trial.feval(x)[0].numpy().copy()
    returned, losses, *_ = trial.function(trial.feval, x, trial.config(), {})
    must(returned is x, "another object than x was returned")
    must(x.numpy() is memory or np.shares_memory(x.numpy(), memory), "x was rebound")
    must(not np.array_equal(memory, trial.start), "x did not change")
    must_be_equal(losses[0].numpy(), before, "the loss returned")


@OPTIMIZER_LAWS()
def config_and_gradient_are_left_alone_when_a_state_is_given(trial: OptimizerTrial) -> None:
    """Only x and the state change."""
    config, gradients = trial.config(), []
    state: dict[str, Any] = {}

    def feval(x: Tensor) -> Any:
        f, g = trial.feval(x)
        gradients.append((g, g.numpy().copy()))
        return f, g

    x = Tensor(trial.start.copy())
    trial.function(feval, x, config, state)
    trial.function(feval, x, config, state)
    expected = trial.config()
    must(config.keys() == expected.keys(), f"config now has {sorted(config)}")
    for key, value in expected.items():
        must(np.array_equal(config[key], value), f"config[{key!r}] changed")
    for gradient, copy in gradients:
        must_be_equal(gradient.numpy(), copy, "the gradient that feval returned")
    must(bool(state), "nothing was put into the state")


@OPTIMIZER_LAWS()
def without_a_state_config_carries_it(trial: OptimizerTrial) -> None:
    """Torch7's habit: optimizer(feval, x, config) keeps its counters in config."""
    expected, _ = trial.run(3)
    x, config = Tensor(trial.start.copy()), trial.config()
    for _ in range(3):
        trial.function(trial.feval, x, config)
    must_be_equal(x.numpy(), expected.numpy(), "x")
    must(len(config) > len(trial.config()), "nothing was kept in config")


@OPTIMIZER_LAWS()
def two_and_three_steps_are_five(trial: OptimizerTrial) -> None:
    """State and x are all that a run needs: copies of both continue with equal bits."""
    expected, _ = trial.run(5)
    x, state = trial.run(2)
    copies = {k: Tensor(v.numpy().copy()) if isinstance(v, Tensor) else v for k, v in state.items()}
    found, _ = trial.run(3, x=Tensor(x.numpy().copy()), state=copies)
    must_be_equal(found.numpy(), expected.numpy(), "x after two and three steps")


@OPTIMIZER_LAWS()
def a_quadratic_goes_down(trial: OptimizerTrial) -> None:
    """The loss is smaller after fifty steps with the drawn settings than at the start."""
    x, _ = trial.run(50)
    end, begin = trial.feval(x)[0].item(), trial.feval(Tensor(trial.start))[0].item()
    decays = sum(np.sum(np.abs(v)) for k, v in trial.setting.config.items() if "ecay" in k)
    must(end < begin or decays > 0, f"the loss went from {begin:.4g} to {end:.4g}")


@OPTIMIZER_LAWS()
def float32_agrees_with_float64(trial: OptimizerTrial) -> None:
    """x and the arrays of the state stay float32 and agree with a float64 run."""
    single, state = trial.run(5, dtype=np.float32)
    must(single.dtype == np.float32, f"x became {single.dtype}")
    for key, value in state.items():
        if isinstance(value, Tensor) and value.ndim:
            must(value.dtype == np.float32, f"state[{key!r}] is {value.dtype}")
    double, _ = trial.run(5)
    must_be_close(single.numpy(), double.numpy(), "x in float32", relative=2e-5, scale=1.0)


@OPTIMIZER_LAWS()
def replay_equals_eager(trial: OptimizerTrial) -> None:
    """A replayed step gives the same bits in x and in the state as an eager one."""
    _run_again(trial, replay)


@OPTIMIZER_LAWS(effort=0.1, deep=True)
def compiled_equals_eager(trial: OptimizerTrial) -> None:
    """A compiled step gives the bits of an eager one; fused arithmetic has them too."""
    for fuse in (False, True):
        _run_again(trial, functools.partial(compile, fuse=fuse))


def _run_again(trial: OptimizerTrial, wrap: Callable[..., Any]) -> None:
    """Compare steps that `wrap` has made with ordinary ones."""
    expected, state = trial.run(5)
    x, config = Tensor(trial.start.copy()), trial.config()
    found: dict[str, Any] = {}
    a, b = Tensor(trial.a), Tensor(trial.b)

    def feval(x: Tensor) -> Any:
        gap = x - b
        return ((a * gap) * gap).sum() / 2, a * gap

    def step() -> Any:
        return trial.function(feval, x, config, found)[1]

    replayed = wrap(step)
    for _ in range(5):
        replayed()
    must(replayed.recorded == 1, "the step was never replayed")
    must_be_equal(x.numpy(), expected.numpy(), "x")
    for key, value in state.items():
        if isinstance(value, Tensor):
            must_be_equal(found[key].numpy(), value.numpy(), f"state[{key!r}]")


@OPTIMIZER_LAWS()
def an_option_changed_after_recording_is_seen(trial: OptimizerTrial) -> NotCovered | None:
    """Each option with another value that fits, set between two replayed steps, counts at once."""
    declared = trial.function.declared.declared if hasattr(trial.function, "declared") else {}
    config = trial.config()
    others = [
        (name, other)
        for name, option in declared.items()
        for other in option.values_to_try()
        if isinstance(other, (bool, int, float)) and other != config.get(name, option.default)
    ]
    if not others:
        return NotCovered("the optimizer has no options with another value to try")
    name, other = trial.draws.choice(others)
    results = []
    for wrap in (lambda step: step, replay):
        x, config = Tensor(trial.start.copy()), trial.config()
        state: dict[str, Any] = {}
        a, b = Tensor(trial.a), Tensor(trial.b)

        def feval(x: Tensor, a: Tensor = a, b: Tensor = b) -> Any:
            gap = x - b
            return ((a * gap) * gap).sum() / 2, a * gap

        step = wrap(lambda: trial.function(feval, x, config, state)[1])  # noqa: B023  # runs now
        try:
            for turn in range(7):
                if turn == 4:
                    config[name] = other
                step()
            results.append(x.numpy().copy())
        except (ValueError, ReplayError) as error:
            results.append(np.array(isinstance(error, ValueError)))
    must_be_equal(results[1], results[0], f"x after config[{name!r}] = {other!r}")
    return None


@OPTIMIZER_LAWS()
def strict_arrays_agree_with_numpy(trial: OptimizerTrial) -> None:
    """The update uses only the array namespace of x's device."""
    agree_on_device(trial, "strict")


def agree_on_device(trial: OptimizerTrial, device: str) -> None:
    """x agrees with a run on the CPU, and stays on its device."""
    expected, _ = trial.run(4)
    found, _ = trial.run(4, device=device)
    must(found.device == devices.device(device), f"x moved to {found.device}")
    must_be_close(found.numpy(), expected.numpy(), f"x on {device}", relative=1e-12, scale=1.0)


@OPTIMIZER_LAWS()
def an_unknown_option_is_refused_and_changes_nothing(trial: OptimizerTrial) -> None:
    """An unknown option raises TypeError and leaves x and the state unchanged."""
    x = Tensor(trial.start.copy())
    state: dict[str, Any] = {}
    try:
        trial.function(trial.feval, x, {**trial.config(), "learninRate": 0.1}, state)
    except TypeError:
        must_be_equal(x.numpy(), trial.start, "x after the error")
        must(not state, "the state was touched")
        return
    raise LawError("the option learninRate was accepted")


@OPTIMIZER_LAWS()
def nan_stays_nan(trial: OptimizerTrial) -> None:
    """A NaN in the gradient gives NaN in x."""
    x = Tensor(trial.start.copy())

    def feval(x: Tensor) -> Any:
        f, g = trial.feval(x)
        bad = g.numpy().copy()
        bad[0] = np.nan
        return f, Tensor(bad)

    trial.function(feval, x, trial.config(), {})
    must(np.isnan(x.numpy()[0]), "a NaN gradient was dropped")


@OPTIMIZER_LAWS(effort=0.1)
def it_leaves_no_cyclic_garbage(trial: OptimizerTrial) -> None:
    """Steps are freed by reference count alone."""
    x, config = Tensor(trial.start.copy()), trial.config()
    state: dict[str, Any] = {}

    def step() -> None:
        trial.function(trial.feval, x, config, state)

    step()
    must_leave_no_cycles(step)
