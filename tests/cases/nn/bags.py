"""Examples for nn/layers/bags.py; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Layer


def embedding_bag(d):
    shape, mode = (d.size("N"), d.size("S", 1, 3)), d.choice(["mean", "sum", "max", "weighted"])
    padding = d.choice([None, 0])
    module = nn.EmbeddingBag(5, 3, "sum" if mode == "weighted" else mode, padding)
    indices, wrong = d.integers(shape, 0, 5), np.full(shape, 5)
    if mode == "weighted":
        return Layer(module, [indices, d.array(shape)], [wrong, np.ones(shape)])
    return Layer(module, indices, wrong)


MODULES = {
    "EmbeddingBag": embedding_bag,
}
