"""Laws of other ways to run a module: replayed, in threads, on another device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_agree,
    must_all_be_equal,
    must_be_close,
    must_be_equal,
)
from tapegrad.autograd.check.modules.trial import (
    NO_SECOND_ORDER,
    ModuleTrial,
    as_tensor,
    floating_arrays,
    has_handwritten_gradients,
)
from tapegrad.autograd.compiling.compiled import compile
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.replay.entry import replay

__all__ = ["LAWS", "agree_on_device"]

LAWS = Laws("module")


@LAWS()
def replay_equals_eager(trial: ModuleTrial) -> NotCovered | None:
    """A training step, recorded and run again, gives equal outputs and parameters, bit for bit."""
    return _run_again(trial, replay, must_be_equal)


@LAWS(effort=0.1, deep=True)
def compiled_equals_eager(trial: ModuleTrial) -> NotCovered | None:
    """A compiled training step gives the bits of an eager one; in kernels, within rounding."""
    _run_again(trial, functools.partial(compile, fuse=False), must_be_equal)
    return _run_again(trial, compile, must_agree)


def _run_again(
    trial: ModuleTrial,
    wrap: Callable[..., Any],
    must_match: Callable[[Any, Any, str], None],
) -> NotCovered | None:
    """Compare training steps that `wrap` has made with ordinary ones."""
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
    again = wrap(step_of(replayed))
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
    must(len(histories[0]) == len(histories[1]), "another number of values")
    for i, (found, expected) in enumerate(zip(histories[1], histories[0], strict=True)):
        must_match(found, expected, f"replayed value {i}")
    return None


def _shift(a: np.ndarray, turn: int) -> np.ndarray:
    """Other values for each turn, and no negative ones, nor larger ones, where none were."""
    return a * (1 - 0.25 * turn) if a.size and a.min() >= 0 else a + 0.25 * turn


@LAWS(effort=0.4)
def a_setting_changed_after_recording_is_seen(trial: ModuleTrial) -> NotCovered | None:
    """Each attribute of each part, changed between two calls of a replayed call, counts at once.

    The settings are what the parts hold, so no list of them is kept.  The changed module may
    refuse to run; then so does the replayed call.
    """
    if has_handwritten_gradients(trial.module):
        return NotCovered(NO_SECOND_ORDER)
    chosen = trial.draws.integer(0, 1 << 16)
    eager, replayed = trial.copy(), trial.copy()
    x = trial.on_input()

    def run(call: Callable[[Any], Any]) -> list[np.ndarray] | str:
        devices.manual_seed(trial.draws.seed)
        try:
            return [np.array(y.numpy()) for y in leaves(call(x))]
        except Exception as error:  # noqa: BLE001  # whatever the changed module raises
            return type(error).__name__

    # of a criterion, whose trial has a target
    targets = [trial.target_for(x)] if hasattr(trial, "target_for") else []
    again = replay(functools.partial(_call, replayed, targets))
    plain = functools.partial(_call, eager, targets)
    for _ in range(3):  # of both, since a call may make attributes and write buffers
        run(again)
        run(plain)
    recorded = again.recorded
    places = list(zip(_settings_of(eager), _settings_of(replayed), strict=True))
    if not places:
        return NotCovered("the module has no settings")
    changed = places[chosen % len(places)]
    for part, name, value in changed:
        setattr(part, name, value)
    what = f"{type(changed[0][0]).__name__}.{name} = {value!r:.60}: "
    for _ in range(3):
        expected, found = run(plain), run(again)
        if isinstance(expected, str) or isinstance(found, str):
            must(
                isinstance(found, str) and found in (expected, "ReplayError"),
                f"{what}the module raises {expected!r:.60}, the replayed call {found!r:.60}",
            )
        else:
            must_all_be_equal(found, expected, f"{what}output")
    must(recorded == 1, "the call was never replayed")
    return None


def _call(module: Any, targets: list[Any], x: Any) -> list[Any]:
    return leaves(module(x, *targets))


def _settings_of(module: Any) -> Iterator[tuple[Any, str, Any]]:
    """(part, attribute, another value for it) for each attribute of each part that is no part."""
    for part in module.listModules():
        results = getattr(type(part), "_step_results", ())
        for name, value in list(vars(part).items()):
            if name not in results:
                for other in _other_values(value):
                    yield part, name, other


def _other_values(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, float):
        yield value / 2 + 0.125
        yield value + 1.0
    elif isinstance(value, int):
        yield value + 1
        yield value - 1
    elif value is None:
        yield 1
    elif isinstance(value, Tensor) and value.dtype.kind == "f":
        yield type(value)(value.detach().numpy() * 0.5 + 0.25)
    elif isinstance(value, np.ndarray):
        yield ~value if value.dtype.kind == "b" else value + 1
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], (int, float)):
        yield type(value)(item + 1 for item in value)


@LAWS(effort=0.1, deep=True)
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
