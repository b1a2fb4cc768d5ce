"""`Loop` runs the kernels of all steps of a recurrent layer in one call of machine code.

A step is some products with a factor that stays, and passes over memory between them.  Samples do
not know of each other, so `run_samples` shares them out among threads; each entry of a product is a
sum in an order of its own, so the bits are the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.product_code import tiles_of
from tapegrad.autograd.kernels.products import RightFactor, by_blas, matmul, multiply
from tapegrad.autograd.kernels.threads import get_num_threads, run_pieces
from tapegrad.autograd.kernels.turns import call_all

__all__ = ["Loop", "join", "places", "run_samples", "transposed_product"]

Array = np.ndarray[Any, Any]
Column: TypeAlias = "int | Array"
SHARED = 2**24  # multiplications of a loop over time that are worth the call of other threads


def places(a: Array) -> Array:
    """The address of a[t] for each t; a may run backwards in time."""
    found: Array = address(a) + a.strides[0] * np.arange(len(a))
    return found


def run_samples(piece: Callable[[slice], None], samples: int, work: int, dtype: Any) -> None:
    """Run piece(slice of samples) for all of them, on as many threads as were set.

    work: about how many multiplications that is
    """
    threads = get_num_threads() if work >= SHARED else 1
    rows = tiles_of(dtype).rows
    height = -(-samples // threads // rows) * rows
    parts = [slice(i, min(i + height, samples)) for i in range(0, samples, height)]
    run_pieces(lambda number: piece(parts[number]), len(parts))


def transposed_product(a: Array, b: Array, factor: RightFactor, out: Array) -> None:
    """out = aᵀ b, summed over all steps and samples, by what makes the products of a factor."""
    left, right = (part.reshape(-1, part.shape[-1]) for part in (a, b))
    if factor.is_plain:
        matmul(left.T, right, out=out)
    else:
        multiply(left.T, right, out)


def join(joined: Array, x: Array, h: Array, ys: Array) -> None:
    """[x, state before, 1] of each step: its product with cotangents of sums is a layer's."""
    inputs = x.shape[2]
    joined[:, :, :inputs] = x
    joined[0, :, inputs:-1] = h
    joined[1:, :, inputs:-1] = ys[:-1]
    joined[:, :, -1] = 1


class Loop:
    """What is done at each of so many steps, in the order in which it is added.

    Arrays have the steps as their first axis, in the order in which they are made.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._calls: list[tuple[Any, Array]] = []  # a function of machine code, a table a step
        self._plain: list[Callable[[int], None]] = []  # the same, and NumPy's products
        self._is_plain = False

    def call(self, function: Any, *columns: Column) -> None:
        """Call a kernel with these numbers: one for all steps, or one for each."""
        table = np.empty((self.steps, len(columns)), np.int64)
        for number, column in enumerate(columns):
            table[:, number] = column
        self._calls.append((function, table))
        self._plain.append(lambda t: function(*table[t].tolist()))

    def product(
        self, left: Array, factor: RightFactor, out: Array, first: Array | None = None,
        several: int = 1,
    ) -> None:  # fmt: skip
        """out[t] = left[t] · factor of left (T, N, depth) and out (T, N, n), or (N, n) for each t.

        first:   what stands before left[0], if step t takes left[t - 1]
        several: how many steps are made at once, at the first of them
        """
        if factor.is_plain:
            self._is_plain = True
            self._plain.append(lambda t: _plain_product(t, left, factor, out, first, several))
            return
        samples = left.shape[1]
        steps = np.arange(self.steps)
        function, template = factor.kernel(samples, left.strides[1], out.strides[-2])
        table = np.empty((self.steps, len(template)), np.int64)
        table[:] = template
        if several > 1:
            most = np.minimum(self.steps - steps, several)
            table[:, 0] = np.where(steps % several == 0, most, 0)
            table[:, 5], table[:, 11] = left.strides[0], out.strides[0]
        table[:, 4] = places(left)[: self.steps]
        if first is not None:
            table[1:, 4], table[0, 4] = table[:-1, 4].copy(), address(first)
        table[:, 10] = places(out) if out.ndim == 3 else address(out)
        self._calls.append((function, table))

    def run(self) -> None:
        """Do it all."""
        if self._is_plain:
            for t in range(self.steps):
                for step in self._plain:
                    step(t)
            return
        calls = np.zeros(2 * self.steps * len(self._calls) + 1, np.int64)  # a zero in the end
        listed = calls[:-1].reshape(self.steps, len(self._calls), 2)
        for number, (function, table) in enumerate(self._calls):
            listed[:, number, 0] = function.address
            listed[:, number, 1] = places(table)
        call_all(address(calls))


def _plain_product(
    t: int, left: Array, factor: RightFactor, out: Array, first: Array | None, several: int
) -> None:
    if several > 1:
        if t % several == 0:
            by_blas(left[t : t + several], factor.b, out[t : t + several])
        return
    a = left[t] if first is None else first if t == 0 else left[t - 1]
    by_blas(a, factor.b, out if out.ndim == 2 else out[t])
