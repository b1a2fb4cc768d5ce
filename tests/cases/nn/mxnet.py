"""Examples for nn/mxnet/; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad.autograd.check import Layer
from tapegrad.nn import mxnet as mx

ACTIVATIONS = ["tanh", "relu", "sigmoid", "softrelu", "softsign"]


def symbol_module(d):
    """A drawn symbol: perhaps a BatchNorm, a layer, an activation; one output or two."""
    flat = d.choice([True, False])
    n, channels = d.size("N", 2, 4), d.size("C", 1, 3)
    rest = () if flat else (d.size("H", 3, 5), d.size("W", 3, 5))
    y = mx.sym.Variable("data")
    # in front: behind a layer its bias has the gradient 0, of which float16 keeps only noise
    normalized = d.choice([False, True, True])
    if normalized:
        y = mx.sym.BatchNorm(y, eps=0.01, momentum=0.5, fix_gamma=False, name="bn")
    if flat:
        y = mx.sym.FullyConnected(
            y, num_hidden=d.integer(1, 4), no_bias=d.choice([False, True]), name="fc"
        )
    else:
        y = mx.sym.Convolution(
            y, kernel=(2, 3), pad=(1, 0), stride=d.choice([(1, 1), (2, 1)]),
            num_filter=d.integer(1, 3), name="conv",
        )  # fmt: skip
    inner = y = mx.sym.Activation(y, act_type=d.choice(ACTIVATIONS), name="act")
    if not flat:
        y = mx.sym.Pooling(y, kernel=(2, 1), pool_type=d.choice(["avg", "max"]), name="pool")
    if d.choice([False, True]):
        y = mx.sym.broadcast_mul(mx.sym.Flatten(y), mx.sym.Variable("scale", shape=(1, 1)))
    if d.choice([False, True]):
        y = mx.sym.Group([y, mx.sym.sum(inner, axis=1)])
    arguments, _, states = y.infer_shape(data=(n, channels, *rest))
    values = [
        {name: np.zeros(shape) for name, shape in zip(names, shapes, strict=True)}
        for names, shapes in (
            (y.list_arguments(), arguments),
            (y.list_auxiliary_states(), states),
        )
    ]
    del values[0]["data"]
    for name, value in values[1].items():
        value += name.endswith("var")
    return Layer(
        mx.SymbolModule(y, *values),
        d.array((n, channels, *rest)),
        d.array((n, channels + 1, *rest)),
        "evaluate" if normalized else "always",
    )


MODULES = {"SymbolModule": symbol_module}
