"""numpy_pair: a NumPy function with a gradient written by hand, as a subject of the laws.

Where arguments and results are real arrays, the laws see them as they are, with their memory.
Nests are made flat, and complex arrays become pairs of real ones.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.cases import as_option, draw_options, parse_spec
from tapegrad.autograd.check.frameworks import making
from tapegrad.autograd.check.frameworks.arguments import CallArguments
from tapegrad.autograd.check.frameworks.nests import (
    FlatNest,
    flat_nest,
    is_matched,
    real_parts_of,
    whole_of,
)
from tapegrad.autograd.check.frameworks.smooth import is_smooth_numpy
from tapegrad.autograd.check.frameworks.writing import (
    Written,
    arguments_in_words,
    expression_of,
    variables,
)
from tapegrad.autograd.check.functions import Pair
from tapegrad.autograd.check.gradients import CheckError

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = ["numpy_pair"]

WRONG_FORM = (
    "the gradient of {name} for the argument {path} has another form than the argument: a list for "
    "a list, a dict with its keys for a dict, None for what has no gradient"
)


def numpy_pair(
    fn: Callable[..., Any],
    vjp_fn: Callable[..., Any],
    inputs: Sequence[Any],
    options: Mapping[str, Any],
    *,
    constant: making.Constant = (),
    domains: making.Domains | None = None,
    batchwise: str | None = None,
    inplace: bool = False,
    jvp_fn: Callable[..., Any] | None = None,
) -> Callable[[Draws], Pair]:
    """The case of a NumPy function: a function that makes a `Pair` from a `Draws`.

    fn:       fn(*inputs, **options) -> array, or a nest of arrays
    vjp_fn:   vjp_fn(g, *inputs, **options) -> the gradients in the form of the inputs, None for
              what has none; a bare array where there is one input.  Complex gradients and
              cotangents are those of Re Σ g·y, as in tapegrad, JAX and HIPS autograd
    jvp_fn:   jvp_fn(t, *inputs, **options) -> the tangent of what fn returns; t is a tuple with a
              tangent for each input, None for one of integers, or a bare one for one input
    The other arguments are those of `torch_pair`.
    Raises UsageError for options and names that do not fit.
    """
    name = making.subject_name(fn)
    making.refuse_batchwise(batchwise)
    specs = [parse_spec(spec) for spec in inputs]
    kinds = {key: as_option(value) for key, value in options.items()}
    for function in (fn, vjp_fn, *([] if jvp_fn is None else [jvp_fn])):
        count = len(specs) + (function is not fn)
        making.refuse_misfit(function, count, list(options))
    tops = making.parameter_names(fn, len(specs))
    making.refuse_keywords_by_position(fn, specs, tops, "{each}")
    limits = dict(domains or {})

    def draw(d: Draws) -> Pair:
        picked = draw_options(kinds, d)
        nests = making.draw_positional(specs, tops, d, limits)
        keywords = making.draw_keywords(picked, d, limits)
        call = functools.partial(fn, **keywords) if keywords else fn
        pull = functools.partial(vjp_fn, **keywords) if keywords else vjp_fn
        parts = [flat_nest(item, top) for item, top in zip(nests, tops, strict=True)]
        paths = [path for part in parts for path in part.paths]
        of_top = [i for i, part in enumerate(parts) for _ in part.paths]
        arrays = [np.asarray(leaf) for part in parts for leaf in part.leaves]
        whole = [array.dtype.kind == "c" for array in arrays]
        flat_args, names = real_parts_of(arrays, paths)
        spread = [i for i, both in enumerate(whole) for _ in range(1 + both)]
        found, idle = making.constants_among(paths, of_top, constant)
        idle += [n for n in limits if not any(is_matched(path, n) for path in paths)]
        making.refuse_idle_names(name, idle, paths, "constant= or domains=")
        own = {i for i, origin in enumerate(spread) if origin in found}
        push = functools.partial(jvp_fn, **keywords) if jvp_fn and keywords else jvp_fn
        made = _Nested(name, call, pull, nests, parts, whole, push)
        plain = not any(whole) and all(p.paths == [top] for p, top in zip(parts, tops, strict=True))
        made.plain = plain
        if inplace:
            made.fn = functools.partial(_on_copies, made.fn)  # type: ignore[method-assign]  # this call alone
        arguments = CallArguments(nests, keywords, tops, {})
        return Pair(
            made.fn, made.vjp, flat_args, names,
            jvp=None if push is None else made.jvp,
            constants=own, inplace=inplace, shown=name, paths=made.paths, subject=fn,
            samples=making.batched_among(specs, d) if batchwise else 0,
            smooth=lambda: not any(whole) and is_smooth_numpy(made.fn, flat_args),
            proof=lambda: None if any(whole) else _written(fn, vjp_fn, arguments, tops, own),
        )  # fmt: skip

    return draw


def _written(
    fn: Any, vjp_fn: Any, arguments: CallArguments, tops: Sequence[str], constants: Collection[int]
) -> Written:
    """The example as lines of NumPy."""
    paths = arguments.names
    shown = variables(paths)
    several = len(tops) > 1
    picks = [
        (f"[{top}]" if several else "") + (path[len(tops[top]) :] if top < len(tops) else "")
        for path, top in zip(paths, arguments.tops, strict=True)
    ]
    positional, keywords = arguments.placed(shown)
    imports, expression, notes = expression_of(fn)
    more, gradient, more_notes = expression_of(vjp_fn)
    text = arguments_in_words(positional, keywords)
    tracked = [
        i for i, a in enumerate(arguments.arrays) if i not in constants and a.dtype.kind == "f"
    ]
    return Written(
        "numpy", [*imports, *more], [], [str(v) for v in shown], f"{expression}({text})", tracked,
        gradient=f"{gradient}(v, {text})", picks=picks, notes=[*notes, *more_notes],
    )  # fmt: skip


def _on_copies(function: Callable[..., Any], *args: np.ndarray) -> Any:
    return function(*(np.array(a) for a in args))


class _Nested:
    """A function of nests and its gradient, as functions of flat real arrays."""

    def __init__(
        self,
        name: str,
        call: Callable[..., Any],
        pull: Callable[..., Any],
        nests: Sequence[Any],
        parts: Sequence[FlatNest],
        is_complex: Sequence[bool],
        push: Callable[..., Any] | None = None,
    ) -> None:
        self.name = name
        self.call = call
        self.pull = pull
        self.push = push
        self.nests = nests
        self.parts = parts
        self.is_complex = is_complex
        self.plain = False
        self._result: FlatNest | None = (
            None  # the form of the latest result, None for one real array
        )
        self._complex: list[bool] = []

    def _nests(self, args: Sequence[np.ndarray]) -> list[Any]:
        if self.plain:
            return list(args)
        leaves = whole_of(args, self.is_complex, lambda re, im: re + 1j * im)
        nests, start = [], 0
        for part in self.parts:
            end = start + len(part.leaves)
            nests.append(part.rebuild(leaves[start:end]))
            start = end
        return nests

    def fn(self, *args: np.ndarray) -> Any:
        """The results, a list of real arrays unless it is one real array."""
        result = self.call(*self._nests(args))
        flat = flat_nest(result)
        for leaf in flat.leaves:
            if not isinstance(leaf, (np.ndarray, np.generic)):
                return result if len(flat.leaves) == 1 and leaf is result else leaf
        self._complex = [np.asarray(leaf).dtype.kind == "c" for leaf in flat.leaves]
        single = isinstance(result, (np.ndarray, np.generic))
        self._result = None if single and not any(self._complex) else flat
        if self._result is None:
            return result
        if not any(self._complex):
            return flat.leaves  # themselves, so that shared memory is seen
        return real_parts_of([np.asarray(leaf) for leaf in flat.leaves], flat.paths)[0]

    def paths(self) -> list[str]:
        """The expressions of the latest results."""
        if self._result is None:
            return [""]
        return [
            path + part
            for path, both in zip(self._result.paths, self._complex, strict=True)
            for part in ((".real", ".imag") if both else ("",))
        ]

    def jvp(self, tangents: Sequence[np.ndarray | None], *args: np.ndarray) -> list[Any]:
        """The tangents of the results, a list of real arrays."""
        assert self.push is not None  # else nobody asks
        moved: Any = tangents
        if not self.plain:
            moved = self._nests(
                [np.zeros_like(x) if t is None else t for t, x in zip(tangents, args, strict=True)]
            )
        t = moved[0] if len(self.nests) == 1 else tuple(moved)
        flat = flat_nest(self.push(t, *self._nests(args)))
        return real_parts_of([np.asarray(leaf) for leaf in flat.leaves], flat.paths)[0]

    def vjp(self, cotangent: Any, *args: np.ndarray) -> Any:
        """The gradients of all arrays; a list, unless what `vjp_fn` gives is passed on."""
        if self._result is not None:
            # the cotangent of a complex result has the sign with which Re Σ g·y is their product
            whole = whole_of(cotangent, self._complex, lambda re, im: re - 1j * im)
            cotangent = self._result.rebuild(whole)
        found = self.pull(cotangent, *self._nests(args))
        if self.plain:
            return found
        if len(self.nests) == 1:
            bare = isinstance(self.nests[0], (list, tuple)) or not isinstance(found, (list, tuple))
            tops = [found] if bare or len(found) != 1 else list(found)
        else:
            tops = list(found) if isinstance(found, (list, tuple)) else [found]
        if len(tops) != len(self.nests):
            raise CheckError(
                f"the gradient of {self.name} returned {len(tops)} items: it returns one for each "
                f"of the {len(self.nests)} arguments, None for those without a gradient"
            )
        leaves: list[Any] = []
        for part, nest, top in zip(self.parts, self.nests, tops, strict=True):
            aligned = _aligned(nest, top)
            if aligned is None or len(aligned) != len(part.leaves):
                path = part.paths[0].partition("[")[0] if part.paths else ""
                raise CheckError(WRONG_FORM.format(name=self.name, path=path))
            leaves += aligned
        gradients: list[Any] = []
        for leaf, both in zip(leaves, self.is_complex, strict=True):
            if not both:
                gradients.append(leaf)
            elif leaf is None:
                gradients += [None, None]
            else:
                gradients += [np.array(np.real(leaf)), np.array(-np.imag(leaf))]
        return gradients


def _aligned(nest: Any, gradient: Any) -> list[Any] | None:
    """The gradients of the leaves of a nest, None where there is none; None if the form differs."""
    if nest is None:
        return []
    if gradient is None:
        return [None] * len(flat_nest(nest).leaves)
    if isinstance(nest, Mapping):
        if not isinstance(gradient, Mapping) or not set(gradient) <= set(nest):
            return None
        pairs = [(nest[key], gradient.get(key)) for key in nest]
    elif dataclasses.is_dataclass(nest):
        names = [field.name for field in dataclasses.fields(nest)]
        if not all(hasattr(gradient, name) for name in names):
            return None
        pairs = [(getattr(nest, name), getattr(gradient, name)) for name in names]
    elif isinstance(nest, (list, tuple)):
        if not isinstance(gradient, (list, tuple)) or len(gradient) != len(nest):
            return None
        pairs = list(zip(nest, gradient, strict=True))
    else:
        return [gradient]
    found: list[Any] = []
    for item, part in pairs:
        aligned = _aligned(item, part)
        if aligned is None:
            return None
        found += aligned
    return found
