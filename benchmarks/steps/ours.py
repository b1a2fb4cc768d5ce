"""tapegrad's steps: modules, criterions and optimizers for layers, NumPy code elsewhere.

They run on the device that the variable STEPS_DEVICE of the environment names, else on the CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from workloads import Data

import tapegrad as tg
from tapegrad import nn, ops, optim

Step = Callable[[], float]
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
DEVICE = os.environ.get("STEPS_DEVICE", "cpu")


def set_threads(threads: int) -> None:
    tg.set_num_threads(threads)
    tg.keep_memory()  # the forward part of an eager loop, too


def steps(wrap: Wrap) -> dict[str, Callable[[Data], Step]]:
    """What makes the step of each workload; `wrap` is `tapegrad.compile`, or leaves it eager."""
    made = Steps(wrap)
    return {
        "w1": made.chain,
        "w2": made.perceptron,
        "w3": made.perceptron,
        "w4": made.lenet,
        "w5": made.convolutions,
        "w6": made.lstm,
        "w7": made.transformer,
        "w8": made.logistic,
        "w9": made.normalized,
        "w9@layers": made.normalized_by_layers,
        "w10": made.adam,
        "w11": made.network,
        "w12": made.embedding,
        "w13a": made.chain,
        "w13b": made.chain,
        "w13c": made.chain,
    }


class Encoder(nn.Module):
    """A pre-norm transformer block whose attention is written out."""

    def __init__(self, d: Data) -> None:
        super().__init__()
        width, self.heads = 256, d["heads"]
        self.first, self.second = (nn.LayerNorm(width, eps=d["eps"]) for _ in range(2))
        self.qkv, self.out, self.wide, self.narrow = (linear(d, k) for k in ("qkv", "o", "1", "2"))

    def updateOutput(self, x: Any) -> Any:  # Torch7's name
        batch, length, width = x.shape
        parts = self.qkv(self.first(x)).reshape(batch, length, 3, self.heads, -1)
        q, k, v = parts.transpose(2, 0, 3, 1, 4)
        scores = q @ np.swapaxes(k, -1, -2) * float((width // self.heads) ** -0.5)
        a = (ops.softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(batch, length, width)
        x = x + self.out(a)
        return x + self.narrow(gelu(self.wide(self.second(x))))


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def moved(array: Any) -> Any:
    """The array, or a Tensor of it where the steps do not run on the CPU."""
    return array if DEVICE == "cpu" else tg.Tensor(array, device=DEVICE)


def placed(model: nn.Module) -> nn.Module:
    return model if DEVICE == "cpu" else model.to(DEVICE)


def put(parameter: Any, values: Any) -> None:
    parameter.detach().data[...] = values


def linear(d: Data, name: object) -> nn.Linear:
    weight = d["params"][f"W{name}"]
    layer = nn.Linear(*weight.shape)
    put(layer.weight, weight.T)
    put(layer.bias, d["params"][f"b{name}"])
    return layer


class Steps:
    def __init__(self, wrap: Wrap) -> None:
        self.wrap = wrap

    def train(self, model: nn.Module, d: Data, loss_of: Callable[..., Any], *data: Any) -> Step:
        optimizer = optim.SGD(placed(model), lr=d["lr"], momentum=d["momentum"])
        data = tuple(map(moved, data))

        def body(*data: Any) -> Any:
            optimizer.zero_grad()
            loss = loss_of(*data)
            loss.backward()
            optimizer.step()
            return loss

        step = self.wrap(body)
        return lambda: float(step(*data))

    def train_with_input(self, model: nn.Module, d: Data, factor: float) -> Step:
        """Of factor · mean(y²), the gradient of the input too: by Torch7's methods."""
        optimizer = optim.SGD(placed(model), lr=d["lr"], momentum=d["momentum"])
        images = moved(d["x"])

        def body(x: Any) -> Any:
            optimizer.zero_grad()
            y = model.forward(x)
            model.backward(x, y * np.float32(2 * factor / y.size))
            optimizer.step()
            return np.mean(y * y) * np.float32(factor)

        step = self.wrap(body)
        return lambda: float(step(images))

    def chain(self, d: Data) -> Step:
        a, b, length = moved(d["a"]), moved(d["b"]), d["length"]
        start = moved(d["x"])

        def value(x: Any) -> Any:
            for k in range(length):
                x = x + a if k % 3 == 0 else x * b if k % 3 == 1 else np.tanh(x)
            return np.sum(x)

        step = self.wrap(lambda x: tg.value_and_grad(value)(x))
        return lambda: float(step(start)[0])

    def perceptron(self, d: Data) -> Step:
        model = nn.Sequential()
        for k in range(d["layers"]):
            if k:
                model.add(nn.ReLU())
            model.add(linear(d, k))
        criterion = nn.CrossEntropyCriterion()
        return self.train(model, d, lambda x, y: criterion(model(x), y), d["x"], d["y"])

    def lenet(self, d: Data) -> Step:
        first = nn.SpatialConvolution(1, 6, 5, 5, 1, 1, 2, 2)
        second = nn.SpatialConvolution(6, 16, 5, 5)
        for k, layer in enumerate((first, second)):
            put(layer.weight, d["params"][f"K{k}"])
            put(layer.bias, d["params"][f"c{k}"])
        model = nn.Sequential(
            first, nn.ReLU(), nn.SpatialMaxPooling(2, 2),
            second, nn.ReLU(), nn.SpatialMaxPooling(2, 2), nn.View(400),
            linear(d, 0), nn.ReLU(), linear(d, 1), nn.ReLU(), linear(d, 2),
        )  # fmt: skip
        criterion = nn.CrossEntropyCriterion()
        return self.train(model, d, lambda x, y: criterion(model(x), y), d["x"], d["y"])

    def convolutions(self, d: Data) -> Step:
        model = nn.Sequential()
        for k in range(2):
            layer = nn.SpatialConvolution(64, 64, 3, 3, 1, 1, 1, 1).noBias()
            put(layer.weight, d["params"][f"K{k}"])
            norm = nn.SpatialBatchNormalization(64, d["eps"])
            put(norm.weight, 1)
            put(norm.bias, 0)
            model.add(layer).add(norm).add(nn.ReLU())
        return self.train_with_input(model, d, 0.5)

    def lstm(self, d: Data) -> Step:
        p, n = d["params"], d["hidden"]
        layer = nn.SeqLSTM(n, n)
        order = np.r_[
            0 : 2 * n, 3 * n : 4 * n, 2 * n : 3 * n
        ]  # i, f, o, g as Torch7's rnn has them
        put(layer.weight, np.concatenate([p["Wx"], p["Wh"]])[:, order])
        put(layer.bias, p["b"])

        def loss(x: Any) -> Any:
            h = layer(x)
            return np.mean(h * h)

        return self.train(layer, d, loss, d["x"])

    def transformer(self, d: Data) -> Step:
        return self.train_with_input(Encoder(d), d, 1.0)

    def logistic(self, d: Data) -> Step:
        X, y, v, start = (moved(d[k]) for k in ("X", "y", "v", "w"))  # as in the formula

        def loss(w: Any) -> Any:
            return np.mean(np.logaddexp(0, -y * (X @ w)))

        step = self.wrap(lambda w: tg.hvp(loss, (w,), (v,)))
        return lambda: float(np.sum(step(start)))

    def normalized(self, d: Data) -> Step:
        eps, t, *given = d["eps"], *(moved(d[k]) for k in ("t", "x", "g", "h"))

        def loss(x: Any, g: Any, h: Any) -> Any:
            c = x - np.mean(x, -1, keepdims=True)
            z = c * (1 / np.sqrt(np.mean(c * c, -1, keepdims=True) + eps)) * g + h
            return np.mean(gelu(z) * t)

        step = self.wrap(lambda x, g, h: tg.value_and_grad(loss, (0, 1, 2))(x, g, h))
        return lambda: float(step(*given)[0])

    def normalized_by_layers(self, d: Data) -> Step:
        norm, activation = placed(nn.LayerNorm(1024, eps=d["eps"])), nn.GELU(approximate="tanh")
        x, t = tg.Parameter(d["x"], device=DEVICE), moved(d["t"])

        def body() -> Any:
            loss = np.mean(activation(norm(x)) * t)
            loss.backward()
            return loss

        run = self.wrap(body)

        def step() -> float:
            x.grad = norm.weight.grad = norm.bias.grad = None
            return float(run())

        return step

    def adam(self, d: Data) -> Step:
        model = nn.Module()
        model.parts = [tg.Parameter(p.copy()) for p in d["params"].values()]
        optimizer = optim.Adam(placed(model), lr=d["lr"], betas=d["betas"], eps=d["eps"])
        for p, g in zip(model.parts, d["grads"].values(), strict=True):
            p.grad.data[...] = tg.devices.to_device(g, DEVICE)

        def body() -> Any:
            optimizer.step()
            return model.parts[0].detach()[0]

        step = self.wrap(body)
        return lambda: float(step())

    def network(self, d: Data) -> Step:
        def value(*operands: Any) -> Any:
            return np.einsum(d["equation"], *operands)

        step = self.wrap(lambda *a: tg.value_and_grad(value, tuple(range(6)))(*a))
        operands = list(map(moved, d["operands"]))
        return lambda: float(step(*operands)[0])

    def embedding(self, d: Data) -> Step:
        model, t, indices = nn.LookupTable(*d["E"].shape), moved(d["t"]), moved(d["i"])
        put(model.weight, d["E"])
        optimizer = optim.SGD(placed(model), lr=d["lr"])

        def body(i: Any) -> Any:
            optimizer.zero_grad()
            loss = np.mean(model(i) * t)
            loss.backward()
            optimizer.step()
            return loss

        step = self.wrap(body)
        return lambda: float(step(indices))


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


PEERS = {
    "tapegrad": steps(eager),
    "tapegrad compiled": steps(tg.compile),
    "tapegrad without fast": steps(eager),  # see worker.py
}
