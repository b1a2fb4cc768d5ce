"""One optimizer, one rule: a pure function of the parameters, their gradient and some state.

A rule is array code over a namespace `xp`, as the body of a primitive is, and returns the new
parameters and the new state.  Everything else is done here, once: creating the state, checking the
options, evaluating the function, and running the rule.  It runs in one primitive, `optimizer_step`,
which replay repeats and which walks over flat memory in blocks that fit the cache: a rule of
fifteen array operations then reads and writes main memory once.  Step counts and rates are 0-d
arrays, and coefficients that depend on them are computed in float64 and cast at use.

The same rule serves Torch7's functional form (the rule itself is called) and the object form with
parameter groups (`optimizer.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad, ops, primitive
from tapegrad.autograd.core.tensor import array_of, as_array, untracked
from tapegrad.optim.core.options import Options

__all__ = [
    "BLOCK",
    "Rule",
    "Slot",
    "cast",
    "decayed",
    "optimizer",
    "optimizer_step",
    "scalar",
]

State = MutableMapping[str, Any]

SHAPE = "{name}: the gradient has shape {found}, x has shape {expected}"

# Entries of a block, x and its gradient and slots together staying in the second-level cache.
BLOCK = 16384

# Compiling a loop takes a second; below this many entries array code is as fast.
COMPILED_FROM = 20_000


class Slot(NamedTuple):
    """What a state array of a rule is like.

    shape: function of x's shape that gives the array's; None for x's own
    start: its first value, a number or the name of the option that holds it
    when:  name of the option that must be true, or not 0, for the rule to have this array
    """

    shape: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None
    start: Any = 0.0
    when: str | None = None


def scalar(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a state that is one number, whatever x is."""
    return ()


@primitive(mutates="x")
def optimizer_step(
    xp: Any,
    x: Any,
    gradient: Any,
    slots: list[Any],
    others: list[Any],
    *,
    rule: Any,
    slot_names: tuple[str, ...],
    names: tuple[str, ...],
    options: tuple[tuple[str, Any], ...],
) -> None:
    """Run a rule: overwrite x and its slots with what the rule makes of them and the gradient.

    x, gradient: arrays of one shape
    slots:   the state arrays called `slot_names`
    others:  the options called `names`, arrays of x's shape or single numbers
    options: the other options
    """
    state = dict(zip(slot_names, slots, strict=True))
    chosen = {**dict(options), **dict(zip(names, others, strict=True))}
    size = x.size
    in_place = rule.in_place is not None and xp is np and x.dtype == gradient.dtype
    if in_place and _flat(x, gradient, slots):
        rule.in_place(x.reshape(-1), gradient.reshape(-1), _flattened(state, x.shape), chosen)
        state[rule.counter][...] += 1
        return
    if rule.whole or size <= BLOCK or xp is not np or not _flat(x, gradient, slots):
        _run(xp, rule, x, gradient, state, chosen, last=True)
        return
    shape = x.shape
    x, g = x.reshape(-1), gradient.reshape(-1)
    for start in range(0, size, BLOCK):
        part = slice(start, min(start + BLOCK, size))
        _run(
            xp, rule, x[part], g[part],
            {k: s.reshape(-1)[part] if s.shape == shape else s for k, s in state.items()},
            {k: _cut(o, shape, part) for k, o in chosen.items()},
            last=part.stop == size,
        )  # fmt: skip


@optimizer_step.on("numba")
def _compiled(
    xp: Any, x: Any, gradient: Any, slots: list[Any], others: list[Any], *, rule: Any,
    slot_names: tuple[str, ...], names: tuple[str, ...], options: tuple[tuple[str, Any], ...],
) -> None:  # fmt: skip
    """The same, through the rule's compiled loop where it has one."""
    if (
        rule.compiled is None
        or x.dtype != gradient.dtype
        or x.dtype.kind != "f"
        or x.dtype.itemsize < 4
        or x.size < COMPILED_FROM
        or not _flat(x, gradient, slots)
    ):
        optimizer_step.primitive.body(
            xp, x, gradient, slots, others, rule=rule, slot_names=slot_names, names=names,
            options=options,
        )  # fmt: skip
        return
    state = _flattened(dict(zip(slot_names, slots, strict=True)), x.shape)
    chosen = {**dict(options), **dict(zip(names, others, strict=True))}
    rule.compiled(x.reshape(-1), gradient.reshape(-1), state, chosen)
    state[rule.counter][...] += 1


