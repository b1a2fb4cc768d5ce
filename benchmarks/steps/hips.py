"""HIPS autograd's steps: the formulas on its NumPy, and SGD written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from formulas import Formulas
from workloads import Data

from autograd import grad, value_and_grad

Step = Callable[[], float]


def set_threads(threads: int) -> None:
    """The driver's environment says how many threads BLAS has."""


def convolve(x: Any, weight: Any, padding: int) -> Any:
    """By products of shifted images: HIPS autograd's own convolution is far slower."""
    if padding:
        x = anp.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), "constant")
    out, planes, kh, kw = weight.shape
    height, width = x.shape[2] - kh + 1, x.shape[3] - kw + 1
    shifted = [x[:, :, i : i + height, j : j + width] for i in range(kh) for j in range(kw)]
    columns = anp.transpose(anp.concatenate(shifted, 1), (0, 2, 3, 1))
    columns = anp.reshape(columns, (-1, kh * kw * planes))
    matrix = anp.transpose(anp.reshape(weight, (out, planes, kh * kw)), (2, 1, 0))
    y = columns @ anp.reshape(matrix, (-1, out))
    return anp.transpose(anp.reshape(y, (x.shape[0], height, width, out)), (0, 3, 1, 2))


def pool(x: Any) -> Any:
    batch, planes, height, width = x.shape
    windows = anp.reshape(x, (batch, planes, height // 2, 2, width // 2, 2))
    return anp.max(anp.max(windows, 5), 3)


FORMULAS = Formulas(anp, lambda z, y: z[np.arange(len(y)), y], convolve, pool)


def train(loss: Callable[[Data, Data], Any], d: Data, *leaves: str) -> Step:
    params = {k: p.copy() for k, p in d["params"].items()}
    speed = {k: np.zeros_like(p) for k, p in params.items()}
    value_of = value_and_grad(lambda p: loss(p, d))
    given = {k: d[k] for k in leaves}

    def step() -> float:
        value, g = value_of({**params, **given})
        for k, p in params.items():
            speed[k] = d["momentum"] * speed[k] + g[k]
            params[k] = p - np.float32(d["lr"]) * speed[k]
        return float(value)

    return step


def chain(d: Data) -> Step:
    value_of = value_and_grad(lambda x: FORMULAS.chain(x, d["a"], d["b"], d["length"]))
    return lambda: float(value_of(d["x"])[0])


def logistic(d: Data) -> Step:
    gradient = grad(lambda w: FORMULAS.logistic(w, d))
    product = grad(lambda w: anp.sum(gradient(w) * d["v"]))
    return lambda: float(product(d["w"]).sum())


def normalized(d: Data) -> Step:
    value_of = value_and_grad(lambda p: FORMULAS.normalized(p, d))
    return lambda: float(value_of({k: d[k] for k in "xgh"})[0])


def network(d: Data) -> Step:
    """By opt_einsum's order of pairs: the gradient of HIPS autograd's einsum does not keep one."""
    from opt_einsum import contract

    value_of = value_and_grad(lambda a: contract(d["equation"], *a, backend="autograd"))
    return lambda: float(value_of(list(d["operands"]))[0])


def embedding(d: Data) -> Step:
    state = [d["E"].copy()]
    value_of = value_and_grad(lambda E: anp.mean(E[d["i"]] * d["t"]))

    def step() -> float:
        value, g = value_of(state[0])
        state[0] = state[0] - np.float32(d["lr"]) * g
        return float(value)

    return step


PEERS = {
    "HIPS autograd": {
        "w1": chain,
        "w2": lambda d: train(FORMULAS.perceptron, d),
        "w3": lambda d: train(FORMULAS.perceptron, d),
        "w4": lambda d: train(FORMULAS.lenet, d),
        "w5": lambda d: train(FORMULAS.convolutions, d, "x"),
        "w6": lambda d: train(FORMULAS.lstm, d),
        "w7": lambda d: train(FORMULAS.transformer, d, "x"),
        "w8": logistic,
        "w9": normalized,
        "w11": network,
        "w12": embedding,
        "w13a": chain,
        "w13b": chain,
    }
}
