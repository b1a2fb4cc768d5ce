"""Identities that act on the gradient that passes back through them.

What their rules hand back is on purpose not the derivative of what they compute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.batch_rules import lifted, native

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["penalized", "scaled_gradient", "watched_gradient"]


@primitive(view="read-only")
def scaled_gradient(xp: Namespace, x: Array, factor: Array) -> Array:
    """x itself; the gradient that passes is multiplied by `factor`, which broadcasts to x."""
    return x


scaled_gradient.vjp(x=lambda g, factor: g * factor, factor=None)


@scaled_gradient.batch
def _scaled_batch(x: Array, factor: Array, batched: tuple[bool, ...], samples: int) -> Array:
    if not batched[0]:
        x = s.broadcast_to(x, (samples, *x.shape))
    return scaled_gradient(x, lifted(factor, x.ndim - 1) if batched[1] else factor)


@primitive(view="read-only")
def penalized(xp: Namespace, x: Array, *, weight: float, passing: bool = True) -> Array:
    """x itself; weight·sign(x) is added to the gradient that passes, or stands in its place."""
    return x


def _penalized_rule(g: Array, x: Array, weight: float, passing: bool) -> Array:
    penalty = e.conjugate(e.sign(x)) * weight
    return g + penalty if passing else penalty


penalized.vjp(x=_penalized_rule)
penalized.batch(native)


@primitive(view="read-only")
def watched_gradient(xp: Namespace, x: Array, *, watch: Callable[[Any], None]) -> Array:
    """x itself; `watch` is called with the gradient that passes."""
    return x


def _watched_rule(g: Array, watch: Callable[[Any], None]) -> Array:
    watch(g)
    return g


watched_gradient.vjp(x=_watched_rule)
