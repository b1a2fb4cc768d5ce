"""FunctionTrial: a function with a gradient written by hand, on one example of bare arrays.

A subject is a pair of functions, ``fn(*arrays)`` and ``vjp(cotangent, *arrays)``, with arguments
drawn from a case.  Its laws are in `function_laws`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.gradients import CheckError
from tapegrad.autograd.check.laws import array_types

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = ["FunctionTrial", "Pair"]

NOT_ARRAYS = (
    "{name} returned {type} in call {call}: a function whose gradients are checked returns an "
    "array, or a list or tuple of arrays"
)
WRONG_COUNT = (
    "the gradient of {name} returned {found} arrays in call {call}: it returns one for each of "
    "the {expected} arguments, None for those of integers"
)
SHAPE_CHANGED = (
    "{name} returned shapes {before} in call {first} and {after} in call {call}, on arguments of "
    "the same shapes: a function whose output shape depends on values cannot be checked"
)


@dataclass
class Pair:
    """A function and its gradient on drawn arguments.

    fn:     fn(*args) -> array, or list of arrays
    vjp:    vjp(cotangent, *args) -> the gradient of each argument, None for integers; a bare array
            where there is one argument; the cotangent is a list where fn returns a list
    args:   the arguments, arrays
    names:  the names of the arguments
    second: the gradient of (cotangents, args) -> vjp, where it is known, as a function of
            (cotangents of the gradients, cotangents, args) -> gradients of the args
    copies: whether results are always copies, so that shared memory need not be checked
    """

    fn: Callable[..., Any]
    vjp: Callable[..., Any]
    args: Sequence[np.ndarray]
    names: Sequence[str] = ()
    second: Callable[..., Any] | None = None
    copies: bool = False


class FunctionTrial:
    """A `Pair` on one drawn example: what the laws of functions use."""

    def __init__(self, name: str, case: Callable[[Draws], Pair], draws: Draws) -> None:
        self.name = name
        self.draws = draws
        self.rng = draws.rng
        self.pair = case(draws)
        self.args = [np.asarray(arg) for arg in self.pair.args]
        self.floats = [i for i, arg in enumerate(self.args) if arg.dtype.kind == "f"]
        self.calls = 0
        self._shapes: dict[str, tuple[int, list[tuple[int, ...]]]] = {}
        self._single = True
        if not self.floats:
            raise CheckError(f"{name} was given no floating point argument")
        names = list(self.pair.names) or [f"argument {i}" for i in range(len(self.args))]
        self.names = [names[i] for i in self.floats]

    def __repr__(self) -> str:
        return f"{self.name}({array_types(self.args)})"

    @property
    def point(self) -> list[np.ndarray]:
        """The floating point arguments."""
        return [self.args[i] for i in self.floats]

    def with_floats(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All arguments, with the floating point ones replaced by `point`."""
        args = list(self.args)
        for i, value in zip(self.floats, point, strict=True):
            args[i] = value
        return args

    def raw_values(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results of fn as it returns them, checked for type and shape.

        Raises CheckError for results that are no arrays, or of another shape than before.
        """
        args = self.with_floats(point)
        found = self._call(self.name, self.pair.fn, *args)
        self._single = not isinstance(found, (list, tuple))
        results = [found] if self._single else list(found)
        for result in results:
            if not isinstance(result, (np.ndarray, np.floating)):
                kind = type(result).__name__
                raise CheckError(NOT_ARRAYS.format(name=self.name, type=kind, call=self.calls))
        shapes = [np.shape(result) for result in results]
        first, before = self._shapes.setdefault(array_types(args), (self.calls, shapes))
        if before != shapes:
            name = f"{self.name}({array_types(args)})"
            raise CheckError(
                SHAPE_CHANGED.format(
                    name=name, before=before, after=shapes, first=first, call=self.calls
                )
            )
        return results

    def values(self, point: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Copies of the results of fn."""
        return [np.array(y) for y in self.raw_values(self.point if point is None else point)]

    def raw_gradients(
        self, v: Sequence[np.ndarray], point: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """The gradients of the floating point arguments as vjp returns them.

        Raises CheckError unless there is one gradient for each of them.
        """
        args = self.with_floats(self.point if point is None else point)
        cotangent = v[0] if self._single else list(v)
        found = self._call(f"the gradient of {self.name}", self.pair.vjp, cotangent, *args)
        gradients = list(found) if isinstance(found, (list, tuple)) else [found]
        if len(gradients) != len(self.args):
            raise CheckError(
                WRONG_COUNT.format(
                    name=self.name, found=len(gradients), expected=len(args), call=self.calls
                )
            )
        return [np.asarray(gradients[i]) for i in self.floats]

    def gradients(
        self, v: Sequence[np.ndarray], point: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """Copies of the gradients of the floating point arguments."""
        return [np.array(g) for g in self.raw_gradients(v, point)]

    def cotangents(self, values: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Random cotangents for the results of fn."""
        values = self.values() if values is None else values
        return [gaussian(self.rng, y.shape).astype(y.dtype) for y in values]

    def other_point(self) -> list[np.ndarray]:
        """Other values for the floating point arguments, with the same shapes and signs."""
        return [x * self.rng.uniform(0.5, 0.9, x.shape) for x in self.point]

    def _call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        try:
            return function(*arguments)
        except Exception as error:
            shown = array_types([a for a in arguments if isinstance(a, np.ndarray)])
            error.add_note(f"raised in call {self.calls}: {name} on {shown}")
            raise
