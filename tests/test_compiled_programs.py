"""Drawn programs, compiled and ordinary: every order of reads, writes, sums, views and broadcasts.

A program is a list of choices that is made once and run on new arrays in each call.  Values stay
of ordinary size, and only arguments are compared with each other, so that rounding decides nothing.
"""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad import Tensor, compile, ops, set_num_threads, value_and_grad
from tapegrad.autograd.compiling import blocks, compiled, kernel_calls
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.kernels import machine
from tapegrad.devices import to_device
from tapegrad.nn import Buffer

UNARY = [
    np.tanh,
    np.negative,
    lambda x: np.exp(-np.abs(x)),
    lambda x: np.log1p(x * x),
    lambda x: np.sqrt(x * x + 1.0),
    lambda x: np.maximum(x, 0.25),
    lambda x: x * 0.5 + 1,
    ops.sigmoid,
    lambda x: ops.softmax(x) if x.ndim else x,
    ops.erf,
    lambda x: x / (np.abs(x) + 1.0),
]
BINARY = [
    np.add,
    np.subtract,
    np.multiply,
    np.maximum,
    np.minimum,
    lambda x, y: x / (y * y + 1.0),
    np.logaddexp,
]


def draw_program(rng, inputs, states):
    """A list of (what, choices) that `run_program` follows."""
    steps = []
    for _ in range(int(rng.integers(4, 30))):
        kind = rng.choice(
            ["unary", "binary", "sum", "max", "move", "write", "where", "matmul", "stretch"],
            p=[0.25, 0.28, 0.14, 0.05, 0.08, 0.08, 0.05, 0.03, 0.04],
        )
        steps.append((kind, rng.integers(0, 1 << 16, 6).tolist()))
    return steps, rng.integers(0, 1 << 16, 3).tolist()


def run_program(program, arguments, states):
    """The last values of the program, and some of those before."""
    steps, chosen = program
    values = [*arguments, *(s * 1.0 for s in states)]
    for kind, (a, b, c, *_) in steps:
        # a late value is likelier, so that programs get deep
        x = values[max(a % len(values), b % len(values))]
        y = values[c % len(values)]
        new = None
        if kind == "unary":
            new = UNARY[b % len(UNARY)](x)
        elif kind == "binary" and fits(x, y):
            new = BINARY[b % len(BINARY)](x, y)
        elif kind == "sum" and x.ndim:
            others = tuple(i for i in range(x.ndim) if i != 1)
            axis = [None, -1, 0, tuple(range(x.ndim - 1)), tuple(range(x.ndim)), others][b % 6]
            new = (np.mean if c % 2 else np.sum)(x, axis=axis, keepdims=bool(c % 3)) * 0.3
        elif kind == "max" and x.ndim:
            new = (np.max if c % 2 else np.min)(x, axis=-1, keepdims=bool(c % 3))
        elif kind == "move" and x.ndim:
            new = [x.T, x.reshape(-1), x[::-1], x[..., :1], x[:1], np.swapaxes(x, 0, -1)][b % 6]
        elif kind == "write":
            target = states[b % len(states)]
            if fits(x, target) and np.broadcast_shapes(x.shape, target.shape) == target.shape:
                [ops.assign, ops.accumulate][c % 2](target, np.tanh(x))
                new = target * 1.0 if a % 2 else None
        elif kind == "where" and fits(x, y):
            condition = arguments[0] > 0
            new = np.where(condition, x, y) if fits(condition, x, y) else None
        elif kind == "matmul" and x.ndim == 2:
            new = np.tanh(x @ x.T)
        elif kind == "stretch" and fits(x, y):
            new = np.broadcast_to(x, np.broadcast_shapes(x.shape, y.shape))
        if new is not None and new.size <= 5000:
            values.append(new)
    return [values[-1], *(values[i % len(values)] for i in chosen)]


def fits(*values):
    try:
        shape = np.broadcast_shapes(*(v.shape for v in values))
    except ValueError:
        return False
    return len(shape) <= 3


