"""One optimizer is one update rule: a pure function of parameters, their gradient and some state.

A rule is array code over a namespace `xp`, as the body of a primitive is, and returns the new
parameters and the new state.  All else is done here, once: creating the state, checking the
options, evaluating the function, and running the rule.  The rule runs in one primitive,
`optimizer_step`, which replay repeats and which walks over flat memory in blocks that fit the
cache: a rule of fifteen array operations then reads and writes main memory once.  Step counts and
rates are 0-d arrays; coefficients that depend on them are computed in float64 and cast at use.

The same rule serves Torch7's functional form (the rule itself is called) and the object form with
parameter groups (`optimizer.py`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad, ops
from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.core.mode import watch
from tapegrad.autograd.core.tensor import array_of, as_array, untracked
from tapegrad.autograd.core.types import Array, Namespace, Shape
from tapegrad.optim.core.options import Options, draw_example
from tapegrad.optim.core.step import UPDATES, optimizer_step

__all__ = [
    "State",
    "StateSlot",
    "Update",
    "UpdateRule",
    "cast_like",
    "decayed_rate",
    "scalar_shape",
    "update_rule",
]

# What a functional form keeps between steps, or is configured by.
State: TypeAlias = MutableMapping[str, Any]

# What a rule returns: the new x, and the slots that change by name.
Update: TypeAlias = tuple[Array, dict[str, Array]]

# What makes the steps of fixed arrays ready, with the same arguments as the next one.
Prepare: TypeAlias = "Callable[..., Callable[[], None] | None]"
# A faster way to run a rule: (x, gradient, state, options) -> None, or False if it did nothing.
InPlace: TypeAlias = Callable[[Array, Array, dict[str, Any], dict[str, Any]], bool | None]

GRADIENT_SHAPE = "{name}: the gradient has shape {found}, x has shape {expected}"
NO_DEFAULT = "the rule {name} must give its option {option!r} a default: {option}=option(…)"


class StateSlot(NamedTuple):
    """A declaration of one array of a rule's state.

    shape:   function of x's shape that gives the array's shape; None for x's own
    start:   the first value: a number, or the name of the option that holds it
    only_if: name of the option that must be true, or not 0, for the rule to have this array
    """

    shape: Callable[[Shape], Shape] | None = None
    start: float | str = 0.0
    only_if: str | None = None


def scalar_shape(shape: Shape) -> Shape:
    """Return (), whatever x's shape is: the `StateSlot.shape` of a single number."""
    return ()


