"""check_gradients: prove or refute the derivatives of any function of Tensors, to any order.

The function is turned into one that takes and returns flat lists of arrays.  Its values come from
untracked calls, its derivatives from `vjp`.  Order n + 1 is the same check of the function
(x, v) ↦ vjp(x, v), so wrong derivatives of rules are found just as wrong rules are.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.probing import probe
from tapegrad.autograd.check.report import Probe, Report
from tapegrad.autograd.core.mode import no_grad
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, replace_leaves
from tapegrad.autograd.transforms.products import vjp
from tapegrad.devices import TapegradError

__all__ = ["CheckError", "UsageError", "argument_names", "check_gradients", "leaf_paths"]

NOT_TENSORS = (
    "{name} returned {type} in call {call}: a function whose gradients are checked returns "
    "Tensors, or nested lists, tuples and dicts of them. Was a value taken out with .numpy() or "
    "float()?"
)
NO_FLOATS_OUT = "{name} returned no floating point Tensor: there is nothing to differentiate"
NO_FLOATS_IN = "{name} was given no floating point input: there is nothing to differentiate by"
SHAPE_CHANGED = (
    "{name} returned shapes {before} in its first call and {after} in call {call}, on inputs of "
    "the same shapes {inputs}: a function whose output shape depends on values cannot be checked"
)
NOT_DETERMINISTIC = (
    "{name} gave different values in two calls on the same inputs {inputs} (largest difference "
    "{gap:.3g}): seed its random numbers inside it, so that equal calls are equal"
)
COMPLEX = "{name}: {path} is complex; only real derivatives are checked"


class CheckError(TapegradError, ValueError):
    """The check cannot be carried out; the message says why and in which call."""


class UsageError(TapegradError, TypeError):
    """A check was asked for wrongly: an option, a name or a shape of what is checked is not right.

    That is no fault of the subject, so it is raised where others are collected.
    """


def check_gradients(
    fn: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    lowest: int = 1,
    seed: int = 0,
    probes: int = 2,
    raise_error: bool = True,
    name: str | None = None,
) -> Report:
    """Check the derivatives of `fn` at `inputs` against difference quotients with an error bar.

    fn:          any function of Tensors; returns a Tensor, or nested lists, tuples, dicts of them
    inputs:      arrays, Tensors, numbers, or nests of them; floating point ones are differentiated
                 (in float64), integers and booleans are passed on unchanged
    order:       the highest order of derivative to check, 1, 2, …
    lowest:      the lowest one; the orders between are checked too
    seed:        the seed of directions and cotangents
    probes:      random directions per order; one finds almost everything
    raise_error: raise GradientError when a derivative is wrong
    Returns a Report; raises CheckError when fn returns anything but Tensors, changes its output
    shape between calls, or is not deterministic.

    >>> import numpy as np
    >>> check_gradients(lambda x: np.tanh(x), np.linspace(-1, 1, 5), order=2).verdict
    'ok'
    """
    function = _FlatFunction(fn, inputs, name)
    rng = np.random.default_rng(seed)
    found: list[Probe] = []
    at = function.point
    for level in range(1, order + 1):
        values = function.check_calls(at)
        if level >= lowest:
            label = _ORDINALS.get(level, f"{level}th") + " order"
            for _ in range(probes):
                found += probe(
                    function.evaluate, function.pull, at, rng, kind=label, names=function.names
                )
            if level == 2:
                found.append(_check_symmetry(function, at, values, rng))
        if level < order:
            function, at = function.derivative(at, values, rng)
    report = Report(function.name, tuple(found))
    return report.raise_if_wrong() if raise_error else report


_ORDINALS = {1: "first", 2: "second", 3: "third"}


class _FlatFunction:
    """A function of nests as a function from a list of float64 arrays to a list of them."""

    def __init__(self, fn: Callable[..., Any], inputs: tuple[Any, ...], name: str | None):
        self.fn = fn
        self.name: str = name or str(getattr(fn, "__name__", type(fn).__name__))
        self.inputs = inputs
        self.calls = 0
        self.shapes: list[tuple[int, ...]] | None = None
        self.names: list[str] = []
        self.point: list[np.ndarray] = []
        self._devices: list[Any] = []
        for argument, tree in zip(argument_names(fn, len(inputs)), inputs, strict=True):
            for path, leaf in leaf_paths(tree, argument):
                value = leaf.data if isinstance(leaf, Tensor) else leaf
                dtype = np.asarray(value).dtype if not devices.is_array(value) else value.dtype
                if dtype.kind == "c":
                    raise CheckError(COMPLEX.format(name=self.name, path=path))
                if dtype.kind == "f":
                    self.names.append(path)
                    array = devices.to_numpy(value) if devices.is_array(value) else value
                    self.point.append(np.array(array, np.float64))
                    self._devices.append(
                        devices.device_of(value) if devices.is_array(value) else None
                    )
        if not self.point:
            raise CheckError(NO_FLOATS_IN.format(name=self.name))

    def evaluate(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The floating point leaves of fn's value, from an untracked call."""
        with no_grad():
            outputs = self.outputs(self._as_tensors(point))
        return [np.array(output.numpy()) for output in outputs]

    def pull(
        self, point: Sequence[np.ndarray], cotangents: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """The gradient of ⟨cotangents, fn⟩ with respect to each leaf."""
        _, pull = vjp(self._on_leaves, tuple(self._as_tensors(point)))
        gradients = pull([self._like_output(c, i) for i, c in enumerate(cotangents)])
        return [np.array(gradient.numpy()) for gradient in gradients]

    def derivative(
        self,
        point: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        rng: np.random.Generator,
    ) -> tuple[_FlatFunction, list[np.ndarray]]:
        """The function (x, v) ↦ vᵀ·J(x) in the same flat form, and a point at which to check it.

        values: those at `point`
        """
        count = len(point)

        def vjp_of_leaves(*arguments: Tensor) -> list[Tensor]:
            _, pull = vjp(self._on_leaves, tuple(arguments[:count]))
            return list(pull(list(arguments[count:])))

        above = _FlatFunction.__new__(_FlatFunction)
        above.fn = vjp_of_leaves
        above.name = self.name
        above.inputs = (*point, *values)
        above.calls = 0
        above.shapes = None
        above.names = [*self.names, *(f"cotangent {i}" for i in range(len(values)))]
        above._devices = [*self._devices, *([self._devices[0]] * len(values))]
        above.point = [*point, *(gaussian(rng, value.shape) for value in values)]
        return above, above.point

    def check_calls(self, point: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The values at `point`; raises CheckError unless two equal calls give equal bits."""
        first, second = self.evaluate(point), self.evaluate(point)
        for a, b in zip(first, second, strict=True):
            if a.tobytes() != b.tobytes():
                gap = float(np.max(np.abs(a - b)))
                raise CheckError(
                    NOT_DETERMINISTIC.format(name=self.name, inputs=_shapes(point), gap=gap)
                )
        return second

    def outputs(self, leaves_in: Sequence[Tensor]) -> list[Tensor]:
        """The floating point leaves of a call of fn, checked for type and shape."""
        self.calls += 1
        result = self.fn(*self._arguments(leaves_in))
        flat = leaves(result)
        for leaf in flat or [result]:
            if not isinstance(leaf, Tensor):
                raise CheckError(
                    NOT_TENSORS.format(name=self.name, type=type(leaf).__name__, call=self.calls)
                )
        floating = [leaf for leaf in flat if leaf.dtype.kind == "f"]
        if not floating:
            raise CheckError(NO_FLOATS_OUT.format(name=self.name))
        shapes = [leaf.shape for leaf in floating]
        if self.shapes is None:
            self.shapes = shapes
        elif shapes != self.shapes:
            raise CheckError(
                SHAPE_CHANGED.format(
                    name=self.name,
                    before=self.shapes,
                    after=shapes,
                    call=self.calls,
                    inputs=_shapes(leaves_in),
                )
            )
        return floating

    def _on_leaves(self, *leaves_in: Tensor) -> list[Tensor]:
        return self.outputs(leaves_in)

    def _arguments(self, leaves_in: Sequence[Tensor]) -> Any:
        if len(leaves_in) == len(self.inputs) and all(map(_is_float_leaf, self.inputs)):
            return leaves_in
        floats = iter(leaves_in)
        flat = [next(floats) if _is_float_leaf(leaf) else leaf for leaf in leaves(self.inputs)]
        return replace_leaves(self.inputs, flat)

    def _as_tensors(self, point: Sequence[np.ndarray]) -> list[Tensor]:
        return [
            Tensor(np.array(x), device=None if home is None else home)
            for x, home in zip(point, self._devices, strict=True)
        ]

    def _like_output(self, cotangent: np.ndarray, _: int) -> Tensor:
        return Tensor(np.array(cotangent), device=self._devices[0])


def _check_symmetry(
    function: _FlatFunction,
    point: Sequence[np.ndarray],
    values: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> Probe:
    """A probe of ⟨H·u, w⟩ = ⟨H·w, u⟩ for the Hessian H of ⟨v, fn⟩, which holds up to rounding."""
    count = len(function.shapes or ())
    u = [gaussian(rng, x.shape) for x in point[:count]]
    w = [gaussian(rng, x.shape) for x in point[:count]]
    first = _inner_product(function.pull(point, u)[:count], w)
    second = _inner_product(function.pull(point, w)[:count], u)
    (hu, scale), (hw, other) = first, second
    # terms that cancel inside H·u leave rounding on the scale of the gradient itself
    inner = sum(float(np.sum(np.abs(g))) for g in values)
    tolerance = 1e-9 * max(scale, other) + 1e-12 * inner
    verdict = "ok" if abs(hu - hw) <= tolerance else "wrong"
    if not all(map(math.isfinite, (hu, hw, tolerance))):
        verdict = "noisy"
    return Probe("symmetry of the second order", verdict, hu, hw, 0.0, tolerance, 0.0, 2)


def _inner_product(
    gradients: Sequence[np.ndarray], direction: Sequence[np.ndarray]
) -> tuple[float, float]:
    with np.errstate(invalid="ignore", over="ignore"):
        products = [g * u for g, u in zip(gradients, direction, strict=True)]
        return (
            float(sum(np.sum(p) for p in products)),
            float(sum(np.sum(np.abs(p)) for p in products)),
        )


def _is_float_leaf(leaf: Any) -> bool:
    if isinstance(leaf, (list, tuple, dict)) or leaf is None:
        return False
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return np.dtype(dtype).kind == "f"


def argument_names(fn: Callable[..., Any], count: int) -> list[str]:
    """The names of the parameters of fn; "argument i" where it has none."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [names[i] if i < len(names) else f"argument {i}" for i in range(count)]


def leaf_paths(tree: Any, path: str) -> list[tuple[str, Any]]:
    """(path, leaf) for each leaf of a nest; a path is the Python expression x[0]['w']."""
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [
            found for key, item in tree.items() for found in leaf_paths(item, f"{path}[{key!r}]")
        ]
    if isinstance(tree, (list, tuple)):
        return [found for i, item in enumerate(tree) for found in leaf_paths(item, f"{path}[{i}]")]
    return [(path, tree)]


def _shapes(arrays: Sequence[Any]) -> str:
    return ", ".join(str(tuple(array.shape)) for array in arrays)