def _flattened(state: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    return {k: s.reshape(-1) if s.shape == shape and s.ndim else s for k, s in state.items()}


def _run(
    xp: Any,
    rule: Any,
    x: Any,
    g: Any,
    state: dict[str, Any],
    options: dict[str, Any],
    *,
    last: bool,
) -> None:
    """One block.  Single numbers are written with the last one: all blocks read the old ones."""
    new_x, new = rule.function(xp, x, g, state, **options)
    x[...] = new_x
    for name, value in new.items():
        if state[name].ndim or last:
            state[name][...] = value
    if last and rule.counter:
        state[rule.counter][...] += 1


def _flat(x: Any, g: Any, slots: list[Any]) -> bool:
    return all(a.flags.c_contiguous for a in (x, g, *slots))


def _cut(value: Any, shape: tuple[int, ...], part: slice) -> Any:
    if devices.is_array(value) and value.ndim and value.shape == shape:
        return value.reshape(-1)[part]
    return value


class Rule:
    """An optimizer in Torch7's functional form: one step of `optim.NAME(feval, x, config, state)`.

    feval:  x -> (f, gradient of x's shape)
    x:      array or Tensor, updated in place
    config: options by name; one that is unknown or out of range is an error that changes nothing
    state:  what is kept between steps; `config` itself if omitted, as in Torch7
    Returns (x, [f]), for some rules a third value.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        counter: str | None,
        slots: Mapping[str, Slot],
        options: Mapping[str, Any],
        ahead: Callable[..., Any] | None,
        repeat: str | None,
        third: str | None,
        whole: bool,
        check: Callable[[Mapping[str, Any]], None] | None,
    ) -> None:
        self.function = function
        self.counter = counter
        self.slots = dict(slots)
        self.ahead = ahead
        self.repeat = repeat
        self.third = third
        self.whole = whole
        self.check = check
        # Faster ways to do the same, (x, g, state, options) -> None on flat NumPy arrays, which
        # overwrite x and the slots.  The rule stays the oracle they are tested against.
        self.in_place: Callable[..., None] | None = None
        self.compiled: Callable[..., None] | None = None
        self.state_names = (*((counter,) if counter else ()), *self.slots)
        self.declared = Options(function.__name__, options, state=self.state_names)
        self.options = self.declared.defaults
        self.__name__ = self.__qualname__ = function.__name__
        self.__doc__ = inspect.getdoc(function)
        self.__module__ = function.__module__

    def __repr__(self) -> str:
        return f"<optimizer {self.__name__}({', '.join(self.options)})>"

    def __reduce__(self) -> str:
        return self.__name__

    def __deepcopy__(self, memo: dict[int, Any]) -> Rule:
        return self

    def chosen(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """All options: those in `config`, checked, and the defaults of the others.

        Raises TypeError for an option that does not exist, ValueError for a bad value.
        """
        result = self.declared.chosen(config)
        if self.check is not None:
            self.check(result)
        return result

    def prepare(self, state: State, x: Any, options: Mapping[str, Any]) -> None:
        """Create what is missing in `state` for parameters `x`, a Tensor."""
        xp = devices.namespace(array_of(x))
        if self.counter and not isinstance(state.get(self.counter), Tensor):
            start = np.array(float(state.get(self.counter, 0)))
            state[self.counter] = Tensor(start, device=x.device)
        for name, slot in self.slots.items():
            if slot.when and not options[slot.when]:
                continue
            if not isinstance(state.get(name), Tensor):
                shape = x.shape if slot.shape is None else slot.shape(x.shape)
                start = options[slot.start] if isinstance(slot.start, str) else slot.start
                dtype = np.float64 if slot.shape is scalar else x.dtype
                state[name] = untracked(xp.zeros(shape, dtype=dtype))
                if isinstance(start, Tensor) or start:
                    ops.assign(state[name], start)

    def update(self, x: Tensor, g: Tensor, state: State, options: Mapping[str, Any]) -> None:
        """One step of `x` and `state` in place, with the gradient `g` and all `options`."""
        with no_grad():
            self.prepare(state, x, options)
            used = {k: v for k, v in options.items() if k != self.repeat}
            arrays = {k: v for k, v in used.items() if isinstance(v, Tensor) or _is_array(v)}
            names = tuple(
                name
                for name in self.state_names
                if name == self.counter or not self.slots[name].when or used[self.slots[name].when]
            )
            optimizer_step(
                x,
                g,
                [state[name] for name in names],
                [v if isinstance(v, Tensor) else untracked(v) for v in arrays.values()],
                rule=self,
                slot_names=names,
                names=tuple(arrays),
                options=tuple((k, v) for k, v in used.items() if k not in arrays),
            )

    def __call__(
        self,
        feval: Callable[[Any], tuple[Any, Any]],
        x: Any,
        config: State | None = None,
        state: State | None = None,
    ) -> tuple[Any, ...]:
        """One step: x is updated in place; returns x and [f]."""
        config = {} if config is None else config
        state = config if state is None else state
        options = self.chosen(config)
        target = x.detach() if isinstance(x, Tensor) else untracked(as_array(x))
        losses = []
        for _ in range(options[self.repeat] if self.repeat else 1):
            f, g = self._evaluated(feval, x, target, state, options)
            losses.append(f)
            self.update(target, g, state, options)
        return (x, losses, state[self.third]) if self.third else (x, losses)

    def _evaluated(
        self, feval: Any, x: Any, target: Tensor, state: State, options: Mapping[str, Any]
    ) -> tuple[Any, Tensor]:
        before = None
        if self.ahead is not None:
            with no_grad():
                self.prepare(state, target, options)
                before = ops.identity(target) + 0
                ops.assign(target, self.ahead(target, state, **options))
        try:
            f, gradient = feval(x)
            g = gradient.detach() if isinstance(gradient, Tensor) else Tensor(gradient)
            if g.shape != target.shape:
                raise ValueError(  # noqa: TRY301  # it too must put x back
                    SHAPE.format(name=self.__name__, found=g.shape, expected=target.shape)
                )
        except BaseException:
            if before is not None:
                with no_grad():
                    ops.assign(target, before)
            raise
        return f, g


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or devices.is_array(value)


def optimizer(
    *,
    counter: str | None = None,
    slots: tuple[str, ...] | Mapping[str, Slot] = (),
    ahead: Callable[..., Any] | None = None,
    repeat: str | None = None,
    third: str | None = None,
    whole: bool = False,
    check: Callable[[Mapping[str, Any]], None] | None = None,
    options: Mapping[str, Any] | None = None,
    **more: Any,
) -> Callable[[Callable[..., Any]], Rule]:
    """Make a rule an optimizer.

    counter: name of the state entry that counts steps, a 0-d float64 array from 0
    slots:   names of state arrays shaped like x and zero at first, or a `Slot` for each
    ahead:   (x, state, **options) -> where the function is evaluated instead of x
    repeat:  name of the option that says how many steps one call makes
    third:   name of the slot that a call returns beside x and the losses
    whole:   the rule is not elementwise: it must see an array at once, and each parameter alone
    check:   raises ValueError for options that do not go together
    options: the options by name, beside those given by keyword: the default of each, or an `Option`
             where not every number fits

    The rule is called as rule(xp, x, g, state, **options) on bare arrays and returns (new x, new
    slots by name); ``state[counter]`` holds the number of steps made before this one.
    """
    found = slots if isinstance(slots, Mapping) else {name: Slot() for name in slots}

    def declare(function: Callable[..., Any]) -> Rule:
        return Rule(
            function,
            counter=counter,
            slots=found,
            options={**(options or {}), **more},
            ahead=ahead,
            repeat=repeat,
            third=third,
            whole=whole,
            check=check,
        )

    return declare


def decayed(rate: Any, decay: float, count: Any) -> Any:
    """The learning rate of step number `count`, in float64: rate / (1 + count · decay).

    A schedule, a function of the step, may stand for the rate.
    """
    if callable(rate):
        rate = rate(float(count))
    return rate / (1 + count * decay) if decay else rate


def cast(xp: Any, value: Any, x: Any) -> Any:
    """A coefficient in x's dtype, so that it does not widen what it multiplies."""
    # NumPy's float64 scalars are Python floats by type, and yet widen a float32 array.
    return value if type(value) in {int, float} else xp.asarray(value, dtype=x.dtype)
