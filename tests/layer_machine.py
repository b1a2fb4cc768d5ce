"""What the state machines of layers share: instances of one layer, their copies, modes and weights.

A machine holds up to three instances of a layer. Each knows what must hold of it, in plain values;
the machines of single families (`test_machine_recurrent.py`, `test_machine_attention.py`) add rules
that call the layer and compare.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
)

from tapegrad import nn
from tapegrad.autograd import ReplayError, replay
from tapegrad.autograd.core.tree import leaves

SEEDS = st.integers(0, 2**20)
SAMPLES = st.integers(1, 3)
CALLS = ("forward", "call", "no_grad", "replay")
COPIES = ("clone", "share", "deepcopy", "pickle", "file")


def copied(module: Any, how: str) -> Any:
    """A second module with the same settings, states and values."""
    if how == "file":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.safetensors"
            module.save(path)
            return nn.load(path)
    if how == "share":
        return module.clone(*{name.rpartition(".")[2] for name, _ in module.named_parameters()})
    if how == "clone":
        return module.clone()
    return copy.deepcopy(module) if how == "deepcopy" else pickle.loads(pickle.dumps(module))


def flat(states: Any) -> list[np.ndarray]:
    return [state.numpy().copy() for state in leaves(states)]


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@dataclass
class Instance:
    """One layer, and what must hold of it.

    parameters: the values in the order of `named_parameters`; layers that share have one list
    kept:       the states that are remembered
    """

    module: Any
    parameters: list[np.ndarray]
    training: bool = True
    remember: str = "neither"
    kept: list[np.ndarray] | None = None
    mask: np.ndarray | None = None
    maskzero: bool = False
    steps: dict[str, Any] = field(default_factory=dict)  # replayed steps, by what they take

    @property
    def remembers(self) -> bool:
        return self.remember in {"both", "train" if self.training else "eval"}

    def after(self, how: str, module: Any) -> Instance:
        """What must hold of a copy."""
        parameters = self.parameters if how == "share" else [p.copy() for p in self.parameters]
        other = copy.copy(self)
        other.module, other.parameters, other.steps = module, parameters, {}
        return other

    def learn(self, rng: np.random.Generator) -> None:
        """Write other values into the parameters, as an optimizer would."""
        named = dict(self.module.named_parameters())
        for value, parameter in zip(self.parameters, named.values(), strict=True):
            value[...] = rng.normal(size=value.shape)
            parameter.data[...] = value

    def replayed(self, key: str, step: Any, *args: Any) -> Any:
        """What the replayed step returns; None where it is refused, and it starts afresh then."""
        try:
            return self.steps.setdefault(key, replay(step))(*args)
        except ReplayError:
            del self.steps[key]
            return None


def instance_of(module: Any) -> Instance:
    return Instance(module, [p.numpy().copy() for _, p in module.named_parameters()])


class Machine(RuleBasedStateMachine):
    """What both machines share: copies, modes and weights of up to three instances."""

    instances: list[Instance]

    def run(self, number: int, t: int, n: int, seed: int, how: str) -> None:
        """Call an instance and compare; a rule of each machine."""
        raise NotImplementedError

    def replay_around(self, change: Callable[[], None], number: int, seed: int) -> None:
        """Change something between two replays of one call, as seldom happens by chance."""
        usual = seed | 1  # the sizes are the usual ones then
        self.run(number, 1, 1, usual, "replay")
        change()
        self.run(number, 1, 1, usual, "replay")

    def pick(self, number: int) -> Instance:
        return self.instances[number % len(self.instances)]

    @rule(number=SAMPLES, how=st.sampled_from(COPIES), replaces=st.booleans())
    def copy(self, number: int, how: str, replaces: bool) -> None:
        """A copy knows everything that the original knows, and goes its own way from then on."""
        one = self.pick(number)
        other = one.after(how, copied(one.module, how))
        if replaces or len(self.instances) == 3:
            self.instances[number % len(self.instances)] = other
        else:
            self.instances.append(other)

    @rule(number=SAMPLES, training=st.booleans())
    def mode(self, number: int, training: bool) -> None:
        one = self.pick(number)
        one.module.training() if training else one.module.evaluate()
        one.training = training

    @rule(number=SAMPLES, seed=SEEDS)
    def learn(self, number: int, seed: int) -> None:
        self.replay_around(
            lambda: self.pick(number).learn(np.random.default_rng(seed)), number, seed
        )

    @invariant()
    def nothing_else_has_changed(self) -> None:
        for one in getattr(self, "instances", ()):
            for value, (name, p) in zip(one.parameters, one.module.named_parameters(), strict=True):
                assert np.array_equal(value, p.numpy()), f"{name} is {p}, expected {value}"
