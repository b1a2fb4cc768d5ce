"""Minimizers that need values only: differential evolution and CMA-ES.

Both draw from an explicit generator, `config["generator"]`; Torch7's streams, which its recorded
runs depend on, can be put there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tensor import array_of, as_array
from tapegrad.optim.core.options import Options
from tapegrad.optim.minimizers.objective import FlatObjective

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array
    from tapegrad.optim.core.rule import State

__all__ = ["cmaes", "de"]


class _ValuesOnly(FlatObjective):
    """A function of which only values are used; `values` keeps those of all calls."""

    def __init__(self, feval: Callable[[Any], Any], x: Tensor | Array) -> None:
        super().__init__(feval, x)
        self.values: list[float] = []

    def value(self, position: Array) -> float:
        """Move x to the position and return f there, infinity for a NaN."""
        self.move(position)
        result = self.feval(self.x)
        self.count += 1
        f = float(result[0] if isinstance(result, tuple) else result)
        self.values.append(f)
        return math.inf if math.isnan(f) else f


def _refuse_other_devices(name: str, x: Tensor | Array) -> None:
    array = array_of(x) if isinstance(x, Tensor) else as_array(x)
    if type(array) is not np.ndarray:
        raise TypeError(f"{name} runs on NumPy arrays; x lies on {devices.device_of(array)}")


DE = Options(
    "de",
    {
        "popsize": None, "scaleFactor": 0.4, "crossoverRate": 0.9, "maxFEs": None,
        "maxRegion": 30.0, "minRegion": -30.0, "generator": None,
    },
)  # fmt: skip


def de(
    feval: Callable[[Any], Any],
    x: Tensor | Array,
    config: State | None = None,
    state: State | None = None,
) -> tuple[Tensor | Array, list[float]]:
    """Minimize by differential evolution: optim.de(feval, x, config) -> x, [f, …], all values met.

    A child of member i is best + scaleFactor · (r₁ - r₂) in the entries that cross over, members
    r₁ ≠ r₂ ≠ i being drawn, and replaces i where it is no worse.  feval(x) returns f or (f, …); x
    gives the number of entries and receives the best member.
    Options: popsize (10 per entry), scaleFactor (0.4), crossoverRate (0.9), maxFEs (evaluations,
    10000 per entry), minRegion and maxRegion (-30, 30): where members start, generator (seed 1).
    As in Torch7, the member called best is the worst of the first population until a child is
    better than the best value known.
    Raises ValueError for a popsize below 3.
    Source: optim.de of torch/optim; R. Storn, K. Price, J. Global Optimization 11, 1997.
    """
    o = DE.complete({} if config is None else config)
    _refuse_other_devices("de", x)
    function = _ValuesOnly(feval, x)
    with function.restore_on_error() as start:
        n = start.size
        size = 10 * n if o["popsize"] is None else o["popsize"]
        if size < 3:
            raise ValueError(f"de: popsize must be at least 3, not {size}")
        most = 10000 * n if o["maxFEs"] is None else o["maxFEs"]
        draw = devices.Generator(seed=1) if o["generator"] is None else o["generator"]
        width = o["maxRegion"] - o["minRegion"]
        members = draw.uniform((size, n), np.float64) * width + o["minRegion"]
        fitness = np.array([function.value(member) for member in members])
        best = members[int(np.argmax(fitness))].copy()
        lowest = float(fitness.max())
        evaluations = size + 1
        while evaluations < most:
            children = members.copy()
            values = np.empty(size)
            for i in range(size):
                first = second = i
                while first == i:
                    first = int(draw.integers(0, size))
                while second in {i, first}:
                    second = int(draw.integers(0, size))
                always = int(draw.integers(0, n))
                for j in range(n):
                    # Torch7 compares the member's number with `always`, not the entry's.
                    if float(draw.uniform((), np.float64)) < o["crossoverRate"] or i == always:
                        change = members[first, j] - members[second, j]
                        children[i, j] = best[j] + o["scaleFactor"] * change
                values[i] = function.value(children[i])
                evaluations += 1
            for i in range(size):
                if values[i] <= fitness[i]:
                    members[i], fitness[i] = children[i], values[i]
                    if values[i] < lowest:
                        best, lowest = children[i].copy(), float(values[i])
        function.move(best.astype(start.dtype))
    return x, function.values


CMAES = Options(
    "cmaes",
    {
        "sigma": 0.5, "maxEval": None, "ftarget": None, "popsize": None, "min_iterations": 1,
        "verb_disp": 0, "generator": None,
    },
)  # fmt: skip


class _Rates(NamedTuple):
    """What CMA-ES derives from the number of entries and of samples, in Hansen's names.

    weights: of the better half of the samples, the best first; mueff: how many they count as
    cc, cs:  how fast the paths of C and of σ forget; c1, cmu: how fast C learns from its path, and
             from the steps of the better half; damping: how slowly σ changes
    """

    weights: np.ndarray
    mueff: float
    cc: float
    cs: float
    c1: float
    cmu: float
    damping: float


def _rates(n: int, size: int) -> _Rates:
    """The rates for n entries and `size` samples.  Source: N. Hansen, barecmaes2."""
    half = size / 2
    weights = math.log(half + 0.5) - np.log(np.arange(1, int(half) + 1))
    weights /= weights.sum()
    mueff = float(weights.sum() ** 2 / (weights**2).sum())
    cc = (4 + mueff / n) / (n + 4 + 2 * mueff / n)
    cs = (mueff + 2) / (n + mueff + 5)
    c1 = 2 / ((n + 1.3) ** 2 + mueff)
    cmu = min(1 - c1, 2 * (mueff - 2 + 1 / mueff) / ((n + 2) ** 2 + mueff))
    damping = 2 * mueff / size + 0.3 + cs
    return _Rates(weights, mueff, cc, cs, c1, cmu, damping)


def cmaes(
    feval: Callable[[Any], Any],
    x: Tensor | Array,
    config: State | None = None,
    state: State | None = None,
) -> tuple[Tensor | Array, list[float], int]:
    """Minimize by covariance matrix adaptation: optim.cmaes(feval, x, config) -> x, [f, …], n.

    Samples N(mean, σ²C); the mean moves to the weighted best half, C learns the steps taken, σ
    their length.  feval(x) returns f or (f, …); x, where it starts, receives the best sample.
    Options: sigma (0.5), maxEval (1000 · entries²), ftarget, popsize (4 + ⌊3 ln entries⌋),
    min_iterations (1), generator (the CPU's).
    Returns x, f of the start, of each iteration's best and of the best of all, and the number of
    samples.  Ends at maxEval, at ftarget, when values or steps no longer differ (1e-12, 1e-11), or
    at a condition of 1e14.
    Raises ValueError for a popsize below 2.
    Source: optim.cmaes of torch/optim, after N. Hansen's barecmaes2; arXiv:1604.00772.
    """
    o = CMAES.complete({} if config is None else config)
    _refuse_other_devices("cmaes", x)
    draw = devices.generator("cpu") if o["generator"] is None else o["generator"]
    function = _ValuesOnly(feval, x)
    with function.restore_on_error() as start:
        mean = start.astype(np.float64)
        n = mean.size
        size = 4 + int(3 * math.log(n)) if o["popsize"] is None else o["popsize"]
        if size < 2:
            raise ValueError(f"cmaes: popsize must be at least 2, not {size}")
        most = 1e3 * n**2 if o["maxEval"] is None else o["maxEval"]
        sigma = float(o["sigma"])
        weights, mueff, cc, cs, c1, cmu, damping = _rates(n, size)
        path_c, path_s = np.zeros(n), np.zeros(n)
        axes, lengths, C, whitening = np.eye(n), np.ones(n), np.eye(n), np.eye(n)
        decomposed = count = iteration = 0
        history = [function.value(start)]
        best, lowest = start, math.inf
        values = np.zeros(0)
        while iteration < o["min_iterations"] or not (
            count >= most
            or (o["ftarget"] is not None and values[0] <= o["ftarget"])
            or lengths.max() > 1e7 * lengths.min()
            or values[-1] - values[0] < 1e-12
            or sigma * lengths.max() < 1e-11
        ):
            iteration += 1
            if count - decomposed > size / (c1 + cmu) / n / 10:
                decomposed = count
                C = np.triu(C) + np.triu(C, 1).T
                variances, axes = np.linalg.eigh(C, UPLO="U")
                lengths = np.sqrt(variances)
                whitening = axes @ np.diag(1 / lengths) @ axes.T
            samples = np.stack(
                [
                    mean + sigma * (axes @ (draw.normal((n,), np.float64) * lengths))
                    for _ in range(size)
                ]
            )
            values = np.array([function.value(sample.astype(start.dtype)) for sample in samples])
            count += size
            order = np.argsort(values, kind="stable")
            values, chosen = values[order], samples[order[: len(weights)]]
            history.append(float(values[0]))
            if values[0] < lowest:
                best, lowest = chosen[0].astype(start.dtype), float(values[0])
            old, mean = mean, weights @ chosen
            y = mean - old
            path_s = (1 - cs) * path_s + math.sqrt(cs * (2 - cs) * mueff) / sigma * (whitening @ y)
            length = float(path_s @ path_s)
            short = length / (1 - (1 - cs) ** (2 * count / size)) / n < 2 + 4 / (n + 1)
            path_c = (1 - cc) * path_c + short * math.sqrt(cc * (2 - cc) * mueff) / sigma * y
            forget = c1 - (1 - short) * c1 * cc * (2 - cc)
            steps = (chosen - old) / sigma
            rank_mu = (steps.T * weights) @ steps
            C = C * (1 - forget - cmu) + c1 * np.outer(path_c, path_c) + cmu * rank_mu
            sigma *= math.exp(min(0.6, (cs / damping) * (length / n - 1) / 2))
        history.append(lowest)
        function.move(best)
    return x, history, count
