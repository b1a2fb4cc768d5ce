"""What a checkpoint saves and costs: peak bytes and time of a network's value and gradients.

    python benchmarks/checkpoint.py [--layers 200] [--width 64] [--batch 1024] [--segments N]

Linear and Tanh, in float32, as in the test that holds the peak to a quarter. Parameters and their
gathered gradients are there before and not counted; what the sweep holds of them is.
Target: a peak of at most 0.25 of the plain network's.
"""

from __future__ import annotations

import argparse
import tracemalloc

import _timing

_timing.one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

from tapegrad import nn  # noqa: E402  # as above
from tapegrad.autograd import Tensor, checkpoint_sequential  # noqa: E402  # as above

TARGET = 0.25


def peak(run) -> int:
    """The most bytes that were allocated at a time during a run."""
    run()
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def main() -> None:
    """Print both peaks, both times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=200)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--segments", type=int, help="about the root of the layers when omitted")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    width = options.width
    layers = [nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(options.layers)]
    x = Tensor(np.random.default_rng(0).normal(size=(options.batch, width)).astype(np.float32))

    def chain(x):
        for layer in layers:
            x = layer(x)
        return x

    def step(run):
        for layer in layers:
            layer.zeroGradParameters()
        np.mean(run(x) ** 2).backward()

    competitors = {
        "plain": lambda: step(chain),
        "checkpointed": lambda: step(lambda x: checkpoint_sequential(layers, x, options.segments)),
    }
    peaks = {name: peak(run) for name, run in competitors.items()}
    times = _timing.smallest_times(competitors, rounds=options.rounds)
    print(_timing.machine(1))
    print(f"{options.layers} layers of width {width}, batch {options.batch}\n")
    for name in competitors:
        print(
            f"  {name:14} {peaks[name] / 2**20:8.1f} MiB {times[name] * 1e3:8.1f} ms   "
            f"peak {peaks[name] / peaks['plain']:.3f}, time {times[name] / times['plain']:.2f}"
        )
    print(f"\ntarget: a peak of at most {TARGET}")


if __name__ == "__main__":
    main()
