"""Optimizers of modules: the rules of this package on groups of parameters.

A module's parameters are moved into one flat buffer; neighbours of one group are one run, and a
rule walks over each run in a single pass (`runs.py`).  Rules that look at a whole parameter (LAMB,
Muon) get each one alone.  Names and defaults of the options are PyTorch's here (`classes.py`), and
one option of a rule says where the papers differ from Torch7.

The learning rate of a group is a 0-d array, or a schedule evaluated from the rule's own step count:
both change from step to step in a recorded step too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, no_grad, ops
from tapegrad.autograd.core.mode import refuse
from tapegrad.autograd.core.tensor import array_of, untracked
from tapegrad.optim.core.clipping import clip_global_norm, clip_value
from tapegrad.optim.core.groups import Group, matching, named_parameters
from tapegrad.optim.core.interrupt import uninterrupted
from tapegrad.optim.core.options import unknown_option
from tapegrad.optim.core.rule import Rule  # noqa: TC001  # an annotation that people may resolve
from tapegrad.optim.core.runs import fill, flat_runs, separate_runs

__all__ = ["Optimizer"]

NOTHING = "{name}: the group {which} has no parameters: {given!r} matches none of {names}"


class Optimizer:
    """Update the parameters of a module, or a list of Parameters, by a rule: `step()`, `zero()`.

    parameters: a Module, or Parameters in a list or by name in a dict
    groups:     dicts of options that differ for some parameters, which "params" names: a pattern
                such as "*.bias", a module, Parameters, or a list of these.  A parameter belongs to
                the first group that names it; the others keep the options given by keyword
    accumulate: average the gradients of so many calls of `step` before updating
    clip_norm:  scale all gradients together to at most this Euclidean norm
    clip_value: limit each entry of the gradients to ±this
    lr may be a number, a 0-d Tensor, or a schedule (`optim.cosine(…)`).  Setting `optimizer.lr`, or
    another option in `optimizer.groups[i].options`, changes it for the next steps.
    Raises TypeError for unknown options, ValueError for bad ones and for groups without members.
    A subclass names its `rule`, `defaults`, and how the options translate.
    """

    rule: ClassVar[Rule]
    defaults: ClassVar[Mapping[str, Any]]
    translation: ClassVar[Mapping[str, Any]] = {}
    fixed: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        parameters: Any,
        *,
        groups: Sequence[Mapping[str, Any]] = (),
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        **options: Any,
    ) -> None:
        name = type(self).__name__
        self.module = parameters if hasattr(parameters, "named_parameters") else None
        self.named = named_parameters(parameters)
        if not self.named:
            raise ValueError(f"{name}: there are no parameters")
        if accumulate < 1:
            raise ValueError(f"{name}: accumulate must be at least 1, not {accumulate}")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"{name}: clip_norm must be positive, not {clip_norm}")
        if clip_value is not None and not clip_value > 0:
            raise ValueError(f"{name}: clip_value must be positive, not {clip_value}")
        self.accumulate, self.clip_norm, self.clip_value = accumulate, clip_norm, clip_value
        self.gathered = 0
        base = self._options(options)
        left = dict(self.named)
        self.groups: list[Group] = []
        for which, given in enumerate(groups):
            if "params" not in given:
                raise ValueError(f"{name}: the group {which} has no 'params'")
            own = self._options({**options, **{k: v for k, v in given.items() if k != "params"}})
            chosen = matching(given["params"], left)
            if not chosen:
                raise ValueError(
                    NOTHING.format(
                        name=name, which=which, given=given["params"], names=list(self.named)
                    )
                )
            left = {n: p for n, p in left.items() if n not in chosen}
            self.groups.append(Group(chosen, own, self.rule, self._check))
        if left:
            self.groups.append(Group(left, base, self.rule, self._check))
        for group in self.groups:
            self.check_parameters(group.named)
        self._lay_out()

    def check_parameters(self, named: Mapping[str, Parameter]) -> None:
        """Raise ValueError for parameters that the rule is not meant for."""

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self._know(given)
        options = {**self.defaults, **given}
        self.rule.chosen({**self.fixed, **self._translated(options)})
        return options

    @classmethod
    def _know(cls, options: Iterable[str]) -> None:
        """Raise TypeError for an option that the optimizer does not have under this name."""
        for option in options:
            if option not in cls.defaults:
                raise unknown_option(cls.__name__, option, cls.defaults)

    @classmethod
    def _translated(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options in the rule's words."""
        result: dict[str, Any] = {}
        for option, value in options.items():
            target = cls.translation.get(option, option)
            if isinstance(target, tuple):
                result.update(zip(target, value, strict=True))
            else:
                result[target] = value
        return result

    # A method of the class: groups that kept one of the optimizer would be in a cycle with it.
    @classmethod
    def _check(cls, options: Mapping[str, Any]) -> None:
        """Raise TypeError or ValueError for an option that the rule does not take."""
        cls._know(options)
        cls.rule.declared.given(cls._translated(options))

    def _settings(self, group: Group) -> dict[str, Any]:
        """What the rule is called with; made and checked anew when an option has changed."""
        if group.changed():
            options = group.options
            live = options if group.rate is None else {**options, "lr": group.rate}
            group.settings = self.rule.chosen({**self.fixed, **self._translated(live)})
            group.lists = [
                (value, tuple(value))
                for option, value in options.items()
                if isinstance(self.translation.get(option), tuple) and type(value) is not tuple
            ]
            options.changed = False
        return group.settings

    # Memory ---------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        """Find the runs: one per parameter, or all neighbours of a group in the flat buffers."""
        flat = None
        if self.module is not None and not self.rule.whole:
            kinds = {(p.dtype, str(p.device)) for p in self.named.values()}
            if len(kinds) == 1:
                flat = self.module.getParameters()
        taken: list[tuple[int, int]] = []
        for group in self.groups:
            runs = None if flat is None else flat_runs(group.named, flat, taken)
            group.runs = separate_runs(group.named) if runs is None else runs
        self._arrays = [(p, array_of(p)) for p in self.named.values()]

    def _current(self) -> None:
        """Parameters that were rebound (converted, flattened, loaded) get new runs, same state."""
        if all(array_of(p) is array for p, array in self._arrays):
            return
        saved = self.state_dict()
        self._lay_out()
        self.load_state_dict(saved)

    def gradients(self) -> list[Tensor]:
        """The gradients, one array per run; a parameter without one is given zeros."""
        self._current()
        found = []
        for group in self.groups:
            for run in group.runs:
                if run.g is not None:
                    for p, view in run.views:
                        if p.grad is None or array_of(p.grad) is not view:
                            ops.assign(untracked(view), 0 if p.grad is None else p.grad.detach())
                            p.grad = view
                    found.append(run.g)
                    continue
                [(_, p, _)] = run.members
                if p.grad is None:
                    p.grad = devices.namespace(array_of(p)).zeros_like(array_of(p))
                found.append(p.grad.detach())
        return found

    # Training -------------------------------------------------------------------------------------

    def zero(self) -> None:
        """Set all gradients to zero; while gradients are being gathered, leave them."""
        if self.gathered:
            return
        with no_grad():
            for g in self.gradients():
                ops.assign(g, 0)

    def step(self) -> bool:
        """Update the parameters from their gradients; False while gradients are being gathered."""
        if self.accumulate > 1:
            refuse("counts gathered gradients")
            self.gathered += 1
            if self.gathered < self.accumulate:
                return False
        settings = [self._settings(group) for group in self.groups]
        gradients = self.gradients()
        with no_grad(), uninterrupted():
            if self.accumulate > 1:
                for g in gradients:
                    ops.assign(g, g / self.accumulate)
                self.gathered = 0
            if self.clip_value is not None:
                clip_value(gradients, self.clip_value)
            if self.clip_norm is not None:
                clip_global_norm(gradients, self.clip_norm)
            each = iter(gradients)
            for group, options in zip(self.groups, settings, strict=True):
                for run in group.runs:
                    self.rule.update(run.x, next(each), run.state, options)
        return True

    @property
    def lr(self) -> float:
        """The learning rate of the last group at the next step; set, it is that of all groups."""
        return self.rates()[-1]

    @lr.setter
    def lr(self, value: Any) -> None:
        if not callable(value) and not float(value) >= 0:
            raise ValueError(f"{type(self).__name__}: lr must be at least 0, not {value}")
        for group in self.groups:
            group.options["lr"] = value if callable(value) else float(value)

    def rates(self) -> list[float]:
        """The learning rate of each group at the next step."""
        result = []
        for group in self.groups:
            rate = group.options.get("lr") if group.rate is None else group.rate
            result.append(float(rate(self.steps) if callable(rate) else rate))
        return result

    @property
    def steps(self) -> int:
        """How many updates have been made."""
        counter = self.groups[0].runs[0].state.get(self.rule.counter)
        return 0 if counter is None else int(counter)

    # Saving ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on beside parameters and gradients, as NumPy arrays.

        "state":    for each parameter by name, its arrays by slot, the count of steps among them
        "rates":    the learning rate of each group; None for a schedule, and where it is taken once
        "gathered": how many gradients have been added up for the next update
        """
        state: dict[str, dict[str, Any]] = {}
        for group in self.groups:
            for run in group.runs:
                for name, p, part in run.members:
                    slots = state.setdefault(name, {})
                    for key, value in run.state.items():
                        array = devices.to_numpy(array_of(value))
                        alone = value.shape != run.x.shape or len(run.members) == 1
                        own = array if alone else array[part]
                        slots[key] = np.array(own.reshape(-1) if own.size == p.size else own)
        rates = [None if g.rate is None else float(g.rate) for g in self.groups]
        return {"state": state, "rates": rates, "gathered": self.gathered}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.  Raises KeyError or ValueError, changing nothing, if it does
        not fit these parameters.
        """
        state = saved["state"]
        missing = sorted(n for g in self.groups for r in g.runs for n, *_ in r.members
                         if n not in state)  # fmt: skip
        if missing:
            raise KeyError(f"{type(self).__name__}.load_state_dict: nothing about {missing}")
        if len(saved["rates"]) != len(self.groups):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: {len(saved['rates'])} groups were saved, "
                f"there are {len(self.groups)}"
            )
        fresh = []
        for group in self.groups:
            options = self._settings(group)
            for run in group.runs:
                slots: dict[str, Any] = {}
                if state[run.members[0][0]]:
                    self.rule.prepare(slots, run.x, options)
                for name, _, part in run.members:
                    for key, value in state[name].items():
                        if key not in slots:
                            raise ValueError(f"the rule has no slot {key!r}, saved for {name}")
                        fill(slots[key], value, part, run, name)
                fresh.append((run, slots))
        for run, slots in fresh:
            run.state = slots
        for group, rate in zip(self.groups, saved["rates"], strict=True):
            if rate is not None and group.rate is not None:
                ops.assign(group.rate, rate)
        self.gathered = saved["gathered"]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}("]
        for group in self.groups:
            shown = ", ".join(f"{k}={v}" for k, v in group.options.items())
            lines.append(f"  {len(group.named)} parameters: {shown}")
        return "\n".join([*lines, ")"])
