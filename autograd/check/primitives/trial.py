"""PrimitiveTrial: one operation on one drawn example, with the methods that the laws use.

The operation is called as users call it, so that the laws also cover tracking, specialisation, sums
over broadcast axes and dtype casts.  Complex arrays are represented by pairs of real ones.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.gradients import check_gradients
from tapegrad.autograd.check.laws import must, must_be_close, must_be_equal
from tapegrad.autograd.core.composite import composites
from tapegrad.autograd.core.declaration import Primitive, numpy_functions, primitives
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.transforms.products import vjp

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws
    from tapegrad.autograd.check.report import Report

__all__ = [
    "TrialCall",
    "PrimitiveTrial",
    "floating_results",
    "real_and_imaginary_parts",
    "must_agree",
    "operations",
    "values_of",
]


@dataclass
class TrialCall:
    """The arguments of one call (arrays, lists of arrays, numbers) and its settings."""

    args: Sequence[Any]
    settings: dict[str, Any] = field(default_factory=dict)


def operations() -> Mapping[str, Callable[..., Any]]:
    """Every primitive and composite by name, also those that are declared later."""
    found: ChainMap[str, Callable[..., Any]] = ChainMap(composites(), primitives())  # type: ignore[arg-type]  # it is read only
    return found


class PrimitiveTrial:
    """One operation on one example, the call that `case(draws)` returns.

    function: the operation; when omitted, the registered operation called `name`
    """

    def __init__(
        self, name: str, case: Callable[[Draws], TrialCall], draws: Draws, function: Any = None
    ) -> None:
        self.name = name
        self.function = _without_writing(operations()[name] if function is None else function)
        self.primitive: Primitive | None = getattr(self.function, "primitive", None)
        self.draws = draws
        self.rng = draws.rng
        self.call = case(draws)
        # Complex arrays become pairs of real ones, so that every law is about real numbers.
        self.point: list[Any] = []
        for leaf in leaves(list(self.call.args)):
            if _is_float_result(leaf):
                self.point.append(leaf)
            elif _is_complex(leaf):
                self.point += [np.array(leaf.real), np.array(leaf.imag)]
        self.complex = any(map(_is_complex, leaves(list(self.call.args))))

    def scale(self, arrays: Sequence[np.ndarray]) -> float | None:
        """The magnitude for rounding: the largest entry, or None if no array is complex.

        The real part of a complex number is rounded on the scale of the number, not of the part.
        """
        if not self.complex:
            return None
        finite = [np.abs(a[np.isfinite(a)]) for a in arrays if a.dtype.kind == "f"]
        return max((float(np.max(a, initial=0.0)) for a in finite), default=0.0)

    @property
    def derives(self) -> bool:
        """Does the operation have derivatives?"""
        if self.primitive is None:
            return bool(getattr(self.function, "differentiable", True))
        return self.primitive.differentiable

    def __repr__(self) -> str:
        shown = [_argument_in_words(argument) for argument in self.call.args]
        shown += [f"{name}={value!r}" for name, value in self.call.settings.items()]
        return f"{self.name}({', '.join(shown)})"

    def run(self, point: Sequence[Any] | None = None, wrap: Any = None) -> Any:
        """Call the operation, with other float arrays if given, each array wrapped by `wrap`."""
        return real_and_imaginary_parts(
            self.function(*self.arguments(point, wrap), **self.call.settings)
        )

    def arguments(self, point: Sequence[Any] | None = None, wrap: Any = None) -> list[Any]:
        """The arguments of the call, with the float arrays of `point`, each array wrapped."""
        floats = iter(self.point if point is None else point)

        def wrapped(leaf: Any) -> Any:
            bare = wrap is not None and isinstance(leaf, np.ndarray)
            return wrap(leaf) if bare and not isinstance(leaf, Tensor) else leaf

        flat = []
        for leaf in leaves(list(self.call.args)):
            if _is_float_result(leaf):
                flat.append(wrapped(next(floats)))
            elif _is_complex(leaf):
                re, im = wrapped(next(floats)), wrapped(next(floats))
                flat.append(re + im * 1j)
            else:
                flat.append(wrapped(leaf))
        return replace_leaves(list(self.call.args), flat)

    def values(self, point: Sequence[Any] | None = None) -> list[np.ndarray]:
        """The arrays of the result of the call on bare arrays."""
        return values_of(self.run(point))

    def on_tensors(self, *point: Tensor) -> Any:
        """The operation as a function of its float arguments as Tensors."""
        return self.run(point, wrap=Tensor)

    def gradients(
        self, cotangents: Sequence[np.ndarray], point: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """The cotangents of the arguments from the tape, as bare arrays."""
        point = self.point if point is None else point
        _, pull = vjp(lambda *x: floating_results(self.on_tensors(*x)), tuple(point))
        return [np.asarray(g) for g in pull(list(cotangents))]

    def cotangents(self) -> list[np.ndarray]:
        """A random cotangent for every floating point result."""
        return [
            gaussian(self.rng, value.shape).astype(value.dtype)
            for value in self.values()
            if value.dtype.kind == "f"
        ]

    def check(self, order: int) -> Report:
        """check_gradients of this order on this example; raises LawError when wrong.

        Lower orders are left to laws of their own.
        """
        return check_gradients(
            lambda *x: floating_results(self.on_tensors(*x)),
            *self.point,
            order=order,
            lowest=order,
            seed=self.draws.seed,
            probes=1,
            name=repr(self),
        )


def _without_writing(function: Any) -> Any:
    """The operation; if it writes into its first argument, a function that returns a written copy.

    So the laws of results apply to writes as well.  On arrays, NumPy's own function writes.
    """
    if not getattr(function, "writes", False):
        return function
    [in_numpy] = [theirs for theirs, ours in numpy_functions.items() if ours is function]

    def writing(target: Any, *rest: Any, **settings: Any) -> Any:
        target = ops.copy(target)
        (function if isinstance(target, Tensor) else in_numpy)(target, *rest, **settings)
        return target

    return writing


def real_and_imaginary_parts(result: Any) -> Any:
    """A result with a list of real and imaginary part for each complex array."""

    def parts(leaf: Any) -> Any:
        return [ops.real(leaf), ops.imag(leaf)] if _is_complex(leaf) else leaf

    return map_leaves(parts, result)


def _is_complex(leaf: Any) -> bool:
    if isinstance(leaf, type):  # NumPy's number types have those attributes, too
        return False
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and leaf.dtype.kind == "c"


def values_of(result: Any) -> list[np.ndarray]:
    """The arrays of a result as NumPy arrays; shapes, dtypes and booleans become arrays too."""
    values = []
    for leaf in leaves(real_and_imaginary_parts(result)):
        if isinstance(leaf, Tensor):
            values.append(np.asarray(leaf.numpy()))
        elif isinstance(leaf, (np.dtype, type)):
            values.append(np.asarray(str(leaf)))
        else:
            values.append(np.asarray(leaf))
    return values


def must_agree(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Raise LawError unless dtypes are equal, floats equal up to rounding, other values exactly."""
    must(found.dtype == expected.dtype, f"{what}: {found.dtype} instead of {expected.dtype}")
    if expected.dtype.kind == "f":
        must_be_close(found, expected, what, relative=1e-12, scale=1.0)
    else:
        must_be_equal(found, expected, what)


def floating_results(result: Any) -> list[Tensor]:
    """The floating point Tensors of a result, which have cotangents."""
    return [leaf for leaf in leaves(result) if leaf.dtype.kind == "f"]


def _is_float_result(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and leaf.dtype.kind == "f"


def _argument_in_words(argument: Any) -> str:
    if isinstance(argument, (list, tuple)):
        return f"[{', '.join(map(_argument_in_words, argument))}]"
    if isinstance(argument, np.ndarray):
        return f"{argument.dtype}{argument.shape}"
    return repr(argument)
