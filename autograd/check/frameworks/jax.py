"""jax_pair: functions of JAX arrays as subjects of the laws of functions.

The gradient is that of `jax.vjp`, the second order that of `jax.vjp` of it.  Pytrees are flat here,
complex arrays are pairs of real ones.  A function is compiled where it can be.  JAX is imported
only when a check runs, and 64-bit numbers are switched on during its calls alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.cases import as_option, draw_options, parse_spec
from tapegrad.autograd.check.frameworks import making
from tapegrad.autograd.check.frameworks.arguments import CallArguments
from tapegrad.autograd.check.frameworks.nests import is_matched, real_parts_of, whole_of
from tapegrad.autograd.check.frameworks.smooth import is_smooth_jax
from tapegrad.autograd.check.frameworks.writing import (
    Written,
    arguments_in_words,
    expression_of,
    variables,
)
from tapegrad.autograd.check.functions import Pair
from tapegrad.autograd.check.gradients import CheckError, UsageError
from tapegrad.autograd.check.laws import array_types

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = ["jax_pair"]

# Each shape is compiled anew and runs a few times: what counts is the time of compiling.
_FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
NOT_ARRAYS = "{name} returned {type}: what is checked returns a JAX array, or a pytree of them"


def jax_pair(
    subject: Any,
    inputs: Sequence[Any],
    options: Mapping[str, Any],
    *,
    constant: making.Constant = (),
    domains: making.Domains | None = None,
    through: making.Through | None = None,
    batchwise: str | None = None,
    jit: bool = True,
) -> Callable[[Draws], Pair]:
    """The case of a JAX function: a function that makes a `Pair` from a `Draws`.

    subject: a function of arrays or pytrees, or a class or function that makes one from the options
    jit:     whether it is compiled, if it can be
    The other arguments are those of `torch_pair`.
    Raises UsageError for options and names that do not fit.
    """
    if not callable(subject):
        raise UsageError(f"{subject!r} is no function of JAX arrays")
    specs = [parse_spec(spec) for spec in inputs]
    kinds = {name: as_option(value) for name, value in options.items()}
    making.refuse_batchwise(batchwise)
    how = making.decide(subject, len(specs), list(options))
    name = making.subject_name(subject)
    limits = dict(domains or {})
    compiled: dict[str, JaxCall] = {}  # by what is not an array, so that each is compiled once

    def draw(d: Draws) -> Pair:
        settings = draw_options(kinds, d)
        function, rest = making.made_of(subject, how, settings)
        tops = making.parameter_names(function, len(specs))
        making.refuse_keywords_by_position(function, specs, tops, "{each}")
        positional = making.draw_positional(specs, tops, d, limits)
        keywords = making.draw_keywords(rest, d, limits)
        arguments = CallArguments(positional, keywords, tops, through or {})
        constants, idle = making.constants_among(arguments.names, arguments.tops, constant)
        idle += [n for n in limits if not any(is_matched(m, n) for m in arguments.names)]
        idle += [n for n in through or {} if n not in [*tops, *keywords]]
        names = arguments.names
        making.refuse_idle_names(name, idle, names, "constant=, domains= or through=")
        whole = [a.dtype.kind == "c" for a in arguments.arrays]
        parts, shown = real_parts_of(arguments.arrays, arguments.names)
        spread = [i for i, both in enumerate(whole) for _ in range(1 + both)]
        own = {i for i, origin in enumerate(spread) if origin in constants}
        tracked = [i for i, a in enumerate(parts) if a.dtype.kind == "f" and i not in own]
        key = repr((settings, arguments.fixed, whole, tracked))
        if key not in compiled:
            compiled[key] = JaxCall(arguments.call_of(function), name, whole, tracked, jit=jit)
        call = compiled[key]
        return Pair(
            call.fn, call.vjp, parts, shown, call.second,
            copies=True, constants=own, second_all=call.second_all, partial=call.partial,
            stops=lambda: call.stops(parts),
            smooth=lambda: not any(whole) and call.is_smooth(parts), shown=name, subject=function,
            samples=making.batched_among(specs, d) if batchwise else 0, paths=lambda: call.paths,
            proof=lambda: None if any(whole) or through else _written(
                subject, how, settings, arguments, shown, tracked
            ),
        )  # fmt: skip

    return draw


def _written(
    subject: Any,
    how: str,
    settings: dict[str, Any],
    arguments: CallArguments,
    paths: Sequence[str],
    tracked: Sequence[int],
) -> Written:
    """The example as lines of JAX."""
    shown = variables(paths)
    positional, keywords = arguments.placed(shown)
    imports, expression, notes = expression_of(subject)
    call, defines = expression, []
    if how != "call":
        given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        call, defines = "f", [f"f = {expression}({given})"]
    text = f"{call}({arguments_in_words(positional, keywords)})"
    names = [str(v) for v in shown]
    return Written("jax", imports, defines, names, text, tracked, notes=notes)


class JaxCall:
    """A function of JAX arrays over NumPy arrays, and its derivatives.

    run:        (*arrays) -> a pytree of arrays
    is_complex: for each array of `run` whether it comes as real and imaginary part
    tracked:    the positions of the arrays that have gradients
    """

    def __init__(
        self,
        run: Callable[..., Any],
        name: str,
        is_complex: Sequence[bool],
        tracked: Sequence[int],
        *,
        jit: bool,
    ) -> None:
        import jax

        self.jax = jax
        self.run = run
        self.name = name
        self.is_complex = is_complex
        self.tracked = list(tracked)
        self.single = False
        self.paths: list[str] = []  # the expressions of the results
        self._jit = jit
        self._functions: dict[Any, Callable[..., Any]] = {}
        self._smooth: dict[str, bool] = {}  # by the types of the arguments
        self._kinds_of: dict[str, list[str]] = {}  # of the results, by the types of the arguments

    def fn(self, *args: np.ndarray) -> Any:
        """The results as arrays, a list of them unless the function returns one array."""
        found = [np.array(y) for y in self._called("fn", self._flat, *args)]
        self._kinds_of[array_types(args)] = [y.dtype.kind for y in found]
        return found[0] if self.single else found

    def vjp(self, cotangent: Any, *args: np.ndarray) -> list[Any]:
        """The gradient of ⟨cotangent, results⟩ for each array, None for constants."""
        v = cotangent if isinstance(cotangent, list) else [cotangent]
        return self.partial(v, args, self.tracked)

    def partial(
        self, v: Sequence[np.ndarray], args: Sequence[np.ndarray], positions: Collection[int]
    ) -> list[Any]:
        """The gradients where only the arrays at `positions` are tracked."""
        kept = [i for i in self.tracked if i in positions]
        found = self._called(("vjp", *kept), self._pull_of(kept), self._floating(v, args), *args)
        placed: list[Any] = [None] * len(args)
        for i, g in zip(kept, found, strict=True):
            placed[i] = np.array(g)
        return placed

    def second(self, u: Sequence[np.ndarray], v: Sequence[np.ndarray], args: Any) -> list[Any]:
        """The gradient of ⟨u, vjp(v, args)⟩; u has cotangents for tracked arrays only."""
        all_u: list[Any] = [None] * len(args)
        for i, c in zip(self.tracked, u, strict=True):
            all_u[i] = c
        return self.second_all(all_u, v, args)[0]

    def second_all(
        self, u: Sequence[Any], v: Sequence[np.ndarray], args: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[Any]]:
        """The gradients of ⟨u, vjp(v, args)⟩ of the arrays, and of the cotangents v."""
        own = [u[i] for i in self.tracked]
        floating = self._floating(v, args)
        of_args, of_v = self._called("second", self._second, own, floating, *args)
        placed: list[Any] = [None] * len(args)
        for i, g in zip(self.tracked, of_args, strict=True):
            placed[i] = np.array(g)
        remaining = iter(of_v)
        shapes = [np.zeros(np.shape(c)) for c in v]
        kinds = self._kinds(args)
        return placed, [
            np.array(next(remaining)) if kind == "f" else zero
            for kind, zero in zip(kinds, shapes, strict=True)
        ]

    def is_smooth(self, args: Sequence[np.ndarray]) -> bool:
        """Is the traced program made of smooth operations alone?"""
        types = array_types(args)
        if types not in self._smooth:
            with self.jax.enable_x64(True):
                self._smooth[types] = is_smooth_jax(self.jax, self._flat, args)
        return self._smooth[types]

    def stops(self, args: Sequence[np.ndarray]) -> set[int]:
        """No floating point result of JAX is without a derivative."""
        del args
        return set()

    # Functions of arrays that JAX transforms -----------------------------------------------------

    def _flat(self, *args: Any) -> list[Any]:
        """The leaves of the results, real and imaginary part of complex ones."""
        jnp = self.jax.numpy
        result = self.run(*whole_of(args, self.is_complex, self.jax.lax.complex))
        leaves = self.jax.tree_util.tree_leaves_with_path(result)
        found: list[Any] = []
        self.paths = []
        for path, leaf in leaves:
            if not hasattr(leaf, "dtype") and not isinstance(leaf, (bool, int, float, complex)):
                raise CheckError(NOT_ARRAYS.format(name=self.name, type=type(leaf).__name__))
            y = jnp.asarray(leaf)
            shown = self.jax.tree_util.keystr(path)
            both = y.dtype.kind == "c"
            found += [y.real, y.imag] if both else [y]
            self.paths += [f"{shown}.real", f"{shown}.imag"] if both else [shown]
        if not found:
            raise CheckError(NOT_ARRAYS.format(name=self.name, type=type(result).__name__))
        self.single = len(found) == 1 and hasattr(result, "dtype")
        return found

    def _floats(self, kept: Sequence[int], args: Sequence[Any]) -> Callable[..., list[Any]]:
        """The floating point results as a function of the arrays at `kept`."""

        def of_kept(*moving: Any) -> list[Any]:
            whole = list(args)
            for i, x in zip(kept, moving, strict=True):
                whole[i] = x
            return [y for y in self._flat(*whole) if y.dtype.kind in "fV"]

        return of_kept

    def _pull_of(self, kept: Sequence[int]) -> Callable[..., Any]:
        def pull(v: Sequence[Any], *args: Any) -> Any:
            values, back = self.jax.vjp(self._floats(kept, args), *[args[i] for i in kept])
            return back([c.astype(y.dtype) for c, y in zip(v, values, strict=True)])

        return pull

    def _second(self, u: Sequence[Any], v: Sequence[Any], *args: Any) -> tuple[Any, Any]:
        kept = self.tracked

        def gradients(moving: Sequence[Any], w: Sequence[Any]) -> Any:
            whole = list(args)
            for i, x in zip(kept, moving, strict=True):
                whole[i] = x
            return self._pull_of(kept)(w, *whole)

        _, back = self.jax.vjp(gradients, [args[i] for i in kept], list(v))
        return back(tuple(u))

    def _kinds(self, args: Sequence[np.ndarray]) -> list[str]:
        """The kinds of the dtypes of all results."""
        types = array_types(args)
        if types not in self._kinds_of:
            self.fn(*args)
        return self._kinds_of[types]

    def _floating(self, v: Sequence[np.ndarray], args: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The cotangents of floating point results among those of all results."""
        kinds = self._kinds(args)
        return [c for c, kind in zip(v, kinds, strict=True) if kind in "fV"]

    def _called(self, key: Any, function: Callable[..., Any], *args: Any) -> Any:
        """The call, compiled if it can be; a function that needs values is run step by step."""
        jax = self.jax
        with jax.enable_x64(True):
            if self._jit:
                try:
                    if key not in self._functions:
                        self._functions[key] = jax.jit(function, compiler_options=_FAST)
                    return self._functions[key](*args)
                except (jax.errors.JAXTypeError, jax.errors.NonConcreteBooleanIndexError):
                    self._jit = False
            return function(*args)
