"""What the recorded optimizers need beside their configuration, and the checks of the rest of
torch/optim: FISTA, interpolation, CMA-ES, the confusion matrix.

Records that depend on Torch7's random stream get it here, from a Mersenne Twister that the record
rng/mt19937 checks (`test_optim_torch7.py`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch7_records import assert_close

from tapegrad import optim

# Working memory that the original's optimizers keep among their state.
SCRATCH_STATE = {
    "decayParameters", "deltaParameters", "denom", "paramStd", "delta", "max", "dminmax", "nsign",
    "psign", "zsign", "sign",
}  # fmt: skip


class TorchStream:
    """Torch7's generator: words of MT19937, uniform numbers of 32 bits, normals in pairs."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed)
        self._second: float | None = None

    def word(self) -> int:
        """The next 32 bits."""
        return int(self._words.randint(0, 2**32, dtype=np.uint64))

    def uniform(self, shape: Any, dtype: Any) -> np.ndarray:
        """In [0, 1)."""
        drawn = [self.word() / 2.0**32 for _ in range(math.prod(shape))]
        return np.array(drawn, dtype).reshape(shape)

    def integers(self, low: int, high: int) -> int:
        """From low to high - 1."""
        return low + self.word() % (high - low)

    def normal(self, shape: Any, dtype: Any) -> np.ndarray:
        """By Box and Muller: one at a time below 16 entries, in rows of 16 from there on."""
        count = math.prod(shape)
        if count < 16:
            return np.array([self._one_normal() for _ in range(count)], dtype).reshape(shape)
        values = self.uniform((count,), np.float64)
        for start in range(0, count - 15, 16):
            values[start : start + 16] = _sixteen(values[start : start + 16])
        if count % 16:
            values[-16:] = _sixteen(self.uniform((16,), np.float64))
        return values.astype(dtype).reshape(shape)

    def _one_normal(self) -> float:
        if self._second is not None:
            value, self._second = self._second, None
            return value
        angle, radius = self.word() / 2.0**32, self.word() / 2.0**32
        radius = math.sqrt(-2 * math.log(1 - radius))
        self._second = radius * math.sin(2 * math.pi * angle)
        return radius * math.cos(2 * math.pi * angle)


def _sixteen(u: np.ndarray) -> np.ndarray:
    radius, angle = np.sqrt(-2 * np.log(1 - u[:8])), 2 * np.pi * u[8:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])


# Kind "optim" -------------------------------------------------------------------------------------


def additions(record: Any) -> dict[str, Any]:
    """Options that the record tells in words only: functions and generators are no data."""
    if record["optimizer"] == "de":
        return {"generator": TorchStream(1)}
    if record.get("note", "").endswith("lineSearch=optim.lswolfe"):
        return {"lineSearch": optim.lswolfe}
    return {}


def entry(optimizer: Any, config: dict[str, Any], name: str) -> Any:
    """A state entry; Torch7 also writes the defaults of asgd's options into its configuration."""
    return config[name] if name in config else optimizer.options[name]


def flattened(name: str, value: Any) -> Any:
    """Torch7 keeps AdaMax's u as a row of a matrix."""
    return value[0] if name == "u" and value.ndim == 2 else value


def tolerance(record: Any, name: str) -> float:
    """1e-10, or what rounding leaves of a difference of gradients near a minimum.

    L-BFGS's Hdiag is y·s/y·y with y = g - g_old.  Rosenbrock's gradient holds 400 x₁(x₂ - x₁²),
    near the minimum a difference of numbers near 1 rounded twice: g is known to 2δ with
    δ = 400 · 2⁻⁵³, y to 4δ, y·y to 8δ/|y| and y·s to 4δ/|y|.
    """
    if not record["function"].startswith("rosenbrock"):
        return 1e-10
    if name in ("Hdiag", "g_old"):
        largest = float(np.max(np.abs(record["state_after"]["g_old"])))
        return max(1e-10, 12 * 400 * 2.0**-53 / largest)
    if name == "f_old":  # 100·r², whose r is as exact as x is: 2⁻⁵³
        return max(1e-10, 12 * 20 * 2.0**-53 / float(np.sqrt(record["state_after"]["f_old"])))
    return 1e-10


