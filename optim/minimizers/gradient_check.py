"""A gradient against central differences, as Torch7 checked one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad import devices
from tapegrad.optim.minimizers.objective import FlatObjective

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Array

__all__ = ["checkgrad"]


def checkgrad(
    opfunc: Callable[[Any], tuple[Any, Any]], x: Tensor | Array, eps: float = 1e-7
) -> tuple[float, Array, Array]:
    """Compare a gradient dC with dC_est, central differences of width 2·eps.

    opfunc: x -> (f, gradient);  x: flat, in float64; it is moved, and put back.
    Returns (|dC - dC_est| / |dC + dC_est|, dC, dC_est).  This is Torch7's plain figure: it includes
    the rounding error of dC_est, about 1e-16 · |f| / eps, which `tapegrad.autograd.check` tells
    from mistakes.  Source: optim.checkgrad of torch/optim.
    """
    function = FlatObjective(opfunc, x)
    with function.restore_on_error() as start:
        _, gradient = function()
        estimate = gradient * 0
        for i in range(start.size):
            position = start.copy()
            position[i] += eps
            function.move(position)
            above, _ = function()
            position[i] -= 2 * eps
            function.move(position)
            below, _ = function()
            estimate[i] = (above - below) / (2 * eps)
        function.move(start)
    xp = devices.namespace(gradient)
    gap = float(xp.linalg.norm(gradient - estimate))
    return gap / float(xp.linalg.norm(gradient + estimate)), gradient, estimate
