"""A function with its gradient, over bare NumPy arrays, and a trial of it on one example.

A subject is a pair of functions, ``fn(*arrays)`` and ``vjp(cotangent, *arrays)``, with arguments
drawn from a case.  The faces (`check_vjp`, `check_torch`, `check_jax`) make such pairs of what they
are given: nests are flat here, complex arrays are pairs of real ones, sparse ones are dense.
function_laws/ has the laws.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.gradients import CheckError
from tapegrad.autograd.check.laws import RefusedError, Uncovered, array_types
from tapegrad.autograd.check.slopes import REFUSALS
from tapegrad.devices import TapegradError

if TYPE_CHECKING:
    from tapegrad.autograd.check.cases import Case
    from tapegrad.autograd.check.draws import Draws
    from tapegrad.autograd.check.frameworks.writing import Written

__all__ = ["FunctionTrial", "Pair"]

NOT_ARRAYS = (
    "{name} returned {type} in call {call}: a function whose gradients are checked returns an "
    "array, or a nest of arrays"
)
WRONG_COUNT = (
    "the gradient of {name} returned {found} arrays in call {call}: it returns one for each of "
    "the {expected} arguments, None for those of integers"
)
SHAPE_CHANGED = (
    "{name} returned shapes {before} in call {first} and {after} in call {call}, on arguments of "
    "the same shapes: a function whose output shape depends on values cannot be checked"
)
NO_GRADIENT = (
    "no result requires a gradient: the library does not differentiate it, or it was detached"
)
ONLY_INTEGERS = "the results are integers or booleans: there is nothing to differentiate"

# What libraries say where a derivative does not exist in them.
NOT_IMPLEMENTED = re.compile(
    r"derivative for \S+ is not implemented|\bnot implemented for '|"
    r"is not currently implemented|not differentiable|once_differentiable|"
    r"[Dd]ifferentiation (rule )?(for|does not)|does not support (JVP|automatic|double|transpos)|"
    r"do not support (JVP|automatic|transpos)|does(n't| not) support (double backward|autograd)|"
    r"not defined with respect to|[Jj]acobian.* not implemented|not yet implemented",
)

# What normalizations say to a batch in training that has no variance.
TOO_FEW_ROWS = re.compile(r"Expected more than 1 (value per channel|spatial element) when training")


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
    constants:  the positions of the arguments that are taken for constants
    second_all: like `second`, but it returns a pair of lists: the gradients of the args, and those
                of the cotangents
    partial:    (cotangents, args, positions) -> the gradients where only the arguments at these
                positions are tracked; None for the others
    jvp:        (tangents, *args) -> the tangents of the results, a list where fn returns one;
                None among the tangents for each argument that does not move
    stops:      the positions of the floating point results for `args` that have no derivative
    subject:    the function or module itself, as conventions look at it
    random:     whether a call draws random numbers of the library
    samples:    the number of leading arguments whose first axis is a batch of samples that must
                not meet in this example; 0 where that is not asked
    inplace:    whether the function writes into its arguments on purpose; it is given copies
    shown:      the subject of this example in words, where its name alone says too little
    paths:      the Python expressions that take the latest results out of what the subject returns
    moved:      the names of the buffers that the latest call has changed, in evaluation mode, which
                changes none; None where there are none
    smooth:     whether fn is made of operations that have a derivative everywhere; None: not known
    proof:      writes the example as lines of the user's framework (see proofs.py)
    """

    fn: Callable[..., Any]
    vjp: Callable[..., Any]
    args: Sequence[np.ndarray]
    names: Sequence[str] = ()
    second: Callable[..., Any] | None = None
    copies: bool = False
    constants: Collection[int] = ()
    second_all: Callable[..., Any] | None = None
    partial: Callable[..., Any] | None = None
    jvp: Callable[..., Any] | None = None
    stops: Callable[[], Collection[int]] | None = None
    subject: Any = None
    random: Callable[[], bool] | None = None
    samples: int = 0
    inplace: bool = False
    shown: str = ""
    paths: Callable[[], Sequence[str]] | None = None
    moved: Callable[[], Sequence[str]] | None = None
    smooth: Callable[[], bool] | None = None
    proof: Callable[[], Written | None] | None = None


