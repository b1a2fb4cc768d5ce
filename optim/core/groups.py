"""Parameters that share their options: which ones belong together, and what their options are.

A group's options are checked when they change and not in each step: each value when it is set, and
what must hold of several of them together at the next step, so that they can be set one by one.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np

from tapegrad.autograd import Parameter, Tensor, ops
from tapegrad.optim.core.advice import PAIR_OF_LISTS

if TYPE_CHECKING:
    from tapegrad.devices import Device
    from tapegrad.optim.core.runs import MemoryRun

__all__ = [
    "Group",
    "GroupOptions",
    "HasParameters",
    "ParameterSource",
    "added_members",
    "members_of_group",
    "named_parameters_of",
    "select_parameters",
    "text_of_group",
]

NO_MATCH = "{place} has no parameters: {selector!r} matches none of {names}"
NOT_IN_MODULE = (
    "{place} has a Parameter that is not in the optimizer's {module}: put its layer there before, "
    "or make an optimizer of the dict {{**dict(a.named_parameters()), …}} of several modules"
)
LEARNS_ALREADY = "{place} has {names}, which the optimizer has already: set groups[i].options"
NAME_TAKEN = (
    "{place} has Parameters that are called {names} as others of the optimizer: make a new "
    "optimizer, or give a dict of Parameters by other names"
)

Check: TypeAlias = Callable[[Mapping[str, Any]], object]


@runtime_checkable
class HasParameters(Protocol):
    """A module, as far as optimizers know one."""

    def named_parameters(self) -> Iterable[tuple[str, Parameter]]:
        """Return each Parameter with its name."""
        ...


# What an optimizer updates: a module, or Parameters in a list or by name in a dict.
ParameterSource: TypeAlias = HasParameters | Mapping[str, Parameter] | Iterable[Parameter]


def _made_again(
    kind: type[GroupOptions],
    options: Mapping[str, Any],
    check: Check,
    reads_rate: bool,
    rate: Tensor | None,
    device: Device | None,
) -> GroupOptions:
    """The options of a group, from what `__reduce__` keeps of them."""
    return kind(options, check, reads_rate=reads_rate, rate=rate, device=device)


class GroupOptions(dict[str, Any]):
    """Options by name; where `check` raises for one of those to be set, none of them is set.

    reads_rate: whether the rule reads the learning rate in each step; other rules take a number
             once, when they create their state
    rate:    the option "lr" as a 0-d Tensor, None for a schedule and where it is taken once; a
             number that is set as "lr" is written there, since steps that were recorded read it
    device:  where the rate lies: with the parameters, so that a step moves nothing
    changed: True after an option was set or removed, until the optimizer has read the options; not
             after a write into `rate`, which the optimizer holds
    """

    # A recorded step depends on the attributes (autograd/replay), and not on the entries: a number
    # that is set as "lr" is read from `rate`, and `changed` tells of the others.
    _step_results: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        options: Mapping[str, Any],
        check: Check,
        *,
        reads_rate: bool,
        rate: Tensor | None = None,
        device: Device | None = None,
    ) -> None:
        super().__init__(options)
        self.check = check
        self.reads_rate = reads_rate
        self.rate = rate
        self.device = device
        self.changed = True
        if rate is None and "lr" in self:
            self._set_rate(self["lr"])

    def __reduce__(self) -> tuple[Any, ...]:
        # As arguments, which a deep copy copies: two optimizers do not share a rate.
        kept = self.check, self.reads_rate, self.rate, self.device
        return _made_again, (type(self), dict(self), *kept)

    def update(self, *options: Any, **more: Any) -> None:
        """Set several options."""
        new = dict(*options, **more)
        self.check(new)
        rate = self.rate
        if "lr" in new:
            self._set_rate(new["lr"])
        if rate is None or self.rate is not rate or new.keys() != {"lr"}:
            self.changed = True
        super().update(new)

    def _set_rate(self, value: Any) -> None:
        if not self.reads_rate or callable(value):
            self.rate = None
        elif isinstance(value, Tensor):
            self.rate = value
        elif self.rate is None:
            self.rate = Tensor(np.array(float(value)), device=self.device)
        else:
            ops.assign(self.rate, float(value))

    def __setitem__(self, option: str, value: Any) -> None:
        self.update({option: value})

    def __ior__(self, options: Any) -> Self:  # type: ignore[override,misc]  # as update
        self.update(options)
        return self

    def setdefault(self, option: str, default: Any = None) -> Any:
        """Return the option's value, which becomes `default` if there is none."""
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
    """Some parameters by name, their options and the runs of memory in which they lie.

    options:  by the optimizer's names, checked already
    check:    raises for options that must not be set later
    settings: the options that the rule is called with
    lists:    options such as betas whose value is a list, each with the entries of which the
              settings are made: the entries can change without an assignment to the group
    """

    _step_results: ClassVar[tuple[str, ...]] = ()  # a recorded step depends on all attributes

    def __init__(
        self,
        named: dict[str, Parameter],
        options: Mapping[str, Any],
        check: Check,
        *,
        reads_rate: bool,
    ) -> None:
        self.named = named
        self.settings: dict[str, Any] = {}
        self.lists: list[tuple[Any, tuple[Any, ...]]] = []
        self.runs: list[MemoryRun] = []
        first = next(iter(named.values()), None)
        device = None if first is None else first.device
        self._options = GroupOptions(options, check, reads_rate=reads_rate, device=device)

    @property
    def options(self) -> GroupOptions:
        """The options by the optimizer's names; values set here are checked."""
        return self._options

    @options.setter
    def options(self, options: Mapping[str, Any]) -> None:
        old = self._options
        new = GroupOptions(
            {}, old.check, reads_rate=old.reads_rate, rate=old.rate, device=old.device
        )
        new.update(options)
        if new.rate is old.rate is not None and _equal_but_rate(old, new):
            dict.update(old, new)  # recorded steps read the rate, and go on
            return
        new.changed = True
        self._options = new

    def has_changed(self) -> bool:
        """Tell whether the settings have to be made anew."""
        if self._options.changed:
            return True
        return bool(self.lists) and any(tuple(now) != before for now, before in self.lists)

    @property
    def rate(self) -> Tensor | None:
        """The learning rate as a 0-d Tensor, where it is neither a schedule nor taken only once."""
        return self._options.rate


