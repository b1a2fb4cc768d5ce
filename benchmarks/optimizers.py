"""Adam on 100 tensors with 10 million float32 parameters, against PyTorch's default Adam.

One thread each, in turns; `python benchmarks/optimizers.py [--rounds N]`.  What is timed is
`optimizer.step()` alone, gradients being there.  Without PyTorch absolute times are printed.
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

from _timing import machine, one_thread, smallest_times, torch_or_none

one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

TENSORS, SIZE = 100, 100_000


class Parameters:
    """What optimizers ask of a module, with TENSORS vectors."""

    def __init__(self) -> None:
        from tapegrad import nn

        self.module = nn.Module()
        self.module.vectors = [nn.Parameter(draw()) for _ in range(TENSORS)]
        self.module.getParameters()
        for p in self.module.vectors:
            p.grad.numpy()[...] = draw()


def draw() -> np.ndarray:
    """The values of one tensor."""
    return np.random.default_rng(0).standard_normal(SIZE, dtype=np.float32)


def main() -> None:
    """Print a table of times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    from tapegrad import optim
    from tapegrad.autograd import primitive

    print(machine(1))
    competitors = {}
    torch = torch_or_none()
    fast = optim.Adam(Parameters().module)
    plain = optim.Adam(Parameters().module)

    def without_numba() -> None:
        with patch.object(primitive_module, "_numba", [False]):
            plain.step()

    import importlib

    primitive_module = importlib.import_module(primitive.__module__)
    if primitive_module._numba_installed():
        competitors["tapegrad, fast extra"] = fast.step
    competitors["tapegrad, NumPy alone"] = without_numba
    if torch is not None:
        tensors = [torch.tensor(draw(), requires_grad=True) for _ in range(TENSORS)]
        for t in tensors:
            t.grad = torch.tensor(draw())
        competitors["PyTorch Adam"] = torch.optim.Adam(tensors).step
        fused = [t.detach().clone().requires_grad_() for t in tensors]
        for t in fused:
            t.grad = torch.tensor(draw())
        competitors["PyTorch Adam, fused"] = torch.optim.Adam(fused, fused=True).step
    times = smallest_times(competitors, rounds=arguments.rounds)
    reference = times.get("PyTorch Adam")
    for name, seconds in times.items():
        ratio = "" if reference is None else f"{seconds / reference:8.2f} x"
        print(f"{name:<24}{1000 * seconds:9.1f} ms{ratio}")


if __name__ == "__main__":
    main()
