"""Optimizers of modules: the rules of this package on groups of parameters.

A module's parameters are moved into one flat buffer; neighbours of one group are one run, and a
rule walks over each run in a single pass.  Rules that look at a whole parameter (LAMB, Muon) get
each one alone.  Names and defaults of the options are PyTorch's here, and one option of a rule says
where the papers differ from Torch7.

The learning rate of a group is a 0-d array, or a schedule evaluated from the rule's own step count:
both change from step to step in a recorded step too.
"""

from __future__ import annotations

import difflib
import fnmatch
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, _mode, no_grad, ops
from tapegrad.autograd.tensor import as_array, untracked
from tapegrad.optim.adam import adam, adamax
from tapegrad.optim.adaptive import adadelta, adagrad, rmsprop, rprop
from tapegrad.optim.clipping import clip_global_norm, clip_value
from tapegrad.optim.modern import adafactor, lamb, lars, lion, muon, signsgd
from tapegrad.optim.rule import Rule  # noqa: TC001  # an annotation that people may resolve
from tapegrad.optim.sgd import asgd, sgd

__all__ = [
    "ASGD", "LAMB", "LARS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax",
    "Lion", "Muon", "Optimizer", "RMSprop", "Rprop", "SignSGD", "uninterrupted",
]  # fmt: skip

