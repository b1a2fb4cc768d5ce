"""Laws of integers: images of bytes, counts and booleans where a layer computes with numbers.

NumPy computes with integers in their own type: 200 + 100 is 44 in uint8, and 1/3 in an integer
array is 0.  A layer may promote its input or refuse it; it may not wrap or truncate.
"""

from __future__ import annotations

import numpy as np

from tapegrad.autograd import default_dtype
from tapegrad.autograd.check.laws import Laws, NotCovered, must, must_be_close
from tapegrad.autograd.check.modules.trial import ModuleTrial, floating_arrays

__all__ = ["INTEGERS", "LAWS", "REFUSALS", "integers_near"]

LAWS = Laws("module")

INTEGERS = ("uint8", "int8", "int16", "int32", "int64", "bool")
WIDEST = 100_000  # its square does not fit into int32
REFUSALS = (TypeError, ValueError)


@LAWS(effort=0.4)
def integers_give_the_values_of_their_floats(trial: ModuleTrial) -> NotCovered | None:
    """Integers and booleans of every type give what equal floats give, or raise an error."""
    floats = floating_arrays(trial.input)
    if not any(x.size for x in floats):
        return NotCovered("the case has no floating point input")
    dtype = np.dtype(trial.draws.choice(list(INTEGERS)))
    wide = trial.draws.choice([True, False])
    arrays = [integers_near(x, dtype, wide=wide, rng=trial.rng) for x in floats]
    exact = np.result_type(dtype, default_dtype())
    try:
        found = trial.forward(trial.copy(), trial.on_input(arrays))
    except REFUSALS:
        return None
    try:
        expected = trial.forward(trial.copy(), trial.on_input([a.astype(exact) for a in arrays]))
    except REFUSALS as error:
        must(False, f"the floats of a {dtype} input are refused ({error}), the integers are not")
        return None
    for i, (f, e) in enumerate(zip(found, expected, strict=True)):
        what = f"output {i} of {dtype} input, against that of equal {exact} input,"
        must_be_close(f, e, what, relative=1e-4, scale=1.0)
    return None


def integers_near(
    x: np.ndarray, dtype: np.dtype, *, wide: bool, rng: np.random.Generator
) -> np.ndarray:
    """Integers of a dtype in the shape of x: x rounded, or anything up to the dtype's limits."""
    if dtype.kind == "b":
        return np.asarray(x > 0)
    limits = np.iinfo(dtype)
    low, high = max(int(limits.min), -WIDEST), min(int(limits.max), WIDEST)
    if wide:
        return rng.integers(low, high, x.shape, dtype, endpoint=True)
    return np.clip(np.rint(x), low, high).astype(dtype)
