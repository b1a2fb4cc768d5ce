"""Laws of other ways to run a module: replayed, in threads, on another device."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.laws import Laws, NotCovered, must, must_all_be_equal, must_be_close
from tapegrad.autograd.check.modules.trial import (
    NO_SECOND_ORDER,
    ModuleTrial,
    as_tensor,
    floating_arrays,
    has_handwritten_gradients,
)
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.replay.step import replay

__all__ = ["LAWS", "agree_on_device"]

LAWS = Laws("module")


@LAWS()
def replay_equals_eager(trial: ModuleTrial) -> NotCovered | None:
    """A training step, recorded and run again, gives equal outputs and parameters, bit for bit."""
    if has_handwritten_gradients(trial.module):
        return NotCovered(NO_SECOND_ORDER)

    def step_of(module: Any) -> Callable[..., Any]:
        def step(x: Any, v: Any) -> Any:
            module.zeroGradParameters()
            outputs = leaves(trial.call(module, x))
            for y, g in zip(outputs, leaves(v), strict=True):
                if y.tracked:
                    y.backward(g)
            module.updateParameters(0.125)
            return outputs

        return step

    eager, replayed = trial.copy(), trial.copy()
    x = trial.on_input()
    trial.forward(eager, x)
    v = [as_tensor(c) for c in trial.cotangents(eager)]
    eager = trial.copy()
    again = replay(step_of(replayed))
    steps: list[tuple[Any, Callable[..., Any]]] = [(eager, step_of(eager)), (replayed, again)]
    histories = []
    for module, step in steps:
        devices.manual_seed(trial.draws.seed)
        history = []
        for turn in range(4):
            shifted = trial.on_input([_shift(a, turn) for a in floating_arrays(trial.input)])
            history += [np.array(y.numpy()) for y in step(shifted, v)]
            history += trial.values(module)
        histories.append([*history, *module.state_dict().values()])
    must(again.recorded == 1, "the step was never replayed")
    must_all_be_equal(histories[1], histories[0], "replayed value")
    return None


def _shift(a: np.ndarray, turn: int) -> np.ndarray:
    """Other values for each turn, and no negative ones, nor larger ones, where none were."""
    return a * (1 - 0.25 * turn) if a.size and a.min() >= 0 else a + 0.25 * turn


@LAWS(effort=0.1)
def clones_in_threads_give_what_one_thread_gives(trial: ModuleTrial) -> None:
    """Four threads, each with a clone in evaluation mode: equal bits, call after call."""
    serial, x = trial.with_zero_gradients(trial.copy()).evaluate(), trial.on_input()
    output = trial.forward(serial, x)
    v = trial.cotangents(serial)
    expected = trial.backward(serial, x, v)

    def work(module: Any) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
        found = []
        for _ in range(5):
            outputs = [np.array(y.numpy()) for y in leaves(trial.run(module, x))]
            found.append((outputs, trial.backward(module, x, v)))
        return found

    with ThreadPoolExecutor(4) as pool:
        modules = [trial.with_zero_gradients(trial.copy()).evaluate() for _ in range(4)]
        for found in pool.map(work, modules):
            for outputs, gradients in found:
                must_all_be_equal(outputs, output, "output in a thread,")
                must_all_be_equal(gradients, expected, "gradInput in a thread,")


@LAWS()
def strict_arrays_agree_with_numpy(trial: ModuleTrial) -> None:
    """The module uses only the array namespace of its input's device."""
    agree_on_device(trial, "strict")


def agree_on_device(trial: ModuleTrial, device: str) -> None:
    """Outputs and gradients on `device` are those of the CPU, and stay on the device.

    Random layers are compared in evaluation mode, since each device draws its own numbers.
    """
    module, x = trial.with_zero_gradients(trial.copy()).evaluate(), trial.on_input()
    if not trial.is_random():
        trial.set_mode(module)
    moved = module.clone().to(device)
    target = devices.device(device)
    x_moved = map_leaves(lambda t: t.to(device), x)
    expected = trial.forward(module, x)
    found = trial.forward(moved, x_moved)
    for y in leaves(moved.output):
        must(y.device == target, f"the output came back from {device} to {y.device}")
    v = trial.cotangents(module)
    gradients = trial.backward(module, x, v)
    found_gradients = trial.backward(moved, x_moved, v)
    must(
        all(g.device == target for g in leaves(moved.gradInput)),
        f"gradInput came back from {device}",
    )
    pairs = [
        ("output", found, expected),
        ("gradInput", found_gradients, gradients),
        ("gradient of parameter", trial.gradients(moved), trial.gradients(module)),
    ]
    for what, founds, expecteds in pairs:
        for i, (f, e) in enumerate(zip(founds, expecteds, strict=True)):
            must_be_close(f, e, f"{what} {i} on {device}", relative=1e-11, scale=1.0)
