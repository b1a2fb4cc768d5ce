"""A state machine of attention: masks of steps and of padding are right or refused.

After every call the result is compared with plain NumPy (`plain_sequences.py`).

    python -m tests.nightly attention_machine --steps=100000
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from layer_machine import (
    CALLS,
    SAMPLES,
    SEEDS,
    Instance,
    Machine,
    close,
    instance_of,
)
from machine_runs import run_machine
from plain_sequences import attention

from tapegrad import nn


class Attentions(Machine):
    """MultiHeadAttention and its masks."""

    @initialize(heads=st.integers(1, 2), seed=SEEDS, causal=st.booleans(), t=SAMPLES, n=SAMPLES)
    def build(self, heads: int, seed: int, causal: bool, t: int, n: int) -> None:
        self.heads, self.causal, self.usual = heads, causal, (t, n)
        module = nn.MultiHeadAttention(2 * heads, heads, causal=causal).double()
        self.instances = [instance_of(module)]
        self.instances[0].learn(np.random.default_rng(seed))
        self.instances[0].mask = (None, None)

    @rule(number=SAMPLES, t=SAMPLES, n=SAMPLES, seed=SEEDS, which=st.integers(0, 3))
    def set_masks(self, number: int, t: int, n: int, seed: int, which: int) -> None:
        one, masks = self.pick(number), self.draw_masks(t, n, seed, which)

        def change() -> None:
            one.module.setMask(attn_mask=masks[0], key_padding_mask=masks[1])
            one.mask = masks

        self.replay_around(change, number, seed)

    @rule(number=SAMPLES, t=SAMPLES, n=SAMPLES, seed=SEEDS)
    def set_a_mask_without_a_name(self, number: int, t: int, n: int, seed: int) -> None:
        """Four axes need no name; (N, S) may be (T, S), so two axes are refused."""
        one, (_, padding) = self.pick(number), self.draw_masks(t, n, seed - seed // 4 % 2 * 4, 2)
        with pytest.raises(nn.ShapeError, match="key_padding_mask"):
            one.module.setMask(padding)
        one.module.setMask(padding[:, None, None, :])
        one.mask = (padding[:, None, None, :], None)

    @rule(number=SAMPLES, t=SAMPLES, seed=SEEDS)
    def set_what_is_no_mask(self, number: int, t: int, seed: int) -> None:
        """1 for what is kept: as integers, and as floats that would be added to the scores."""
        keeps = np.tril(np.ones((t, t), float if seed % 2 else int))
        with pytest.raises(TypeError, match="mask == 0"):
            self.pick(number).module.setMask(keeps[None, None])

    @rule(
        number=SAMPLES,
        t=SAMPLES,
        n=SAMPLES,
        seed=SEEDS,
        which=st.integers(0, 3),
        how=st.sampled_from(CALLS),
    )
    def run(self, number: int, t: int, n: int, seed: int, how: str, which: int = 0) -> None:
        """Masks of the call hold beside those that are set."""
        one = self.pick(number)
        t, n = self.sizes(t, n, seed)
        for again in range(2 if how == "replay" else 1):  # the second call makes the program
            x = np.random.default_rng(seed + again).normal(size=(n, t, 2 * self.heads))
            self.run_once(one, x, self.draw_masks(t, n, seed, which), which, how)

    def run_once(
        self, one: Instance, x: np.ndarray, masks: tuple[Any, Any], which: int, how: str
    ) -> None:
        n, t = x.shape[:2]
        extra = masks if which else ()
        attn = [m for m in (masks[0], one.mask[0]) if m is not None]
        padding = [m for m in (masks[1], one.mask[1]) if m is not None]
        if self.misfits(attn, padding, n, t):
            one.steps.clear()
            with pytest.raises(nn.ShapeError):
                one.module(x, *extra)
            return
        if how == "replay":
            y = one.replayed(str(which), one.module, x, *extra)
            if y is None:
                return
        else:
            y = one.module.forward(x, *extra) if how == "forward" else one.module(x, *extra)
        right = attention(
            one.parameters,
            x,
            heads=self.heads,
            causal=self.causal,
            attn_mask=self.scores_of(attn),
            padding=self.scores_of(padding),
        )
        close(y.numpy(), right)

    def sizes(self, t: int, n: int, seed: int) -> tuple[int, int]:
        """The usual numbers of steps and samples, but for one seed in four."""
        return self.usual if seed % 4 else (t, n)

    def draw_masks(self, t: int, n: int, seed: int, which: int) -> tuple[Any, Any]:
        t, n = self.sizes(t, n, seed)
        rng = np.random.default_rng(seed + 3)
        makes = (lambda s: rng.random(s) < 0.3, lambda s: rng.normal(size=s))[seed // 4 % 2]
        attn, padding = makes((t, t)), makes((n, t))
        attn[:, 0] = padding[:, 0] = 0  # a step that sees nothing is NaN, as documented
        return (attn if which % 2 else None), (padding if which >= 2 else None)

    def misfits(self, attn: list[Any], padding: list[Any], n: int, t: int) -> bool:
        fits = all(m.shape in {(t, t), (n, 1, 1, t), (1, 1, 1, t)} for m in attn)
        return not fits or any(m.shape != (n, t) for m in padding)

    def scores_of(self, masks: list[np.ndarray]) -> np.ndarray | None:
        """Masks of booleans and of floats as one, to be added."""
        if not masks:
            return None
        return sum(np.where(m, -np.inf, 0.0) if m.dtype == bool else m for m in masks)


def test_masks_of_attention_are_right_or_refused() -> None:
    run_machine(Attentions, 5, 20)
