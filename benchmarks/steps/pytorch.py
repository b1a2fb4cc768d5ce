"""PyTorch's steps, eager and by `torch.compile`; variants where PyTorch has a faster way to ask."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # as everybody writes it
from torch import nn
from workloads import Data

Step = Callable[[], float]
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
DEVICE = os.environ.get("STEPS_DEVICE", "cpu")  # as tapegrad's steps have it
if DEVICE != "cpu":  # float32 is float32 for every peer
    torch.backends.cudnn.allow_tf32 = False
    torch.set_default_device(DEVICE)


def tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(array).to(DEVICE)


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def leaf(array: Any) -> torch.Tensor:
    return tensor(array.copy()).requires_grad_()


def linear(d: Data, name: object) -> nn.Linear:
    weight = d["params"][f"W{name}"]
    layer = nn.Linear(*weight.shape)
    layer.weight.data = tensor(weight.T.copy())
    layer.bias.data = tensor(d["params"][f"b{name}"].copy())
    return layer


class Perceptron(nn.Module):
    def __init__(self, d: Data) -> None:
        super().__init__()
        self.layers = nn.ModuleList(linear(d, k) for k in range(d["layers"]))

    def forward(self, x: Any, y: Any) -> Any:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return F.cross_entropy(self.layers[-1](x), y)


class LeNet(nn.Module):
    def __init__(self, d: Data) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        for k, layer in enumerate((self.first, self.second)):
            layer.weight.data = tensor(d["params"][f"K{k}"].copy())
            layer.bias.data = tensor(d["params"][f"c{k}"].copy())
        self.layers = nn.ModuleList(linear(d, k) for k in range(3))

    def forward(self, x: Any, y: Any) -> Any:
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 2).flatten(1)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return F.cross_entropy(self.layers[-1](x), y)


class Convolutions(nn.Module):
    def __init__(self, d: Data) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(64, eps=d["eps"]) for _ in range(2))
        for k, layer in enumerate(self.layers):
            layer.weight.data = tensor(d["params"][f"K{k}"].copy())

    def forward(self, x: Any) -> Any:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.relu(norm(layer(x)))
        return (x * x).mean() * 0.5


class LSTM(nn.Module):
    def __init__(self, d: Data) -> None:
        super().__init__()
        p, n = d["params"], d["hidden"]
        self.lstm = nn.LSTM(n, n)
        self.lstm.weight_ih_l0.data = tensor(p["Wx"].T.copy())
        self.lstm.weight_hh_l0.data = tensor(p["Wh"].T.copy())
        self.lstm.bias_ih_l0.data = tensor(p["b"].copy())
        self.lstm.bias_hh_l0.data = torch.zeros(4 * n)
        self.lstm.bias_hh_l0.requires_grad_(False)  # the workload has one bias

    def forward(self, x: Any) -> Any:
        h, _ = self.lstm(x)
        return (h * h).mean()


class Encoder(nn.Module):
    def __init__(self, d: Data) -> None:
        super().__init__()
        self.heads = d["heads"]
        self.first, self.second = (nn.LayerNorm(256, eps=d["eps"]) for _ in range(2))
        self.qkv, self.out, self.wide, self.narrow = (linear(d, k) for k in ("qkv", "o", "1", "2"))

    def forward(self, x: Any) -> Any:
        batch, length, width = x.shape
        parts = self.qkv(self.first(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(a)
        x = x + self.narrow(F.gelu(self.wide(self.second(x)), approximate="tanh"))
        return (x * x).mean()


def steps(wrap: Wrap) -> dict[str, Callable[[Data], Step]]:
    made = Steps(wrap)
    found = {
        "w1": made.chain,
        "w2": lambda d: made.train(Perceptron(d), d, tensor(d["x"]), tensor(d["y"])),
        "w3": lambda d: made.train(Perceptron(d), d, tensor(d["x"]), tensor(d["y"])),
        "w4": lambda d: made.train(LeNet(d), d, tensor(d["x"]), tensor(d["y"])),
        "w5": lambda d: made.train(Convolutions(d), d, leaf(d["x"])),
        "w5@channels last": made.channels_last,
        "w6": lambda d: made.train(LSTM(d), d, tensor(d["x"])),
        "w7": lambda d: made.train(Encoder(d), d, leaf(d["x"])),
        "w8": made.logistic,
        "w8@torch.func": made.logistic_by_functions,
        "w9": made.normalized,
        "w10": made.adam,
        "w10@fused": lambda d: made.adam(d, fused=True),
        "w11": made.network,
        "w12": made.embedding,
        "w12@sparse": lambda d: made.embedding(d, sparse=True),
        "w13a": made.chain,
        "w13b": made.chain,
        "w13c": made.chain,
    }
    if wrap is not eager:
        # 1,000 operations compile for minutes; and torch.compile refuses double backward, and LSTM
        for name in ("w1", "w6", "w8", "w13a", "w13b", "w13c"):
            del found[name]
    return found


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


class Steps:
    def __init__(self, wrap: Wrap) -> None:
        self.wrap = wrap

    def train(self, model: nn.Module, d: Data, *data: Any) -> Step:
        params = [p for p in model.to(DEVICE).parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(params, lr=d["lr"], momentum=d["momentum"])
        run = self.wrap(model)
        leaves = [x for x in data if x.requires_grad]

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            for x in leaves:
                x.grad = None
            loss = run(*data)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def chain(self, d: Data) -> Step:
        x, a, b = leaf(d["x"]), tensor(d["a"]), tensor(d["b"])

        def step() -> float:
            x.grad, y = None, x
            for k in range(d["length"]):
                y = y + a if k % 3 == 0 else y * b if k % 3 == 1 else torch.tanh(y)
            loss = y.sum()
            loss.backward()
            return loss.item()

        return step

    def channels_last(self, d: Data) -> Step:
        layout = torch.channels_last
        x = tensor(d["x"]).to(memory_format=layout).requires_grad_()
        return self.train(Convolutions(d).to(memory_format=layout), d, x)

    def logistic(self, d: Data) -> Step:
        X, y, v, w = tensor(d["X"]), tensor(d["y"]), tensor(d["v"]), leaf(d["w"])

        def step() -> float:
            loss = F.softplus(-y * (X @ w)).mean()
            (g,) = torch.autograd.grad(loss, w, create_graph=True)
            (product,) = torch.autograd.grad(g, w, v)
            return product.sum().item()

        return step

    def logistic_by_functions(self, d: Data) -> Step:
        X, y, v, w = (tensor(d[name]) for name in ("X", "y", "v", "w"))

        def loss(w: Any) -> Any:
            return F.softplus(-y * (X @ w)).mean()

        run = self.wrap(lambda: torch.func.jvp(torch.func.grad(loss), (w,), (v,))[1])
        return lambda: run().sum().item()

    def normalized(self, d: Data) -> Step:
        x, t, g, h = leaf(d["x"]), tensor(d["t"]), leaf(d["g"]), leaf(d["h"])

        def loss_of(x: Any, g: Any, h: Any) -> Any:
            z = F.layer_norm(x, (1024,), g, h, d["eps"])
            return (F.gelu(z, approximate="tanh") * t).mean()

        run = self.wrap(loss_of)

        def step() -> float:
            x.grad = g.grad = h.grad = None
            loss = run(x, g, h)
            loss.backward()
            return loss.item()

        return step

    def adam(self, d: Data, **options: Any) -> Step:
        params = [leaf(p) for p in d["params"].values()]
        for p, g in zip(params, d["grads"].values(), strict=True):
            p.grad = tensor(g)
        optimizer = torch.optim.Adam(params, lr=d["lr"], betas=d["betas"], eps=d["eps"], **options)
        run = self.wrap(optimizer.step)

        def step() -> float:
            run()
            return params[0][0].item()

        return step

    def network(self, d: Data) -> Step:
        operands = [leaf(a) for a in d["operands"]]
        run = self.wrap(lambda *a: torch.einsum(d["equation"], *a))

        def step() -> float:
            for a in operands:
                a.grad = None
            loss = run(*operands)
            loss.backward()
            return loss.item()

        return step

    def embedding(self, d: Data, *, sparse: bool = False) -> Step:
        E, i, t = leaf(d["E"]), tensor(d["i"]), tensor(d["t"])
        optimizer = torch.optim.SGD([E], lr=d["lr"])
        run = self.wrap(lambda: (F.embedding(i, E, sparse=sparse) * t).mean())

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = run()
            loss.backward()
            optimizer.step()
            return loss.item()

        return step


PEERS = {"PyTorch": steps(eager), "PyTorch compiled": steps(torch.compile)}