def stagnates(record: Any) -> bool:
    """Does the run reach a point where values differ by rounding only?"""
    eps = np.finfo(np.float64).eps
    for values in map(np.ravel, record["f_steps"]):
        if np.any(np.abs(np.diff(values)) <= 8 * eps * np.abs(values[1:])):
            return True
    return False


def check_definition(record: Any, monkeypatch: Any) -> None:
    """The quadratic's matrix is symmetric and positive, so the recorded formula has a minimum."""
    assert_close(record["A"], record["A"].T.copy(), "A", tolerance=0)
    assert np.linalg.eigvalsh(record["A"])[0] > 0


# Kind "optim-misc" --------------------------------------------------------------------------------


def check_misc(record: Any, monkeypatch: Any) -> None:
    """One check per function."""
    name = record["id"].split("/")[1].split("-")[0]
    MISC[name](record)


def check_checkgrad(record: Any) -> None:
    from test_torch7_cases import rosenbrock

    x = record["x"].copy()
    difference, gradient, estimate = optim.checkgrad(rosenbrock, x)
    assert_close(x, record["x"], "x afterwards", tolerance=0)
    assert_close(gradient, record["dC"], "dC")
    # Central differences of f ≈ 40 in steps of 1e-7 are known to 1e-16 · 40 / 1e-7 = 4e-8.
    assert_close(estimate, record["dC_est"], "dC_est", tolerance=4e-8 / 108)
    assert abs(difference - record["diff"]) < 4e-8 / 216


def check_polyinterp(record: Any) -> None:
    assert_close(optim.polyinterp(record["points"]), record["minPos"], "minPos")


def check_fista(record: Any) -> None:
    W, y, weight = record["W"], record["y"], record["lambda"]

    def smooth(x: Any) -> Any:
        gap = W @ x - y
        return 0.5 * float(gap @ gap), W.T @ gap

    def shrink(x: Any, L: float) -> None:
        x[...] = np.sign(x) * np.maximum(np.abs(x) - weight / L, 0)

    x = np.zeros(W.shape[1])
    params = {"doFistaUpdate": record["doFistaUpdate"], "maxiter": len(record["F"])}
    found, history = optim.FistaLS(smooth, lambda v: weight * np.abs(v).sum(), shrink, x, params)
    assert found is x
    assert_close(found, record["x"], "x")
    for name in ("F", "L", "nline"):
        assert_close([step[name] for step in history], record[name], name)


def check_confusion_matrix(record: Any) -> None:
    matrix = optim.ConfusionMatrix(["a", "b", "c"])
    matrix.batchAdd(record["preds"], record["targets"] - 1)
    matrix.add(1, 1)
    matrix.add([0.1, 0.2, 0.7], 0)
    matrix.updateValids()
    assert_close(matrix.mat, record["mat"], "mat", tolerance=0)
    # Torch7 gathers these in single precision.
    for name in ("valids", "unionvalids", "totalValid", "averageValid", "averageUnionValid"):
        assert_close(getattr(matrix, name), record[name], name, tolerance=1e-7)
    assert without_last_digits(matrix) == without_last_digits(record["tostring"])


def without_last_digits(text: Any) -> str:
    """Percentages cut to four digits: Torch7 prints its single-precision averages in full."""
    import re

    return re.sub(r"(\d+\.\d{0,3})\d*%", r"\1%", str(text))


def check_cmaes(record: Any) -> None:
    from test_torch7_cases import rosenbrock

    x = record["x0"].copy()
    config = {"maxEval": record["evals"], "generator": TorchStream(record["seed"])}
    found, values, evaluations = optim.cmaes(rosenbrock, x, config)
    assert evaluations == record["evals"]
    assert_close(values, record["f"], "f")
    assert_close(found, record["x"], "x")


MISC = {
    "checkgrad": check_checkgrad,
    "polyinterp": check_polyinterp,
    "FistaLS": check_fista,
    "ConfusionMatrix": check_confusion_matrix,
    "cmaes": check_cmaes,
}
