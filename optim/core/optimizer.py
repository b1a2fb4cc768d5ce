"""Optimizers of modules: an update rule on groups of parameters.

A module's parameters are moved into one flat buffer; neighbours of one group are one run, and a
rule walks over each run in a single pass (`runs.py`).  Rules that look at a whole parameter (LAMB,
Muon) get each one alone.  Names and defaults of the options are PyTorch's here; a class takes them
from its rule's declarations, and says only where it differs.

The learning rate of a group is a 0-d array, or a schedule evaluated from the rule's own step count:
both change from step to step in a recorded step too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Never

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, no_grad, ops
from tapegrad.autograd.core.former import former_method
from tapegrad.autograd.core.mode import Observer, install_observer, refuse, watch
from tapegrad.autograd.core.parameter import GRADIENTS_STAY
from tapegrad.autograd.core.tensor import array_of, untracked
from tapegrad.autograd.reverse.accumulation import begin_gradient, clear_gradient
from tapegrad.optim.core.advice import OF_OPTIMIZERS, POSITIONAL, unknown_word
from tapegrad.optim.core.clipping import clip_grad_norm, clip_grad_value
from tapegrad.optim.core.groups import (
    Group,
    HasParameters,
    ParameterSource,
    added_members,
    members_of_group,
    named_parameters_of,
    text_of_group,
)
from tapegrad.optim.core.interrupt import defer_interrupt
from tapegrad.optim.core.rule import UpdateRule  # noqa: TC001  # people may resolve annotations
from tapegrad.optim.core.runs import MemoryRun, at_rest, find_runs, is_held_elsewhere, write_slot
from tapegrad.optim.core.same_parameters import refuse_other_parameters, structure_of
from tapegrad.optim.core.standing import step_run
from tapegrad.optim.core.translation import (
    default_of,
    refuse_names_beside,
    refuse_options,
    signature_of,
    translate,
    translation_of,
)

__all__ = ["Optimizer"]


class Optimizer:
    """Update the parameters of a module, or a list of Parameters, by a rule.

    parameters: a Module, or Parameters in a list or by name in a dict
    groups:     dicts of options that differ for some parameters, which "params" names: a pattern
                such as "*.bias", a module, Parameters, or a list of these.  A parameter belongs to
                the first group that names it; the others keep the options given by keyword
    accumulate: average the gradients of so many calls of `step` before updating
    clip_grad_norm:  scale all gradients together to at most this Euclidean norm
    clip_grad_value: limit each entry of the gradients to ±this
    lr may be a number, a 0-d Tensor, or a schedule (`optim.cosine_decay(…)`).  Setting
    `optimizer.lr`, or another option by its name, changes it for the next steps in all groups, and
    `optimizer.groups[i].options` in one; `add_group` adds one.
    Raises TypeError for unknown options, ValueError for bad ones and for groups without members.

    A subclass names its `rule`.  Its options are those of the rule, by their keywords, unless it
    says otherwise: `defaults` (keyword -> value), `keywords` (rule's option -> keyword, or None for
    an option that it does not have), `fixed` (rule's option -> value that nobody can change).
    """

    _step_results: ClassVar[tuple[str, ...]] = ()  # a recorded step depends on all attributes

    rule: ClassVar[UpdateRule]
    defaults: ClassVar[Mapping[str, Any]] = {}
    keywords: ClassVar[Mapping[str, str | None]] = {}
    fixed: ClassVar[Mapping[str, Any]] = {}
    # What the rule calls each option; a tuple for an option such as betas that stands for several.
    translation: ClassVar[Mapping[str, str | tuple[str, ...]]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not hasattr(cls, "rule"):
            return  # a base of further classes
        cls.translation = translation_of(cls)
        own = vars(cls).get("defaults", {})
        refuse_names_beside(own, cls.translation, cls, "defaults")
        base: Any = cls.__mro__[1]
        inherited = {} if "rule" in vars(cls) else base.defaults
        of_rule = {option: default_of(cls.rule, names) for option, names in cls.translation.items()}
        cls.defaults = {
            option: own.get(option, inherited.get(option, default))
            for option, default in of_rule.items()
        }
        shown = ", ".join(f"{option}={value!r}" for option, value in cls.defaults.items())
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\nOptions: {shown}."
        if cls.__init__ is Optimizer.__init__:
            cls.__signature__ = signature_of(cls.__init__, cls.defaults)  # type: ignore[attr-defined]  # what inspect shows

    def __init__(
        self,
        parameters: ParameterSource,
        *positional: Never,
        groups: Sequence[Mapping[str, Any]] = (),
        accumulate: int = 1,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **options: Any,
    ) -> None:
        name = type(self).__name__
        if positional:
            raise TypeError(
                POSITIONAL.format(name=name, value=positional[0], count=len(positional))
            )
        self.module: Any = parameters if isinstance(parameters, HasParameters) else None
        self.named = named_parameters_of(parameters)
        self._structure = structure_of(self.module)
        if not self.named:
            raise ValueError(f"{name}: there are no parameters")
        if accumulate < 1:
            raise ValueError(f"{name}: accumulate must be at least 1, not {accumulate}")
        for option, limit in (
            ("clip_grad_norm", clip_grad_norm), ("clip_grad_value", clip_grad_value),
        ):  # fmt: skip
            if limit is not None and not limit > 0:
                raise ValueError(f"{name}: {option} must be positive, not {limit}")
        self.accumulate, self.accumulated = accumulate, 0
        self.clip_grad_norm, self.clip_grad_value = clip_grad_norm, clip_grad_value
        # Updates made; schedules ask it, since a Parameter that was frozen for a time made fewer.
        first = next(iter(self.named.values()))
        self._updates = Tensor(np.array(0.0), device=first.device)
        # What the rule keeps about Parameters that are frozen now, by name and slot.
        self._resting: dict[str, dict[str, Any]] = {}
        base = self._complete_options(options)
        self._given_options = options
        remaining = dict(self.named)
        self.groups: list[Group] = []
        for index, group in enumerate(groups):
            if "params" not in group:
                raise ValueError(f"{name}: the group {index} has no 'params'")
            different = {k: v for k, v in group.items() if k != "params"}
            own = self._complete_options({**options, **different})
            members = members_of_group(
                group["params"], remaining, f"{name}: the group {index}", self.named
            )
            remaining = {n: p for n, p in remaining.items() if n not in members}
            self._add_group(members, own)
        if remaining:
            self._add_group(remaining, base)
        for made in self.groups:
            self.check_parameters(made.named)
        self._gather()
        self._lay_out({})

    def add_group(self, params: Any, **options: Any) -> Group:
        """Let further Parameters learn, ``optimizer.add_group(model.head, lr=0.01)``.

        params:  as in `groups`: what came into the optimizer's module after the optimizer was made;
                 of an optimizer of Parameters, others, or a module
        options: where they differ from the constructor's.  A schedule is read at `steps`
        Returns the group, last of `groups`.  Raises TypeError or ValueError, changing nothing, for
        options as the constructor does, and for Parameters that learn already or are not there.
        """
        own = self._complete_options({**self._given_options, **options})
        members = added_members(self, params)
        self.check_parameters(members)
        saved = self.state_dict()
        saved["state"].update({n: {} for n in members})
        saved["rates"].append(None)
        self.named |= members
        self._add_group(members, own)
        self._gather()
        self.load_state_dict(saved)
        return self.groups[-1]

    def check_parameters(self, named: Mapping[str, Parameter]) -> None:
        """Raise ValueError for parameters that the rule is not meant for."""

    def _add_group(self, named: dict[str, Parameter], options: Mapping[str, Any]) -> None:
        option = self.translation.get("lr")
        starts = {slot.start for slot in self.rule.slots.values()}
        reads_rate = isinstance(option, str) and option not in starts
        self.groups.append(Group(named, options, self._check_options, reads_rate=reads_rate))

    def _complete_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Check the options, each and all together, and return them with the missing defaults."""
        refuse_options(type(self), options)
        complete = {**self.defaults, **options}
        self.rule.complete_options({**self.fixed, **translate(type(self), complete)})
        return complete

    # A method of the class: groups that kept one of the optimizer would be in a cycle with it.
    @classmethod
    def _check_options(cls, options: Mapping[str, Any]) -> None:
        """Raise TypeError or ValueError for an option that the rule does not take."""
        refuse_options(cls, options)
        cls.rule.declared.check(translate(cls, options))

    def _settings(self, group: Group) -> dict[str, Any]:
        """Return the rule's options for a group, made and checked anew when one has changed."""
        if group.has_changed():
            options = group.options
            current = options if group.rate is None else {**options, "lr": group.rate}
            refuse_options(type(self), current)
            named = translate(type(self), current)
            group.settings = self.rule.complete_options({**self.fixed, **named})
            group.lists = [
                (value, tuple(value))
                for option, value in options.items()
                if isinstance(self.translation.get(option), tuple) and type(value) is not tuple
            ]
            options.changed = False
        return group.settings

    # Memory ---------------------------------------------------------------------------------------

    def _gather(self) -> None:
        """Move the module's parameters into one flat buffer, if nobody else holds their memory."""
        if self.rule.needs_whole_array or not hasattr(self.module, "getParameters"):
            return
        trained = [p for p in self.named.values() if not p.frozen]
        kinds = {(p.dtype, str(p.device)) for p in trained}
        gradients = [p.grad for p in trained if p.grad is not None]
        if len(kinds) == 1 and not is_held_elsewhere(trained) and not is_held_elsewhere(gradients):
            self.module.getParameters()

    def _lay_out(self, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """Find the runs of the Parameters that learn; what `saved` says of others rests.

        saved: by name and slot, the state that the runs will get.  Neighbours whose step counts
               differ, since one was frozen for a time, are no single run.
        """
        self._learning = self._which_learn()
        counts = [n for n in self.rule.state_names if self.rule.has_one_number(n)]

        def key_of(name: str) -> Any:
            state = saved.get(name) or {}
            return [None if slot not in state else float(state[slot]) for slot in counts]

        claimed: list[MemoryRun] = []
        for group in self.groups:
            learning = {n: p for n, p in group.named.items() if id(p) in self._learning}
            group.runs = find_runs(
                learning, claimed, join=not self.rule.needs_whole_array, key_of=key_of
            )
            claimed += group.runs
            self._settings(group)  # now: a recorded step then sees every later change of an option
        self._resting = at_rest(saved, self.named, claimed)
        self._arrays = [(p, array_of(p)) for p in self.named.values()]

    def _which_learn(self) -> frozenset[int]:
        """The ids of the Parameters that are not frozen."""
        parameters = self.named.values()
        if self.module is None or set(map(type, parameters)) == {Parameter}:
            return frozenset([id(p) for p in parameters if not p.frozen])
        # A module knows it of its own: other modules may learn what its frozen layers hold.
        named = getattr(self.module, "named_trainable", self.module.named_parameters)
        return frozenset(id(p) for _, p in named())

    @property
    def learning(self) -> list[str]:
        """The names of the Parameters that the next step updates: those that are not frozen."""
        learn = self._which_learn()
        return [name for name, p in self.named.items() if id(p) in learn]

    def _follow_parameters(self) -> None:
        """Give parameters that were rebound, frozen or unfrozen new runs with the same state.

        Raises RuntimeError where the module has other Parameters than the optimizer was made for.
        """
        self._refuse_other_parameters()
        moved = [p for p, array in self._arrays if array_of(p) is not array]
        if not moved and self._learning == self._which_learn():
            return
        with install_observer(Observer()):  # to arrange memory is no part of a recorded step
            self.load_state_dict(self.state_dict())

    def _refuse_other_parameters(self) -> None:
        if self._structure is not None and self._structure.may_differ():
            refuse_other_parameters(self.module, self.named, type(self).__name__)
            self._structure = structure_of(self.module)

    def gradients(self) -> list[Tensor]:
        """Return the gradients, one array per run; a parameter without one is given zeros."""
        self._follow_parameters()
        gradients = []
        for group in self.groups:
            for run in group.runs:
                if run.g is not None:
                    for p, view in run.views:
                        if p.grad is None or array_of(p.grad) is not view:
                            ops.assign(untracked(view), 0 if p.grad is None else p.grad.detach())
                            p.grad = view
                    gradients.append(run.g)
                    continue
                p = run.members[0][1]
                gradient = begin_gradient(p) if p.grad is None else p.grad
                gradients.append(gradient.detach())
        return gradients

    # Training -------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set all gradients to zero, except between steps whose gradients are accumulated.

        Raises TypeError for ``set_to_none=True``: gradients keep their memory.
        """
        if set_to_none:
            raise TypeError(GRADIENTS_STAY.format(name=type(self).__name__))
        if self.accumulated:
            return
        with no_grad():
            for g in self.gradients():
                clear_gradient(g)
            for p in self.named.values():
                if id(p) not in self._learning and p.grad is not None:
                    clear_gradient(p.grad.detach())

    zero = former_method("zero", zero_grad)

    def step(self) -> bool:
        """Update the parameters from their gradients; False if they were only accumulated.

        Frozen Parameters stay as they are.  Raises RuntimeError where the module has other
        Parameters than the optimizer was made for.
        """
        watch(self)
        if self.accumulate > 1:
            self._refuse_other_parameters()
            refuse("counts accumulated gradients")
            self.accumulated += 1
            if self.accumulated < self.accumulate:
                return False
        return self._update()

    def flush(self) -> bool:
        """Update from the gradients accumulated so far, as at the end of an epoch; False if none.

        They are averaged over their own number, which may be less than `accumulate`.
        """
        return self._update() if self.accumulated else False

    def _update(self) -> bool:
        settings = [self._settings(group) for group in self.groups]
        gradients = self.gradients()
        with no_grad(), defer_interrupt():
            if self.accumulate > 1:
                for g in gradients:
                    ops.assign(g, g / self.accumulated)
                self.accumulated = 0
            if gradients and self.clip_grad_value is not None:
                clip_grad_value(gradients, self.clip_grad_value)
            if gradients and self.clip_grad_norm is not None:
                clip_grad_norm(gradients, self.clip_grad_norm)
            each = iter(gradients)
            for group, options in zip(self.groups, settings, strict=True):
                for run in group.runs:
                    step_run(self.rule, run, next(each), options, self._updates)
            ops.accumulate(self._updates, 1)
        return True

    @property
    def lr(self) -> float:
        """The learning rate of the last group at the next step; set, it is that of all groups."""
        return self.rates()[-1]

    @lr.setter
    def lr(self, value: float | Tensor | Callable[[float], float]) -> None:
        if not callable(value) and not float(value) >= 0:
            raise ValueError(f"{type(self).__name__}: lr must be at least 0, not {value}")
        for group in self.groups:
            group.options["lr"] = value if callable(value) else float(value)

    def rates(self) -> list[float]:
        """Return the learning rate of each group at the next step."""
        result = []
        for group in self.groups:
            rate: Any = group.options.get("lr") if group.rate is None else group.rate
            result.append(float(rate(self.steps) if callable(rate) else rate))
        return result

    @property
    def steps(self) -> int:
        """How many updates have been made."""
        return int(self._updates)

    # Saving ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on beside parameters and gradients.

        "state": for each parameter by name, its NumPy arrays by slot, the count of steps among them
        "rates": the learning rate of each group; None for a schedule, and where it is taken once
        "accumulated": how many gradients have been added up for the next update
        "updates": how many updates have been made
        """
        state: dict[str, dict[str, Any]] = {name: dict(s) for name, s in self._resting.items()}
        for group in self.groups:
            for run in group.runs:
                for name, p, part in run.members:
                    slots = state.setdefault(name, {})
                    for key, value in run.state.items():
                        array = devices.to_numpy(array_of(value))
                        is_shared = value.shape == run.x.shape and len(run.members) > 1
                        own = array[part] if is_shared else array
                        slots[key] = np.array(own.reshape(-1) if own.size == p.size else own)
        for name, p in self.named.items():
            if id(p) not in self._learning:
                state.setdefault(name, {})
        return {
            "state": state,
            "rates": [None if g.rate is None else float(g.rate) for g in self.groups],
            "accumulated": self.accumulated,
            "updates": self.steps,
        }

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
        runs = [group.runs for group in self.groups]
        rest = self._resting, self._learning, self._arrays
        try:
            self._lay_out(state)
            new = self._slots_from(state)
        except Exception:
            for group, old in zip(self.groups, runs, strict=True):
                group.runs = old
            self._resting, self._learning, self._arrays = rest
            raise
        for run, slots in new:
            run.state = slots
        for group, rate in zip(self.groups, saved["rates"], strict=True):
            if rate is not None and group.rate is not None:
                ops.assign(group.rate, rate)
        self.accumulated = saved["accumulated"]
        ops.assign(self._updates, saved["updates"])

    def _slots_from(
        self, state: Mapping[str, Mapping[str, Any]]
    ) -> list[tuple[MemoryRun, dict[str, Any]]]:
        """The runs, each with new slots that hold what was saved."""
        new = []
        for group in self.groups:
            options = self._settings(group)
            for run in group.runs:
                slots: dict[str, Any] = {}
                if any(state[name] for name, *_ in run.members):
                    self.rule.prepare(slots, run.x, options)
                for name, _, part in run.members:
                    for key, value in state[name].items():
                        if key not in slots:
                            raise ValueError(f"the rule has no slot {key!r}, saved for {name}")
                        write_slot(slots[key], value, part, run, name)
                new.append((run, slots))
        return new

    def __getstate__(self) -> dict[str, Any]:
        """The content of a copy: it finds out itself, at its first step, what of its own learns."""
        return {**vars(self), "_learning": frozenset([0])}  # as no set of ids is

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            if name in type(self).defaults and "groups" in vars(self):
                return self.groups[-1].options[name]
            raise unknown_word(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an option in all groups, ``optimizer.weight_decay = 0.1``, or an attribute.

        Raises AttributeError for a word of another system that would have no effect.
        """
        if name in OF_OPTIMIZERS:
            raise unknown_word(self, name)
        if name in type(self).defaults and name != "lr" and "groups" in vars(self):
            for group in self.groups:
                group.options[name] = value
        else:
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        several = [f"  accumulate={self.accumulate}"] if self.accumulate > 1 else []
        lines = [f"{type(self).__name__}(", *several]
        limits = {"clip_grad_norm": self.clip_grad_norm, "clip_grad_value": self.clip_grad_value}
        lines += [f"  {k}={limit}" for k, limit in limits.items() if limit is not None]
        return "\n".join([*lines, *(f"  {text_of_group(group)}" for group in self.groups), ")"])
