"""Forward mode along Runge-Kutta steps: `jvp` against the function itself, and against a sweep.

    python benchmarks/tangents.py [--steps 2000] [--rounds 5]

The Lotka-Volterra equations with the state in one array of two numbers, taken apart and stacked in
each call, are mostly calls; a field of n coordinates, u' = tanh(a·u), is one array operation after
the other.  The derivative is by the coefficients.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from _timing import machine, one_thread, smallest_times

one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

from tapegrad import Tensor, jvp, no_grad, value_and_grad  # noqa: E402  # imports NumPy

SIZES = (100, 1000, 10_000, 100_000)


def runge_kutta(field: Callable[..., Any], u: Any, p: Any, steps: int, h: float = 0.01) -> Any:
    """The state after so many steps of the classical method of order 4."""
    for _ in range(steps):
        a = field(u, p)
        b = field(u + h / 2 * a, p)
        c = field(u + h / 2 * b, p)
        u = u + h / 6 * (a + 2 * b + 2 * c + field(u + h * c, p))
    return u


def predators(u: Any, p: Any) -> Any:
    """Lotka and Volterra's field."""
    x, y = u[0], u[1]
    return np.stack([p[0] * x - p[1] * x * y, p[2] * x * y - p[3] * y])


def coordinates(u: Any, p: Any) -> Any:
    """A field of coordinates that do not meet."""
    return np.tanh(u * p)


def measure(name: str, field: Any, u: Any, p: Any, steps: int, rounds: int) -> None:
    """Print a line of the table."""

    def run(p: Any) -> Any:
        return runge_kutta(field, u, p, steps)

    def on_tensors() -> None:
        with no_grad():
            run(Tensor(p))

    times = smallest_times(
        {
            "NumPy": lambda: run(p),
            "Tensors": on_tensors,
            "jvp": lambda: jvp(run, p, np.ones_like(p)),
            "gradient": lambda: value_and_grad(lambda p: run(p).sum())(p),
        },
        rounds=rounds,
    )
    shown = "  ".join(f"{what} {1e3 * t:8.1f} ms" for what, t in times.items())
    ratios = [f"{times['jvp'] / times[other]:.2f} × {other}" for other in ("NumPy", "Tensors")]
    print(f"{name:18} {steps:5} steps  {shown}  jvp is {', '.join(ratios)}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(machine(1))
    steps, rounds = arguments.steps, arguments.rounds
    coefficients = np.array([1.1, 0.4, 0.1, 0.4])
    measure("Lotka-Volterra", predators, np.array([10.0, 5.0]), coefficients, steps, rounds)
    for n in SIZES:
        count = max(20, min(steps, 1_000_000 // n))  # so that the gradient's tape fits in memory
        p = np.linspace(-1, 1, n)
        measure(f"{n} coordinates", coordinates, np.ones(n), p, count, rounds)


if __name__ == "__main__":
    main()
