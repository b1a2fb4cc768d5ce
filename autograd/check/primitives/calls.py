"""Laws of calls: what a call leaves behind or overwrites, and what a repeated call gives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.laws import (
    Laws,
    must,
    must_agree,
    must_be_equal,
    must_be_unchanged,
    must_leave_no_cycles,
    snapshot,
)
from tapegrad.autograd.check.primitives.trial import PrimitiveTrial, floating_results, values_of
from tapegrad.autograd.check.report import LawError
from tapegrad.autograd.compiling.compiled import compile
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.replay.entry import replay
from tapegrad.autograd.transforms.products import vjp

__all__ = ["LAWS"]

LAWS = Laws("primitive")


@LAWS()
def it_leaves_no_cyclic_garbage(trial: PrimitiveTrial) -> None:
    """Calls, recorded or not, and their derivatives are freed by reference count alone."""
    derive = trial.derives
    v = trial.cotangents() if derive else []

    def step() -> None:
        trial.run(wrap=Tensor)
        if derive:
            trial.gradients(v)

    step()
    must_leave_no_cycles(step)


@LAWS()
def only_its_target_is_overwritten(trial: PrimitiveTrial) -> None:
    """An in-place primitive writes what NumPy's assignment writes, and changes nothing else."""
    assert trial.primitive is not None
    arguments = trial.arguments(wrap=lambda a: Tensor(a.copy()))
    arrays = [leaf.numpy() for leaf in leaves(arguments) if isinstance(leaf, Tensor)]
    target = trial.primitive.arguments.index(str(trial.primitive.mutates))
    expected = np.array(trial.arguments()[target])
    bare = [np.array(a) if isinstance(a, np.ndarray) else a for a in trial.arguments()]
    bare[target] = expected
    trial.primitive.body(np, *bare, **trial.call.settings)
    memory = arguments[target].numpy()
    others = [array for array in arrays if array is not memory]
    before = snapshot(others)
    result = trial.function(*arguments, **trial.call.settings)
    must(result is arguments[target], "an in-place primitive returns its target")
    must_be_equal(memory, expected, "target")
    must_be_unchanged(before, others, "argument")


@LAWS()
def equal_seeds_give_equal_draws(trial: PrimitiveTrial) -> None:
    """Equal seeds give equal draws of the requested shape and dtype; a second draw differs."""
    settings = {**trial.call.settings, "generator": devices.Generator(seed=trial.draws.seed)}
    first, after = values_of([trial.function(**settings) for _ in range(2)])
    settings["generator"] = devices.Generator(seed=trial.draws.seed)
    [again] = values_of(trial.function(**settings))
    must_be_equal(again, first, "draws with an equal seed")
    shape, dtype = settings["shape"], settings["dtype"]
    must(first.shape == shape and first.dtype == dtype, f"drew {first.dtype}{first.shape}")
    if first.size > 16:
        must(not np.array_equal(first, after), "two calls in a row drew the same numbers")


@LAWS()
def replay_equals_eager(trial: PrimitiveTrial) -> None:
    """A replayed call with its derivative gives the same bits as an eager one."""
    _run_again(trial, replay, must_be_equal)


@LAWS(effort=0.1, deep=True)
def compiled_equals_eager(trial: PrimitiveTrial) -> None:
    """A compiled call gives the same bits as an eager one; in kernels, within rounding."""
    _run_again(trial, functools.partial(compile, fuse=False), must_be_equal)
    if not trial.primitive or not trial.primitive.random:
        _run_again(trial, compile, must_agree)


def _run_again(
    trial: PrimitiveTrial,
    again: Callable[..., Any],
    must_match: Callable[[Any, Any, str], None],
) -> None:
    """Compare calls of a step that `again` has made with ordinary ones."""
    primitive = trial.primitive
    if primitive is not None and primitive.random:
        _repeat_draws(trial, again)
        return
    v = trial.cotangents() if trial.derives else []

    def step(point: Any, cotangents: Any) -> Any:
        if not trial.derives:
            return trial.run(point, wrap=Tensor)
        y, pull = vjp(lambda *x: floating_results(trial.on_tensors(*x)), tuple(point))
        return [y, pull(list(cotangents))]

    def inputs(turn: int) -> Any:
        point = [Tensor(x + 0.125 * turn) for x in trial.point]
        return point, [Tensor(c - 0.25 * turn) for c in v]

    replayed = again(step)
    refusals = 0
    for turn in range(3):
        try:
            expected = values_of(step(*inputs(turn)))
        except ValueError as refused:  # moved out of what the operation takes: so must replay
            _must_refuse(functools.partial(replayed, *inputs(turn)), refused)
            refusals += 1
            continue
        for i, (f, e) in enumerate(zip(values_of(replayed(*inputs(turn))), expected, strict=True)):
            must_match(f, e, f"result {i} of call {turn}")
    must(refusals or replayed.recorded == 1, "the call was never replayed")


def _must_refuse(call: Callable[[], Any], refused: ValueError) -> None:
    """Raise LawError unless the call raises the same ValueError."""
    try:
        call()
    except ValueError as error:
        must(str(error) == str(refused), f"replay raised {error!r} instead of {refused!r}")
        return
    raise LawError(f"a replayed call gave a result where an eager one raises {refused!r}")


def _repeat_draws(trial: PrimitiveTrial, again: Callable[..., Any]) -> None:
    def draws(generator: Any, run: Callable[..., Any] | None = None) -> list[np.ndarray]:
        def step() -> Any:
            return trial.function(**trial.call.settings, generator=generator)

        step = step if run is None else run(step)
        return values_of([step() for _ in range(4)])

    expected = draws(devices.Generator(seed=trial.draws.seed))
    found = draws(devices.Generator(seed=trial.draws.seed), again)
    for turn, (f, e) in enumerate(zip(found, expected, strict=True)):
        must_be_equal(f, e, f"draw {turn}")
