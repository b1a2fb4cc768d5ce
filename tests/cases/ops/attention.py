"""Examples for autograd/ops/attention.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def attention(d):
    """Leading axes that broadcast, masks of floats and of booleans, causal or not."""
    count, length, width, depth = d.size("L"), d.size("S"), d.size("d"), d.size("e")
    batch = d.shape("N A?")
    first, second = d.choice([(batch, batch), (batch, ()), ((), batch), (batch, (1,))])
    arrays = [
        d.array((*first, count, width), large=3.0),
        d.array((*second, length, width), large=3.0),
        d.array((*second, length, depth)),
    ]
    kind = d.choice(["none", "floats", "floats", "booleans"])
    shape = d.choice([(count, length), (length,), (count, 1), (*batch, 1, length)])
    if kind == "floats":
        arrays.append(d.array(shape, large=3.0))
    elif kind == "booleans":
        hidden = d.booleans(shape)
        hidden[..., 0] = False  # each query sees a key
        arrays.append(hidden)
    return TrialCall(arrays, {"causal": d.choice([False, True]), "scale": d.choice([None, 0.5])})


OPERATIONS = {"scaled_dot_product_attention": attention}
