"""The law of vmap: an operation on a batch gives what it gives on each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd.check.laws import Laws, NotCovered, must_be_close, must_be_equal
from tapegrad.autograd.check.primitives.trial import (
    PrimitiveTrial,
    floating_results,
    real_and_imaginary_parts,
    values_of,
)
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, replace_leaves
from tapegrad.autograd.transforms.batching import vmap
from tapegrad.autograd.transforms.products import vjp

__all__ = ["LAWS"]

LAWS = Laws("primitive")


@LAWS()
def a_batch_agrees_with_the_loop_over_samples(trial: PrimitiveTrial) -> NotCovered | None:
    """vmap gives the values and gradients of a loop, whichever operands have samples."""
    arrays = [x for x in leaves(list(trial.call.args)) if isinstance(x, np.ndarray)]
    batches = [np.stack([x, _other_sample(x)]) for x in arrays]
    patterns = [{i} for i in range(len(arrays))]
    if len(arrays) > 1:
        patterns.append(set(range(len(arrays))))
    refused: BatchingError | None = None
    for pattern in patterns:
        try:
            _batch_agrees(trial, arrays, {i: batches[i] for i in pattern})
        except BatchingError as error:
            if trial.primitive is not None and not any(arrays[i].dtype == bool for i in pattern):
                raise  # masks may decide a shape, and composites may read values
            refused = error
            patterns = [p for p in patterns if p is not pattern]
    return None if patterns else NotCovered(f"no operand may differ: {refused}")


def _other_sample(x: np.ndarray) -> np.ndarray:
    """A second sample like x: a definite matrix stays definite, an index within bounds."""
    return x * x.dtype.type(0.875) if x.dtype.kind in "fc" else x[::-1] if x.ndim else x


def _batch_agrees(
    trial: PrimitiveTrial, arrays: list[np.ndarray], batches: dict[int, np.ndarray]
) -> None:
    """Compare vmap with a loop; `batches` holds the arrays that have samples, by number."""
    inner = [i for i, x in enumerate(arrays) if x.dtype.kind in "fc"]

    def run(call_arrays: list[Any]) -> Any:
        rest = iter(call_arrays)
        flat = [
            next(rest) if isinstance(x, np.ndarray) else x for x in leaves(list(trial.call.args))
        ]
        return real_and_imaginary_parts(
            trial.function(*replace_leaves(list(trial.call.args), flat), **settings)
        )

    def gradients(call_arrays: list[Any]) -> Any:
        """The cotangents of the floating point arrays of one sample."""

        def floating(*point: Any) -> list[Tensor]:
            changed = list(call_arrays)
            for i, x in zip(inner, point, strict=True):
                changed[i] = x
            return floating_results(
                run([Tensor(x) if type(x) is np.ndarray else x for x in changed])
            )

        _, pull = vjp(floating, tuple(call_arrays[i] for i in inner))
        return [real_and_imaginary_parts(g) for g in pull(cotangents)]

    def one(samples: dict[int, Any]) -> Any:
        call_arrays = [samples.get(i, x) for i, x in enumerate(arrays)]
        y = run([Tensor(x) if type(x) is np.ndarray else x for x in call_arrays])
        return [y, gradients(call_arrays) if trial.derives and inner else []]

    settings = trial.call.settings
    cotangents = trial.cotangents() if trial.derives else []
    found = values_of(vmap(one)({i: Tensor(x) for i, x in batches.items()}))
    rows = [values_of(one({i: Tensor(x[n]) for i, x in batches.items()})) for n in range(2)]
    which = f"with samples in operand(s) {sorted(batches)}"
    for i, (f, *e) in enumerate(zip(found, *rows, strict=True)):
        for n in range(2):
            what = f"array {i} of sample {n}, {which}"
            if e[n].dtype.kind == "f":
                must_be_close(f[n], e[n], what, relative=1e-12, scale=1.0)
            else:
                must_be_equal(f[n], e[n], what)
