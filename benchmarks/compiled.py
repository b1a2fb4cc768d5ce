"""Four steps by ordinary calls, replayed and compiled, against PyTorch eager; one thread.

    python benchmarks/compiled.py [--rounds 200]

- chain: 1,000 times + a, · b, tanh on 10 numbers, with the gradient: what one operation costs
- mlp:   64-128-10, ReLU, cross entropy, batch 32, SGD with momentum: a small training step
- hvp:   the product of a Hessian with a vector, of a logistic regression 5000 × 100
- norm:  gelu(layer normalization) of 4096 × 1024 with the gradients of input, scale and shift

The competitors take turns; the least time of each counts.  "first" is the time of the two calls
that record and compile; "memory" is what a compiled step holds for intermediate values.
"""

from __future__ import annotations

import argparse
import time

import _timing

_timing.one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

import tapegrad as tg  # noqa: E402  # as above
from tapegrad import nn, optim  # noqa: E402  # as above

FLOAT = np.float32


def floats(*shape):
    """The same numbers in each call."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(FLOAT)


# tapegrad: functions of `wrap`, which does nothing, or is `replay` or `compile` ------------------


def chain(wrap):
    """1,000 operations on 10 numbers."""
    x, a, b = floats(10) * FLOAT(1e-3), floats(10) * FLOAT(1e-6), np.full(10, 1.0001, FLOAT)

    def run(x):
        for k in range(1000):
            x = x + a if k % 3 == 0 else x * b if k % 3 == 1 else np.tanh(x)
        return np.sum(x)

    step = wrap(tg.value_and_grad(run))
    return step, lambda: step(x)


def mlp(wrap):
    """A training step of a small network."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    criterion = nn.CrossEntropyCriterion()
    optimizer = optim.SGD(model, lr=0.01, momentum=0.9)
    x, labels = floats(32, 64), np.random.default_rng(1).integers(0, 10, 32)

    def body(x, labels):
        optimizer.zero_grad()
        loss = criterion(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = wrap(body)
    return step, lambda: step(x, labels)


def hvp(wrap):
    """A product with a Hessian."""
    x, w, v = floats(5000, 100), floats(100) * FLOAT(0.1), floats(100)
    y = np.where(floats(5000) < 0, FLOAT(-1), FLOAT(1))

    def loss(w):
        return np.mean(np.logaddexp(0, -y * (x @ w)))

    step = wrap(lambda w: tg.hvp(loss, (w,), (v,)))
    return step, lambda: step(w)


def norm(wrap):
    """Layer normalization and gelu, with their gradients."""
    x, target = floats(4096, 1024), floats(1024, 4096).T.copy()
    scale, shift = np.ones(1024, FLOAT), np.zeros(1024, FLOAT)

    def loss(x, scale, shift):
        c = x - np.mean(x, -1, keepdims=True)
        z = c * (1 / np.sqrt(np.mean(c * c, -1, keepdims=True) + 1e-5)) * scale + shift
        gelu = 0.5 * z * (1 + np.tanh(0.7978845608 * (z + 0.044715 * z * z * z)))
        return np.mean(gelu * target)

    step = wrap(tg.value_and_grad(loss, (0, 1, 2)))
    return step, lambda: step(x, scale, shift)


# The same in PyTorch ------------------------------------------------------------------------------


def torch_steps(torch):
    """The four steps, as a PyTorch user writes them."""
    t = torch.from_numpy

    def chain():
        x, a, b = floats(10) * FLOAT(1e-3), floats(10) * FLOAT(1e-6), np.full(10, 1.0001, FLOAT)
        x, a, b = t(x).requires_grad_(), t(a), t(b)

        def step():
            y = x
            for k in range(1000):
                y = y + a if k % 3 == 0 else y * b if k % 3 == 1 else torch.tanh(y)
            return torch.autograd.grad(y.sum(), x)

        return step

    def mlp():
        model = torch.nn.Sequential(
            torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
        )
        criterion = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        x, labels = t(floats(32, 64)), t(np.random.default_rng(1).integers(0, 10, 32))

        def step():
            optimizer.zero_grad()
            loss = criterion(model(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        return step

    def hvp():
        x, v = t(floats(5000, 100)), t(floats(100))
        w = t(floats(100) * FLOAT(0.1)).requires_grad_()
        y = t(np.where(floats(5000) < 0, FLOAT(-1), FLOAT(1)))

        def step():
            loss = torch.nn.functional.softplus(-y * (x @ w)).mean()
            (g,) = torch.autograd.grad(loss, w, create_graph=True)
            return torch.autograd.grad(g @ v, w)

        return step

    def norm():
        x, target = t(floats(4096, 1024)).requires_grad_(), t(floats(1024, 4096).T.copy())
        scale, shift = torch.ones(1024, requires_grad=True), torch.zeros(1024, requires_grad=True)

        def step():
            z = torch.nn.functional.layer_norm(x, (1024,), scale, shift)
            loss = (torch.nn.functional.gelu(z, approximate="tanh") * target).mean()
            return torch.autograd.grad(loss, (x, scale, shift))

        return step

    return {"chain": chain, "mlp": mlp, "hvp": hvp, "norm": norm}


def memory_of(step):
    """The bytes that a compiled step holds, from the second line of what it says."""
    return step.explain().splitlines()[1].split(" bytes")[0]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    torch = _timing.torch_or_none()
    others = {} if torch is None else torch_steps(torch)
    print(_timing.machine(1))
    print("least times in µs; in brackets as a multiple of PyTorch eager\n")
    names = ("PyTorch", "eager", "replay", "compiled")
    print(f"{'step':<7}", *(f"{name:>17}" for name in names), f"{'first, s':>9} {'memory':>11}")
    for make in (chain, mlp, hvp, norm):
        start = time.perf_counter()
        compiled, run = make(tg.compile)
        for _ in range(2):
            run()
        first = time.perf_counter() - start
        runs = {"eager": make(lambda f: f)[1], "replay": make(tg.replay)[1], "compiled": run}
        if torch is not None:
            runs["PyTorch"] = others[make.__name__]()
        for _ in range(3):  # past the recordings
            for each in runs.values():
                each()
        rounds = arguments.rounds if make is not norm else max(arguments.rounds // 10, 5)
        best = _timing.smallest_times(runs, rounds=rounds)
        base = best.get("PyTorch")
        cells = []
        for name in names:
            if name not in best:
                cells.append("-")
            elif base is None:
                cells.append(f"{best[name] * 1e6:,.0f}")
            else:
                cells.append(f"{best[name] * 1e6:,.0f} ({best[name] / base:.3f})")
        print(
            f"{make.__name__:<7}", *(f"{cell:>17}" for cell in cells),
            f"{first:>9.2f} {memory_of(compiled):>11}",
        )  # fmt: skip


if __name__ == "__main__":
    main()