def text_of_group(group: Group) -> str:
    """How many Parameters a group has, and its options: a line of the optimizer's text."""
    shown = ", ".join(f"{option}={value}" for option, value in group.options.items())
    frozen = sum(p.frozen for p in group.named.values())
    note = f", {frozen} of them frozen" if frozen else ""
    return f"{len(group.named)} parameters{note}: {shown}"


def _equal_but_rate(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    plain = (bool, int, float, tuple, type(None))
    return old.keys() == new.keys() and all(
        value is old[option] or (isinstance(value, plain) and value == old[option])
        for option, value in new.items()
        if option != "lr"
    )


def named_parameters_of(source: ParameterSource) -> dict[str, Parameter]:
    """Collect the Parameters of a module, a dict or a list, by name.

    Raises TypeError for what is no Parameter.
    """
    if isinstance(source, HasParameters):
        return dict(source.named_parameters())
    items = source.items() if isinstance(source, Mapping) else enumerate(source)
    named = {str(name): p for name, p in items}
    for name, p in named.items():
        if not isinstance(p, Parameter):
            if isinstance(p, list):
                raise TypeError(PAIR_OF_LISTS.format(name=name, found=type(p).__name__))
            raise TypeError(f"parameter {name} is {type(p).__name__}, not a Parameter")
    return named


def select_parameters(selector: Any, named: dict[str, Parameter]) -> dict[str, Parameter]:
    """Select those of `named` that a pattern, module, Parameter or list of these means.

    Raises TypeError for any other selector.
    """
    if isinstance(selector, str):
        return {n: p for n, p in named.items() if fnmatch.fnmatchcase(n, selector)}
    if isinstance(selector, Parameter):
        return {n: p for n, p in named.items() if p is selector}
    if isinstance(selector, HasParameters):
        wanted = {id(p) for _, p in selector.named_parameters()}
        return {n: p for n, p in named.items() if id(p) in wanted}
    if isinstance(selector, Iterable):
        selected: dict[str, Parameter] = {}
        for part in selector:
            selected.update(select_parameters(part, named))
        return {n: p for n, p in named.items() if n in selected}
    raise TypeError(f"a group's 'params' are {type(selector).__name__}: give a name or a module")


def members_of_group(
    selector: Any, candidates: dict[str, Parameter], place: str, known: Iterable[str]
) -> dict[str, Parameter]:
    """Select the Parameters of a group.  Raises ValueError, naming `known`, if there are none."""
    members = select_parameters(selector, candidates)
    if not members:
        raise ValueError(NO_MATCH.format(place=place, selector=selector, names=list(known)))
    return members


def added_members(optimizer: Any, selector: Any) -> dict[str, Parameter]:
    """Return by name the Parameters of a group that is added to an optimizer.

    Raises TypeError for what selects no Parameters, and ValueError for those that the optimizer has
    already, or that its module does not have.
    """
    place = f"{type(optimizer).__name__}.add_group: the new group"
    known = {id(p): name for name, p in optimizer.named.items()}
    if optimizer.module is not None:
        now = named_parameters_of(optimizer.module)
        members = members_of_group(selector, now, place, now)
        if {id(p) for p in _parameters_in(selector)} - {id(p) for p in now.values()}:
            kind = type(optimizer.module).__name__
            raise ValueError(NOT_IN_MODULE.format(place=place, module=kind))
    else:
        source = [selector] if isinstance(selector, Parameter) else selector
        members = named_parameters_of(source)
        if not isinstance(source, (HasParameters, Mapping)):
            start = len(optimizer.named)
            members = {str(start + i): p for i, p in enumerate(members.values())}
    if learning := [known[id(p)] for p in members.values() if id(p) in known]:
        raise ValueError(LEARNS_ALREADY.format(place=place, names=", ".join(learning)))
    if taken := [name for name in members if name in optimizer.named]:
        raise ValueError(NAME_TAKEN.format(place=place, names=", ".join(taken)))
    if not members:
        raise ValueError(NO_MATCH.format(place=place, selector=selector, names=[]))
    return members


def _parameters_in(selector: Any) -> Iterator[Parameter]:
    if isinstance(selector, Parameter):
        yield selector
    elif isinstance(selector, HasParameters):
        yield from (p for _, p in selector.named_parameters())
    elif isinstance(selector, Iterable) and not isinstance(selector, str):
        for part in selector:
            yield from _parameters_in(part)