def draw_arrays(rng, shapes, dtypes):
    return [rng.normal(size=s).astype(d) for s, d in zip(shapes, dtypes, strict=True)]


def compare(seed, fuse, derive, device="cpu"):
    """Hold a drawn program, compiled on a device, to ordinary calls on the CPU."""
    rng = np.random.default_rng(seed)
    full = tuple(rng.choice([1, 2, 3, 5, 16, 17, 33], int(rng.integers(1, 4))).tolist())
    candidates = [full, full, (*full[:-1], 1), full[-1:], (), full[:-1] or (1,)]
    if len(full) == 3:  # a number for each channel
        candidates += [(1, full[1], 1), (full[1], 1)] * 2
    shapes = [candidates[i] for i in rng.integers(0, len(candidates), 3)]
    shapes[0] = full
    dtypes = [np.float32 if rng.random() < 0.75 else np.float64 for _ in shapes]
    states = [full, full[-1:]]
    program = draw_program(rng, shapes, states)
    results = []
    ways = ((lambda f: f, "cpu"), (lambda f: compile(f, fuse=fuse), device))
    for wrap, place in ways:
        draws = np.random.default_rng(seed)
        kept = draw_arrays(draws, states, [np.float32, np.float32])
        kept = [Buffer(to_device(a, place)) for a in kept]

        def body(*arguments, kept=kept):
            # NumPy's functions of arrays are NumPy's own; those of Tensors are what is compiled.
            tensors = [a if isinstance(a, Tensor) else Tensor(a) for a in arguments]
            return run_program(program, tensors, kept)

        def derived(*arguments, kept=kept):
            def loss(*arguments):
                return sum(np.sum(y * y) for y in run_program(program, arguments, kept)) * 0.01

            return value_and_grad(loss, (0, 1, 2))(*arguments)

        step = wrap(derived if derive else body)
        history = []
        for _ in range(4):
            drawn = draw_arrays(draws, shapes, dtypes)
            found = step(*[to_device(a, place) if place != "cpu" else a for a in drawn])
            history.append([Tensor(y).numpy().copy() for y in leaves(found)])
            history.append([s.numpy().copy() for s in kept])
        results.append(history)
    for turn, (found, expected) in enumerate(zip(results[1], results[0], strict=True)):
        for i, (f, e) in enumerate(zip(found, expected, strict=True)):
            where = f"seed {seed}, call {turn // 2}, value {i}"
            assert (f.dtype, f.shape) == (e.dtype, e.shape), where
            if not fuse:
                assert f.tobytes() == e.tobytes(), where
                continue
            size = max(1.0, float(np.max(np.abs(e), initial=0)))
            # float32 anywhere in a program leaves its rounding in all that follows
            np.testing.assert_allclose(f, e, rtol=0, atol=3e-5 * size, err_msg=where)


@pytest.fixture(params=["calls", "kernels", "pieces", "blocks"])
def fuse(request, monkeypatch):
    """Whether operations are fused, after a choice of how."""
    if request.param == "blocks":  # of few entries, so that there are many
        monkeypatch.setattr(machine, "is_available", lambda: False)
        monkeypatch.setattr(compiled, "LEAST_ENTRIES", 1)
        monkeypatch.setattr(blocks, "BLOCK", 64)
    if request.param == "pieces":  # of few rows, on two threads
        monkeypatch.setattr(kernel_calls, "PIECE", 8)
        set_num_threads(2)
    yield request.param != "calls"
    set_num_threads(1)


@pytest.mark.parametrize("derive", [False, True])
def test_drawn_programs_give_what_ordinary_calls_give(fuse, derive):
    for seed in range(12):
        compare(seed, fuse, derive)


@pytest.mark.extra
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("derive", [False, True])
def test_many_drawn_programs_give_what_ordinary_calls_give(fuse, derive, part):
    for seed in range(1000 + 100 * part, 1100 + 100 * part):
        compare(seed, fuse, derive)