class FunctionTrial:
    """A `Pair` on one drawn example: what the laws of functions use."""

    def __init__(self, name: str, case: Case | Callable[[Draws], Pair], draws: Draws) -> None:
        self.name = name
        self.case = case
        self.draws = draws
        self.rng = draws.rng
        self.pair: Pair = case(draws)
        self.args = [np.asarray(arg) for arg in self.pair.args]
        self.floats = [
            i
            for i, arg in enumerate(self.args)
            if arg.dtype.kind == "f" and i not in self.pair.constants
        ]
        self.calls = 0
        self._shapes: dict[str, tuple[int, list[tuple[int, ...]]]] = {}
        self._single = True
        self._kept: list[int] | None = None  # the results that have derivatives
        self._latest: list[tuple[int, ...]] = []  # the shapes of the latest results
        if not self.floats:
            raise CheckError(f"{name} was given no floating point argument to differentiate by")
        names = list(self.pair.names) or [f"argument {i}" for i in range(len(self.args))]
        self.names = [names[i] for i in self.floats]

    def __repr__(self) -> str:
        return f"{self.pair.shown or self.name}({array_types(self.args)})"

    @property
    def point(self) -> list[np.ndarray]:
        """The floating point arguments."""
        return [self.args[i] for i in self.floats]

    def with_floats(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All arguments, with the floating point ones replaced by `point`.

        Floating point constants get its dtype.
        """
        args = list(self.args)
        for i, value in zip(self.floats, point, strict=True):
            args[i] = value
        for i in self.pair.constants:
            if args[i].dtype.kind == "f" and args[i].dtype != point[0].dtype:
                args[i] = args[i].astype(point[0].dtype)
        return args

    def raw_values(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All results of fn as it returns them, checked for type and shape.

        Raises CheckError for results that are no arrays, or of another shape than before.
        """
        args = self.with_floats(point)
        found = self._call(self.name, self.pair.fn, *args)
        self._single = not isinstance(found, (list, tuple))
        results = [found] if self._single else list(found)
        for result in results:
            if not isinstance(result, (np.ndarray, np.generic)):
                kind = type(result).__name__
                raise CheckError(NOT_ARRAYS.format(name=self.name, type=kind, call=self.calls))
        shapes = [np.shape(result) for result in results]
        first, before = self._shapes.setdefault(array_types(args), (self.calls, shapes))
        if before != shapes:
            name = f"{self.pair.shown or self.name}({array_types(args)})"
            raise CheckError(
                SHAPE_CHANGED.format(
                    name=name, before=before, after=shapes, first=first, call=self.calls
                )
            )
        self._latest = shapes
        return results

    def results(self, point: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Copies of all results of fn, integers and those without a derivative too."""
        return [np.array(y) for y in self.raw_values(self.point if point is None else point)]

    def values(self, point: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Copies of the floating point results that have derivatives.

        Raises Uncovered where there are none.
        """
        found = self.results(point)
        if self._kept is None:
            stops = set()
            if self.pair.stops is not None:
                stops = set(self._call(f"the gradient of {self.name}", self.pair.stops))
            floating = [i for i, y in enumerate(found) if y.dtype.kind == "f"]
            self._kept = [i for i in floating if i not in stops]
            if not self._kept:
                raise Uncovered(NO_GRADIENT if floating else ONLY_INTEGERS)
        return [found[i] for i in self._kept]

    @property
    def single(self) -> bool:
        """Does fn return one array, and not a list?"""
        return self._single

    @property
    def kept(self) -> list[int]:
        """The positions of the results that have derivatives.  Raises Uncovered without any."""
        if self._kept is None:
            self.values()
        return list(self._kept or ())

    def is_smooth(self) -> bool:
        """Is the function known to have a derivative everywhere, and so one gradient?"""
        return self.pair.smooth is not None and self.pair.smooth()

    def result_path(self, number: int) -> str:
        """The Python expression of one of `values` after a call: "", "[0]", "['loss']"."""
        position = self.kept[number]
        if self.pair.paths is not None:
            return self.pair.paths()[position]
        return "" if self._single else f"[{position}]"

    def raw_gradients(
        self, v: Sequence[np.ndarray], point: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """The gradients of the floating point arguments as vjp returns them.

        v: cotangents of what `values` returns
        Raises CheckError unless there is one gradient for each of them.
        """
        args = self.with_floats(self.point if point is None else point)
        all_v = self.all_cotangents(v)
        cotangent = all_v[0] if self._single else all_v
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

    def tangents(self, u: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """The tangents of what `values` returns, by a rule for these; None where there is none.

        u: tangents of the floating point arguments
        Raises CheckError unless the rule gives one for each result.
        """
        if self.pair.jvp is None:
            return None
        moved: list[np.ndarray | None] = [None] * len(self.args)
        for i, t in zip(self.floats, u, strict=True):
            moved[i] = t
        found = self._call(f"the tangent of {self.name}", self.pair.jvp, moved, *self.args)
        results = list(found) if isinstance(found, (list, tuple)) else [found]
        if len(results) != len(self._latest):
            raise CheckError(
                f"the tangent of {self.name} returned {len(results)} arrays: it returns one for "
                f"each of the {len(self._latest)} results"
            )
        return [np.array(results[i]) for i in self.kept]

    def all_cotangents(self, v: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Cotangents of all results: `v`, and zeros for those that have no derivative."""
        if self._kept is None:
            self.values()
        kept = iter(v)
        own = set(self._kept or ())
        return [next(kept) if i in own else np.zeros(shape) for i, shape in enumerate(self._latest)]

    def cotangents(self, values: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Random cotangents for what `values` returns."""
        values = self.values() if values is None else values
        return [gaussian(self.rng, y.shape).astype(y.dtype) for y in values]

    def other_point(self) -> list[np.ndarray]:
        """Other values for the floating point arguments, with the same shapes and signs."""
        return [x * self.rng.uniform(0.5, 0.9, x.shape) for x in self.point]

    def second(
        self,
        u: Sequence[np.ndarray],
        v: Sequence[np.ndarray],
        point: Sequence[np.ndarray] | None = None,
    ) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
        """The gradients of ⟨u, vjp(v, args)⟩ of the floating point arguments, and of v if known.

        Raises Uncovered where the library has no second derivative.
        """
        args = self.with_floats(self.point if point is None else point)
        name = f"the second derivative of {self.name}"
        all_u: list[np.ndarray | None] = [None] * len(args)
        for i, c in zip(self.floats, u, strict=True):
            all_u[i] = c
        if self.pair.second_all is not None:
            of_args, of_v = self._call(
                name, self.pair.second_all, all_u, self.all_cotangents(v), args
            )
            kept = self._kept or ()
            return [np.asarray(of_args[i]) for i in self.floats], [
                np.asarray(of_v[i]) for i in kept
            ]
        if self.pair.second is None:
            raise Uncovered("a gradient written by hand has no second derivative")
        found = self._call(name, self.pair.second, list(u), self.all_cotangents(v), args)
        return [np.asarray(found[i]) for i in self.floats], None

    def partial(
        self, v: Sequence[np.ndarray], tracked: Collection[int]
    ) -> list[np.ndarray | None] | None:
        """The gradients if only some arguments are tracked; None where the library cannot tell.

        tracked: numbers among the floating point arguments
        """
        if self.pair.partial is None:
            return None
        positions = {self.floats[i] for i in tracked}
        found = self._call(
            f"the gradient of {self.name}", self.pair.partial, self.all_cotangents(v), self.args,
            positions,
        )  # fmt: skip
        return [found[i] for i in self.floats]

    def _call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        try:
            return function(*arguments)
        except Uncovered:
            raise
        except Exception as error:
            if says_not_implemented(error, forward=function is self.pair.fn):
                raise Uncovered(_first_line(error)) from error
            if TOO_FEW_ROWS.search(str(error)):
                raise RefusedError("a batch without a variance is refused") from error
            if self._is_refusal(error, forward=function is self.pair.fn):
                raise RefusedError(f"{self.draws.regime} data are refused") from error
            shown = array_types([a for a in arguments if isinstance(a, np.ndarray)])
            error.add_note(f"raised in call {self.calls}: {name} on {shown}")
            raise

    def _is_refusal(self, error: Exception, *, forward: bool) -> bool:
        """Does an error say that degenerate data are not taken, such as a singular matrix?

        Of gradients only NumPy's and PyTorch's errors of linear algebra do.
        """
        if isinstance(error, TapegradError) or "INTERNAL ASSERT" in str(error):
            return False
        if not forward:
            singular = type(error).__name__ in ("LinAlgError", "_LinAlgError")
            return singular and self.draws.regime != "ordinary"
        if self.draws.empties:
            return isinstance(error, (*REFUSALS, IndexError))
        return isinstance(error, REFUSALS) and self.draws.regime != "ordinary"


def says_not_implemented(error: Exception, *, forward: bool = False) -> bool:
    """Does a library say by this error that it has no such derivative (or no such operation)?

    forward: whether a function itself raised it, in which NotImplementedError alone is a fault
    """
    if isinstance(error, NotImplementedError) and not forward:
        return True
    return bool(NOT_IMPLEMENTED.search(str(error)))


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
