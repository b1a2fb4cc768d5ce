"""One optimizer, one rule: a pure function of the parameters, their gradient and some state.

A rule returns the new parameters and the new state; writing them in place, creating the state,
checking the options and evaluating the function are done here, once.  Everything is a recorded
call on Tensors, counters included, so that a step can be replayed: what changes from step to step
lives in arrays, and coefficients that depend on it are computed in float64 and cast at use.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

import numpy as np

from tapegrad.autograd import Tensor, no_grad, ops
from tapegrad.autograd.tensor import as_array, untracked

__all__ = ["Optimizer", "optimizer"]

State = MutableMapping[str, Any]

UNKNOWN = "{name}: there is no option {option!r}{nearest}; the options are {known}"
SHAPE = "{name}: the gradient has shape {found}, x has shape {expected}"


class Optimizer(Protocol):
    """Torch7's functional form: one step of `optim.NAME(feval, x, config, state)`."""

    options: Mapping[str, Any]
    state_names: tuple[str, ...]
    __name__: str

    def __call__(
        self,
        feval: Callable[[Any], tuple[Any, Any]],
        x: Any,
        config: State | None = None,
        state: State | None = None,
    ) -> tuple[Any, list[Any]]:
        """One step: x is updated in place; returns x and [f]."""
        ...


def optimizer(
    *, counter: str, slots: tuple[str, ...] = (), **options: Any
) -> Callable[[Callable[..., Any]], Optimizer]:
    """Make a rule an optimizer in Torch7's functional form.

    counter: name of the state entry that counts steps, a 0-d float64 array from 0
    slots:   names of state arrays shaped like x, zero at first
    options: names of the options and their defaults

    The rule is called as rule(x, g, state, **options) and returns (new x, new slots by name);
    ``state[counter]`` holds the number of steps made before this one.
    """

    def declare(rule: Callable[..., Any]) -> Optimizer:
        name = rule.__name__
        known = {*options, counter, *slots}

        def step(
            feval: Callable[[Any], tuple[Any, Any]],
            x: Any,
            config: State | None = None,
            state: State | None = None,
        ) -> tuple[Any, list[Any]]:
            config = {} if config is None else config
            state = config if state is None else state
            chosen = {**options, **{k: v for k, v in config.items() if k in options}}
            _check(name, config, known, options)
            f, gradient = feval(x)
            target = x.detach() if isinstance(x, Tensor) else untracked(as_array(x))
            g = gradient.detach() if isinstance(gradient, Tensor) else Tensor(gradient)
            if g.shape != target.shape:
                raise ValueError(SHAPE.format(name=name, found=g.shape, expected=target.shape))
            with no_grad():
                if counter not in state or not isinstance(state[counter], Tensor):
                    start = np.array(float(state.get(counter, 0)))
                    state[counter] = Tensor(start, device=target.device)
                for slot in slots:
                    if slot not in state:
                        state[slot] = np.zeros_like(target)
                new_x, new_slots = rule(target, g, state, **chosen)
                ops.assign(target, new_x)
                for slot, value in new_slots.items():
                    ops.assign(state[slot], value)
                ops.accumulate(state[counter], 1)
            return x, [f]

        step.__name__ = step.__qualname__ = name
        step.__doc__ = rule.__doc__
        step.__module__ = rule.__module__
        step.options = options  # type: ignore[attr-defined]  # as Optimizer declares
        step.state_names = (counter, *slots)  # type: ignore[attr-defined]  # as above
        return step  # type: ignore[return-value]  # a function with the attributes of Optimizer

    return declare


def _check(name: str, config: Mapping[str, Any], known: set[str], options: Any) -> None:
    for option in config:
        if option not in known:
            near = difflib.get_close_matches(option, options, n=1)
            raise TypeError(
                UNKNOWN.format(
                    name=name,
                    option=option,
                    nearest=f" (did you mean {near[0]!r}?)" if near else "",
                    known=", ".join(options),
                )
            )
    for option in ("learningRate", "learningRateDecay", "weightDecay", "momentum", "epsilon"):
        value = config.get(option)
        if isinstance(value, (int, float)) and not value >= 0:
            raise ValueError(f"{name}: {option} must be at least 0, not {value}")


def decayed(rate: Any, decay: Any, count: Tensor, dtype: Any) -> Any:
    """rate / (1 + count · decay), in float64, cast to `dtype` at use."""
    if isinstance(rate, Tensor) or decay:
        return ops.cast(rate / (1 + count * decay), dtype=dtype)
    return rate
