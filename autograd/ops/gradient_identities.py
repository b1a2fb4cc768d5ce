"""Identities that change, or show, the gradient that passes back through them.

Their rules deliberately return something other than the derivative of the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import refuse_complex
from tapegrad.autograd.ops.batch_rules import align_samples, leading_axes_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = [
    "add_gradient",
    "penalize_l1",
    "replace_gradients",
    "scale_gradient",
    "step_with_gate",
    "watch_gradient",
]


@primitive(view="read-only")
def scale_gradient(xp: Namespace, x: Array, factor: Array) -> Array:
    """x itself, of any shape; the gradient that passes back is multiplied by `factor`, which
    broadcasts to x.
    """
    return x


scale_gradient.vjp(x=lambda g, factor: g * factor, factor=None)
scale_gradient.jvp(x=lambda t, factor: t * factor)


@scale_gradient.batch
def _scaled_batch(x: Array, factor: Array, batched: tuple[bool, ...], samples: int) -> Array:
    if not batched[0]:
        x = s.broadcast_to(x, (samples, *x.shape))
    return scale_gradient(x, align_samples(factor, x.ndim - 1) if batched[1] else factor)


@primitive(view="read-only")
def penalize_l1(xp: Namespace, x: Array, *, weight: float, passing: bool = True) -> Array:
    """x itself, of any shape; the gradient of weight·Σ|x| is added to that which passes back.

    passing: False returns the gradient of the penalty alone
    """
    return x


def _penalized_rule(g: Array, x: Array, weight: float, passing: bool) -> Array:
    penalty = e.conjugate(e.sign(x)) * weight
    return g + penalty if passing else penalty


penalize_l1.vjp(x=_penalized_rule)
penalize_l1.jvp(x=lambda t: t)  # the penalty is no multiple of a tangent
penalize_l1.batch(leading_axes_rule)


@primitive(view="read-only")
def add_gradient(xp: Namespace, x: Array, extra: Array) -> Array:
    """x itself; `extra`, of x's shape, is added to the gradient that passes back."""
    return x


add_gradient.vjp(x=lambda g, extra: g + extra, extra=None)
add_gradient.jvp(x=lambda t: t)
add_gradient.batch(leading_axes_rule)


@primitive
def step_with_gate(xp: Namespace, x: Array, *, threshold: float) -> Array:
    """1 where x > threshold, else 0, elementwise; the gradient passes where x > threshold.

    The result has x's dtype.  Raises TypeError for complex x.
    """
    refuse_complex(x, "step_with_gate")
    return (x > threshold).astype(x.dtype)


step_with_gate.vjp(x=lambda g, y: g * y)
step_with_gate.jvp(x=lambda t, y: t * y)
step_with_gate.batch(leading_axes_rule)


@primitive(view="read-only")
def watch_gradient(xp: Namespace, x: Array, *, watch: Callable[[Any], None]) -> Array:
    """x itself, of any shape; `watch` is called with the gradient that passes back."""
    return x


def _watched_rule(g: Array, watch: Callable[[Any], None]) -> Array:
    watch(g)
    return g


watch_gradient.vjp(x=_watched_rule)
watch_gradient.jvp(x=lambda t: t)


@primitive(several=True, view="read-only")
def replace_gradients(
    xp: Namespace, arrays: list[Array], *, function: Callable[[list[Any]], list[Any]]
) -> list[Array]:
    """The arrays themselves; the gradients that pass back are those that `function` returns.

    function: takes the gradients of all arrays, zeros for one that nothing used, returns as many
    """
    return list(arrays)


def _replaced_rule(g: Any, y: Any, function: Callable[[list[Any]], list[Any]]) -> list[Any]:
    return function([part * 0 if c is None else c for part, c in zip(y, g, strict=True)])


replace_gradients.vjp(arrays=_replaced_rule)
