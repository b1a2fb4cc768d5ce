"""What recording costs: microseconds per operation and per call, against raw NumPy and PyTorch.

    python benchmarks/operations.py [--length 600] [--rounds 60]

A chain of additions, multiplications and tanh on 10 float32 numbers, where the arithmetic itself is
nearly free.  "untracked": the second operands are constants; "tracked": they are learned too.
Targets, forward and reverse together: at most 0.5 of PyTorch eager untracked, 0.6 tracked.

A small model, Linear(10, 10), Tanh, Linear(10, 10) on a batch of 4, is what calls of modules and
steps of optimizers cost.
"""

from __future__ import annotations

import argparse

import _timing

_timing.one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

from tapegrad import nn, optim  # noqa: E402  # as above
from tapegrad.autograd import Parameter, Tensor, no_grad, ops, replay  # noqa: E402  # as above

RNG = np.random.default_rng(0)
START = RNG.normal(size=10).astype(np.float32)
SHIFT = (0.1 * RNG.normal(size=10)).astype(np.float32)
FACTOR = np.full(10, 0.9, np.float32)
CALLS = 50  # of a small model in one run


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


def repeat(run, times: int):
    """A function that runs another so many times, since one call is too short to be timed."""

    def repeated():
        for _ in range(times):
            run()

    return repeated


def print_section(title: str, runs: dict, rounds: int, *, count: int, unit: str) -> None:
    """Time the competitors of a section, and print a line for each; one run is `count` units."""
    times = _timing.smallest_times(runs, rounds=rounds)
    print(f"\n{title}")
    for name, seconds in times.items():
        line = f"  {name:<20} {seconds / count * 1e6:6.2f} µs per {unit}"
        if "PyTorch eager" in times and name != "PyTorch eager":
            line += f"   {seconds / times['PyTorch eager']:.2f} × PyTorch eager"
        print(line)


def small_models(torch) -> dict[str, dict[str, object]]:
    """Calls of a small model for everybody, by section of the table."""
    model = nn.Sequential(nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, 10))
    optimizer = optim.SGD(model, lr=1e-6)
    criterion = nn.MSECriterion()
    x = Tensor(RNG.normal(size=(4, 10)).astype(np.float32))
    target = Tensor(RNG.normal(size=(4, 10)).astype(np.float32))
    ones = Tensor(np.ones((4, 10), np.float32))

    def forward_and_backward():
        model.forward(x)
        model.backward(x, ones)

    forward_and_backward()
    table: dict[str, dict[str, object]] = {
        "a small model, model(x)": {"tapegrad": lambda: model(x)},
        "a small model, forward and backward": {"tapegrad": forward_and_backward},
        "a small model, loss and its gradients": {
            "tapegrad": lambda: criterion(model(x), target).backward()
        },
        "a small model, step of SGD": {"tapegrad": optimizer.step},
    }
    if torch is not None:
        layers = torch.nn.Linear(10, 10), torch.nn.Tanh(), torch.nn.Linear(10, 10)
        other = torch.nn.Sequential(*layers)
        sgd = torch.optim.SGD(other.parameters(), lr=1e-6)
        a, b, seed = (torch.tensor(t.numpy()) for t in (x, target, ones))
        other(a).backward(seed)
        for run, section in zip(
            (
                lambda: other(a),
                lambda: other(a).backward(seed),
                lambda: torch.nn.functional.mse_loss(other(a), b).backward(),
                sgd.step,
            ),
            table.values(),
            strict=True,
        ):
            section["PyTorch eager"] = run
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
        print_section(section, runs, options.rounds, count=3 * steps, unit="operation")
    for section, runs in small_models(torch).items():
        repeated = {name: repeat(run, CALLS) for name, run in runs.items()}
        print_section(section, repeated, options.rounds, count=CALLS, unit="call")
    if torch is None:
        print("\nPyTorch is not installed: no ratios.")


if __name__ == "__main__":
    main()
