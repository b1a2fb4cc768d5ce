"""Functions of other libraries as pairs of a function and its gradient, to second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapegrad.autograd.check import Case, Pair, Subject, check
from tapegrad.autograd.check.cases import draw_arrays

__all__ = ["check_pair"]


def check_pair(
    name: str, inputs: Sequence[Any], make: Callable[[list[Any]], Pair], profile: str, *,
    kinks: bool = False,
) -> Any:  # fmt: skip
    """Hold the laws of functions against the pairs that `make` makes of drawn arguments."""

    def draw(d: Any) -> Pair:
        return make([draw_arrays(spec, d) for spec in inputs])

    case = Case(draw, "function", kinks=kinks)
    return check([Subject(name, "function", make, case, path=False)], profile)
