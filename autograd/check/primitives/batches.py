"""The law of samples: an operation on a batch is the operation on each of its samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd.check.laws import Laws, NotCovered, must_be_close, must_be_equal
from tapegrad.autograd.check.primitives.trial import PrimitiveTrial, floats_of, in_parts, values_of
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, replace_leaves
from tapegrad.autograd.transforms.batching import vmap
from tapegrad.autograd.transforms.gradient import vjp

__all__ = ["LAWS"]

LAWS = Laws("primitive")


@LAWS()
def a_batch_agrees_with_the_loop_over_samples(trial: PrimitiveTrial) -> NotCovered | None:
    """Values and gradients of each sample, each operand in turn with samples and shared."""
    arrays = [x for x in leaves(list(trial.call.args)) if isinstance(x, np.ndarray)]
    batches = [np.stack([x, _another(x)]) for x in arrays]
    patterns = [{i} for i in range(len(arrays))]
    if len(arrays) > 1:
        patterns.append(set(range(len(arrays))))
    refused: BatchingError | None = None
    for pattern in patterns:
        try:
            _batch_agrees(trial, arrays, {i: batches[i] for i in pattern})
        except BatchingError as error:
            if trial.primitive is not None and not any(arrays[i].dtype == bool for i in pattern):
                raise  # a mask may decide a shape; what composites read of a value is their concern
            refused = error
            patterns = [p for p in patterns if p is not pattern]
    return None if patterns else NotCovered(f"no operand may differ: {refused}")


def _another(x: np.ndarray) -> np.ndarray:
    """Another example of the same kind: a matrix stays definite, an index within bounds."""
    return x * x.dtype.type(0.875) if x.dtype.kind in "fc" else x[::-1] if x.ndim else x


def _batch_agrees(
    trial: PrimitiveTrial, arrays: list[np.ndarray], batches: dict[int, np.ndarray]
) -> None:
    """Hold vmap against a loop, for the arrays of the call that have samples."""
    inner = [i for i, x in enumerate(arrays) if x.dtype.kind in "fc"]

    def run(given: list[Any]) -> Any:
        rest = iter(given)
        flat = [
            next(rest) if isinstance(x, np.ndarray) else x for x in leaves(list(trial.call.args))
        ]
        return in_parts(trial.function(*replace_leaves(list(trial.call.args), flat), **settings))

    def gradients(given: list[Any]) -> Any:
        """The results, and the cotangents of what is floating point, of one sample."""

        def floating(*point: Any) -> list[Tensor]:
            changed = list(given)
            for i, x in zip(inner, point, strict=True):
                changed[i] = x
            return floats_of(run([Tensor(x) if type(x) is np.ndarray else x for x in changed]))

        _, pull = vjp(floating, *[given[i] for i in inner])
        return [in_parts(g) for g in pull(cotangents)]

    def one(samples: dict[int, Any]) -> Any:
        given = [samples.get(i, x) for i, x in enumerate(arrays)]
        y = run([Tensor(x) if type(x) is np.ndarray else x for x in given])
        return [y, gradients(given) if trial.derives and inner else []]

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
