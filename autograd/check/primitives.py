"""Laws of primitives and composites: what every operation on Tensors must do.

A trial is one operation on one drawn example.  Derivatives are checked on the operation as users
call it, so tracking, specialisation, broadcasting sums and dtype casts are all inside the check.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import ops
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.draws import REGIMES, Draws
from tapegrad.autograd.check.gradients import check_gradients
from tapegrad.autograd.check.laws import (
    Law,
    Laws,
    NotCovered,
    must,
    must_be_close,
    must_be_equal,
    must_be_unchanged,
    snapshot,
)
from tapegrad.autograd.check.layouts import ODD_LAYOUTS
from tapegrad.autograd.check.slopes import Line, noise_of
from tapegrad.autograd.core.composite import composites
from tapegrad.autograd.core.declaration import Primitive, numpy_functions, primitives
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves, unflatten
from tapegrad.autograd.replay.step import replay
from tapegrad.autograd.transforms.batching import BatchingError, vmap
from tapegrad.autograd.transforms.gradient import vjp

if TYPE_CHECKING:
    from tapegrad.autograd.check.report import Report

__all__ = ["PRIMITIVE_LAWS", "Call", "PrimitiveTrial", "applies_to_primitive", "operations"]

PRIMITIVE_LAWS = Laws("primitive")


@dataclass
class Call:
    """The arguments of one call: arrays, lists of arrays, numbers; and its settings."""

    args: Sequence[Any]
    settings: dict[str, Any] = field(default_factory=dict)


def operations() -> dict[str, Callable[..., Any]]:
    """Every primitive and composite by name."""
    return {**primitives(), **composites()}


class PrimitiveTrial:
    """One operation on one example: `case(draws)` gives the call.

    function: the operation; the registered one called `name` when omitted
    """

    def __init__(
        self, name: str, case: Callable[[Draws], Call], draws: Draws, function: Any = None
    ) -> None:
        self.name = name
        self.function = _of_values(operations()[name] if function is None else function)
        self.primitive: Primitive | None = getattr(self.function, "primitive", None)
        self.draws = draws
        self.rng = draws.rng
        self.call = case(draws)
        # Complex arrays are tried as pairs of real ones: every law is then about real numbers.
        self.point: list[Any] = []
        for leaf in leaves(list(self.call.args)):
            if _is_float(leaf):
                self.point.append(leaf)
            elif _is_complex(leaf):
                self.point += [np.array(leaf.real), np.array(leaf.imag)]
        self.complex = any(map(_is_complex, leaves(list(self.call.args))))

    def scale(self, arrays: Sequence[np.ndarray]) -> float | None:
        """Magnitude on which rounding is judged: of parts of complex numbers, that of the whole."""
        if not self.complex:
            return None
        finite = [np.abs(a[np.isfinite(a)]) for a in arrays if a.dtype.kind == "f"]
        return max((float(np.max(a, initial=0.0)) for a in finite), default=0.0)

    @property
    def derives(self) -> bool:
        """Whether the operation has derivatives."""
        if self.primitive is None:
            return bool(getattr(self.function, "differentiable", True))
        return self.primitive.differentiable

    def __repr__(self) -> str:
        shown = [_described(argument) for argument in self.call.args]
        shown += [f"{name}={value!r}" for name, value in self.call.settings.items()]
        return f"{self.name}({', '.join(shown)})"

    def run(self, point: Sequence[Any] | None = None, wrap: Any = None) -> Any:
        """Call the operation, with other float arrays if given, each array wrapped by `wrap`."""
        return _in_parts(self.function(*self.arguments(point, wrap), **self.call.settings))

    def arguments(self, point: Sequence[Any] | None = None, wrap: Any = None) -> list[Any]:
        """The call's arguments, with other float arrays if given, each array wrapped."""
        given = iter(self.point if point is None else point)

        def wrapped(leaf: Any) -> Any:
            bare = wrap is not None and isinstance(leaf, np.ndarray)
            return wrap(leaf) if bare and not isinstance(leaf, Tensor) else leaf

        flat = []
        for leaf in leaves(list(self.call.args)):
            if _is_float(leaf):
                flat.append(wrapped(next(given)))
            elif _is_complex(leaf):
                re, im = wrapped(next(given)), wrapped(next(given))
                flat.append(re + im * 1j)
            else:
                flat.append(wrapped(leaf))
        return unflatten(list(self.call.args), flat)

    def values(self, point: Sequence[Any] | None = None) -> list[np.ndarray]:
        """The result's arrays from bare arrays."""
        return values_of(self.run(point))

    def on_tensors(self, *point: Tensor) -> Any:
        """The operation as a function of its float arguments as Tensors."""
        return self.run(point, wrap=Tensor)

    def gradients(
        self, cotangents: Sequence[np.ndarray], point: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """vᵀ·J from the tape, as bare arrays from bare arrays."""
        point = self.point if point is None else point
        _, pull = vjp(lambda *x: _floating(self.on_tensors(*x)), *point)
        return [np.asarray(g) for g in pull(list(cotangents))]

    def cotangents(self) -> list[np.ndarray]:
        """A random cotangent for every floating point result."""
        return [
            gaussian(self.rng, value.shape).astype(value.dtype)
            for value in self.values()
            if value.dtype.kind == "f"
        ]

    def check(self, order: int) -> Report:
        """check_gradients of the operation on this example; raises LawError when wrong."""
        return check_gradients(
            lambda *x: _floating(self.on_tensors(*x)),
            *self.point,
            order=order,
            seed=self.draws.seed,
            probes=1,
            name=repr(self),
        )


def applies_to_primitive(law: Law, name: str) -> bool:
    """Whether the law is about such an operation at all (out= needs a body that takes it, …)."""
    function = operations()[name]
    primitive = getattr(function, "primitive", None)
    if primitive is None:
        # results of these are facts about arrays (shapes, dtypes, truth), not arrays
        if function.fact:  # type: ignore[attr-defined]  # set by @composite
            return law.name == "it_equals_numpy"
        if not function.differentiable and law.name in _DERIVATIVE_LAWS:  # type: ignore[attr-defined]  # too
            return False
        if law.name == "it_equals_numpy":
            return bool(_numpy_names(name))
        return law.name not in _PRIMITIVE_ONLY
    if primitive.mutates:
        return law.name in _MUTATING_LAWS
    if primitive.random:
        return law.name in _RANDOM_LAWS
    if law.name in _MUTATING_LAWS | _RANDOM_LAWS and law.name not in _GENERAL:
        return False
    if law.name == "a_batch_agrees_with_the_loop_over_samples":
        return primitive.batch_rule is not None
    if law.name == "out_receives_the_result":
        return bool(primitive.takes_out)
    if law.name == "it_equals_numpy":
        return bool(_numpy_names(name))
    return primitive.differentiable or law.name not in _DERIVATIVE_LAWS


_PRIMITIVE_ONLY = {
    "out_receives_the_result",
    "only_its_target_is_overwritten",
    "equal_seeds_give_equal_draws",
}
_MUTATING_LAWS = {"only_its_target_is_overwritten", "replay_equals_eager"}
_RANDOM_LAWS = {"equal_seeds_give_equal_draws", "replay_equals_eager"}
_GENERAL = {"replay_equals_eager"}
_DERIVATIVE_LAWS = {
    "its_gradient_is_the_derivative",
    "its_second_derivative_is_right",
    "its_gradient_is_linear_in_the_cotangent",
    "tracking_fewer_arguments_changes_no_gradient",
    "a_recorded_sweep_gives_the_same_gradient",
    "gradients_share_no_memory",
    "float64_results_carry_no_float32_noise",
}


# Derivatives --------------------------------------------------------------------------------------


@PRIMITIVE_LAWS(regimes=REGIMES, effort=1.0)
def its_gradient_is_the_derivative(trial: PrimitiveTrial) -> Any:
    """First order, in every regime of data."""
    return trial.check(order=1)


@PRIMITIVE_LAWS(regimes=("ordinary", "grid"), effort=0.5)
def its_second_derivative_is_right(trial: PrimitiveTrial) -> Any:
    """The rule's own derivative, and the symmetry of the Hessian."""
    return trial.check(order=2)


@PRIMITIVE_LAWS()
def its_gradient_is_linear_in_the_cotangent(trial: PrimitiveTrial) -> None:
    """vjp(2u − 3v) = 2·vjp(u) − 3·vjp(v), and vjp(0) = 0."""
    u, v = trial.cotangents(), trial.cotangents()
    mixed = trial.gradients([2 * a - 3 * b for a, b in zip(u, v, strict=True)])
    of_u, of_v = trial.gradients(u), trial.gradients(v)
    for i, (m, a, b) in enumerate(zip(mixed, of_u, of_v, strict=True)):
        scale = float(np.max(np.abs(a), initial=0)) + float(np.max(np.abs(b), initial=0))
        must_be_close(m, 2 * a - 3 * b, f"gradient {i} of 2u − 3v", relative=1e-12, scale=3 * scale)
    for i, zero in enumerate(trial.gradients([0 * a for a in u])):
        must(not np.any(zero), f"gradient {i} of the cotangent 0 is not 0")


@PRIMITIVE_LAWS()
def tracking_fewer_arguments_changes_no_gradient(trial: PrimitiveTrial) -> None:
    """Each argument's gradient is the same whether or not the others are tracked."""
    v = trial.cotangents()
    together = trial.gradients(v)
    for i in range(len(trial.point)):

        def alone(x: Tensor, i: int = i) -> Any:
            point = [Tensor(p) for p in trial.point]
            point[i] = x
            return _floating(trial.on_tensors(*point))

        _, pull = vjp(alone, trial.point[i])
        must_be_equal(pull(list(v))[0], together[i], f"gradient of argument {i} tracked alone")


@PRIMITIVE_LAWS()
def a_recorded_sweep_gives_the_same_gradient(trial: PrimitiveTrial) -> None:
    """Rules give equal bits on arrays (ordinary sweep) and on Tensors (differentiable sweep)."""
    v = trial.cotangents()
    plain = trial.gradients(v)
    _, pull = vjp(lambda *x: _floating(trial.on_tensors(*x)), *[Tensor(p) for p in trial.point])
    for i, (taped, bare) in enumerate(zip(pull([Tensor(g) for g in v]), plain, strict=True)):
        must_be_equal(taped.numpy(), bare, f"gradient {i} of a recorded sweep")


@PRIMITIVE_LAWS()
def gradients_share_no_memory(trial: PrimitiveTrial) -> None:
    """Writing to one gradient changes neither another, nor an argument, nor the cotangent."""
    v = trial.cotangents()
    gradients = trial.gradients(v)
    others = [*trial.point, *v]
    for i, gradient in enumerate(gradients):
        for other in [*gradients[:i], *others]:
            must(not np.shares_memory(gradient, other), f"gradient {i} shares memory")


@PRIMITIVE_LAWS()
def float64_results_carry_no_float32_noise(trial: PrimitiveTrial) -> NotCovered | None:
    """Nothing inside is computed in float32 on the way."""
    values = trial.values()
    if not all(np.isfinite(v).all() for v in values):
        return NotCovered("values that are not finite have no noise to measure")
    v = trial.cotangents()
    direction = [gaussian(trial.rng, x.shape) for x in trial.point]

    def evaluate(point: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [value for value in trial.values(point) if value.dtype.kind == "f"]

    line = Line(evaluate, trial.point, direction, v, evaluate(trial.point))
    noise = noise_of(line)
    allowed = 1e-10 * max(line.magnitude, 1e-3)
    must(not noise > allowed, f"values carry noise of {noise:.1e}: float32 somewhere inside?")
    return None


# Values and kinds ---------------------------------------------------------------------------------


@PRIMITIVE_LAWS(regimes=("ordinary", "grid"))
def it_equals_numpy(trial: PrimitiveTrial) -> None:
    """NumPy's function of that name gives on Tensors what it gives on arrays."""
    for function in _numpy_names(trial.name):
        positional, keywords = _numpy_settings(function, trial.call.settings)
        expected, found = (
            values_of(arguments[0] if result is None else result)
            for arguments in (trial.arguments(), trial.arguments(wrap=Tensor))
            for result in [function(*arguments, *positional, **keywords)]
        )
        must(len(found) == len(expected), f"np.{function.__name__} gave {len(found)} results")
        scale = trial.scale(expected)
        for f, e in zip(found, expected, strict=True):
            must(
                f.dtype == e.dtype,
                f"np.{function.__name__} on Tensors gave {f.dtype} instead of {e.dtype}",
            )
            if e.dtype.kind == "f":
                must_be_close(
                    f, e, f"np.{function.__name__} on Tensors", relative=1e-12, scale=scale
                )
            else:
                must_be_equal(f, e, f"np.{function.__name__} on Tensors")


@PRIMITIVE_LAWS()
def arrays_give_arrays_and_tensors_give_tensors(trial: PrimitiveTrial) -> None:
    """Bare in, bare out with equal bits; untracked Tensors in, untracked Tensors out."""
    bare, wrapped = leaves(trial.run()), leaves(trial.run(wrap=Tensor))
    for i, (array, tensor) in enumerate(zip(bare, wrapped, strict=True)):
        must(not isinstance(array, Tensor), f"result {i} of arrays is a Tensor")
        if any(isinstance(leaf, np.ndarray) for leaf in leaves(list(trial.call.args))):
            must(isinstance(tensor, Tensor), f"result {i} of Tensors is {type(tensor).__name__}")
            must(not tensor.tracked, f"result {i} of untracked Tensors is tracked")
            must_be_equal(tensor.numpy(), np.asarray(array), f"result {i} of Tensors")


@PRIMITIVE_LAWS()
def float32_agrees_with_float64(trial: PrimitiveTrial) -> None:
    """float32 in is float32 out, in values and gradients, and close to float64."""
    single = [x.astype(np.float32) for x in trial.point]
    double = [x.astype(np.float64) for x in single]
    at_single, at_double = trial.values(single), trial.values(double)
    scale = trial.scale(at_double)
    for i, (s, d) in enumerate(zip(at_single, at_double, strict=True)):
        if "dtype" not in trial.call.settings and d.dtype == np.float64 and single:
            must(s.dtype == np.float32, f"result {i} of float32 is {s.dtype}")
        if d.dtype.kind == "f":
            must_be_close(s, d, f"result {i} in float32", relative=1e-5, scale=scale)
        else:
            must_be_equal(s, d, f"result {i} in float32")
    if not trial.derives:
        return
    v = [gaussian(trial.rng, d.shape) for d in at_double if d.dtype.kind == "f"]
    v = [c.astype(np.float32) for c in v]
    kinds = [s.dtype for s in at_single if s.dtype.kind == "f"]
    singles = trial.gradients([c.astype(kind) for c, kind in zip(v, kinds, strict=True)], single)
    doubles = trial.gradients([c.astype(np.float64) for c in v], double)
    scale = trial.scale(doubles)
    for i, (s, d) in enumerate(zip(singles, doubles, strict=True)):
        must(s.dtype == np.float32, f"gradient {i} of float32 is {s.dtype}")
        must_be_close(s, d, f"gradient {i} in float32", relative=2e-5, scale=scale)


@PRIMITIVE_LAWS(regimes=("ordinary", "grid"))
def inputs_are_left_alone(trial: PrimitiveTrial) -> None:
    """Neither the call nor its derivative writes into arguments, or into the cotangent."""
    arrays = [a for a in leaves(list(trial.call.args)) if isinstance(a, np.ndarray)]
    before = snapshot(arrays)
    trial.run()
    must_be_unchanged(before, arrays, "argument")
    if trial.derives:
        v = trial.cotangents()
        cotangents = snapshot(v)
        trial.gradients(v)
        must_be_unchanged(before, arrays, "argument")
        must_be_unchanged(cotangents, v, "cotangent")


@PRIMITIVE_LAWS()
def memory_layout_does_not_matter(trial: PrimitiveTrial) -> None:
    """Fortran order, gaps, negative strides and read-only arrays give the same result."""
    expected = trial.values()
    derive = trial.derives
    v = trial.cotangents() if derive else []
    gradients = trial.gradients(v) if derive else []
    for name, layout in ODD_LAYOUTS.items():
        point = [layout(x) for x in trial.point]
        for i, (f, e) in enumerate(zip(trial.values(point), expected, strict=True)):
            _must_agree(f, e, f"result {i} of {name} arrays")
        if not derive:
            continue
        found = trial.gradients([layout(c) for c in v], point)
        for i, (f, e) in enumerate(zip(found, gradients, strict=True)):
            _must_agree(f, e, f"gradient {i} of {name} arrays")


@PRIMITIVE_LAWS()
def out_receives_the_result(trial: PrimitiveTrial) -> None:
    """With out=, the body writes equal bits there and nothing else."""
    assert trial.primitive is not None
    body = trial.primitive.body_for(np)
    arguments = trial.arguments()
    expected = np.asarray(body(np, *arguments, **trial.call.settings))
    out = np.ones(expected.shape, expected.dtype)
    body(np, *arguments, **trial.call.settings, out=out)
    must_be_equal(out, expected, "out=")


@PRIMITIVE_LAWS()
def nan_stays_nan(trial: PrimitiveTrial) -> None:
    """A NaN in an entry that matters shows in the result: it is never silently dropped."""
    for i, x in enumerate(trial.point):
        if not x.size:
            continue
        place = int(trial.rng.integers(x.size))
        bad, moved = x.copy(), x.copy()
        bad.reshape(-1)[place] = np.nan
        moved.reshape(-1)[place] += 0.03125
        before = trial.values()
        after = trial.values([*trial.point[:i], moved, *trial.point[i + 1 :]])
        try:
            with np.errstate(invalid="ignore"):
                broken = trial.values([*trial.point[:i], bad, *trial.point[i + 1 :]])
        except np.linalg.LinAlgError:  # refusing NaN aloud is no silence
            continue
        for b, a, n in zip(before, after, broken, strict=True):
            if n.dtype.kind == "f" and b.shape == a.shape == n.shape:
                lost = (a != b) & ~np.isnan(n)
                must(not lost.any(), f"NaN in argument {i} gives {n[lost][:1]}")


@PRIMITIVE_LAWS(empties=True)
def empty_axes_are_fine(trial: PrimitiveTrial) -> None:
    """Axes of length 0 give a result, and gradients of the arguments' shapes."""
    values = trial.values()
    if not trial.derives:
        return
    v = [gaussian(trial.rng, value.shape) for value in values if value.dtype.kind == "f"]
    for i, (g, x) in enumerate(zip(trial.gradients(v), trial.point, strict=True)):
        must(g.shape == x.shape, f"gradient {i} has shape {g.shape} instead of {x.shape}")


@PRIMITIVE_LAWS()
def it_leaves_no_cyclic_garbage(trial: PrimitiveTrial) -> None:
    """Calls, recorded or not, and their derivatives are freed by reference count alone."""
    derive = trial.derives
    v = trial.cotangents() if derive else []

    def step() -> None:
        trial.run(wrap=Tensor)
        if derive:
            trial.gradients(v)

    step()
    must_leave_no_cycles(step)


@PRIMITIVE_LAWS()
def only_its_target_is_overwritten(trial: PrimitiveTrial) -> None:
    """An in-place primitive writes what NumPy's assignment would, and leaves the rest alone."""
    assert trial.primitive is not None
    arguments = trial.arguments(wrap=lambda a: Tensor(a.copy()))
    arrays = [leaf.numpy() for leaf in leaves(arguments) if isinstance(leaf, Tensor)]
    target = trial.primitive.arguments.index(str(trial.primitive.mutates))
    expected = np.array(trial.arguments()[target])
    bare = [np.array(a) if isinstance(a, np.ndarray) else a for a in trial.arguments()]
    bare[target] = expected
    trial.primitive.body(np, *bare, **trial.call.settings)
    memory = arguments[target].numpy()
    others = [array for array in arrays if array is not memory]
    before = snapshot(others)
    result = trial.function(*arguments, **trial.call.settings)
    must(result is arguments[target], "an in-place primitive returns its target")
    must_be_equal(memory, expected, "target")
    must_be_unchanged(before, others, "argument")


@PRIMITIVE_LAWS()
def equal_seeds_give_equal_draws(trial: PrimitiveTrial) -> None:
    """One seed, one result; the next call gives another; shape and dtype are those asked for."""
    settings = {**trial.call.settings, "generator": devices.Generator(seed=trial.draws.seed)}
    first, after = values_of([trial.function(**settings) for _ in range(2)])
    settings["generator"] = devices.Generator(seed=trial.draws.seed)
    [again] = values_of(trial.function(**settings))
    must_be_equal(again, first, "draws with an equal seed")
    shape, dtype = settings["shape"], settings["dtype"]
    must(first.shape == shape and first.dtype == dtype, f"drew {first.dtype}{first.shape}")
    if first.size > 16:
        must(not np.array_equal(first, after), "two calls in a row drew the same numbers")


@PRIMITIVE_LAWS()
def replay_equals_eager(trial: PrimitiveTrial) -> None:
    """A recorded call, with its derivative, gives equal bits when it is run again."""
    primitive = trial.primitive
    if primitive is not None and primitive.random:
        _replay_draws(trial)
        return
    v = trial.cotangents() if trial.derives else []

    def step(point: Any, cotangents: Any) -> Any:
        if not trial.derives:
            return trial.run(point, wrap=Tensor)
        y, pull = vjp(lambda *x: _floating(trial.on_tensors(*x)), *point)
        return [y, pull(list(cotangents))]

    def inputs(turn: int) -> Any:
        point = [Tensor(x + 0.125 * turn) for x in trial.point]
        return point, [Tensor(c - 0.25 * turn) for c in v]

    replayed = replay(step)
    for turn in range(3):
        found, expected = values_of(replayed(*inputs(turn))), values_of(step(*inputs(turn)))
        for i, (f, e) in enumerate(zip(found, expected, strict=True)):
            must_be_equal(f, e, f"result {i} of call {turn}")
    must(replayed.recorded == 1, "the call was never replayed")


def _replay_draws(trial: PrimitiveTrial) -> None:
    def draws(generator: Any, run: Callable[..., Any] | None = None) -> list[np.ndarray]:
        def step() -> Any:
            return trial.function(**trial.call.settings, generator=generator)

        step = replay(step) if run is replay else step
        return values_of([step() for _ in range(4)])

    expected = draws(devices.Generator(seed=trial.draws.seed))
    found = draws(devices.Generator(seed=trial.draws.seed), replay)
    for turn, (f, e) in enumerate(zip(found, expected, strict=True)):
        must_be_equal(f, e, f"draw {turn}")


# Samples of a batch -------------------------------------------------------------------------------


@PRIMITIVE_LAWS()
def a_batch_agrees_with_the_loop_over_samples(trial: PrimitiveTrial) -> NotCovered | None:
    """Values and gradients of each sample, each operand in turn with samples and shared."""
    arrays = [x for x in leaves(list(trial.call.args)) if isinstance(x, np.ndarray)]
    batches = [np.stack([x, _another(x)]) for x in arrays]
    patterns = [{i} for i in range(len(arrays))]
    if len(arrays) > 1:
        patterns.append(set(range(len(arrays))))
    refused: BatchingError | None = None
    for pattern in patterns:
        try:
            _batch_agrees(trial, arrays, {i: batches[i] for i in pattern})
        except BatchingError as error:
            if trial.primitive is not None and not any(arrays[i].dtype == bool for i in pattern):
                raise  # a mask may decide a shape; what composites read of a value is their concern
            refused = error
            patterns = [p for p in patterns if p is not pattern]
    return None if patterns else NotCovered(f"no operand may differ: {refused}")


def _another(x: np.ndarray) -> np.ndarray:
    """Another example of the same kind: a matrix stays definite, an index within bounds."""
    return x * x.dtype.type(0.875) if x.dtype.kind in "fc" else x[::-1] if x.ndim else x


def _batch_agrees(
    trial: PrimitiveTrial, arrays: list[np.ndarray], batches: dict[int, np.ndarray]
) -> None:
    """Hold vmap against a loop, for the arrays of the call that have samples."""
    inner = [i for i, x in enumerate(arrays) if x.dtype.kind in "fc"]

    def run(given: list[Any]) -> Any:
        rest = iter(given)
        flat = [
            next(rest) if isinstance(x, np.ndarray) else x for x in leaves(list(trial.call.args))
        ]
        return _in_parts(trial.function(*unflatten(list(trial.call.args), flat), **settings))

    def gradients(given: list[Any]) -> Any:
        """The results, and the cotangents of what is floating point, of one sample."""

        def floating(*point: Any) -> list[Tensor]:
            changed = list(given)
            for i, x in zip(inner, point, strict=True):
                changed[i] = x
            return _floating(run([Tensor(x) if type(x) is np.ndarray else x for x in changed]))

        _, pull = vjp(floating, *[given[i] for i in inner])
        return [_in_parts(g) for g in pull(cotangents)]

    def one(samples: dict[int, Any]) -> Any:
        given = [samples.get(i, x) for i, x in enumerate(arrays)]
        y = run([Tensor(x) if type(x) is np.ndarray else x for x in given])
        return [y, gradients(given) if trial.derives and inner else []]

    settings = trial.call.settings
    cotangents = trial.cotangents() if trial.derives else []
    found = values_of(vmap(one)({i: Tensor(x) for i, x in batches.items()}))
    rows = [values_of(one({i: Tensor(x[n]) for i, x in batches.items()})) for n in range(2)]
    which = f"with samples in operand(s) {sorted(batches)}"
    for i, (f, *e) in enumerate(zip(found, *rows, strict=True)):
        for n in range(2):
            what = f"array {i} of sample {n}, {which}"
            if e[n].dtype.kind == "f":
                must_be_close(f[n], e[n], what, relative=1e-12, scale=1.0)
            else:
                must_be_equal(f[n], e[n], what)


# Arrays of other libraries ------------------------------------------------------------------------


@PRIMITIVE_LAWS()
def strict_arrays_agree_with_numpy(trial: PrimitiveTrial) -> None:
    """The body and the rules use nothing but the array namespace they are given."""
    agree_on_device(trial, "strict")


def agree_on_device(trial: PrimitiveTrial, device: str) -> None:
    """Values and gradients on `device` are those of NumPy arrays, and stay on the device."""
    home = devices.device(device)

    def there(x: Any) -> Tensor:
        return Tensor(x, device=home) if not isinstance(x, Tensor) else x

    expected = trial.values()
    results = leaves(trial.run(wrap=there))
    for i, (result, e) in enumerate(zip(results, expected, strict=True)):
        if isinstance(result, Tensor):
            must(result.device == home, f"result {i} came back from {device} to {result.device}")
            _must_agree(result.numpy(), e, f"result {i} on {device}")
    if not trial.derives:
        return
    v = trial.cotangents()
    _, pull = vjp(lambda *x: _floating(trial.run(x, wrap=there)), *[there(p) for p in trial.point])
    for i, (g, e) in enumerate(zip(pull([there(c) for c in v]), trial.gradients(v), strict=True)):
        must(g.device == home, f"gradient {i} came back from {device} to {g.device}")
        _must_agree(g.numpy(), e, f"gradient {i} on {device}")


# Helpers ------------------------------------------------------------------------------------------


def _of_values(function: Any) -> Any:
    """The operation; one that writes into its first argument as a function that returns it.

    So the laws of results hold for writes as well.  On arrays, NumPy's own function writes.
    """
    if not getattr(function, "writes", False):
        return function
    [in_numpy] = [theirs for theirs, ours in numpy_functions.items() if ours is function]

    def writing(target: Any, *rest: Any, **settings: Any) -> Any:
        target = ops.copy(target)
        (function if isinstance(target, Tensor) else in_numpy)(target, *rest, **settings)
        return target

    return writing


def must_leave_no_cycles(step: Callable[[], None], times: int = 3) -> None:
    """Run `step` with the garbage collector off; collecting afterwards finds nothing."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(times):
            step()
        found = gc.collect()
    finally:
        if enabled:
            gc.enable()
    must(found == 0, f"{found} objects in reference cycles after {times} calls")


def _in_parts(result: Any) -> Any:
    """A result with each complex array as the list of its real and imaginary part."""

    def parts(leaf: Any) -> Any:
        return [ops.real(leaf), ops.imag(leaf)] if _is_complex(leaf) else leaf

    return map_leaves(parts, result)


def _is_complex(leaf: Any) -> bool:
    if isinstance(leaf, type):  # NumPy's number types have those attributes, too
        return False
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and leaf.dtype.kind == "c"


def values_of(result: Any) -> list[np.ndarray]:
    """The arrays of a result, as NumPy arrays; facts (shapes, dtypes, truth) as arrays too."""
    found = []
    for leaf in leaves(_in_parts(result)):
        if isinstance(leaf, Tensor):
            found.append(np.asarray(leaf.numpy()))
        elif isinstance(leaf, (np.dtype, type)):
            found.append(np.asarray(str(leaf)))
        else:
            found.append(np.asarray(leaf))
    return found


def _must_agree(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    must(found.dtype == expected.dtype, f"{what}: {found.dtype} instead of {expected.dtype}")
    if expected.dtype.kind == "f":
        must_be_close(found, expected, what, relative=1e-12, scale=1.0)
    else:
        must_be_equal(found, expected, what)


def _floating(result: Any) -> list[Tensor]:
    return [leaf for leaf in leaves(result) if leaf.dtype.kind == "f"]


def _is_float(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and leaf.dtype.kind == "f"


def _described(argument: Any) -> str:
    if isinstance(argument, (list, tuple)):
        return f"[{', '.join(map(_described, argument))}]"
    if isinstance(argument, np.ndarray):
        return f"{argument.dtype}{argument.shape}"
    return repr(argument)


def _numpy_names(name: str) -> list[Callable[..., Any]]:
    target = operations()[name]
    # what empty_like holds is nobody's business
    return [
        function
        for function, ours in numpy_functions.items()
        if ours is target and function is not np.empty_like
    ]


def _numpy_settings(
    function: Callable[..., Any], settings: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Settings the way NumPy's function takes them: by its own keywords, the others by position."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return [], settings
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return [], settings
    known = {name for name, p in parameters.items() if p.kind is not p.POSITIONAL_ONLY}
    positional = [value for key, value in settings.items() if key not in known]
    return positional, {key: value for key, value in settings.items() if key in known}
