"""Laws of an operation's results: NumPy's values, dtypes, layouts, out=, NaN and empty axes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.laws import (
    Laws,
    must,
    must_be_close,
    must_be_equal,
    must_be_unchanged,
    must_show_nan,
    snapshot,
    spoil,
)
from tapegrad.autograd.check.layouts import ODD_LAYOUTS
from tapegrad.autograd.check.primitives.scope import numpy_names
from tapegrad.autograd.check.primitives.trial import PrimitiveTrial, must_agree, values_of
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.ops.fused_bodies import fused_at_any_size

__all__ = ["LAWS"]

LAWS = Laws("primitive")


@LAWS(regimes=("ordinary", "grid"))
def it_equals_numpy(trial: PrimitiveTrial) -> None:
    """NumPy's function gives the same values on Tensors as on arrays."""
    for function in numpy_names(trial.name):
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


@LAWS()
def arrays_give_arrays_and_tensors_give_tensors(trial: PrimitiveTrial) -> None:
    """Arrays give arrays, untracked Tensors give untracked Tensors, with equal bits."""
    bare, wrapped = leaves(trial.run()), leaves(trial.run(wrap=Tensor))
    for i, (array, tensor) in enumerate(zip(bare, wrapped, strict=True)):
        must(not isinstance(array, Tensor), f"result {i} of arrays is a Tensor")
        if any(isinstance(leaf, np.ndarray) for leaf in leaves(list(trial.call.args))):
            must(isinstance(tensor, Tensor), f"result {i} of Tensors is {type(tensor).__name__}")
            must(not tensor.tracked, f"result {i} of untracked Tensors is tracked")
            must_be_equal(tensor.numpy(), np.asarray(array), f"result {i} of Tensors")


@LAWS()
def float32_agrees_with_float64(trial: PrimitiveTrial) -> None:
    """float32 arguments give float32 results and gradients, close to those of float64."""
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
    largest = max((float(np.max(np.abs(d), initial=0.0)) for d in doubles), default=0.0)
    for i, (s, d) in enumerate(zip(singles, doubles, strict=True)):
        must(s.dtype == np.float32, f"gradient {i} of float32 is {s.dtype}")
        # a gradient of 0 is what remains of terms that cancel: of the size of the other gradients
        cancels = float(np.max(np.abs(d), initial=0.0)) <= 1e-14 * largest
        size = largest if cancels else scale
        must_be_close(s, d, f"gradient {i} in float32", relative=2e-5, scale=size)


@LAWS(regimes=("ordinary", "grid"))
def inputs_are_left_alone(trial: PrimitiveTrial) -> None:
    """Neither the call nor its derivative writes into an argument or into the cotangent."""
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


@LAWS()
def memory_layout_does_not_matter(trial: PrimitiveTrial) -> None:
    """Fortran order, gaps, negative strides and read-only arrays give the same result."""
    expected = trial.values()
    derive = trial.derives
    v = trial.cotangents() if derive else []
    gradients = trial.gradients(v) if derive else []
    for name, layout in ODD_LAYOUTS.items():
        point = [layout(x) for x in trial.point]
        for i, (f, e) in enumerate(zip(trial.values(point), expected, strict=True)):
            must_agree(f, e, f"result {i} of {name} arrays")
        if not derive:
            continue
        found = trial.gradients([layout(c) for c in v], point)
        for i, (f, e) in enumerate(zip(found, gradients, strict=True)):
            must_agree(f, e, f"gradient {i} of {name} arrays")


@LAWS()
def out_receives_the_result(trial: PrimitiveTrial) -> None:
    """With out=, the body writes the same bits into `out`."""
    assert trial.primitive is not None
    body = trial.primitive.body_for(np)
    arguments = trial.arguments()
    expected = np.asarray(body(np, *arguments, **trial.call.settings))
    out = np.ones(expected.shape, expected.dtype)
    body(np, *arguments, **trial.call.settings, out=out)
    must_be_equal(out, expected, "out=")


@LAWS(regimes=("ordinary", "grid", "constant", "large"))
def another_body_gives_what_the_plain_one_gives(trial: PrimitiveTrial) -> None:
    """The body of the `fast` extra gives what the plain body gives, but for the order of sums."""
    assert trial.primitive is not None
    single = [x.astype(np.float32) for x in trial.point]
    for point in (trial.point, single):
        with fused_at_any_size():
            found, expected = (
                leaves(body(np, *trial.arguments(point), **trial.call.settings))
                for body in (trial.primitive.body_for(np), trial.primitive.body)
            )
        for i, (f, e) in enumerate(zip(found, expected, strict=True)):
            is_array = isinstance(f, np.ndarray) or not isinstance(e, np.ndarray)
            must(is_array, f"result {i} of the other body is {type(f).__name__}")
            must(f.dtype == e.dtype, f"result {i} of the other body is {f.dtype}, not {e.dtype}")
            if e.dtype.kind != "f":
                must_be_equal(f, e, f"result {i} of the other body")
                continue
            order = 64 * float(np.finfo(e.dtype).eps)
            size = max((float(np.max(np.abs(x), initial=0)) for x in point), default=0.0)
            must_be_close(f, e, f"result {i} of the other body", relative=order, scale=size)


@LAWS()
def nan_stays_nan(trial: PrimitiveTrial) -> None:
    """A NaN in an entry that matters shows in the result."""
    for i, x in enumerate(trial.point):
        if not x.size:
            continue
        bad, moved = spoil(x, trial.rng)
        before = trial.values()
        after = trial.values([*trial.point[:i], moved, *trial.point[i + 1 :]])
        spoiled = [*trial.point[:i], bad, *trial.point[i + 1 :]]
        try:
            with np.errstate(invalid="ignore"):
                broken = trial.values(spoiled)
                if _lapack_gives(trial, spoiled, broken):
                    continue
        except np.linalg.LinAlgError:  # an error is allowed too
            continue
        for b, a, n in zip(before, after, broken, strict=True):
            if n.dtype.kind == "f" and b.shape == a.shape == n.shape:
                must_show_nan(b, a, n, f"argument {i}")


def _lapack_gives(trial: PrimitiveTrial, point: list[np.ndarray], found: list[np.ndarray]) -> bool:
    """Is `found` what NumPy's linear algebra gives?  LAPACK's pivoting may pass a NaN by."""
    for function in numpy_names(trial.name):
        # Not every NumPy has ufuncs with a __module__.
        if getattr(function, "__module__", None) == "numpy.linalg":
            positional, keywords = _numpy_settings(function, trial.call.settings)
            theirs = values_of(function(*trial.arguments(point), *positional, **keywords))
            return all(
                np.array_equal(t, f, equal_nan=True) for t, f in zip(theirs, found, strict=True)
            )
    return False


@LAWS(empties=True)
def empty_axes_are_fine(trial: PrimitiveTrial) -> None:
    """Axes of length 0 give a result, and gradients with the shapes of the arguments."""
    values = trial.values()
    if not trial.derives:
        return
    v = [gaussian(trial.rng, value.shape) for value in values if value.dtype.kind == "f"]
    for i, (g, x) in enumerate(zip(trial.gradients(v), trial.point, strict=True)):
        must(g.shape == x.shape, f"gradient {i} has shape {g.shape} instead of {x.shape}")


def _numpy_settings(
    function: Callable[..., Any], settings: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Settings as NumPy's function takes them: by its own keywords, others by position."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return [], settings
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return [], settings
    known = {name for name, p in parameters.items() if p.kind is not p.POSITIONAL_ONLY}
    positional = [value for key, value in settings.items() if key not in known]
    return positional, {key: value for key, value in settings.items() if key in known}
