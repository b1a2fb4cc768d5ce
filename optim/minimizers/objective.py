"""A function to minimize and its argument, as minimizers see them: flat, and put back on errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad, ops
from tapegrad.autograd.core.tensor import array_of, as_array, untracked

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = ["FlatObjective", "inner_product"]


class FlatObjective:
    """A function `feval` and its argument x, both seen as flat.

    `move` overwrites x in place; calling the objective evaluates `feval` there and returns the
    gradient as a bare flat copy.  count: how often `feval` was called
    """

    def __init__(self, feval: Callable[[Any], tuple[Any, Any]], x: Tensor | Array) -> None:
        self.feval = feval
        self.x = x
        self._target = x.detach() if isinstance(x, Tensor) else untracked(as_array(x))
        self.count = 0

    def position(self) -> Array:
        """Return a flat copy of x."""
        return array_of(self._target).reshape(-1).copy()

    def move(self, position: Array) -> None:
        """Overwrite x."""
        with no_grad():
            ops.assign(self._target, untracked(position.reshape(self._target.shape)))

    def __call__(self) -> tuple[float, Array]:
        """Return f and a copy of its gradient at x.  Raises ValueError for another shape."""
        f, gradient = self.feval(self.x)
        self.count += 1
        g = array_of(gradient) if isinstance(gradient, Tensor) else as_array(gradient)
        if g.shape != self._target.shape:
            raise ValueError(f"the gradient has shape {g.shape}, x has shape {self._target.shape}")
        return float(f), g.reshape(-1).copy()

    @contextmanager
    def restore_on_error(self) -> Iterator[Array]:
        """Give the position at the start, and put x back there if the block raises."""
        start = self.position()
        try:
            yield start.copy()
        except BaseException:
            self.move(start)
            raise


def inner_product(a: Array, b: Array) -> float:
    """Return the inner product of two flat arrays as a Python number."""
    return float(devices.namespace(a).dot(a, b))
