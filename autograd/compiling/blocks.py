"""`bind_blocks` runs the calls of a space with NumPy, on some rows at a time that fit the cache.

This is what a kernel is where there is no LLVM: each ufunc writes into scratch memory of one block,
so that intermediate values do not travel to main memory and back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tapegrad.autograd.compiling.buffers import Lifetime, aligned_bytes, plan_buffers
from tapegrad.autograd.compiling.space import END, Space, key_of
from tapegrad.autograd.compiling.standins import ScalarCall, Value

__all__ = ["LEAST_ENTRIES", "bind_blocks"]

BLOCK = 32768  # entries of a block: some of its values together fit the second-level cache
LEAST_ENTRIES = 4 * BLOCK  # below it all values of a step fit the cache anyway

_REDUCE = {"sum": np.add.reduce, "max": np.maximum.reduce, "min": np.minimum.reduce}

# (function of operands and `out`, places of the operands, place of the result)
Step = tuple[Callable[..., Any], tuple[int, ...], int]


def bind_blocks(
    space: Space, reads: list[int], writes: list[int]
) -> Callable[[dict[int, np.ndarray]], None]:
    """A function that computes the slots `writes` from `reads`, of arrays by slot."""
    return _Blocks(space, reads, writes).run


class _Blocks:
    def __init__(self, space: Space, reads: list[int], writes: list[int]) -> None:
        self.space = space
        self.reads, self.writes = reads, writes
        self.rows, self.columns = space.rows, space.columns
        kinds = {p.kind for p in space.places.values()} | set(space.outside.values())
        if not any(c.axes for c in space.calls) and kinds <= {"full", "one"}:
            size = self.rows * self.columns  # entries are alike: any rows will do
            self.columns = max(n for n in range(1, min(size, BLOCK) + 1) if not size % n)
            self.rows = size // self.columns
        self.height = max(1, min(self.rows, BLOCK // self.columns))
        self.places: dict[Any, int] = {}  # of values, by key
        self.numbers: list[tuple[int, np.ndarray]] = []
        self.count = 0
        ends = [c for c in space.calls if self._phase(c.result) == END]
        self.inside = [c for c in space.calls if self._phase(c.result) != END]
        self.sums = [c for c in ends if c.axes]
        self.block_steps = [self._step(c) for c in self.inside]
        self.sum_steps = [self._sum_step(c) for c in self.sums]
        self.end_steps = [self._step(c) for c in ends if not c.axes]
        self.end_results = [c.result for c in ends]
        self._plan(ends)

    def _phase(self, value: Value) -> int:
        return self.space.places[key_of(value)].phase

    def _place(self, key: Any) -> int:
        if key not in self.places:
            self.places[key] = self.count
            self.count += 1
        return self.places[key]

    def _step(self, call: ScalarCall) -> Step:
        operands = []
        for operand, dtype in zip(call.operands, call.dtypes, strict=True):
            if isinstance(operand, Value):
                operands.append(self._place(key_of(operand)))
            else:
                self.numbers.append((self.count, np.array(operand, dtype)))
                operands.append(self.count)
                self.count += 1
        return _function_of(call, self.columns), tuple(operands), self._place(key_of(call.result))

    def _sum_step(self, call: ScalarCall) -> tuple[int, int | None, int]:
        """(place of what is summed over all rows, axis, place of the sum)."""
        kind = self.space.places[key_of(call.result)].kind
        operand = self._place(key_of(call.operands[0]))
        return operand, 0 if kind == "col" else None, self._place(key_of(call.result))

    def _plan(self, ends: list[ScalarCall]) -> None:
        """Give memory to what is not written, by its last use."""
        lives: dict[Any, Lifetime] = {}
        for position, call in enumerate([*self.inside, *ends]):
            for value in call.operands:
                if isinstance(value, Value) and key_of(value) in lives:
                    lives[key_of(value)].last = position
            key = key_of(call.result)
            if self._phase(call.result) != END and key not in self.writes:
                rows, columns = self._form(self.space.places[key].kind)
                nbytes = rows * columns * call.result.dtype.itemsize
                lives[key] = Lifetime(nbytes, position, position)
        offsets, total = plan_buffers({self.places[key]: life for key, life in lives.items()})
        memory = aligned_bytes(total)
        self.scratch = {
            self.places[key_of(c.result)]: np.ndarray(
                self._form(self.space.places[key_of(c.result)].kind),
                c.result.dtype,
                memory,
                offsets[self.places[key_of(c.result)]],
            )
            for c in self.inside
            if key_of(c.result) in lives
        }

    def _form(self, kind: str) -> tuple[int, int]:
        """Rows and columns of one block of a value."""
        return {"full": (self.height, self.columns), "row": (self.height, 1)}.get(kind, (1, 1))

    def _as_matrix(self, slot: int, array: np.ndarray) -> np.ndarray:
        """An array from outside, or a result, as rows and columns of its kind."""
        place = self.space.places.get(slot)
        kind = self.space.outside.get(slot, "one") if place is None else place.kind
        forms = {
            "full": (self.rows, self.columns),
            "row": (self.rows, 1),
            "col": (1, self.columns),
        }
        return array.reshape(forms.get(kind, (1, 1)))

    def run(self, arrays: dict[int, np.ndarray]) -> None:
        """Compute all blocks, then what needs sums over all rows."""
        known: list[Any] = [None] * self.count
        for place, number in self.numbers:
            known[place] = number
        cut: list[tuple[int, np.ndarray]] = []  # what each block has a part of
        for slot in (*self.reads, *self.writes):
            matrix = self._as_matrix(slot, arrays[slot])
            known[self.places[slot]] = matrix
            if matrix.shape[0] == self.rows > 1 and self._is_cut(slot):
                cut.append((self.places[slot], matrix))
        for place, memory in self.scratch.items():
            known[place] = memory
        totals: list[Any] = [0.0] * len(self.sum_steps)
        with np.errstate(all="ignore"):
            for start in range(0, self.rows, self.height):
                stop = min(start + self.height, self.rows)
                for place, matrix in cut:
                    known[place] = matrix[start:stop]
                if stop - start < self.height:
                    for place, memory in self.scratch.items():
                        known[place] = memory[: stop - start]
                for function, operands, out in self.block_steps:
                    function(*[known[i] for i in operands], out=known[out])
                for i, (operand, axis, _) in enumerate(self.sum_steps):
                    full = np.broadcast_to(known[operand], (stop - start, self.columns))
                    totals[i] += np.add.reduce(full, axis=axis, dtype=np.float64, keepdims=True)
            self._finish(known, totals)

    def _is_cut(self, slot: int) -> bool:
        place = self.space.places.get(slot)
        return place is None or place.phase != END

    def _finish(self, known: list[Any], totals: list[Any]) -> None:
        """Sums over all rows in their own dtype, and the calls that need them."""
        for result in self.end_results:
            place = self.places[key_of(result)]
            if known[place] is None:
                is_column = self.space.places[key_of(result)].kind == "col"
                known[place] = np.empty((1, self.columns if is_column else 1), result.dtype)
        for call, total, (_, _, place) in zip(self.sums, totals, self.sum_steps, strict=True):
            if key_of(call.result) in self.writes:
                known[place][...] = total
            else:
                known[place] = total.astype(call.result.dtype)
        for function, operands, out in self.end_steps:
            function(*[known[i] for i in operands], out=known[out])


def _function_of(call: ScalarCall, columns: int) -> Callable[..., Any]:
    """What runs a call on arrays of rows and columns, and writes into `out`."""
    if call.axes:
        return partial(_reduce, _REDUCE[call.name], columns)
    if call.name == "where":
        return _select
    if call.name in {"cast", "stretch"}:
        return _copy
    function: np.ufunc = getattr(np, call.name)
    return function


def _reduce(reduce: Callable[..., Any], columns: int, x: np.ndarray, out: np.ndarray) -> None:
    full = np.broadcast_to(x, (out.shape[0], columns))  # one number may stand for a row
    reduce(full, axis=1, keepdims=True, out=out)


def _select(condition: np.ndarray, x1: np.ndarray, x2: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, x2)
    np.copyto(out, x1, where=condition)


def _copy(x: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, x, casting="unsafe")
