"""Runs that are too long for CI: `python -m tests.nightly NAME`, in a clone.

    python -m tests.nightly                                   # the names, with their budgets
    python -m tests.nightly deep_laws --help                  # what the options of one mean
    python -m tests.nightly deep_laws                         # one of them
    python -m tests.nightly deep_laws --only=conv --minutes=5

A run is a function in a file of this folder, declared by `@nightly(minutes=…)`; it is found by
itself. Its name is the function's, its description the docstring's first line, its options are the
function's keyword arguments. It prints what it finds and returns how many failures there were.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["RUNS", "Nightly", "nightly"]


@dataclass(frozen=True)
class Nightly:
    """A declared run and how many minutes it may take on two processors."""

    function: Callable[..., int]
    minutes: float

    @property
    def sentence(self) -> str:
        """What it does."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, Any]:
        """Names of the options with their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters}


RUNS: dict[str, Nightly] = {}


def nightly(*, minutes: float) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Declare a run; it should end within so many minutes on two processors.

    Every argument of the function needs a default and a name: they are the options.
    """

    def declare(function: Callable[..., int]) -> Callable[..., int]:
        name = function.__name__
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
                raise TypeError(f"{name}: {parameter.name} must be keyword-only, with a default")
        if name in RUNS:
            raise ValueError(f"two nightly runs are called {name}: rename one")
        RUNS[name] = Nightly(function, minutes)
        return function

    return declare
