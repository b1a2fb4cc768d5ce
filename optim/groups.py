"""Parameters that share their options: which ones belong together, and what a group knows."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.tensor import untracked

if TYPE_CHECKING:
    from tapegrad.optim.rule import Rule
    from tapegrad.optim.runs import Run

__all__ = ["Group", "matching", "named_parameters"]


class Group:
    """Options of some parameters."""

    def __init__(self, named: dict[str, Parameter], options: dict[str, Any], rule: Rule) -> None:
        self.named = named
        self.options = options
        self.runs: list[Run] = []
        rate = options.get("lr")
        self.rate: Any = None  # of rules that read it in each step; the others take a number once
        if "learningRate" in rule.options and not callable(rate):
            self.rate = rate if isinstance(rate, Tensor) else untracked(np.array(float(rate)))


def named_parameters(parameters: Any) -> dict[str, Parameter]:
    """The Parameters of a module, a dict or a list, by name.

    Raises TypeError for what is no Parameter.
    """
    if hasattr(parameters, "named_parameters"):
        return dict(parameters.named_parameters())
    items = parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters)
    named = {str(name): p for name, p in items}
    for name, p in named.items():
        if not isinstance(p, Parameter):
            raise TypeError(f"parameter {name} is {type(p).__name__}, not a Parameter")
    return named


def matching(given: Any, named: dict[str, Parameter]) -> dict[str, Parameter]:
    """Those of `named` that a pattern, module, Parameter or list of these means."""
    if isinstance(given, str):
        return {n: p for n, p in named.items() if fnmatch.fnmatchcase(n, given)}
    if isinstance(given, Parameter):
        return {n: p for n, p in named.items() if p is given}
    if hasattr(given, "named_parameters"):
        wanted = {id(p) for _, p in given.named_parameters()}
        return {n: p for n, p in named.items() if id(p) in wanted}
    if isinstance(given, Iterable):
        found: dict[str, Parameter] = {}
        for part in given:
            found.update(matching(part, named))
        return {n: p for n, p in named.items() if n in found}
    raise TypeError(f"a group's 'params' are {type(given).__name__}: give a name or a module")
