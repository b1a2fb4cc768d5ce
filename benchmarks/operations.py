"""What recording costs: microseconds per operation, against raw NumPy and PyTorch.

    python benchmarks/operations.py [--length 600] [--rounds 60]

A chain of additions, multiplications and tanh on 10 float32 numbers, where the arithmetic itself is
nearly free.  "untracked": the second operands are constants; "tracked": they are learned too.
Targets, forward and reverse together: at most 0.5 of PyTorch eager untracked, 0.6 tracked.
"""

from __future__ import annotations

import argparse

import _timing

_timing.one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

from tapegrad.autograd import Parameter, Tensor, no_grad, ops, replay  # noqa: E402  # as above

RNG = np.random.default_rng(0)
START = RNG.normal(size=10).astype(np.float32)
SHIFT = (0.1 * RNG.normal(size=10)).astype(np.float32)
FACTOR = np.full(10, 0.9, np.float32)


def chain(x, shift, factor, tanh, steps):
    """tanh((x + shift) · factor), again and again; three operations a step."""
    for _ in range(steps):
        x = tanh((x + shift) * factor)
    return x


def competitors(steps: int, torch) -> dict[str, dict[str, object]]:
    """The same chain for everybody, by section of the table."""
    p = Parameter(START)
    shift, factor, ones = Tensor(SHIFT), Tensor(FACTOR), np.ones(10, np.float32)
    learned_shift, learned_factor = Parameter(SHIFT), Parameter(FACTOR)

    def without_recording():
        with no_grad():
            chain(p, shift, factor, ops.tanh, steps)

    replayed = replay(lambda x: chain(x, shift, factor, ops.tanh, steps))
    constant = Tensor(START)
    for _ in range(3):
        replayed(constant)

    table: dict[str, dict[str, object]] = {
        "untracked, forward and reverse": {
            "tapegrad": lambda: chain(p, shift, factor, ops.tanh, steps).backward(ones)
        },
        "tracked, forward and reverse": {
            "tapegrad": lambda: chain(p, learned_shift, learned_factor, ops.tanh, steps).backward(
                ones
            )
        },
        "untracked, forward only": {
            "raw NumPy": lambda: chain(START, SHIFT, FACTOR, np.tanh, steps),
            "tapegrad": lambda: chain(p, shift, factor, ops.tanh, steps),
            "tapegrad, no_grad": without_recording,
            "tapegrad, replayed": lambda: replayed(constant),
        },
    }
    if torch is not None:
        q = torch.tensor(START.copy(), requires_grad=True)
        a, b, seed = torch.tensor(SHIFT), torch.tensor(FACTOR), torch.ones(10)
        c = torch.tensor(SHIFT, requires_grad=True)
        d = torch.tensor(FACTOR, requires_grad=True)
        table["untracked, forward and reverse"]["PyTorch eager"] = lambda: chain(
            q, a, b, torch.tanh, steps
        ).backward(seed)
        table["tracked, forward and reverse"]["PyTorch eager"] = lambda: chain(
            q, c, d, torch.tanh, steps
        ).backward(seed)
        table["untracked, forward only"]["PyTorch eager"] = lambda: chain(
            q, a, b, torch.tanh, steps
        )
    return table


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=600, help="operations in the chain")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each competitor")
    options = parser.parse_args()
    torch = _timing.torch_or_none()
    steps = options.length // 3
    print(_timing.machine(threads=1) + (f", PyTorch {torch.__version__}" if torch else ""))
    for section, runs in competitors(steps, torch).items():
        times = _timing.smallest_times(runs, rounds=options.rounds)
        print(f"\n{section}")
        for name, seconds in times.items():
            line = f"  {name:<20} {seconds / (3 * steps) * 1e6:6.2f} µs per operation"
            if "PyTorch eager" in times and name != "PyTorch eager":
                line += f"   {seconds / times['PyTorch eager']:.2f} × PyTorch eager"
            print(line)
    if torch is None:
        print("\nPyTorch is not installed: no ratios.")


if __name__ == "__main__":
    main()
