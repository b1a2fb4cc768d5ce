"""Random draws, as calls of their own: replay repeats them from the same generator.

The generator is a setting, explicit and of one device; nothing draws from a hidden stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.autograd.core.declaring import primitive

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, DTypeLike, Namespace, Shape
    from tapegrad.devices import Generator

__all__ = ["bernoulli", "normal", "uniform"]


@primitive(random=True)
def uniform(xp: Namespace, *, generator: Generator, shape: Shape, dtype: DTypeLike) -> Array:
    """Independent draws from U[0, 1), of `shape` and floating point `dtype`."""
    return generator.uniform(shape, dtype)


@primitive(random=True)
def normal(xp: Namespace, *, generator: Generator, shape: Shape, dtype: DTypeLike) -> Array:
    """Independent draws from N(0, 1), of `shape` and floating point `dtype`."""
    return generator.normal(shape, dtype)


@primitive(random=True)
def bernoulli(
    xp: Namespace, *, generator: Generator, p: float, shape: Shape, dtype: DTypeLike
) -> Array:
    """Independent draws that are 1 with probability `p`, else 0, of `shape` and `dtype`."""
    return generator.bernoulli(p, shape, dtype)


# Every sample of a batch has draws of its own.
uniform.batch(lambda samples, generator, shape, dtype: uniform(generator, (samples, *shape), dtype))
normal.batch(lambda samples, generator, shape, dtype: normal(generator, (samples, *shape), dtype))
bernoulli.batch(
    lambda samples, generator, p, shape, dtype: bernoulli(generator, p, (samples, *shape), dtype)
)