UNKNOWN = "{name}: there is no option {option!r}{near}; the options are {known}"
NOTHING = "{name}: the group {which} has no parameters: {given!r} matches none of {names}"


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the block is left: an update is made whole or not at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[Any] = []
    before = signal.getsignal(signal.SIGINT)
    if before is None:
        yield
        return
    signal.signal(signal.SIGINT, lambda *arguments: caught.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught and callable(before):
            before(*caught[0])


class _Run:
    """Parameters of one group that lie side by side, as one array, and the rule's state."""

    def __init__(self, x: Tensor, members: list[tuple[str, Parameter, slice]]) -> None:
        self.x = x
        self.members = members
        self.g: Tensor | None = None
        # Each member's view of g: who replaces p.grad by another array must not be overlooked.
        self.views: list[tuple[Parameter, Any]] = []
        self.state: dict[str, Any] = {}


class _Group:
    """Options of some parameters."""

    def __init__(self, named: dict[str, Parameter], options: dict[str, Any], rule: Rule) -> None:
        self.named = named
        self.options = options
        self.runs: list[_Run] = []
        rate = options.get("lr")
        self.rate: Any = None  # of rules that read it in each step; the others take a number once
        if "learningRate" in rule.options and not callable(rate):
            self.rate = rate if isinstance(rate, Tensor) else untracked(np.array(float(rate)))


class Optimizer:
    """Update the parameters of a module, or a list of Parameters, by a rule: `step()`, `zero()`.

    parameters: a Module, or Parameters in a list or by name in a dict
    groups:     dicts of options that differ for some parameters, which "params" names: a pattern
                such as "*.bias", a module, Parameters, or a list of these.  A parameter belongs to
                the first group that names it; the others keep the options given by keyword
    accumulate: average the gradients of so many calls of `step` before updating
    clip_norm:  scale all gradients together to at most this Euclidean norm
    clip_value: limit each entry of the gradients to ±this
    lr may be a number, a 0-d Tensor, or a schedule (`optim.cosine(…)`).
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
        self.named = _named(parameters)
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
        self.groups: list[_Group] = []
        for which, given in enumerate(groups):
            if "params" not in given:
                raise ValueError(f"{name}: the group {which} has no 'params'")
            own = self._options({**options, **{k: v for k, v in given.items() if k != "params"}})
            chosen = _matching(given["params"], left)
            if not chosen:
                raise ValueError(
                    NOTHING.format(
                        name=name, which=which, given=given["params"], names=list(self.named)
                    )
                )
            left = {n: p for n, p in left.items() if n not in chosen}
            self.groups.append(_Group(chosen, own, self.rule))
        if left:
            self.groups.append(_Group(left, base, self.rule))
        for group in self.groups:
            self.check_parameters(group.named)
        self._lay_out()

    def check_parameters(self, named: Mapping[str, Parameter]) -> None:
        """Raise ValueError for parameters that the rule is not meant for."""

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        for option in given:
            if option not in self.defaults:
                near = difflib.get_close_matches(option, self.defaults, n=1)
                raise TypeError(
                    UNKNOWN.format(
                        name=type(self).__name__,
                        option=option,
                        near=f" (did you mean {near[0]!r}?)" if near else "",
                        known=", ".join(self.defaults),
                    )
                )
        options = {**self.defaults, **given}
        self.rule.chosen(self._translated(options))
        return options

    def _translated(self, options: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(self.fixed)
        for option, value in options.items():
            target = self.translation.get(option, option)
            if isinstance(target, tuple):
                result.update(zip(target, value, strict=True))
            else:
                result[target] = value
        return result

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
            places = None if flat is None else _places(group.named, flat[0], taken)
            if places is None:
                group.runs = [
                    _Run(p.detach(), [(name, p, slice(0, p.size))])
                    for name, p in group.named.items()
                ]
                continue
            group.runs = []
            for start, stop, members in places:
                run = _Run(untracked(flat[0]._data[start:stop]), members)
                run.g = untracked(flat[1]._data[start:stop])
                run.views = [(p, p.grad._data) for _, p, _ in members if p.grad is not None]
                group.runs.append(run)
                taken.append((start, stop))
        self._arrays = [(p, p._data) for p in self.named.values()]

    def _current(self) -> None:
        """Parameters that were rebound (converted, flattened, loaded) get new runs, same state."""
        if all(p._data is array for p, array in self._arrays):
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
                        if p.grad is None or p.grad._data is not view:
                            ops.assign(untracked(view), 0 if p.grad is None else p.grad.detach())
                            p.grad = view
                    found.append(run.g)
                    continue
                [(_, p, _)] = run.members
                if p.grad is None:
                    p.grad = devices.namespace(p._data).zeros_like(p._data)
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
            observer = _mode.observer()
            if observer is not None:
                observer.refuse("counts gathered gradients")
            self.gathered += 1
            if self.gathered < self.accumulate:
                return False
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
            for group in self.groups:
                options = self.rule.chosen(self._translated(self._live(group)))
                for run in group.runs:
                    self.rule.update(run.x, next(each), run.state, options)
        return True

    def _live(self, group: _Group) -> dict[str, Any]:
        return group.options if group.rate is None else {**group.options, "lr": group.rate}

    @property
    def lr(self) -> float:
        """The learning rate of the last group at the next step; set, it is that of all groups."""
        return self.rates()[-1]

    @lr.setter
    def lr(self, value: Any) -> None:
        if not callable(value) and not float(value) >= 0:
            raise ValueError(f"{type(self).__name__}: lr must be at least 0, not {value}")
        for group in self.groups:
            group.options = {**group.options, "lr": value}
            if callable(value) or "learningRate" not in self.rule.options:
                group.rate = None
            elif group.rate is None:
                group.rate = untracked(np.array(float(value)))
            else:
                ops.assign(group.rate, float(value))

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

        "state": by parameter name, arrays by slot; "steps"; "rates" of the groups that have one in
        an array; "gathered".
        """
        state: dict[str, dict[str, Any]] = {}
        for group in self.groups:
            for run in group.runs:
                for name, p, part in run.members:
                    slots = state.setdefault(name, {})
                    for key, value in run.state.items():
                        array = devices.to_numpy(value._data)
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
            options = self.rule.chosen(self._translated(self._live(group)))
            for run in group.runs:
                slots: dict[str, Any] = {}
                if state[run.members[0][0]]:
                    self.rule.prepare(slots, run.x, options)
                for name, _, part in run.members:
                    for key, value in state[name].items():
                        if key not in slots:
                            raise ValueError(f"the rule has no slot {key!r}, saved for {name}")
                        _fill(slots[key], value, part, run, name)
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


def _fill(slot: Tensor, value: Any, part: slice, run: _Run, name: str) -> None:
    value = np.asarray(value)
    array = slot._data
    whole = slot.shape != run.x.shape or len(run.members) == 1
    target = array if whole else array[part]
    if target.size != value.size:
        raise ValueError(f"the state saved for {name} has {value.size} entries, not {target.size}")
    moved = devices.to_device(as_array(value.reshape(target.shape), slot.dtype), slot.device)
    target[...] = moved


def _named(parameters: Any) -> dict[str, Parameter]:
    if hasattr(parameters, "named_parameters"):
        return dict(parameters.named_parameters())
    items = parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters)
    named = {str(name): p for name, p in items}
    for name, p in named.items():
        if not isinstance(p, Parameter):
            raise TypeError(f"parameter {name} is {type(p).__name__}, not a Parameter")
    return named


