"""Whole training steps against PyTorch eager: forward, reverse and update, one thread.

    python benchmarks/training.py [--rounds 30]

The same networks, weights apart, in float32 on both sides; the optimizer is plain SGD on
tapegrad's flat vector and `torch.optim.SGD` on PyTorch's side.  "peak" is what one step allocates.
"""

from __future__ import annotations

import argparse
import tracemalloc
from functools import partial

import _timing

_timing.one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

from tapegrad import nn, optim  # noqa: E402  # as above
from tapegrad.autograd import replay  # noqa: E402  # as above

RNG = np.random.default_rng(0)


def small_mlp():
    """64 × 20 -> 32 -> 10: where overhead counts."""
    model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 10))
    return model, RNG.normal(size=(64, 20)).astype(np.float32)


def large_mlp():
    """256 × 784 -> 1024 -> 1024 -> 10: where matrix products count."""
    model = nn.Sequential(
        nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    )
    return model, RNG.normal(size=(256, 784)).astype(np.float32)


def lenet():
    """64 × 1 × 28 × 28 through two convolutions with pooling."""
    model = nn.Sequential(
        nn.SpatialConvolution(1, 6, 5, 5, 1, 1, 2, 2),
        nn.Tanh(),
        nn.SpatialMaxPooling(2, 2),
        nn.SpatialConvolution(6, 16, 5, 5),
        nn.Tanh(),
        nn.SpatialMaxPooling(2, 2),
        nn.View(400),
        nn.Linear(400, 120),
        nn.Tanh(),
        nn.Linear(120, 10),
    )
    return model, RNG.normal(size=(64, 1, 28, 28)).astype(np.float32)


def convolution_blocks():
    """16 × 3 × 32 × 32 through two blocks of convolution, batch normalization and ReLU."""
    model = nn.Sequential(
        nn.SpatialConvolution(3, 32, 3, 3, 1, 1, 1, 1),
        nn.SpatialBatchNormalization(32),
        nn.ReLU(),
        nn.SpatialMaxPooling(2, 2),
        nn.SpatialConvolution(32, 64, 3, 3, 1, 1, 1, 1),
        nn.SpatialBatchNormalization(64),
        nn.ReLU(),
        nn.SpatialMaxPooling(2, 2),
        nn.View(64 * 8 * 8),
        nn.Linear(64 * 8 * 8, 10),
    )
    return model, RNG.normal(size=(16, 3, 32, 32)).astype(np.float32)


def our_step(model, x, labels):
    """A training step as a function without arguments, ready to be timed."""
    criterion = nn.CrossEntropyCriterion()
    flat, gradient = model.getParameters()
    state: dict[str, object] = {}

    def step(x, t):
        def feval(_):
            model.zeroGradParameters()
            loss = criterion.forward(model.forward(x), t)
            model.backward(x, criterion.backward(model.output, t))
            return loss, gradient

        return optim.sgd(feval, flat, {"learningRate": 1e-3}, state)[1][0]

    return lambda: step(x, labels), step


def their_step(torch, model, x, labels):
    """The same step for PyTorch, its layers made from ours."""
    made = {
        nn.Linear: lambda m: torch.nn.Linear(m.weight.shape[1], m.weight.shape[0]),
        nn.SpatialConvolution: lambda m: torch.nn.Conv2d(
            m.nInputPlane, m.nOutputPlane, (m.kH, m.kW), (m.dH, m.dW), (m.padH, m.padW)
        ),
        nn.SpatialBatchNormalization: lambda m: torch.nn.BatchNorm2d(m.running_mean.size),
        nn.SpatialMaxPooling: lambda m: torch.nn.MaxPool2d((m.kH, m.kW), (m.dH, m.dW)),
        nn.Tanh: lambda _: torch.nn.Tanh(),
        nn.ReLU: lambda _: torch.nn.ReLU(),
        nn.View: lambda _: torch.nn.Flatten(),
    }
    theirs = torch.nn.Sequential(*[made[type(m)](m) for m in model.modules])
    optimizer = torch.optim.SGD(theirs.parameters(), lr=1e-3)
    x, labels = torch.tensor(x), torch.tensor(labels)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(x), labels).backward()
        optimizer.step()

    return step


def peak_bytes(run) -> int:
    """The most that Python and NumPy hold at once during a run, beyond what they held before."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="turns of each competitor")
    options = parser.parse_args()
    torch = _timing.torch_or_none()
    print(_timing.machine(threads=1) + (f", PyTorch {torch.__version__}" if torch else ""))
    for make in (small_mlp, large_mlp, lenet, convolution_blocks):
        model, x = make()
        labels = RNG.integers(0, 10, len(x))
        eager, step = our_step(model, x, labels)
        replayed = replay(step)
        for _ in range(3):
            replayed(x, labels)
        runs = {"tapegrad": eager, "tapegrad, replayed": partial(replayed, x, labels)}
        if torch is not None:
            runs["PyTorch eager"] = their_step(torch, model, x, labels)
        times = _timing.smallest_times(runs, rounds=options.rounds)
        print(f"\n{make.__name__}: {make.__doc__}")
        for name, seconds in times.items():
            line = f"  {name:<20} {seconds * 1e3:8.3f} ms per step"
            if torch is not None and name != "PyTorch eager":
                line += f"   {seconds / times['PyTorch eager']:.2f} × PyTorch eager"
            print(line)
        print(f"  peak {peak_bytes(eager) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
