"""Examples for nn/layers/shape.py; see `cases`."""

from __future__ import annotations

from cases.common import anywhere

from tapegrad import nn
from tapegrad.autograd.check import Layer


def reshaped(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    mode = d.choice([True, None, False])
    module = nn.Reshape(b, a, batchMode=mode)
    shape = (a, b) if mode is False else (n, a, b)
    if mode is None and n == 1:
        shape = (1, a, b)
    wrong = d.array((n, a * b + 1)) if a * b > 1 else None
    return Layer(module, d.array(shape), wrong, None if mode is False else "always")


def viewed(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    module = d.choice([nn.View(b, a), nn.View(b, -1)]).setNumInputDims(2)
    wrong = d.array((n, a, b + 1)) if a * (b + 1) % b else None
    return Layer(module, d.array((n, a, b)), wrong, "always")


def collapse(d):
    axes = d.integer(1, 2)
    return Layer(
        nn.Collapse(axes), d.array((*d.shape("N"), *d.shape("A B")[:axes])), batch="always"
    )


def convert(d):
    make, shape = d.choice([
        (lambda: nn.Convert("bchw", "bhwc"), "N C A B"),
        (lambda: nn.Convert("chw", "whc"), "N C A B"),
        (lambda: nn.Convert("bchw", "bf"), "N C A B"),
        (lambda: nn.Convert("bt", "b"), "N C"),
        (lambda: nn.Convert("b", "bt"), "N"),
    ])  # fmt: skip
    return Layer(make(), d.array(d.shape(shape)), d.array((1,) * 6), "always")


def squeeze(d):
    n, a = d.size("N", may_be_empty=True), d.size("A", 2, 4)
    module, shape = d.choice([
        (nn.Squeeze(1), (n, 1, a)),
        (nn.Squeeze(0, 2), (n, 1, a)),
        (nn.Squeeze(None, 2), (n, 1, a)),
        (nn.Squeeze(-1), (n, a, 1)),
    ])  # fmt: skip
    return Layer(module, d.array(shape), batch="always")


def unsqueeze(d):
    module = d.choice([nn.Unsqueeze(1), nn.Unsqueeze(0, 2), nn.Unsqueeze(-1), nn.Unsqueeze(2, 2)])
    return Layer(module, d.array(d.shape("N A B")), batch="always")


def replicate(d):
    module = d.choice([nn.Replicate(3, 1), nn.Replicate(2, 0, 1), nn.Replicate(1, 2)])
    return Layer(module, d.array(d.shape("N A")), batch="always")


def transpose(d):
    module = d.choice([nn.Transpose((1, 2)), nn.Transpose((1, 3), (2, -1))])
    if d.choice([False, True]):
        module = nn.Transpose((0, 2), (1, 2)).setNumInputDims(3)
    return Layer(module, d.array(d.shape("N A B C")), d.array((2,)), "always")


def padding(d):
    a = d.size("A")
    module = nn.Padding(0, d.choice([2, -1]), 2, d.choice([0, 0.5]), d.integer(0, a))
    return Layer(module, d.array(d.shape("N A B")), batch="always")


def flatten(d):
    shape = d.shape("N A B?")
    module = nn.Flatten(*d.choice([(), (1, 1), (-1, -1)]))
    return Layer(module, d.array(shape), d.array((2,)) if module.start_dim == 1 else None, "always")


MODULES = {
    "Flatten": flatten,
    "Collapse": collapse,
    "Contiguous": anywhere(lambda _: nn.Contiguous()),
    "Convert": convert,
    "Copy": anywhere(lambda _: nn.Copy()),
    "Padding": padding,
    "Replicate": replicate,
    "Reshape": reshaped,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "View": viewed,
}