class UpdateRule:
    """An optimizer in Torch7's functional form: one step of `optim.NAME(feval, x, config, state)`.

    feval:  x -> (f, gradient of x's shape)
    x:      array or Tensor, updated in place
    config: options by name; one that is unknown or out of range is an error that changes nothing
    state:  what is kept between steps; `config` itself if omitted, as in Torch7
    Returns (x, [f]), for some rules a third value.  `update_rule` makes one from a function.
    """

    def __init__(
        self,
        function: Callable[..., Update],
        *,
        counter: str | None,
        slots: Mapping[str, StateSlot],
        options: Mapping[str, Any],
        evaluate_at: Callable[..., Any] | None,
        repeat: str | None,
        also_returns: str | None,
        needs_whole_array: bool,
        check: Callable[[Mapping[str, Any]], None] | None,
    ) -> None:
        self.function = function
        self.counter = counter
        self.slots = dict(slots)
        self.evaluate_at = evaluate_at
        self.repeat = repeat
        self.also_returns = also_returns
        self.needs_whole_array = needs_whole_array
        self.check = check
        # Faster ways to do the same, by what runs them; see `on`.
        self.faster: dict[str, InPlace] = {}
        self.ready: Prepare | None = None
        # Whether a gradient of 0 changes nothing, with some options; see `skips_zeros`.
        self.skips: Callable[[Mapping[str, Any]], bool] | None = None
        # By what launches them, and by form: the kernels of a step, None for what has none.
        self.kernels: WeakKeyDictionary[devices.Launcher, dict[Any, Any]] = WeakKeyDictionary()
        self.state_names = (*((counter,) if counter else ()), *self.slots)
        self.declared = Options(function.__name__, options, state=self.state_names)
        self.options = self.declared.defaults
        # How the laws draw an example (`tapegrad.autograd.check`).
        self.law_case = functools.partial(draw_example, self.declared, check)
        self.__name__ = self.__qualname__ = function.__name__
        self.__doc__ = inspect.getdoc(function)
        self.__module__ = function.__module__

    def __repr__(self) -> str:
        return f"<optimizer {self.__name__}({', '.join(self.options)})>"

    def __reduce__(self) -> str:
        return self.__name__

    def __deepcopy__(self, memo: dict[int, Any]) -> UpdateRule:
        return self

    def on(self, library: str) -> Callable[[InPlace], InPlace]:
        """Declare a faster way to run the rule, as a decorator: `@adam.on("numpy")`.

        library: "numpy", "numba" for a compiled loop, or "machine" for machine code
        The decorated function is called as (x, gradient, state, options) on flat NumPy arrays of
        one dtype.  It overwrites x and the slots, and must give the bits of the rule; or it returns
        False and leaves them as they are.
        Raises ValueError for another library.
        """
        if library not in {"numpy", "numba", "machine"}:
            raise ValueError(
                f"a rule runs faster on 'numpy', 'numba' or 'machine', not {library!r}"
            )

        def declare(function: InPlace) -> InPlace:
            self.faster[library] = function
            return function

        return declare

    def prepared(self, function: Prepare) -> Prepare:
        """Declare what makes the steps of fixed arrays ready, for recorded steps, as a decorator.

        It is called as the functions of `on` are, and returns a function that makes one step but
        for counting it; or None where it cannot.
        """
        self.ready = function
        return function

    def skips_zeros(
        self, function: Callable[[Mapping[str, Any]], bool]
    ) -> Callable[[Mapping[str, Any]], bool]:
        """Declare when an entry whose gradient is 0 stays as it is, as a decorator.

        It is called with the options.  Of a gradient that is known to be 0 but for some rows, only
        these are then looked at on a GPU; a learning rate that is infinite or below 0 is provided
        for.
        """
        self.skips = function
        return function

    def complete_options(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Check the options in `config` and return all, with the defaults of those that it lacks.

        Raises TypeError for an option that does not exist, ValueError for a bad value.
        """
        result = self.declared.complete(config)
        if self.check is not None:
            self.check(result)
        return result

    def prepare(self, state: State, x: Tensor, options: Mapping[str, Any]) -> None:
        """Create the arrays that `state` lacks for parameters `x`."""
        xp = devices.namespace(array_of(x))
        if self.counter and not isinstance(state.get(self.counter), Tensor):
            start = np.array(float(state.get(self.counter, 0)))
            state[self.counter] = Tensor(start, device=x.device)
        for name, slot in self.slots.items():
            if slot.only_if and not options[slot.only_if]:
                continue
            if not isinstance(state.get(name), Tensor):
                shape = x.shape if slot.shape is None else slot.shape(x.shape)
                first = options[slot.start] if isinstance(slot.start, str) else slot.start
                # Squares of gradients, and ε, are too small for float16.
                own = np.float32 if x.dtype == np.float16 else x.dtype
                dtype = np.float64 if slot.shape is scalar_shape else own
                state[name] = untracked(xp.zeros(shape, dtype=dtype))
                if isinstance(first, Tensor) or first:
                    ops.assign(state[name], first)

    def update(
        self,
        x: Tensor,
        g: Tensor,
        state: State,
        options: Mapping[str, Any],
        updates: Tensor | None = None,
    ) -> None:
        """Make one step: overwrite `x` and `state`, from the gradient `g` and all `options`.

        updates: the number of steps before this one, for schedules; the rule's own count if omitted
        """
        with no_grad():
            self.prepare(state, x, options)
            operands, settings = self._call(x, g, state, options, updates)
            optimizer_step(*operands, **settings)

    def ready_step(
        self, x: Tensor, g: Tensor, state: State, options: Mapping[str, Any]
    ) -> Callable[[], Any] | None:
        """What makes later steps on the same NumPy arrays with the same options, and counts them.

        None where a rule has no such way, or has one only for other arrays and options.
        """
        prepare = optimizer_step.primitive.prepare
        if self.ready is None or prepare is None:
            return None
        if not self.function.__module__.startswith("tapegrad."):
            return None  # what is not ours may look at the gradient's memory: see `_hand_out`
        (x, g, slots, arrays), settings = self._call(x, g, state, options, None)
        return prepare(
            array_of(x), array_of(g), [*map(array_of, slots)], [*map(array_of, arrays)], **settings
        )

    def _call(
        self,
        x: Tensor,
        g: Tensor,
        state: State,
        options: Mapping[str, Any],
        updates: Tensor | None,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The operands and settings of `optimizer_step`, for a state that is complete."""
        used = {k: v for k, v in options.items() if k != self.repeat}
        arrays = {k: v for k, v in used.items() if _is_array(v)}
        if updates is not None and any(map(callable, used.values())):
            arrays[UPDATES] = updates
        names = tuple(name for name in self.state_names if self._has_slot(name, used))
        operands = x, g, [state[name] for name in names], [_beside(x, v) for v in arrays.values()]
        return operands, {
            "rule": self,
            "slot_names": names,
            "array_names": tuple(arrays),
            "options": tuple((k, v) for k, v in used.items() if k not in arrays),
        }

    def has_one_number(self, name: str) -> bool:
        """Whether a state array is a single number, which all entries of x have in common."""
        return name == self.counter or self.slots[name].shape is scalar_shape

    def _has_slot(self, name: str, options: Mapping[str, Any]) -> bool:
        only_if = None if name == self.counter else self.slots[name].only_if
        return only_if is None or bool(options[only_if])

    def __call__(
        self,
        feval: Callable[[Any], tuple[Any, Any]],
        x: Tensor | Array,
        config: State | None = None,
        state: State | None = None,
    ) -> tuple[Any, ...]:
        """Make one step: x is updated in place; returns x and [f]."""
        config = {} if config is None else config
        state = config if state is None else state
        watch(config)
        watch(state)
        options = self.complete_options(config)
        target = x.detach() if isinstance(x, Tensor) else untracked(as_array(x))
        losses = []
        for _ in range(options[self.repeat] if self.repeat else 1):
            f, g = self._evaluate(feval, x, target, state, options)
            losses.append(f)
            self.update(target, g, state, options)
        return (x, losses, state[self.also_returns]) if self.also_returns else (x, losses)

    def _evaluate(
        self,
        feval: Callable[[Any], tuple[Any, Any]],
        x: Tensor | Array,
        target: Tensor,
        state: State,
        options: Mapping[str, Any],
    ) -> tuple[Any, Tensor]:
        before = None
        if self.evaluate_at is not None:
            with no_grad():
                self.prepare(state, target, options)
                before = ops.identity(target) + 0
                ops.assign(target, self.evaluate_at(target, state, **options))
        try:
            f, gradient = feval(x)
            g = gradient.detach() if isinstance(gradient, Tensor) else Tensor(gradient)
            if g.shape != target.shape:
                raise ValueError(  # noqa: TRY301  # it too must put x back
                    GRADIENT_SHAPE.format(name=self.__name__, found=g.shape, expected=target.shape)
                )
        except BaseException:
            if before is not None:
                with no_grad():
                    ops.assign(target, before)
            raise
        return f, g


def _is_array(value: Any) -> bool:
    if type(value) in NUMBERS:
        return False
    return isinstance(value, (Tensor, np.ndarray)) or devices.is_array(value)


def _beside(x: Tensor, value: Tensor | Array) -> Tensor:
    """An option that is an array, where the parameters x are: a rate may come from elsewhere."""
    option = value if isinstance(value, Tensor) else untracked(value)
    if type(array_of(option)) is type(array_of(x)) is np.ndarray or option.device == x.device:
        return option
    return option.to(x.device)


def update_rule(
    *,
    counter: str | None = None,
    slots: tuple[str, ...] | Mapping[str, StateSlot] = (),
    evaluate_at: Callable[..., Any] | None = None,
    repeat: str | None = None,
    also_returns: str | None = None,
    needs_whole_array: bool = False,
    check: Callable[[Mapping[str, Any]], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Update]], UpdateRule]:
    """Make an optimizer of a function rule(xp, x, g, state, *, …options) -> (new x, new state).

    The rule computes on bare arrays with `xp`'s functions.  Its keyword arguments are the options,
    each with a default or an `option(…)`.  `state` holds the slots by name, and new state has those
    that change; ``state[counter]`` is the number of steps made before this one.

    counter: name of the state entry that counts steps, a 0-d float64 array from 0
    slots:   names of state arrays shaped like x and zero at first, or a `StateSlot` for each
    evaluate_at: (x, state, **options) -> where the function is evaluated instead of x
    repeat:  name of the option that says how many steps one call makes; the rule does not get it
    also_returns: name of the slot that a call returns beside x and the losses
    needs_whole_array: the rule is not elementwise, and sees each parameter alone and undivided
    check:   raises ValueError for options that do not go together
    options: options that cannot be keyword arguments: `repeat`, and names such as "lambda"
    Raises TypeError for an option without a default.

    >>> from tapegrad.optim import Optimizer, option
    >>> @update_rule(counter="t", slots=("v",))
    ... def heavy_ball(xp, x, g, state, *, lr=option(0.1, at_least=0), momentum=0.9):
    ...     v = momentum * state["v"] + g
    ...     return x - lr * v, {"v": v}
    >>> class HeavyBall(Optimizer):
    ...     rule = heavy_ball
    """
    declared = slots if isinstance(slots, Mapping) else {name: StateSlot() for name in slots}

    def declare(function: Callable[..., Update]) -> UpdateRule:
        own = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                if parameter.default is parameter.empty:
                    raise TypeError(NO_DEFAULT.format(name=function.__name__, option=name))
                own[name] = parameter.default
        return UpdateRule(
            function,
            counter=counter,
            slots=declared,
            options={**own, **(options or {})},
            evaluate_at=evaluate_at,
            repeat=repeat,
            also_returns=also_returns,
            needs_whole_array=needs_whole_array,
            check=check,
        )

    return declare


def decayed_rate(rate: Any, decay: float, count: Any) -> Any:
    """Compute the learning rate of step `count`, in float64: rate / (1 + count · decay)."""
    return rate / (1 + count * decay) if decay else rate


def cast_like(xp: Namespace, value: Any, x: Array) -> Any:
    """Cast a coefficient to x's dtype, so that it does not widen what it multiplies."""
    # NumPy's float64 scalars are Python floats by type, and yet widen a float32 array.
    return value if type(value) in {int, float} else xp.asarray(value, dtype=x.dtype)
