"""Laws of functions with a gradient written by hand, over bare NumPy arrays.

These laws use no Tensors, so they apply to layers that are NumPy functions and, through torch.py,
to those of PyTorch.  A subject is a pair of functions, ``fn(*arrays)`` and ``vjp(cotangent,
*arrays)``, with arguments drawn from a case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.draws import REGIMES
from tapegrad.autograd.check.gradients import CheckError
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    array_types,
    must,
    must_be_close,
    must_be_equal,
    must_be_unchanged,
    must_show_nan,
    snapshot,
    spoil,
)
from tapegrad.autograd.check.layouts import ODD_LAYOUTS
from tapegrad.autograd.check.probing import probe
from tapegrad.autograd.check.report import Report

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = ["FUNCTION_LAWS", "FunctionTrial", "Pair"]

FUNCTION_LAWS = Laws("function")

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
NOT_DETERMINISTIC = (
    "{name} gave different values in calls {first} and {call} on equal arguments (largest "
    "difference {gap:.3g}): seed its random numbers inside it, so that equal calls are equal"
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


@FUNCTION_LAWS()
def equal_calls_give_equal_results(trial: FunctionTrial) -> None:
    """Equal arguments give equal bits, and results are arrays."""
    first = trial.values()
    call = trial.calls
    second = trial.values()
    for a, b in zip(first, second, strict=True):
        if a.tobytes() != b.tobytes() and not (np.isnan(a) & np.isnan(b)).all():
            gap = float(np.nanmax(np.abs(a - b), initial=0))
            raise CheckError(
                NOT_DETERMINISTIC.format(
                    name=repr(trial), first=call, call=trial.calls, gap=gap
                )
            )  # fmt: skip


@FUNCTION_LAWS(regimes=REGIMES, effort=1.0)
def its_gradient_is_the_derivative(trial: FunctionTrial) -> Report:
    """The hand-written gradient agrees with difference quotients of the function."""
    probes = probe(
        trial.values,
        lambda point, v: trial.gradients(v, point),
        trial.point,
        trial.rng,
        names=trial.names,
    )
    return Report(repr(trial), probes).raise_if_wrong()


@FUNCTION_LAWS(regimes=("ordinary", "grid"), effort=0.4)
def its_second_derivative_is_right(trial: FunctionTrial) -> Report | NotCovered:
    """The derivative of the gradient is right, where the library has one."""
    second = trial.pair.second
    if second is None:
        return NotCovered("a gradient written by hand has no second derivative")
    v = trial.cotangents()
    probes = probe(
        lambda point: trial.gradients(v, point),
        lambda point, u: [
            np.asarray(g)
            for i, g in enumerate(second(u, v, trial.with_floats(point)))
            if i in trial.floats
        ],
        trial.point,
        trial.rng,
        kind="second order",
        names=trial.names,
    )
    return Report(repr(trial), probes).raise_if_wrong()


@FUNCTION_LAWS()
def its_gradient_is_linear_in_the_cotangent(trial: FunctionTrial) -> None:
    """vjp(2u − 3v) = 2·vjp(u) − 3·vjp(v), and vjp(0) = 0."""
    u, v = trial.cotangents(), trial.cotangents()
    of_u, of_v = trial.gradients(u), trial.gradients(v)
    mixed = trial.gradients([2 * a - 3 * b for a, b in zip(u, v, strict=True)])
    for name, m, a, b in zip(trial.names, mixed, of_u, of_v, strict=True):
        # terms that cancel inside may be as large as the cotangents, and so may their rounding
        terms = (a, b, *u, *v)
        scale = 3 * max(float(np.max(np.abs(term), initial=0)) for term in terms)
        what = f"gradient of {name} for 2u − 3v"
        must_be_close(m, 2 * a - 3 * b, what, relative=1e-12, scale=scale)
    for name, zero in zip(trial.names, trial.gradients([0 * c for c in u]), strict=True):
        must(not np.any(zero), f"the gradient of {name} for the cotangent 0 is not 0")


@FUNCTION_LAWS(regimes=("ordinary", "grid"))
def inputs_are_left_alone(trial: FunctionTrial) -> None:
    """Neither the function nor its gradient writes into an argument or into the cotangent."""
    before = snapshot(trial.args)
    v = trial.cotangents()
    cotangents = snapshot(v)
    must_be_unchanged(before, trial.args, "argument")
    trial.gradients(v)
    must_be_unchanged(before, trial.args, "argument")
    must_be_unchanged(cotangents, v, "cotangent")


@FUNCTION_LAWS()
def gradients_share_no_memory(trial: FunctionTrial) -> NotCovered | None:
    """Writing to one gradient changes neither another, nor an argument, nor the cotangent."""
    if trial.pair.copies:
        return NotCovered("results are copies")
    v = trial.cotangents()
    gradients = trial.raw_gradients(v)
    for i, (name, gradient) in enumerate(zip(trial.names, gradients, strict=True)):
        for other in [*gradients[:i], *trial.args, *v]:
            must(not np.shares_memory(gradient, other), f"the gradient of {name} shares memory")
    return None


@FUNCTION_LAWS()
def results_do_not_depend_on_earlier_calls(trial: FunctionTrial) -> None:
    """A call on other data changes neither later results nor arrays that were returned before."""
    v = trial.cotangents()
    results, gradients = trial.raw_values(trial.point), trial.raw_gradients(v)
    kept = [np.array(a) for a in (*results, *gradients)]
    other = trial.other_point()
    trial.values(other)
    trial.gradients(trial.cotangents(), other)
    for i, (now, then) in enumerate(zip([*results, *gradients], kept, strict=True)):
        must_be_equal(now, then, f"returned array {i} after another call")
    again = [*trial.values(), *trial.gradients(v)]
    for i, (now, then) in enumerate(zip(again, kept, strict=True)):
        must_be_equal(now, then, f"result {i} of an equal call, others in between")


@FUNCTION_LAWS()
def memory_layout_does_not_matter(trial: FunctionTrial) -> None:
    """Fortran order, gaps, negative strides and read-only arrays give the same results."""
    expected, v = trial.values(), trial.cotangents()
    gradients = trial.gradients(v)
    for name, layout in ODD_LAYOUTS.items():
        point = [layout(x) for x in trial.point]
        for i, (f, e) in enumerate(zip(trial.values(point), expected, strict=True)):
            must_be_close(f, e, f"result {i} of {name} arrays", relative=1e-12, scale=1.0)
        found = trial.gradients([layout(c) for c in v], point)
        for which, f, e in zip(trial.names, found, gradients, strict=True):
            what = f"gradient of {which}, {name} arrays"
            must_be_close(f, e, what, relative=1e-11, scale=1.0)


@FUNCTION_LAWS()
def float32_agrees_with_float64(trial: FunctionTrial) -> None:
    """float32 arguments give float32 results and gradients, close to those of float64."""
    single = [x.astype(np.float32) for x in trial.point]
    double = [x.astype(np.float64) for x in single]
    at_single, at_double = trial.values(single), trial.values(double)
    v = [c.astype(np.float32) for c in trial.cotangents(at_double)]
    singles = trial.gradients(v, single)
    doubles = trial.gradients([c.astype(np.float64) for c in v], double)
    names = [f"result {i}" for i in range(len(at_single))]
    names += [f"gradient of {name}" for name in trial.names]
    both = zip(names, [*at_single, *singles], [*at_double, *doubles], strict=True)
    for name, s, d in both:
        must(s.dtype == np.float32, f"{name} of float32 arrays is {s.dtype}")
        must_be_close(s, d, f"{name} in float32", relative=1e-4, scale=1.0)


@FUNCTION_LAWS()
def nan_stays_nan(trial: FunctionTrial) -> None:
    """A NaN in an entry that matters shows in the result."""
    before = trial.values()
    for i, x in enumerate(trial.point):
        if not x.size:
            continue
        bad, moved = spoil(x, trial.rng)
        others = trial.point
        after = trial.values([*others[:i], moved, *others[i + 1 :]])
        broken = trial.values([*others[:i], bad, *others[i + 1 :]])
        for b, a, n in zip(before, after, broken, strict=True):
            must_show_nan(b, a, n, trial.names[i])


@FUNCTION_LAWS(empties=True)
def an_empty_batch_is_fine(trial: FunctionTrial) -> NotCovered | None:
    """Axes of length 0 give results, and gradients with the shapes of the arguments."""
    if all(x.size for x in trial.point):
        return NotCovered("no argument has an axis N or T, which may be empty")
    for name, g, x in zip(trial.names, trial.gradients(trial.cotangents()), trial.point,
                          strict=True):  # fmt: skip
        must(g.shape == x.shape, f"the gradient of {name} has shape {g.shape}, not {x.shape}")
    return None
