"""`optimizer_step`: one step of an update rule on arrays, as a primitive.

Replay repeats it, and it walks over flat memory in blocks that fit the cache, or by the rule's own
loop, where the rule has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import primitive
from tapegrad.autograd.core.zeros import forget_zeros

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Shape
    from tapegrad.optim.core.rule import UpdateRule

__all__ = ["BLOCK", "UPDATES", "optimizer_step"]

# The name under which a step is told the number of updates, beside the arrays among its options.
UPDATES = "number of updates"

# Entries of a block.  x, its gradient and the slots of a block together fit the second-level cache.
BLOCK = 16384

# Compiling a loop takes a second; below this many entries array code is as fast.
COMPILED_FROM = 20_000
MACHINE_FROM = 8192  # the same of machine code, which is made in a few hundredths of a second
COMPILED = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


@primitive(mutates="x")
def optimizer_step(
    xp: Namespace,
    x: Array,
    gradient: Array,
    slots: list[Array],
    arrays: list[Array],
    *,
    rule: Any,
    slot_names: tuple[str, ...],
    array_names: tuple[str, ...],
    options: tuple[tuple[str, Any], ...],
) -> None:
    """Run a rule: overwrite x and the rule's slots with what it computes from them and `gradient`.

    x, gradient: arrays of one shape
    slots:   the state arrays called `slot_names`
    arrays:  the options called `array_names`, arrays of x's shape or single numbers
    options: the other options
    The rule sees float16 x and gradients as float32.
    """
    _hand_out(rule, gradient)
    state = dict(zip(slot_names, slots, strict=True))
    settings = _settings(rule, state, options, array_names, arrays)
    if x.dtype == np.float16:
        single = x.astype(np.float32)
        g = gradient.astype(np.float32)
        _run_whole(xp, rule, single, g, state, settings)
        x[...] = single
        return
    if xp is not np:
        _run_whole(xp, rule, x, gradient, state, settings)
        return
    size = x.size
    is_flat = _all_contiguous(x, gradient, slots)
    in_place = rule.faster.get("numpy")
    if in_place is not None and x.dtype == gradient.dtype and is_flat:
        flat = _flat_state(state, x.shape)
        if in_place(x.reshape(-1), gradient.reshape(-1), flat, settings) is not False:
            _count_step(rule, state)
            return
    if rule.needs_whole_array or size <= BLOCK or not is_flat:
        _run_block(xp, rule, x, gradient, state, settings, is_last=True)
        return
    shape = x.shape
    x, g = x.reshape(-1), gradient.reshape(-1)
    for start in range(0, size, BLOCK):
        part = slice(start, min(start + BLOCK, size))
        _run_block(
            xp, rule, x[part], g[part],
            {k: s.reshape(-1)[part] if s.shape == shape else s for k, s in state.items()},
            {k: _block_of(o, shape, part) for k, o in settings.items()},
            is_last=part.stop == size,
        )  # fmt: skip


@optimizer_step.primitive.prepared
def _optimizer_step_prepared(
    x: Array, gradient: Array, slots: list[Array], arrays: list[Array], *, rule: Any,
    slot_names: tuple[str, ...], array_names: tuple[str, ...],
    options: tuple[tuple[str, Any], ...],
) -> Callable[[], None] | None:  # fmt: skip
    settings = {**dict(options), **dict(zip(array_names, arrays, strict=True))}
    if rule.ready is None or UPDATES in settings or any(map(callable, settings.values())):
        return None
    fits = x.dtype in COMPILED and x.dtype == gradient.dtype and x.size >= MACHINE_FROM
    if not fits or not _all_contiguous(x, gradient, slots):
        return None
    state = dict(zip(slot_names, slots, strict=True))
    flat = _flat_state(state, x.shape)
    step: Callable[[], None] | None = rule.ready(
        x.reshape(-1), gradient.reshape(-1), flat, settings
    )
    if step is None or rule.counter is None:
        return step
    call, count, one = step, state[rule.counter], np.ones((), state[rule.counter].dtype)

    def counted() -> None:
        call()
        np.add(count, one, count)

    return counted


def _hand_out(rule: Any, gradient: Array) -> None:
    """Note that a rule that is not ours sees the memory of a gradient."""
    if not rule.function.__module__.startswith("tapegrad."):
        forget_zeros(gradient)


@optimizer_step.on("numba")
def _optimizer_step_compiled(
    xp: Namespace, x: Array, gradient: Array, slots: list[Array], arrays: list[Array], *, rule: Any,
    slot_names: tuple[str, ...], array_names: tuple[str, ...],
    options: tuple[tuple[str, Any], ...],
) -> None:  # fmt: skip
    """Run a rule through its compiled loop where it has one, else as `optimizer_step` does."""
    way = rule.faster.get("machine") if x.size >= MACHINE_FROM else None
    if way is None and x.size >= COMPILED_FROM:
        way = rule.faster.get("numba")
    fits = x.dtype in COMPILED and x.dtype == gradient.dtype
    _hand_out(rule, gradient)
    if way is not None and fits and _all_contiguous(x, gradient, slots):
        state = dict(zip(slot_names, slots, strict=True))
        settings = _settings(rule, state, options, array_names, arrays)
        flat = _flat_state(state, x.shape)
        if way(x.reshape(-1), gradient.reshape(-1), flat, settings) is not False:
            _count_step(rule, state)
            return
    optimizer_step.primitive.body(
        xp, x, gradient, slots, arrays, rule=rule, slot_names=slot_names,
        array_names=array_names, options=options,
    )  # fmt: skip


def _settings(
    rule: UpdateRule,
    state: Mapping[str, Array],
    options: tuple[tuple[str, Any], ...],
    array_names: tuple[str, ...],
    arrays: list[Array],
) -> dict[str, Any]:
    """Join the options of one step; a schedule becomes its value at the number of updates."""
    settings = {**dict(options), **dict(zip(array_names, arrays, strict=True))}
    count = settings.pop(UPDATES, None)
    if count is None and rule.counter is not None:
        count = state[rule.counter]
    if count is not None:
        for name, value in settings.items():
            if callable(value) and rule.declared.declared[name].is_number():
                settings[name] = value(float(count))
    return settings


def _flat_state(state: Mapping[str, Array], shape: Shape) -> dict[str, Array]:
    return {k: s.reshape(-1) if s.shape == shape and s.ndim else s for k, s in state.items()}


def _run_whole(
    xp: Namespace, rule: UpdateRule, x: Array, g: Array, state: dict[str, Array],
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """Run a rule on all of x, by a kernel on a GPU where it has one."""
    if xp is np or devices.launcher_of(x) is None:
        _run_block(xp, rule, x, g, state, settings, is_last=True)
        return
    from tapegrad.optim.core.launched_step import run_launched

    if not run_launched(rule, x, g, state, settings):
        _run_block(xp, rule, x, g, state, settings, is_last=True)


def _run_block(
    xp: Namespace,
    rule: UpdateRule,
    x: Array,
    g: Array,
    state: dict[str, Array],
    settings: dict[str, Any],
    *,
    is_last: bool,
) -> None:
    """Run a rule on one block of x and its slots.

    Slots of a single number are written with the last block, since all blocks read the old ones.
    """
    new_x, new_state = rule.function(xp, x, g, state, **settings)
    old = {id(x), *map(id, state.values())}
    new_state = {n: s.copy() if id(s) in old else s for n, s in new_state.items()}
    x[...] = new_x
    for name, value in new_state.items():
        if state[name].ndim or is_last:
            state[name][...] = value
    if is_last:
        _count_step(rule, state)


def _count_step(rule: UpdateRule, state: Mapping[str, Array]) -> None:
    if rule.counter is not None:
        state[rule.counter][...] += 1


def _all_contiguous(x: Array, g: Array, slots: list[Array]) -> bool:
    return all(a.flags.c_contiguous for a in (x, g, *slots))


def _block_of(value: Any, shape: Shape, part: slice) -> Any:
    """Cut a block out of an option that has x's shape; other options are the same in each block."""
    if devices.is_array(value) and value.ndim and value.shape == shape:
        return value.reshape(-1)[part]
    return value
