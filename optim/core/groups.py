"""Parameters that share their options: which ones belong together, and what their options are.

A group's options are checked when they change and not in each step: each value when it is set, and
what must hold of several of them together at the next step, so that they can be set one by one.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad.autograd import Parameter, Tensor, ops
from tapegrad.autograd.core.tensor import untracked

if TYPE_CHECKING:
    from tapegrad.optim.core.rule import Rule
    from tapegrad.optim.core.runs import Run

__all__ = ["Group", "GroupOptions", "matching", "named_parameters"]

Check = Callable[[Mapping[str, Any]], object]


class GroupOptions(dict[str, Any]):
    """Options by name; where `check` raises for one of those to be set, none of them is set.

    live:    whether the rule reads the learning rate in each step; another takes a number once
    rate:    the option "lr" as a 0-d Tensor, None for a schedule and where it is taken once; a
             number that is set as "lr" is written there, since steps that were recorded read it
    changed: True after an option was set or removed, until the optimizer has read the options; not
             after a write into `rate`, which the optimizer holds
    """

    def __init__(
        self, options: Mapping[str, Any], check: Check, *, live: bool, rate: Tensor | None = None
    ) -> None:
        super().__init__(options)
        self.check = check
        self.live = live
        self.rate = rate
        self.changed = True
        if rate is None and "lr" in self:
            self._set_rate(self["lr"])

    def __reduce__(self) -> tuple[Any, ...]:
        made = functools.partial(type(self), live=self.live, rate=self.rate)
        return made, (dict(self), self.check)

    def update(self, *options: Any, **more: Any) -> None:
        """Set several options."""
        given = dict(*options, **more)
        self.check(given)
        rate = self.rate
        if "lr" in given:
            self._set_rate(given["lr"])
        if rate is None or self.rate is not rate or given.keys() != {"lr"}:
            self.changed = True
        super().update(given)

    def _set_rate(self, value: Any) -> None:
        if not self.live or callable(value):
            self.rate = None
        elif isinstance(value, Tensor):
            self.rate = value
        elif self.rate is None:
            self.rate = untracked(np.array(float(value)))
        else:
            ops.assign(self.rate, float(value))

    def __setitem__(self, option: str, value: Any) -> None:
        self.update({option: value})

    def __ior__(self, options: Any) -> Self:  # type: ignore[override,misc]  # as update
        self.update(options)
        return self

    def setdefault(self, option: str, default: Any = None) -> Any:
        """The option's value, which becomes `default` if there is none."""
        if option not in self:
            self[option] = default
        return self[option]

    # An option that is removed has the rule's default from then on.

    def __delitem__(self, option: str) -> None:
        super().__delitem__(option)
        self.changed = True

    def pop(self, *arguments: Any) -> Any:
        """Remove an option and return its value."""
        self.changed = True
        return super().pop(*arguments)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last option and return it with its value."""
        self.changed = True
        return super().popitem()

    def clear(self) -> None:
        """Remove all options."""
        self.changed = True
        super().clear()


class Group:
    """Some parameters by name, their options and their runs.

    options:  by the optimizer's names, checked already
    check:    raises for options that must not be set later

    It keeps `settings`, what the rule is called with, and `lists`: options such as betas in a list,
    whose entries change without an assignment here, each with the entries the settings are made of.
    """

    def __init__(
        self, named: dict[str, Parameter], options: Mapping[str, Any], rule: Rule, check: Check
    ) -> None:
        self.named = named
        self.settings: dict[str, Any] = {}
        self.lists: list[tuple[Any, tuple[Any, ...]]] = []
        self.runs: list[Run] = []
        self._options = GroupOptions(options, check, live="learningRate" in rule.options)

    @property
    def options(self) -> GroupOptions:
        """The options by the optimizer's names; values set here are checked."""
        return self._options

    @options.setter
    def options(self, options: Mapping[str, Any]) -> None:
        old = self._options
        made = GroupOptions({}, old.check, live=old.live, rate=old.rate)
        made.update(options)
        made.changed = True
        self._options = made

    def changed(self) -> bool:
        """Do the settings have to be made anew?"""
        if self._options.changed:
            return True
        return bool(self.lists) and any(tuple(now) != before for now, before in self.lists)

    @property
    def rate(self) -> Tensor | None:
        """The learning rate as a 0-d Tensor, where it is neither a schedule nor taken only once."""
        return self._options.rate


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
