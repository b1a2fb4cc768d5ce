"""Examples for nn/layers/beams.py; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Layer

WORDS = 4


def next_word(words, i, most, encoded, bias, cache):
    """Scores that depend on the last word, on both inputs, and on the step."""
    return encoded * (1 + i / most) + bias * np.cos(words[:, -1:]), cache


def search(d):
    n = d.size("N")
    module = nn.SequenceBeamSearch(WORDS, d.integer(1, 3), d.choice([0, 0.6]), 3, 1, 0)
    x = [d.array((n, WORDS)), d.array((n, WORDS))]
    return Layer(module.setLogitFn(next_word), x, [x[0], d.array((n + 1, WORDS))], "always")


MODULES = {"SequenceBeamSearch": search}


EXCEPTIONS = {
    ("SequenceBeamSearch", "float32_agrees_with_float64"): "words are integers in any precision",
    **{
        ("SequenceBeamSearch", law): "when the search ends depends on the data"
        for law in ("replay_equals_eager", "a_setting_changed_after_recording_is_seen")
    },
}
