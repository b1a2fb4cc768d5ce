"""The table of `docs/array_api.md`: the functions of the standard, and which have derivatives.

python -m tapegrad.autograd.surface.array_api.page
"""

from __future__ import annotations

import sys
from types import ModuleType

from tapegrad.autograd.surface.array_api import (
    creation,
    data_types,
    elementwise,
    fft,
    linalg,
    manipulation,
    products,
    searching,
    statistics,
)

__all__ = ["DIFFERENTIABLE", "table"]

GROUPS: dict[str, tuple[str, ModuleType]] = {
    "Making arrays": ("", creation),
    "Types": ("", data_types),
    "Elementwise": ("", elementwise),
    "Moving entries": ("", manipulation),
    "Searching, sorting, sets": ("", searching),
    "Sums and statistics": ("", statistics),
    "Products": ("", products),
    "linalg": ("linalg.", linalg),
    "fft": ("fft.", fft),
}

# Functions whose results have no derivative, or 0: indices, counts, truths, types, constants.
_WITHOUT = """
    arange empty empty_like eye from_dlpack ones ones_like zeros zeros_like can_cast finfo iinfo
    isdtype result_type bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift
    bitwise_xor ceil equal floor floor_divide greater greater_equal isfinite isinf isnan less
    less_equal logical_and logical_not logical_or logical_xor not_equal round sign signbit trunc
    all any count_nonzero argmax argmin argsort isin nonzero searchsorted broadcast_shapes
    linalg.matrix_rank fft.fftfreq fft.rfftfreq
"""


def _functions() -> dict[str, list[str]]:
    """The names of the functions, by group."""
    return {
        title: [prefix + n for n in module.__all__ if callable(getattr(module, n))]
        for title, (prefix, module) in GROUPS.items()
    }


DIFFERENTIABLE = {name for names in _functions().values() for name in names} - set(_WITHOUT.split())


def table() -> str:
    """The table as Markdown: a row for every function."""
    lines = ["| function | derivative | |", "|---|---|---|"]
    for title, names in _functions().items():
        prefix, module = GROUPS[title]
        lines.append(f"| **{title}** | | |")
        for name in names:
            text = getattr(module, name.removeprefix(prefix)).__doc__ or ""
            first = text.strip().split("\n\n")[0].replace("\n", " ").split(".  ")[0]
            words = " ".join(first.split()).replace("|", "\\|")
            derivative = "yes" if name in DIFFERENTIABLE else "none"
            lines.append(f"| `{name}` | {derivative} | {words} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
