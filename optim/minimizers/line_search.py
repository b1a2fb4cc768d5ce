"""Minimizers that search along lines: conjugate gradients and L-BFGS, and their line searches.

They decide by the values that they meet, so each call is a Python loop around `feval` and is not
replayed.  Gradients are copied when they arrive, so `feval` may always return the same buffer.  If
`feval` raises, x is put back to where the call began, and the state is what it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import as_array
from tapegrad.optim.core.options import Option, Options
from tapegrad.optim.minimizers.objective import FlatObjective, inner_product

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Array
    from tapegrad.optim.core.rule import State

__all__ = ["cg", "lbfgs", "lswolfe", "polyinterp"]


def _norm1(a: Array) -> float:
    return float(devices.namespace(a).abs(a).sum())


def _quotient(a: float, b: float) -> float:
    """Return a / b as IEEE 754 defines it: 0/0 is NaN, and x/0 infinite."""
    if b:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a)


def _root(a: float) -> float:
    return math.sqrt(a) if a >= 0 else math.nan


# Conjugate gradients ------------------------------------------------------------------------------

CG = Options(
    "cg",
    {
        "rho": 0.01, "sig": 0.5, "int": 0.1, "ext": 3.0, "ratio": 100.0, "maxIter": 20,
        "maxEval": None, "verbose": 0,
    },
)  # fmt: skip


def cg(
    feval: Callable[[Any], tuple[Any, Any]],
    x: Tensor | Array,
    config: State | None = None,
    state: State | None = None,
) -> tuple[Tensor | Array, list[float], int]:
    """Minimize by conjugate gradients (Polak-Ribière): optim.cg(feval, x, config) -> x, [f, …], n.

    Line searches by cubic inter- and extrapolation end at a point that fulfils the Wolfe-Powell
    conditions; the first one that does not ends the call at the best point so far.
    Options: maxIter (20, evaluations in one line search), maxEval (1.25 · maxIter in all), rho
    (0.01) and sig (0.5) of the conditions, int (0.1) and ext (3): how near to the bracket's ends
    and how far beyond them to try, ratio (100): largest growth of the step.
    Returns x, the values after each line search, and the number of evaluations; nothing is kept.
    Source: optim.cg of torch/optim; C. Rasmussen, "minimize", 2001.
    """
    o = CG.complete({} if config is None else config)
    rho, sig, inside, beyond = o["rho"], o["sig"], o["int"], o["ext"]
    most = o["maxIter"] * 1.25 if o["maxEval"] is None else o["maxEval"]
    function = FlatObjective(feval, x)
    with function.restore_on_error() as position:
        f1, df1 = function()
        history = [f1]
        s = -df1
        d1 = -inner_product(s, s)
        z1 = 1 / (1 - d1)
        while function.count < abs(most):
            start = position.copy()
            position = position + z1 * s
            function.move(position)
            f2, df2 = function()
            d2 = inner_product(df2, s)
            f3, d3, z3 = f1, d1, -z1
            left = min(o["maxIter"], most - function.count)
            limit = -1.0
            while True:
                while (f2 > f1 + z1 * rho * d1 or d2 > -sig * d1) and left > 0:
                    limit = z1
                    if f2 > f1:
                        z2 = z3 - _quotient(0.5 * d3 * z3 * z3, d3 * z3 + f2 - f3)
                    else:
                        a, b = _cubic(f2, d2, f3, d3, z3)
                        z2 = _quotient(_root(b * b - a * d2 * z3 * z3) - b, a)
                    z2 = _kept_inside(z2, z3, inside)
                    z1 += z2
                    position = position + z2 * s
                    function.move(position)
                    f2, df2 = function()
                    left -= 1
                    d2 = inner_product(df2, s)
                    z3 -= z2
                if f2 > f1 + z1 * rho * d1 or d2 > -sig * d1:
                    success = False
                    break
                if d2 > sig * d1:
                    success = True
                    break
                if left == 0:
                    success = False
                    break
                a, b = _cubic(f2, d2, f3, d3, z3)
                z2 = _quotient(-d2 * z3 * z3, b + _root(b * b - a * d2 * z3 * z3))
                z2 = _kept_near(z2, z1, z3, limit, inside, beyond)
                f3, d3, z3 = f2, d2, -z2
                z1 += z2
                position = position + z2 * s
                function.move(position)
                f2, df2 = function()
                left -= 1
                d2 = inner_product(df2, s)
            if not success:
                # Torch7 meant to try the gradient once more, but its flag is true from the start.
                function.move(start)
                break
            f1 = f2
            history.append(f1)
            s = (
                s
                * _quotient(
                    inner_product(df2, df2) - inner_product(df2, df1), inner_product(df1, df1)
                )
                - df2
            )
            df1 = df2
            d2 = inner_product(df1, s)
            if d2 > 0:
                s = -df1
                d2 = -inner_product(s, s)
            z1 *= min(o["ratio"], _quotient(d1, d2 - 1e-320))
            d1 = d2
    return x, history, function.count


def _cubic(f2: float, d2: float, f3: float, d3: float, z3: float) -> tuple[float, float]:
    """a and b of the cubic through values f and slopes d of two points that lie z3 apart."""
    a = _quotient(6 * (f2 - f3), z3) + 3 * (d2 + d3)
    return a, 3 * (f3 - f2) - z3 * (d3 + 2 * d2)


def _kept_inside(z2: float, z3: float, inside: float) -> float:
    """The step z2 into a bracket of length z3, at least a share `inside` away from its ends."""
    if not math.isfinite(z2):
        z2 = z3 / 2
    return max(min(z2, inside * z3), (1 - inside) * z3)


def _kept_near(
    z2: float, z1: float, z3: float, limit: float, inside: float, beyond: float
) -> float:
    """The step z2 beyond z1: neither too far, nor beyond the `limit`, nor too short.

    limit: the shortest length that was too long, -1 before there is one
    """
    bounded = limit > -0.5
    if not math.isfinite(z2) or z2 < 0:
        return (limit - z1) / 2 if bounded else z1 * (beyond - 1)
    if bounded and z2 + z1 > limit:
        return (limit - z1) / 2
    if not bounded and z2 + z1 > z1 * beyond:
        return z1 * (beyond - 1)
    if z2 < -z3 * inside:
        return -z3 * inside
    if bounded and z2 < (limit - z1) * (1 - inside):
        return (limit - z1) * (1 - inside)
    return z2


# Limited-memory BFGS ------------------------------------------------------------------------------

LBFGS = Options(
    "lbfgs",
    {
        "maxIter": 20, "maxEval": None, "tolFun": 1e-5, "tolX": 1e-9, "nCorrection": 100,
        "lineSearch": None, "lineSearchOptions": None, "learningRate": Option(1.0, at_least=0),
        "verbose": False,
    },
    state=(
        "funcEval", "nIter", "d", "t", "old_dirs", "old_stps", "Hdiag", "g_old", "f_old",
    ),
)  # fmt: skip


def lbfgs(
    feval: Callable[[Any], tuple[Any, Any]],
    x: Tensor | Array,
    config: State | None = None,
    state: State | None = None,
) -> tuple[Tensor | Array, list[float], int]:
    """Minimize by limited-memory BFGS: optim.lbfgs(feval, x, config, state) -> x, [f, …], n.

    d = -H g, with H from the last nCorrection pairs of steps s and gradient changes y with
    y·s > 1e-10; x += t d, with t from `lineSearch` (such as `lswolfe`), else learningRate; the very
    first step is min(1, 1/|g|₁) of that.
    Options: maxIter (20), maxEval (1.25 · maxIter), tolFun (1e-5, on |g|₁), tolX (1e-9, on |t d|₁
    and on the change of f), nCorrection (100), learningRate (1), lineSearch, lineSearchOptions.
    `state` keeps the pairs and counters, so that a next call goes on.
    Source: optim.lbfgs of torch/optim, after M. Schmidt's minFunc; J. Nocedal, S. Wright,
    "Numerical optimization", algorithm 7.4.
    """
    config = {} if config is None else config
    state = config if state is None else state
    o = LBFGS.complete(config)
    most = o["maxIter"] * 1.25 if o["maxEval"] is None else o["maxEval"]
    search = o["lineSearch"]
    total = state.get("nIter", 0)
    d: Any = state.get("d")
    t: Any = state.get("t")
    diagonal: Any = state.get("Hdiag")
    steps, changes = list(state.get("old_dirs") or []), list(state.get("old_stps") or [])
    g_old, f_old = state.get("g_old"), state.get("f_old")
    function = FlatObjective(feval, x)
    with function.restore_on_error() as position:
        f, g = function()
        history = [f]
        if _norm1(g) <= o["tolFun"]:
            state["nIter"], state["funcEval"] = total, state.get("funcEval", 0) + 1
            return x, history, function.count
        for iteration in range(1, o["maxIter"] + 1):
            total += 1
            if total == 1:
                d, diagonal, steps, changes = -g, 1.0, [], []
            else:
                y, s = g - g_old, d * t
                ys = inner_product(y, s)
                if ys > 1e-10:
                    steps, changes = [*steps, s], [*changes, y]
                    steps, changes = steps[-o["nCorrection"] :], changes[-o["nCorrection"] :]
                    diagonal = ys / inner_product(y, y)
                d = _two_loop_direction(g, steps, changes, diagonal)
            g_old, f_old = g, f
            slope = inner_product(g, d)
            if slope > -o["tolX"]:
                break
            t = min(1.0, 1 / _norm1(g)) * o["learningRate"] if total == 1 else o["learningRate"]
            if search is not None:
                f, g, _, t, _ = search(
                    _FlatFeval(function), position, t, d, f, g, slope, o["lineSearchOptions"]
                )
                function.move(position)
                history.append(f)
            else:
                position += t * d
                function.move(position)
                if iteration != o["maxIter"]:
                    # The value after the last step is not needed.
                    f, g = function()
                    history.append(f)
            if (
                iteration == o["maxIter"]
                or function.count >= most
                or _norm1(g) <= o["tolFun"]
                or _norm1(d * t) <= o["tolX"]
                or abs(f - f_old) < o["tolX"]
            ):
                break
    state["funcEval"] = state.get("funcEval", 0) + function.count
    state.update(
        nIter=total, d=d, t=t, old_dirs=steps, old_stps=changes, Hdiag=diagonal, g_old=g_old,
        f_old=f_old,
    )  # fmt: skip
    return x, history, function.count


class _FlatFeval:
    """An objective as a line search calls it: position -> (f, gradient), both flat."""

    def __init__(self, function: FlatObjective) -> None:
        self.function = function

    def __call__(self, position: Array) -> tuple[float, Array]:
        self.function.move(position)
        return self.function()


def _two_loop_direction(
    g: Array, steps: list[Array], changes: list[Array], diagonal: float
) -> Array:
    """Return -H g by the recursion of Nocedal and Wright, algorithm 7.4."""
    inverse = [1 / inner_product(y, s) for y, s in zip(changes, steps, strict=True)]
    factors = [0.0] * len(steps)
    q = -g
    for i in reversed(range(len(steps))):
        factors[i] = inner_product(steps[i], q) * inverse[i]
        q = q - factors[i] * changes[i]
    r = q * diagonal
    for i in range(len(steps)):
        r = r + (factors[i] - inner_product(changes[i], r) * inverse[i]) * steps[i]
    return r


LSWOLFE = Options("lswolfe", {"c1": 1e-4, "c2": 0.9, "tolX": 1e-9, "maxIter": 20, "verbose": False})


def lswolfe(
    feval: Callable[[Any], tuple[Any, Any]],
    x: Array,
    t: float,
    d: Array,
    f: float,
    g: Array,
    gtd: float,
    options: dict[str, Any] | None = None,
) -> tuple[float, Array, Array, float, int]:
    """Find a step t along d that fulfils the strong Wolfe conditions: -> (f, g, x, t, evaluations).

    f(x + td) ≤ f + c₁ t g·d and |g(x + td)·d| ≤ c₂ |g·d|, found by bracketing, then by cubic
    interpolation inside the bracket; where f or its slope is not finite the step is halved.  x, a
    flat array, is overwritten; d, f, g: the direction, the value and gradient at x; gtd: g·d.
    Options: c1 (1e-4), c2 (0.9), tolX (1e-9), maxIter (20).
    Source: optim.lswolfe of torch/optim, after M. Schmidt's minFunc; Nocedal and Wright,
    algorithms 3.5 and 3.6.
    """
    o = LSWOLFE.complete(options or {})
    start, evaluations = x.copy(), 0

    def evaluate_at(length: float) -> _Point:
        nonlocal evaluations
        evaluations += 1
        x[...] = start + length * d
        value, gradient = feval(x)
        gradient = as_array(gradient).copy()
        return _Point(length, float(value), gradient, inner_product(gradient, d))

    search = _WolfeSearch(
        evaluate_at, _Point(0.0, f, g.copy(), gtd), o["c1"], o["c2"], o["tolX"], o["maxIter"]
    )
    best = min(search.run(t), key=lambda point: point.value if point.is_finite else math.inf)
    x[...] = start + best.length * d
    return best.value, best.gradient, x, best.length, evaluations


class _Point(NamedTuple):
    """A place on the line: step length, value, gradient, and slope along the line."""

    length: float
    value: float
    gradient: Array
    slope: float

    @property
    def is_finite(self) -> bool:
        """Whether value and slope are numbers."""
        return math.isfinite(self.value) and math.isfinite(self.slope)

    @property
    def for_interpolation(self) -> list[float]:
        """What `polyinterp` takes of a point."""
        return [self.length, self.value, self.slope]


class _WolfeSearch:
    """The search of `lswolfe` from `origin`, in `most` steps of both phases together."""

    def __init__(
        self,
        evaluate_at: Callable[[float], _Point],
        origin: _Point,
        c1: float,
        c2: float,
        tolerance: float,
        most: int,
    ) -> None:
        self.evaluate_at, self.origin = evaluate_at, origin
        self.c1, self.c2, self.tolerance, self.most = c1, c2, tolerance, most
        self.steps = 0

    def run(self, t: float) -> list[_Point]:
        """One point that fulfils both conditions, or the two ends of the last bracket."""
        bracket = self._bracket(t)
        return bracket if len(bracket) == 1 else self._zoom(bracket)

    def _too_high(self, point: _Point) -> bool:
        """Does the value not fall enough for so long a step?"""
        return point.value > self.origin.value + self.c1 * point.length * self.origin.slope

    def _is_flat(self, point: _Point) -> bool:
        """Is the slope small enough?"""
        return abs(point.slope) <= -self.c2 * self.origin.slope

    def _bracket(self, t: float) -> list[_Point]:
        """Go farther until a minimum lies between two points, or a point is good enough."""
        previous, new = self.origin, self.evaluate_at(t)
        while self.steps < self.most:
            if not new.is_finite:
                new = self.evaluate_at((previous.length + new.length) / 2)
                self.steps += 1
                continue
            if self._too_high(new) or (self.steps > 1 and new.value >= previous.value):
                return [previous, new]
            if self._is_flat(new):
                return [new]
            if new.slope >= 0:
                return [previous, new]
            nearest = new.length + 0.01 * (new.length - previous.length)
            points = [previous.for_interpolation, new.for_interpolation]
            t = polyinterp(points, nearest, new.length * 10)
            previous, new = new, self.evaluate_at(t)
            self.steps += 1
        return [self.origin, new]

    def _zoom(self, bracket: list[_Point]) -> list[_Point]:
        """Make the bracket smaller until its lower end is good enough, or nothing changes."""
        stuck = False
        while self.steps < self.most:
            better = bracket[1].value < bracket[0].value
            low = 1 if better or not bracket[0].is_finite else 0
            high = 1 - low
            t, stuck = self._inside(bracket, stuck)
            new = self.evaluate_at(t)
            self.steps += 1
            if not new.is_finite or self._too_high(new) or new.value >= bracket[low].value:
                bracket[high] = new
            else:
                done = self._is_flat(new)
                if not done and new.slope * (bracket[high].length - bracket[low].length) >= 0:
                    bracket[high] = bracket[low]
                bracket[low] = new
                if done:
                    break
            if abs((bracket[0].length - bracket[1].length) * new.slope) < self.tolerance:
                break
        return bracket

    @staticmethod
    def _inside(bracket: list[_Point], stuck: bool) -> tuple[float, bool]:
        """(a length inside the bracket, whether it is the first so close to an end).

        The second time in a row it is moved a tenth of the bracket away from that end.
        """
        if all(point.is_finite for point in bracket):
            t = polyinterp([point.for_interpolation for point in bracket])
        else:
            t = (bracket[0].length + bracket[1].length) / 2
        left, right = sorted(point.length for point in bracket)
        edge = 0.1 * (right - left)
        if min(right - t, t - left) < edge:
            if stuck or t >= right or t <= left:
                return right - edge if abs(t - right) < abs(t - left) else left + edge, False
            return t, True
        return t, False


def polyinterp(
    points: npt.ArrayLike, xminBound: float | None = None, xmaxBound: float | None = None
) -> float:
    """Find the minimum, within bounds, of the polynomial through points (x, f, f').

    points: (n, 3); f or f' may be NaN where it is not known.  Bounds: the extreme x if omitted.
    Two points with both values are solved in closed form; otherwise the polynomial is fitted, and
    its smallest value among bounds, points and critical points counts.
    Raises ValueError for points of another shape.
    Source: optim.polyinterp of torch/optim, after M. Schmidt's minFunc.
    """
    p = np.asarray(points, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != 3:
        raise ValueError(f"polyinterp: points must have shape (n, 3), not {p.shape}")
    low = float(p[:, 0].min()) if xminBound is None else float(xminBound)
    high = float(p[:, 0].max()) if xmaxBound is None else float(xmaxBound)
    order = int(np.isfinite(p[:, 1:]).sum()) - 1
    if len(p) == 2 and order == 3:
        (x1, f1, g1), (x2, f2, g2) = (p if p[0, 0] <= p[1, 0] else p[::-1]).tolist()
        d1 = g1 + g2 - 3 * _quotient(f1 - f2, x1 - x2)
        square = d1 * d1 - g1 * g2
        if not square >= 0:
            return (low + high) / 2
        d2 = math.sqrt(square)
        t = x2 - (x2 - x1) * _quotient(g2 + d2 - d1, g2 - g1 + 2 * d2)
        return min(max(t, low), high)
    powers = np.arange(order, -1, -1)
    rows, values = [], []
    for x, f, slope in p:
        if np.isfinite(f):
            rows.append(x**powers)
            values.append(f)
        if np.isfinite(slope):
            rows.append(powers * x ** np.maximum(powers - 1, 0))
            values.append(slope)
    coefficients = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    roots = np.roots(np.polyder(coefficients)) if order > 1 else np.empty(0)
    critical = [float(r.real) for r in roots if abs(r.imag) < 1e-12 * max(1.0, abs(r))]
    candidates = [c for c in (low, high, *p[:, 0].tolist(), *critical) if low <= c <= high]
    return min(candidates, key=lambda c: float(np.polyval(coefficients, c)))
