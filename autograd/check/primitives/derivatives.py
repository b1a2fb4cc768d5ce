"""Laws of an operation's derivatives: their values and dtypes, and what they may depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.draws import REGIMES
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_be_close,
    must_be_equal,
    must_be_transposed,
)
from tapegrad.autograd.check.primitives.trial import PrimitiveTrial, floating_results
from tapegrad.autograd.check.slopes import Line, noise_of
from tapegrad.autograd.core.parameter import Parameter
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.transforms.products import jvp, vjp

__all__ = ["LAWS"]

LAWS = Laws("primitive")


@LAWS(regimes=REGIMES, effort=1.0)
def its_gradient_is_the_derivative(trial: PrimitiveTrial) -> Any:
    """The first derivative agrees with difference quotients in every regime of data."""
    return trial.check(order=1)


@LAWS(regimes=("ordinary", "grid"), effort=0.4)
def its_second_derivative_is_right(trial: PrimitiveTrial) -> Any:
    """The derivative of the rule is right, and the Hessian is symmetric."""
    return trial.check(order=2)


@LAWS()
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


@LAWS()
def pushed_tangents_agree_with_its_gradient(trial: PrimitiveTrial) -> None:
    """⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩: tangents are pushed by the transpose of the sweep."""
    v = trial.cotangents()
    u = [gaussian(trial.rng, x.shape).astype(x.dtype) for x in trial.point]

    def results(*x: Tensor) -> Any:
        return floating_results(trial.on_tensors(*x))

    values, pushed = jvp(results, tuple(trial.point), tuple(u))
    for i, (value, t) in enumerate(zip(values, pushed, strict=True)):
        must(t.shape == value.shape, f"tangent {i} has shape {t.shape}, its result {value.shape}")
        must(t.dtype == value.dtype, f"tangent {i} holds {t.dtype}, its result {value.dtype}")
    must_be_transposed(v, pushed, trial.gradients(v), u)
    # behind a Parameter calls are recorded first, and pushed on Tensors
    _, taped = jvp(results, tuple(map(Parameter, trial.point)), tuple(u))
    for i, (t, streamed) in enumerate(zip(taped, pushed, strict=True)):
        what = f"tangent {i} of recorded calls"
        if trial.complex:  # NumPy rounds products of complex scalars and of arrays differently
            must_be_close(t.numpy(), streamed, what, relative=1e-12, scale=trial.scale(pushed))
        else:
            must_be_equal(t.numpy(), streamed, what)


@LAWS()
def tracking_fewer_arguments_changes_no_gradient(trial: PrimitiveTrial) -> None:
    """Each argument's gradient is the same whether or not the others are tracked."""
    v = trial.cotangents()
    together = trial.gradients(v)
    for i in range(len(trial.point)):

        def alone(x: Tensor, i: int = i) -> Any:
            point = [Tensor(p) for p in trial.point]
            point[i] = x
            return floating_results(trial.on_tensors(*point))

        _, pull = vjp(alone, trial.point[i])
        must_be_equal(pull(list(v)), together[i], f"gradient of argument {i} tracked alone")


@LAWS()
def a_recorded_sweep_gives_the_same_gradient(trial: PrimitiveTrial) -> None:
    """Rules give equal bits on arrays (ordinary sweep) and on Tensors (differentiable sweep)."""
    v = trial.cotangents()
    plain = trial.gradients(v)
    _, pull = vjp(
        lambda *x: floating_results(trial.on_tensors(*x)), tuple(map(Tensor, trial.point))
    )
    for i, (taped, bare) in enumerate(zip(pull([Tensor(g) for g in v]), plain, strict=True)):
        must_be_equal(taped.numpy(), bare, f"gradient {i} of a recorded sweep")


@LAWS()
def gradients_share_no_memory(trial: PrimitiveTrial) -> None:
    """Writing to one gradient changes neither another, nor an argument, nor the cotangent."""
    v = trial.cotangents()
    gradients = trial.gradients(v)
    others = [*trial.point, *v]
    for i, gradient in enumerate(gradients):
        for other in [*gradients[:i], *others]:
            must(not np.shares_memory(gradient, other), f"gradient {i} shares memory")


@LAWS()
def float64_results_carry_no_float32_noise(trial: PrimitiveTrial) -> NotCovered | None:
    """No intermediate result is computed in float32."""
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