def _matching(given: Any, named: dict[str, Parameter]) -> dict[str, Parameter]:
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
            found.update(_matching(part, named))
        return {n: p for n, p in named.items() if n in found}
    raise TypeError(f"a group's 'params' are {type(given).__name__}: give a name or a module")


def _places(
    named: dict[str, Parameter], flat: Tensor, taken: list[tuple[int, int]]
) -> list[tuple[int, int, list[tuple[str, Parameter, slice]]]] | None:
    """Runs (start, stop, members) in the flat buffer, or None where memory tells no addresses."""
    base = _address(flat._data)
    if base is None:
        return None
    spans = []
    for name, p in named.items():
        start = (_address(p._data) - base) // p.dtype.itemsize
        if not p._data.flags.forc:
            return None
        spans.append((start, start + p.size, name, p))
    runs: list[tuple[int, int, list[tuple[str, Parameter, slice]]]] = []
    for start, stop, name, p in sorted(spans, key=lambda span: span[:2]):
        if any(a <= start and stop <= b for a, b in taken):
            continue  # shares the memory of a parameter of an earlier group
        if runs and start < runs[-1][1]:
            if stop > runs[-1][1]:
                return None
            first = runs[-1][0]
            runs[-1][2].append((name, p, slice(start - first, stop - first)))
        elif runs and start == runs[-1][1]:
            first = runs[-1][0]
            members = [*runs[-1][2], (name, p, slice(start - first, stop - first))]
            runs[-1] = (first, stop, members)
        else:
            runs.append((start, stop, [(name, p, slice(0, stop - start))]))
    return runs or None


def _address(array: Any) -> Any:
    for protocol in ("__array_interface__", "__cuda_array_interface__"):
        interface = getattr(array, protocol, None)
        if interface is not None:
            return int(interface["data"][0])
    return None


# The optimizers -----------------------------------------------------------------------------------

_RATE = {"lr": "learningRate", "weight_decay": "weightDecay", "eps": "epsilon"}
_BETAS = {**_RATE, "betas": ("beta1", "beta2")}
_DECOUPLED = {**_BETAS, "weight_decay": "decoupledDecay"}


class SGD(Optimizer):
    """v = μv + (1 - dampening)(g + λx), x -= lr · v: lr 1e-3, momentum, dampening, nesterov."""

    rule = sgd
    defaults: ClassVar = {
        "lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False,
    }  # fmt: skip
    translation = _RATE


class Adam(Optimizer):
    """Adam as in the paper, ε after the bias correction: lr 1e-3, betas, eps, weight_decay (L2)."""

    rule = adam
    defaults: ClassVar = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    translation = _BETAS
    fixed: ClassVar = {"paper": True}


class AdamW(Optimizer):
    """Adam with decoupled weight decay: x shrinks by lr · weight_decay (1e-2)."""

    rule = adam
    defaults: ClassVar = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2}
    translation = _DECOUPLED
    fixed: ClassVar = {"paper": True}


