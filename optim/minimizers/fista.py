"""FISTA: gradient steps on a smooth part, proximal steps on the rest, and acceleration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.optim.core.options import Options
from tapegrad.optim.minimizers.objective import FlatObjective, inner_product

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Array
    from tapegrad.optim.core.rule import State

__all__ = ["FistaLS"]

OPTIONS = Options(
    "FistaLS",
    {
        "L": 0.1, "Lstep": 1.5, "maxiter": 50, "maxline": 20, "errthres": 1e-4,
        "doFistaUpdate": False, "verbose": False,
    },
)  # fmt: skip


def FistaLS(
    f: Callable[[Any], tuple[Any, Any]],
    g: Callable[[Any], Any],
    pl: Callable[[Any, float], Any],
    xinit: Tensor | Array,
    params: State | None = None,
) -> tuple[Tensor | Array, list[dict[str, Any]]]:
    """Minimize f(x) + g(x), f smooth, by FISTA with a line search: -> x, history.

    f:  x -> (value, gradient);  g: x -> value
    pl: (x, L) -> argmin over z of g(z) + L/2·|z - x|²; a result of None means x was overwritten
    Options in `params`: L (0.1), the first guess of the gradient's Lipschitz constant, grown by
    Lstep (1.5) up to maxline (20) times in each of maxiter (50) iterations; errthres (1e-4): the
    change of the objective that ends them; doFistaUpdate: accelerate (else plain ISTA).
    `xinit`, where it starts, is overwritten by the result; params["L"] keeps the last L.
    history: a dict per iteration, with nline, L, F = Fply + Gply at the new point, and the bound Q.
    Source: optim.FistaLS of torch/optim; A. Beck, M. Teboulle, SIAM J. Imaging Sciences 2, 2009.
    """
    params = {} if params is None else params
    o = OPTIONS.complete(params)
    L, t = o["L"], 1.0
    function = FlatObjective(f, xinit)
    history: list[dict[str, Any]] = []
    with function.restore_on_error() as start:
        y, before = start.copy(), start.copy()
        for _ in range(o["maxiter"]):
            function.move(y)
            fy, gradient = function()
            lines = 0
            while True:
                candidate = y - gradient / L
                shrunk = pl(candidate, L)
                candidate = candidate if shrunk is None else shrunk
                function.move(candidate)
                value, _ = function()
                gap = candidate - y
                bound = fy + inner_product(gradient, gap) + 0.5 * L * inner_product(gap, gap)
                lines += 1
                if value <= bound:  # the quadratic model lies above f: L is large enough
                    break
                if lines > o["maxline"]:
                    candidate = before.copy()
                    break
                L *= o["Lstep"]
            if o["doFistaUpdate"]:
                t_next = (1 + math.sqrt(1 + 4 * t * t)) / 2
                y = candidate + (candidate - before) * ((t - 1) / t_next)
                t = t_next
            else:
                y = candidate.copy()
            function.move(y)
            value, rest = function()[0], float(g(xinit))
            history.append(
                {"nline": lines, "L": L, "F": value + rest, "Fply": value, "Gply": rest, "Q": bound}
            )
            if len(history) > 1 and abs(history[-1]["F"] - history[-2]["F"]) <= o["errthres"]:
                break
            before = candidate
    params["L"] = L
    return xinit, history
