"""Examples for nn/layers/attention.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def attention(d):
    heads, width = d.choice([(1, 3), (2, 4)])
    n, t, s = d.size("N"), d.size("T", 1, 3), d.size("S", 1, 3)
    module = nn.MultiHeadAttention(
        width,
        heads,
        d.choice([0.0, 0.25]),
        d.choice([True, False]),
        causal=d.choice([False, True]),
        need_weights=d.choice([False, True]),
    )
    if d.choice([True, False]):
        x = d.array((n, t, width), large=3.0)
        return Layer(module, x, d.array((n, t, width + 1)), "evaluate")
    x = [d.array((n, steps, width), large=3.0) for steps in (t, s, s)]
    return Layer(module, x, [x[0], x[1], d.array((n, s + 1, width))], "evaluate")


def encoder(d):
    n, t = d.size("N"), d.size("T", 1, 3)
    module = nn.TransformerEncoderLayer(
        4,
        2,
        3,
        d.choice([0.0, 0.25]),
        d.choice(["relu", "gelu"]),
        1e-2,
        norm_first=d.choice([False, True]),
    )
    return Layer(module, d.array((n, t, 4), large=3.0), d.array((n, t, 5)), "evaluate")


def decoder(d):
    n, t, s = d.size("N"), d.size("T", 1, 3), d.size("S", 1, 3)
    module = nn.TransformerDecoderLayer(
        4,
        2,
        3,
        d.choice([0.0, 0.25]),
        d.choice(["relu", "gelu"]),
        1e-2,
        norm_first=d.choice([False, True]),
    )
    x = [d.array((n, steps, 4), large=3.0) for steps in (t, s)]
    return Layer(module, x, [x[0], d.array((n, s, 5))], "evaluate")


def positions(d):
    t, size = d.size("T", 1, 3), d.size("D", 1, 3)
    shape = (*d.shape("N"), t, size)
    wrong = d.array((*shape[:-2], 5, size))
    return Layer(nn.LearnedPositions(4, size), d.array(shape), wrong, "always")


MODULES = {
    "LearnedPositions": positions,
    "TransformerDecoderLayer": decoder,
    "MultiHeadAttention": attention,
    "TransformerEncoderLayer": encoder,
}