class Adamax(Optimizer):
    """AdaMax: lr 2e-3, betas, eps 1e-8, weight_decay (L2)."""

    rule = adamax
    defaults: ClassVar = {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    translation = _BETAS


class Adagrad(Optimizer):
    """Adagrad: lr 1e-2, lr_decay, eps 1e-10, initial_accumulator_value, weight_decay (L2)."""

    rule = adagrad
    defaults: ClassVar = {
        "lr": 1e-2, "lr_decay": 0.0, "eps": 1e-10, "initial_accumulator_value": 0.0,
        "weight_decay": 0.0,
    }  # fmt: skip
    translation: ClassVar = {
        **_RATE, "lr_decay": "learningRateDecay", "initial_accumulator_value": "initialMean"
    }  # fmt: skip


class Adadelta(Optimizer):
    """Adadelta: lr 1, rho 0.9, eps 1e-6, weight_decay (L2)."""

    rule = adadelta
    defaults: ClassVar = {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0}
    translation: ClassVar = {**_RATE, "eps": "eps"}


class RMSprop(Optimizer):
    """RMSprop: lr 1e-2, alpha 0.99, eps 1e-8, momentum, centered, weight_decay (L2)."""

    rule = rmsprop
    defaults: ClassVar = {
        "lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False,
        "weight_decay": 0.0,
    }  # fmt: skip
    translation = _RATE


class Rprop(Optimizer):
    """Rprop: lr 1e-2 (the first step size), etas (0.5, 1.2), step_sizes (1e-6, 50)."""

    rule = rprop
    defaults: ClassVar = {"lr": 1e-2, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0)}
    translation: ClassVar = {
        "lr": "stepsize",
        "etas": ("etaminus", "etaplus"),
        "step_sizes": ("stepsizemin", "stepsizemax"),
    }


class ASGD(Optimizer):
    """Averaged SGD: lr 1e-2, lambd 1e-4, alpha 0.75, t0 1e6; the averages are in `state_dict`."""

    rule = asgd
    defaults: ClassVar = {"lr": 1e-2, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6}
    translation: ClassVar = {"lr": "eta0", "lambd": "lambda"}


class Lion(Optimizer):
    """Lion: lr 1e-4, betas (0.9, 0.99), weight_decay (decoupled)."""

    rule = lion
    defaults: ClassVar = {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0}
    translation = _DECOUPLED


class SignSGD(Optimizer):
    """signSGD, with momentum Signum: lr 1e-3, momentum, weight_decay (decoupled)."""

    rule = signsgd
    defaults: ClassVar = {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0}
    translation = _RATE


class LAMB(Optimizer):
    """LAMB: lr 1e-3, betas, eps 1e-6, weight_decay."""

    rule = lamb
    defaults: ClassVar = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.0}
    translation = _DECOUPLED


class LARS(Optimizer):
    """LARS: lr 0.1, momentum 0.9, weight_decay, trust 1e-3."""

    rule = lars
    defaults: ClassVar = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "trust": 1e-3}
    translation = _RATE


class Adafactor(Optimizer):
    """Adafactor: lr 1e-2, beta2_decay -0.8, eps (dtype's, 1e-3), d 1, weight_decay (decoupled)."""

    rule = adafactor
    defaults: ClassVar = {
        "lr": 1e-2, "beta2_decay": -0.8, "eps": (None, 1e-3), "d": 1.0, "weight_decay": 0.0,
    }  # fmt: skip
    translation: ClassVar = {
        "lr": "learningRate", "beta2_decay": "beta2Decay", "eps": ("smallest", "epsilon"),
        "d": "clipping", "weight_decay": "decoupledDecay",
    }  # fmt: skip


class Muon(Optimizer):
    """Muon, for weights of two or more axes: lr 1e-3, momentum 0.95, nesterov, weight_decay 0.1."""

    rule = muon
    defaults: ClassVar = {
        "lr": 1e-3, "momentum": 0.95, "nesterov": True, "weight_decay": 0.1, "ns_steps": 5,
        "ns_coefficients": (3.4445, -4.7750, 2.0315), "eps": 1e-7, "match_adamw": False,
    }  # fmt: skip
    translation: ClassVar = {
        "lr": "learningRate", "weight_decay": "decoupledDecay", "ns_steps": "steps",
        "ns_coefficients": "coefficients", "eps": "epsilon", "match_adamw": "match",
    }  # fmt: skip

    def check_parameters(self, named: Mapping[str, Parameter]) -> None:
        """Vectors have no singular values to even out."""
        vectors = [name for name, p in named.items() if p.ndim < 2]
        if vectors:
            raise ValueError(
                f"Muon is for parameters of two or more axes; give {', '.join(vectors)} to another "
                "optimizer, such as AdamW({name: p for name, p in module.named_parameters() "
                "if p.ndim < 2})"
            )
