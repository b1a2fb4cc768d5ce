"""Laws of precision: half precision, long sums in it, and saturated data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tapegrad.autograd.check.error_bars import (
    ErrorBars,
    cotangents_in,
    is_entrywise,
    must_be_rounded_only,
)
from tapegrad.autograd.check.laws import Laws, NotCovered
from tapegrad.autograd.check.modules.trial import ModuleTrial, floating_arrays

__all__ = ["LAWS"]

LAWS = Laws("module")

_MOST = 200_000  # entries of an output


@LAWS()
def float16_agrees_with_float64(trial: ModuleTrial) -> NotCovered | None:
    """A float16 module gives outputs and gradients that are right but for some roundings."""
    return _agrees_with_float64(trial, np.dtype(np.float16))


@LAWS(regimes=("constant", "ordinary"), long=True, deep=True)
def float16_sums_lose_nothing(trial: ModuleTrial) -> NotCovered | None:
    """Sums over thousands of samples, in outputs and gradients, are added in float32."""
    return _agrees_with_float64(trial, np.dtype(np.float16))


@LAWS(regimes=("saturated",))
def saturated_values_and_gradients_are_precise(trial: ModuleTrial) -> NotCovered | None:
    """Far out on both sides, float32 is right; of an elementwise layer in each entry's digits.

    What sums entries, as softmax does, may lose small ones beside large ones.
    """
    return _agrees_with_float64(trial, np.dtype(np.float32))


def _agrees_with_float64(trial: ModuleTrial, dtype: np.dtype) -> NotCovered | None:
    if not trial.point() or trial.is_random():
        return NotCovered("it has nothing of a precision, or draws random numbers")
    low = trial.copy().half() if dtype == np.float16 else trial.copy().float()
    high = low.clone().double()
    floats = [a.astype(dtype) for a in floating_arrays(trial.input)]
    trial.target_dtype = dtype
    count = len(floats)
    point = [a.astype(np.float64) for a in [*floats, *trial.values(low)]]

    def outputs(arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        for parameter, value in zip(trial.parameters(high), arguments[count:], strict=False):
            parameter.data[...] = value
        return trial.forward(high, trial.on_input(arguments[:count]))

    try:
        x = trial.on_input(floats)
        found = trial.forward(low, x)
    except TypeError:
        return NotCovered(f"it refuses {dtype}")
    if sum(y.size for y in found) > _MOST:
        return NotCovered("its outputs are too large for a quick check")
    own = dtype == np.float32 and is_entrywise(outputs, point)
    bars = ErrorBars(dtype, trial.rng, own, 0.0 if trial.draws.long else 1.0)
    must_be_rounded_only(found, outputs, point, bars, f"{dtype} output")
    v = cotangents_in(dtype, found, trial)
    whole = len(point)

    def gradients(arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs(arguments[:whole])
        inputs = trial.on_input(arguments[:count])
        trial.with_zero_gradients(high)
        trial.forward(high, inputs)
        return [*trial.backward(high, inputs, arguments[whole:]), *trial.gradients(high)]

    cotangents = [c.astype(y.dtype) for c, y in zip(v, found, strict=True)]
    trial.with_zero_gradients(low)
    pulled = [*trial.backward(low, x, cotangents), *trial.gradients(low)]
    wide = [*point, *(c.astype(np.float64) for c in v)]
    must_be_rounded_only(pulled, gradients, wide, bars, f"{dtype} gradient")
    return None
