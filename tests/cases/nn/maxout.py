"""Examples for nn/layers/maxout.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def maxout(d):
    shape = (*d.shape("N?"), d.size("m"))
    module = nn.Maxout(shape[-1], d.size("k"), 2, d.choice([None, nn.Tanh()]))
    wrong = d.array((*shape[:-1], shape[-1] + 1))
    return Layer(module, d.array(shape), wrong, "always" if len(shape) > 1 else None)


MODULES = {
    "Maxout": maxout,
}
