"""Examples for nn/layers/transformer.py; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Layer


def attention(d):
    n, t, s = d.size("N"), d.size("T", 1, 3), d.size("S", 1, 3)
    heads = d.choice([1, 2])
    size = heads * d.size("D", 1, 2)
    module = nn.Attention(size, heads)
    x = [d.array((n, t, size)), d.array((n, s, size)), d.array((n, 1, 1, s))]
    return Layer(module, x, [d.array((n, t, size + 1)), *x[1:]], "always")


def feed_forward(d):
    size = d.size("D", 1, 3)
    shape = (*d.shape("N"), d.size("T", 1, 3), size)
    module = nn.FeedForwardNetwork(size, d.size("F", 1, 3))
    return Layer(module, d.array(shape), d.array((*shape[:2], size + 1)), "always")


def position_encode(d):
    return Layer(nn.PositionEncode(), d.array(d.shape("N T D")), d.array((2,)))


def padding_mask(d):
    x = d.integers((d.size("N"), d.size("T", 1, 3)), 0, 3)
    return Layer(nn.PaddingMask(0), x, d.integers((2,), 0, 3))


def transformer(d):
    n, t = d.size("N"), d.size("T", 1, 3)
    two, shared = d.choice([True, False]), d.choice([True, False])
    module = nn.Transformer(
        4, 2, d.choice([1, 2]), 3, 1, paddingValue=d.choice([-1, 0]),
        withShareWeightsLinear=shared, transformerType="Translation" if two else "LanguageModel",
    )  # fmt: skip
    x = d.integers((n, t), 1, 4)
    wrong = np.full((n, t), 4)
    if two:
        source = d.integers((n, d.size("S", 1, 3)), 1, 4)
        return Layer(module, [source, x], [source, wrong])
    return Layer(module, x, wrong)


MODULES = {
    "Attention": attention,
    "FeedForwardNetwork": feed_forward,
    "PaddingMask": padding_mask,
    "PositionEncode": position_encode,
    "Transformer": transformer,
}


EXCEPTIONS = {
    ("Attention", "saturated_values_and_gradients_are_precise"): (
        "gradients of saturated scores are differences of what four matrices have rounded"
    ),
}
