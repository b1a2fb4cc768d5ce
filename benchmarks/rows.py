"""Loops over the rows of a matrix that read `x[i]`, write `y[i] = …` or add `v += x[i]`: linear?

Forward and backward pass of 100, 1,000 and 10,000 rows of 100 columns, beside PyTorch where it is
installed, one thread, in turns.  The last column is the time for a row over that of the run with a
tenth of the rows: 1 is linear, 10 would be quadratic.
`python benchmarks/rows.py [--rounds N] [--columns N]`
"""

from __future__ import annotations

import argparse

from _timing import machine, one_thread, smallest_times, torch_or_none

one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

TORCH = torch_or_none()


def loops(rows: int, columns: int) -> dict[str, dict[str, object]]:
    """What is timed: name -> library -> a function that runs forward and backward."""
    from tapegrad import Parameter, Tensor

    data = np.random.default_rng(0).standard_normal((rows, columns))
    x = Parameter(data)
    zeros = np.zeros((rows, columns))

    def backward(total: Tensor) -> None:
        x.grad = None
        total.backward()

    def read() -> None:
        backward(sum((np.sin(row).sum() for row in x), Tensor(0.0)))

    def write() -> None:
        y = Tensor(zeros)
        for i in range(rows):
            y[i] = x[i] * 2.0
        backward(y.sum())

    def add() -> None:
        total = Tensor(zeros[0])
        for i in range(rows):
            total += x[i]
        backward(total.sum())

    found: dict[str, dict[str, object]] = {
        "read x[i]": {"tapegrad": read},
        "write y[i] = x[i]": {"tapegrad": write},
        "add v += x[i]": {"tapegrad": add},
    }
    if TORCH is None:
        return found
    t = TORCH.tensor(data, requires_grad=True)

    def torch_backward(total) -> None:
        t.grad = None
        total.backward()

    def torch_read() -> None:
        torch_backward(sum(TORCH.sin(row).sum() for row in t))

    def torch_write() -> None:
        y = TORCH.zeros(rows, columns, dtype=TORCH.float64)
        for i in range(rows):
            y[i] = t[i] * 2.0
        torch_backward(y.sum())

    def torch_add() -> None:
        total = TORCH.zeros(columns, dtype=TORCH.float64)
        for i in range(rows):
            total += t[i]
        torch_backward(total.sum())

    for name, run in zip(found, (torch_read, torch_write, torch_add), strict=True):
        found[name]["PyTorch"] = run
    return found


def main() -> None:
    """Print a table of times, of ratios to PyTorch, and of growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--columns", type=int, default=100)
    arguments = parser.parse_args()
    print(machine(1))
    before: dict[str, float] = {}
    for rows in (100, 1_000, 10_000):
        for name, competitors in loops(rows, arguments.columns).items():
            times = smallest_times(competitors, rounds=arguments.rounds)
            each = times["tapegrad"] / rows
            against = f"{times['tapegrad'] / times['PyTorch']:5.2f} x" if "PyTorch" in times else ""
            grown = f"{each / before[name]:5.2f}" if name in before else ""
            shown = "  ".join(f"{who} {1000 * t:9.2f} ms" for who, t in times.items())
            print(f"{rows:>7,} rows  {name:<20}{shown}   {against}   {grown}", flush=True)
            before[name] = each


if __name__ == "__main__":
    main()
