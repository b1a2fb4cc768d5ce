"""A state machine of layers over sequences: whatever a person does with one is right or refused.

Rules remember and forget states, pass them, change masks, modes and weights, copy and save layers,
and call them in every way, with batches of any size. After every call the result is compared with
plain NumPy (`plain_sequences.py`), which is told everything and remembers nothing by itself. What
must be refused is a ShapeError, and changes nothing; a replayed step is right or a ReplayError.

    python -m tests.nightly recurrent_machine --steps=100000
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from layer_machine import (
    CALLS,
    SAMPLES,
    SEEDS,
    Instance,
    Machine,
    close,
    flat,
    instance_of,
)
from machine_runs import run_machine
from plain_sequences import KINDS, Kind, make_kind

from tapegrad import nn, no_grad
from tapegrad.autograd import Parameter, ops
from tapegrad.autograd.core.tree import leaves

MODES = ("both", "train", "eval", "neither")


class Sequences(Machine):
    """Layers of one class, with states and masks of padding."""

    layer: str
    kind: Kind
    size: int
    usual: tuple[int, int]  # the numbers of steps and samples in most calls and masks

    @initialize(
        seed=SEEDS,
        size=SAMPLES,
        t=SAMPLES,
        n=SAMPLES,
        mode=st.sampled_from(MODES),
        masked=st.booleans(),
        training=st.booleans(),
    )
    def build(
        self, seed: int, size: int, t: int, n: int, mode: str, masked: bool, training: bool
    ) -> None:
        rng = np.random.default_rng(seed)
        self.size, self.usual = size, (t, n)
        self.kind = make_kind(self.layer, rng, size)
        self.instances = [instance_of(self.kind.module.double())]
        self.mode(0, training)
        if self.kind.remembers:
            self.remember(0, mode)
        if masked and self.kind.sets_masks and self.kind.masks:
            self.set_mask(0, 1, 1, seed | 1, unset=False)

    # Settings -------------------------------------------------------------------------------------

    @precondition(lambda self: self.kind.remembers)
    @rule(number=SAMPLES, mode=st.sampled_from(MODES))
    def remember(self, number: int, mode: str) -> None:
        one = self.pick(number)
        one.module.remember(mode)
        one.remember = mode

    @precondition(lambda self: self.kind.remembers)
    @rule(number=SAMPLES)
    def forget(self, number: int) -> None:
        one = self.pick(number)
        one.module.forget()
        one.kept = None

    @precondition(lambda self: self.kind.remembers)
    @rule(number=SAMPLES, n=SAMPLES, seed=SEEDS)
    def set_states(self, number: int, n: int, seed: int) -> None:
        one, states = self.pick(number), self.draw_states(self.sizes(1, n, seed)[1], seed)
        given = [state.copy() for state in states]
        nested = self.kind.listed(given)[0]
        if one.remember == "neither":
            with pytest.raises(RuntimeError, match="remember"):
                one.module.setHiddenState(nested)
            return
        one.module.setHiddenState(nested)
        one.kept = states
        for state in given:
            state[...] = np.nan  # the caller's own, which were copied

    @precondition(lambda self: self.kind.sets_masks and self.kind.masks)
    @rule(number=SAMPLES, t=SAMPLES, n=SAMPLES, seed=SEEDS, unset=st.booleans())
    def set_mask(self, number: int, t: int, n: int, seed: int, unset: bool) -> None:
        one, shape = self.pick(number), self.sizes(t, n, seed)

        def change() -> None:
            one.mask = None if unset else np.random.default_rng(seed).random(shape) < 0.4
            one.module.setZeroMask(one.mask)

        self.replay_around(change, number, seed)

    @precondition(lambda self: self.kind.sets_masks and self.kind.masks)
    @rule(number=SAMPLES)
    def mask_zeros(self, number: int) -> None:
        one = self.pick(number)
        one.module.maskZero()
        one.maskzero = True

    # Calls ----------------------------------------------------------------------------------------

    @rule(number=SAMPLES, t=SAMPLES, n=SAMPLES, seed=SEEDS, how=st.sampled_from(CALLS))
    def run(self, number: int, t: int, n: int, seed: int, how: str) -> None:
        """x alone: from the states that are remembered, with the mask that is set."""
        one = self.pick(number)
        t, n = self.sizes(t, n, seed)
        for again in range(2 if how == "replay" else 1):  # the second call makes the program
            self.run_once(one, self.draw_input(t, n, seed + again), how, seed)

    def run_once(self, one: Instance, x: np.ndarray, how: str, seed: int) -> None:
        start = one.kept if one.remembers else None
        mask = self.mask_of(one, x)
        expected = self.expect(one, x, start, mask)
        if expected is None:
            one.steps.pop("x", None)  # a step that is refused leaves nothing to replay
            self.refused(one, lambda: self.call(one, how, x))
            return
        given = Parameter(x.copy()) if how == "call" else x  # whose gradient is asked for then
        y = one.replayed("x", one.module, x) if how == "replay" else self.call(one, how, given)
        if y is None:
            return
        close(y.numpy(), expected[0])
        if one.remembers:
            one.kept = expected[1]
        if how in {"forward", "call"}:
            self.check_gradients(one, given, x, start, mask, seed, result=y)

    @rule(
        number=SAMPLES,
        t=SAMPLES,
        n=SAMPLES,
        other=SAMPLES,
        seed=SEEDS,
        zeros=st.booleans(),
        around=st.booleans(),
        replays=st.booleans(),
    )
    def run_with_states(
        self,
        number: int,
        t: int,
        n: int,
        other: int,
        seed: int,
        zeros: bool,
        around: bool,
        replays: bool,
    ) -> None:
        """[x, states] -> [y, states]: remembered states are neither read nor written.

        A layer that remembers and is passed states itself remembers the last ones.
        """
        t, n = self.sizes(t, n, seed)
        one, x = self.pick(number), self.draw_input(t, n, seed)
        start = None if zeros else self.draw_states(other if seed % 4 == 1 else n, seed)
        around = around or self.kind.nest is None
        nest = self.kind.listed if around else self.kind.nest
        inputs = [x, None if start is None else nest(start)]
        module = nn.WithStates(one.module) if around else one.module
        if not around and start is None and one.remembers:
            start = one.kept
        expected = self.expect(one, x, start, self.mask_of(one, x))
        if expected is None:
            self.refused(one, lambda: module(inputs))
            return
        key = f"states {around} {zeros}"
        result = one.replayed(key, module, inputs) if replays else module.forward(inputs)
        if result is None:
            return
        close(result[0].numpy(), expected[0])
        for found, state in zip(flat(result[1]), expected[1], strict=True):
            close(found, state)
        if one.remembers and not around:
            one.kept = expected[1]
        if not replays:
            mask = self.mask_of(one, x)
            self.check_gradients(one, inputs, x, start, mask, seed, result=result, module=module)

    @precondition(lambda self: self.kind.masks)
    @rule(number=SAMPLES, t=SAMPLES, n=SAMPLES, other=SAMPLES, seed=SEEDS, replays=st.booleans())
    def run_with_a_mask(
        self, number: int, t: int, n: int, other: int, seed: int, replays: bool
    ) -> None:
        """A mask as an input stands in place of the one that is set."""
        t, n = self.sizes(t, n, seed)
        one, x = self.pick(number), self.draw_input(t, n, seed)
        samples = other if seed % 4 == 1 else n
        shape = (samples, t) if self.kind.batch_first else (t, samples)
        mask = np.random.default_rng(seed).random(shape) < 0.4
        start = one.kept if one.remembers else None
        expected = self.expect(one, x, start, mask)
        if expected is None:
            self.refused(one, lambda: one.module(x, mask))
            return
        y = one.replayed("mask", one.module, x, mask) if replays else one.module(x, mask)
        if y is None:
            return
        close(y.numpy(), expected[0])
        if one.remembers:
            one.kept = expected[1]

    @rule(number=SAMPLES, n=SAMPLES, seed=SEEDS)
    def run_on_what_does_not_fit(self, number: int, n: int, seed: int) -> None:
        one = self.pick(number)
        x = self.draw_input(2, n, seed)
        self.refused(one, lambda: one.module.forward(np.concatenate([x, x], axis=-1)))

    @precondition(lambda self: isinstance(self.kind.module, nn.Sequencer))
    @rule(number=SAMPLES, n=SAMPLES, other=SAMPLES, seed=SEEDS)
    def run_steps_of_several_sizes(self, number: int, n: int, other: int, seed: int) -> None:
        """The state after a step of n samples is not one for another number of samples."""
        n = self.sizes(1, n, seed)[1]
        one, x, more = self.pick(number), *(self.draw_input(1, k, seed) for k in (n, other))
        start = one.kept if one.remembers else None
        if n != other:
            self.refused(one, lambda: one.module([x[0], more[0]]))
        elif expected := self.expect(one, np.concatenate([x, more]), start, None):
            for y, right in zip(one.module([x[0], more[0]]), expected[0], strict=True):
                close(y.numpy(), right)
            if one.remembers:
                one.kept = expected[1]

    @invariant()
    def states_are_remembered(self) -> None:
        for one in getattr(self, "instances", ()) if self.kind.remembers else ():
            found = one.module.getHiddenState()
            assert not any(state.tracked for state in leaves(found)), "gradients would pass calls"
            assert (found is None) == (one.kept is None)
            if found is not None:
                for state, right in zip(flat(found), one.kept, strict=True):
                    close(state, right)

    # The model ------------------------------------------------------------------------------------

    def sizes(self, t: int, n: int, seed: int) -> tuple[int, int]:
        """The usual numbers of steps and samples, but for one seed in four."""
        return self.usual if seed % 4 else (t, n)

    def draw_input(self, t: int, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(t, n, self.size)) * (rng.random((t, n, 1)) > 0.25)
        return x.swapaxes(0, 1).copy() if self.kind.batch_first else x

    def draw_states(self, n: int, seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed + 1)
        return [rng.normal(size=shape) for shape in self.kind.widths(n)]

    def mask_of(self, one: Instance, x: np.ndarray) -> np.ndarray | None:
        if one.mask is not None or not one.maskzero:
            return one.mask
        return ~x.any(axis=-1)

    def expect(
        self, one: Instance, x: np.ndarray, start: Any, mask: np.ndarray | None
    ) -> tuple[np.ndarray, list[np.ndarray]] | None:
        """The output and the last states; None if the call must be refused."""
        n = x.shape[0 if self.kind.batch_first else 1]
        shapes = self.kind.widths(n)
        if start is not None and [state.shape for state in start] != shapes:
            return None
        if mask is not None and mask.shape != x.shape[:2]:
            return None
        states = [np.zeros(shape) for shape in shapes] if start is None else start
        return self.kind.run(one.parameters, x, states, mask)

    def call(self, one: Instance, how: str, x: np.ndarray) -> Any:
        if how == "forward":
            return one.module.forward(x)
        if how == "no_grad":
            with no_grad():
                return one.module(x)
        return one.module(x)

    def refused(self, one: Instance, call: Any) -> None:
        with pytest.raises(nn.ShapeError):
            call()

    def check_gradients(
        self,
        one: Instance,
        inputs: Any,
        x: np.ndarray,
        start: Any,
        mask: np.ndarray | None,
        seed: int,
        result: Any,
        module: Any = None,
    ) -> None:
        """The gradients along random directions are differences of the model.

        inputs: of `forward`, or a Parameter, with which the module was called on the tape
        """
        module = one.module if module is None else module
        rng = np.random.default_rng(seed + 2)
        with_states = isinstance(inputs, list)
        passed = with_states and inputs[1] is not None
        n = x.shape[0 if self.kind.batch_first else 1]
        states = [np.zeros(shape) for shape in self.kind.widths(n)] if start is None else start
        if with_states:
            nest = self.kind.listed if module is not one.module else self.kind.nest
            g_y = rng.normal(size=result[0].shape)
            g_last = [rng.normal(size=state.shape) for state in states]
            cotangent = [g_y, nest(g_last)]
        else:
            g_y, g_last = rng.normal(size=result.shape), [0.0] * len(states)
            cotangent = g_y
        module.zeroGradParameters()
        if isinstance(inputs, Parameter):
            ops.sum(result * cotangent).backward()
            by_input = inputs.grad
        else:
            by_input = module.backward(inputs, cotangent)
        found = [by_input[0] if with_states else by_input]
        if passed:
            found += leaves(by_input[1])
        variables = [x, *(states if passed else [])]
        found += [p.grad for _, p in module.named_parameters()]
        variables += one.parameters
        directions = [rng.normal(size=v.shape) for v in variables]

        def loss(distance: float) -> float:
            moved = [v + distance * d for v, d in zip(variables, directions, strict=True)]
            at, rest = moved[0], moved[1:]
            begin, rest = (rest[: len(states)], rest[len(states) :]) if passed else (states, rest)
            y, last = self.kind.run(rest, at, begin, mask)
            parts = zip(last, g_last, strict=True)
            return np.sum(y * g_y) + sum(np.sum(state * g) for state, g in parts)

        numeric = (loss(1e-5) - loss(-1e-5)) / 2e-5
        analytic = sum(np.sum(g.numpy() * d) for g, d in zip(found, directions, strict=True))
        assert abs(numeric - analytic) <= 1e-6 * (1 + abs(numeric)), (numeric, analytic)


def of_kind(kind: str) -> type[Sequences]:
    """The machine of one class of layers."""
    return type("Sequences", (Sequences,), {"layer": kind})


@pytest.mark.parametrize("kind", KINDS)
def test_layers_over_sequences_are_right_or_refuse(kind: str) -> None:
    run_machine(of_kind(kind), 3, 20)
