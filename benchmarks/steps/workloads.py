"""Data of the thirteen workloads, declared once for tapegrad and for every peer.

Arrays are float32 (labels and indices int64), drawn with seed 0.  A linear layer is ``x @ W + b``
with W (in, out); a convolution's weight is (out, in, height, width), images are (batch, planes,
height, width).  SGD has momentum as PyTorch has it: v ← μ v + g, p ← p − lr v.  GELU is its tanh
form.  A loss over classes is softmax with cross entropy, averaged over the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

FLOAT = np.float32
Data = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """One workload: how its data are made, and what its goals are.

    title:      what one step does
    make:       makes the data
    operations: the number of operations by which a time is divided (0: the time of a step counts)
    eager:      the goal of eager steps with the `fast` extra, of PyTorch's eager time
    compiled:   the goal of compiled steps, likewise
    """

    title: str
    make: Callable[[], Data]
    operations: int = 0
    eager: float | None = None
    compiled: float | None = None


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return rng.standard_normal(shape).astype(FLOAT) * FLOAT(scale)


def _linear(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    return _normal(rng, inputs, outputs, scale=inputs**-0.5)


def _trained(**data: Any) -> Data:
    return {"lr": 0.01, "momentum": 0.9, **data}


def chain(length: int) -> Data:
    """An array of ten numbers through a chain of additions, products and tanh, and their sum."""
    rng = np.random.default_rng(0)
    # so small that 100,000 operations leave neither values nor gradients subnormal or large
    return {
        "x": _normal(rng, 10, scale=1e-3),
        "a": _normal(rng, 10, scale=1e-6),
        "b": np.full(10, 1.0001, FLOAT),
        "length": length,
    }


def perceptron(sizes: tuple[int, ...], batch: int) -> Data:
    rng = np.random.default_rng(0)
    params = {}
    for k, (inputs, outputs) in enumerate(pairwise(sizes)):
        params[f"W{k}"], params[f"b{k}"] = _linear(rng, inputs, outputs), np.zeros(outputs, FLOAT)
    return _trained(
        params=params,
        layers=len(sizes) - 1,
        x=_normal(rng, batch, sizes[0]),
        y=rng.integers(0, sizes[-1], batch),
    )


def lenet() -> Data:
    rng = np.random.default_rng(0)
    params = {
        "K0": _normal(rng, 6, 1, 5, 5, scale=1 / 5),
        "c0": np.zeros(6, FLOAT),
        "K1": _normal(rng, 16, 6, 5, 5, scale=1 / 12),
        "c1": np.zeros(16, FLOAT),
    }
    for k, (inputs, outputs) in enumerate(((400, 120), (120, 84), (84, 10))):
        params[f"W{k}"], params[f"b{k}"] = _linear(rng, inputs, outputs), np.zeros(outputs, FLOAT)
    return _trained(params=params, x=_normal(rng, 64, 1, 28, 28), y=rng.integers(0, 10, 64))


def convolutions() -> Data:
    rng = np.random.default_rng(0)
    params = {}
    for k in range(2):
        params[f"K{k}"] = _normal(rng, 64, 64, 3, 3, scale=1 / 24)
        params[f"g{k}"], params[f"h{k}"] = np.ones(64, FLOAT), np.zeros(64, FLOAT)
    return _trained(params=params, eps=1e-5, x=_normal(rng, 16, 64, 32, 32))


def lstm() -> Data:
    """Gates in the order i, f, g, o, with one bias; time first."""
    rng = np.random.default_rng(0)
    params = {
        "Wx": _linear(rng, 128, 512),
        "Wh": _linear(rng, 128, 512),
        "b": np.zeros(512, FLOAT),
    }
    return _trained(params=params, hidden=128, x=_normal(rng, 50, 32, 128))


def transformer() -> Data:
    rng, d = np.random.default_rng(0), 256
    params = {}
    for name, (inputs, outputs) in {
        "qkv": (d, 3 * d), "o": (d, d), "1": (d, 4 * d), "2": (4 * d, d),
    }.items():  # fmt: skip
        params["W" + name], params["b" + name] = (
            _linear(rng, inputs, outputs),
            np.zeros(outputs, FLOAT),
        )
    for k in range(2):
        params[f"g{k}"], params[f"h{k}"] = np.ones(d, FLOAT), np.zeros(d, FLOAT)
    return _trained(params=params, heads=4, eps=1e-5, x=_normal(rng, 8, 128, d))


def logistic() -> Data:
    rng = np.random.default_rng(0)
    return {
        "X": _normal(rng, 5000, 100),
        "w": _normal(rng, 100, scale=0.1),
        "y": np.where(rng.random(5000) < 0.5, -1, 1).astype(FLOAT),
        "v": _normal(rng, 100),
    }


def normalized() -> Data:
    rng, n = np.random.default_rng(0), 1024
    return {
        "x": _normal(rng, 4096, n),
        "t": _normal(rng, 4096, n),
        "g": np.ones(n, FLOAT),
        "h": np.zeros(n, FLOAT),
        "eps": 1e-5,
    }


def adam() -> Data:
    rng = np.random.default_rng(0)
    return {
        "params": {f"p{i}": _normal(rng, 100_000) for i in range(100)},
        "grads": {f"p{i}": _normal(rng, 100_000) for i in range(100)},
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
    }


def network() -> Data:
    rng, n = np.random.default_rng(0), 24
    return {
        "equation": "abc,bde,cef,dgh,fhi,gia->",
        "operands": [_normal(rng, n, n, n, scale=1 / n) for _ in range(6)],
    }


def embedding() -> Data:
    """4,096 of 50,000 rows, those in front more often than those behind."""
    rng = np.random.default_rng(0)
    return {
        "E": _normal(rng, 50_000, 128),
        "lr": 0.01,
        "i": (50_000 * rng.random(4096) ** 4).astype(np.int64),
        "t": _normal(rng, 4096, 128),
    }


WORKLOADS = {
    "w1": Workload("chain of 1,000 small operations", lambda: chain(1000), 1000, 0.40, 0.02),
    "w2": Workload(
        "MLP 64-128-10, batch 32, SGD", lambda: perceptron((64, 128, 10), 32), 0, 0.8, 0.25
    ),
    "w3": Workload(
        "MLP 784-1024-1024-10, batch 256, SGD",
        lambda: perceptron((784, 1024, 1024, 10), 256), 0, 1.05, 1.0,
    ),
    "w4": Workload("LeNet-5, batch 64, SGD", lenet, 0, 1.0, 0.9),
    "w5": Workload(
        "two 3×3 convolutions with batch normalization, 16×64×32×32, SGD", convolutions, 0, 0.6, 0.5
    ),
    "w6": Workload("LSTM 128 × 50 steps, batch 32, SGD", lstm, 0, 1.0, 0.9),
    "w7": Workload("transformer block, 8×128×256, SGD", transformer, 0, 1.0, 0.9),
    "w8": Workload("Hessian-vector product, logistic regression", logistic, 0, 1.0, 0.4),
    "w9": Workload("gelu(layernorm), 4096×1024", normalized, 0, 0.5, 0.2),
    "w10": Workload("Adam, 10 million parameters", adam, 0, 0.30, 0.28),
    "w11": Workload("tensor network of six tensors, bond 24", network, 0, 0.9, 0.5),
    "w12": Workload("embedding 50,000 × 128, 4,096 indices, SGD", embedding, 0, 0.3, 0.2),
    "w13a": Workload("chain of 100 operations", lambda: chain(100), 100),
    "w13b": Workload("chain of 10,000 operations", lambda: chain(10_000), 10_000),
    "w13c": Workload("chain of 100,000 operations", lambda: chain(100_000), 100_000),
}  # fmt: skip
