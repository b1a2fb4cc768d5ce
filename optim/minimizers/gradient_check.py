"""A gradient against central differences, as Torch7 checked one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad import devices
from tapegrad.optim.minimizers.line_search import Function

__all__ = ["checkgrad"]


def checkgrad(
    opfunc: Callable[[Any], tuple[Any, Any]], x: Any, eps: float = 1e-7
) -> tuple[float, Any, Any]:
    """(|dC - dC_est| / |dC + dC_est|, dC, dC_est), dC_est by central differences of width 2·eps.

    opfunc: x -> (f, gradient);  x: flat, in float64; it is moved, and put back.
    The rounding error of dC_est is about 1e-16 · |f| / eps; `tapegrad.autograd.check` tells it
    from mistakes, this is Torch7's plain figure.  Source: optim.checkgrad of torch/optim.
    """
    function = Function(opfunc, x)
    with function.restoring() as start:
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
