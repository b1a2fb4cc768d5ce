"""Models of int8 weights against the models that they were made of: time of a call in evaluation.

One thread, in turns; `python benchmarks/quantization.py [--rounds N]`.  docs/quantization.md has
the figures.  Without the `fast` extra the compiled product is left out.
"""

from __future__ import annotations

import argparse

from _timing import machine, one_thread, smallest_times

one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set


def main() -> None:
    """Print a table of times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    from tapegrad import Tensor, _demo, nn, no_grad

    print(machine(1))
    draw = np.random.default_rng(0)

    def compare(name: str, model: nn.Module, shape: tuple[int, ...]) -> None:
        x = Tensor(draw.standard_normal(shape, dtype=np.float32))
        quantized = nn.quantize(model.evaluate())
        with no_grad():
            times = smallest_times(
                {"float32": lambda: model(x), "int8": lambda: quantized(x)},
                rounds=arguments.rounds,
            )
        ratio = times["int8"] / times["float32"]
        milliseconds = "  ".join(f"{k} {1000 * v:9.3f} ms" for k, v in times.items())
        print(f"{name:<34}{milliseconds}   {ratio:5.2f} x")

    for size in (512, 1024, 2048, 4096):
        for rows in (1, 4, 64):
            compare(f"Linear({size}, {size}), {rows} rows", nn.Linear(size, size), (rows, size))
    for batch in (1, 64, 360):
        compare(f"LeNet, {batch} digits", _demo.LeNet(), (batch, 1, 8, 8))


if __name__ == "__main__":
    main()
