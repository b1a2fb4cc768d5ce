"""The workloads' losses as code on any namespace like NumPy's: JAX's and HIPS autograd's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Params = dict[str, Any]
SLOPE, CUBIC = 0.7978845608, 0.044715  # of GELU's tanh form


class Formulas:
    """Losses of (params, data), on a namespace.

    xp:      the namespace
    pick:    pick(z, y) gives z[k, y[k]] for each row k
    convolve: convolve(x, K, padding)
    pool:    maxima of windows of 2 × 2
    """

    def __init__(
        self,
        xp: Any,
        pick: Callable[[Any, Any], Any],
        convolve: Callable[[Any, Any, int], Any],
        pool: Callable[[Any], Any],
    ) -> None:
        self.xp, self.pick, self.convolve, self.pool = xp, pick, convolve, pool

    def cross_entropy(self, z: Any, y: Any) -> Any:
        xp = self.xp
        z = z - xp.max(z, 1, keepdims=True)
        return -xp.mean(self.pick(z, y) - xp.log(xp.sum(xp.exp(z), 1)))

    def gelu(self, x: Any) -> Any:
        return 0.5 * x * (1 + self.xp.tanh(SLOPE * (x + CUBIC * x * x * x)))

    def layer_norm(self, x: Any, g: Any, h: Any, eps: float) -> Any:
        xp = self.xp
        c = x - xp.mean(x, -1, keepdims=True)
        return c * (1 / xp.sqrt(xp.mean(c * c, -1, keepdims=True) + eps)) * g + h

    def softmax(self, z: Any) -> Any:
        e = self.xp.exp(z - self.xp.max(z, -1, keepdims=True))
        return e / self.xp.sum(e, -1, keepdims=True)

    def chain(self, x: Any, a: Any, b: Any, length: int) -> Any:
        for k in range(length):
            x = x + a if k % 3 == 0 else x * b if k % 3 == 1 else self.xp.tanh(x)
        return self.xp.sum(x)

    def perceptron(self, p: Params, d: Params) -> Any:
        x, last = d["x"], d["layers"] - 1
        for k in range(last):
            x = self.xp.maximum(x @ p[f"W{k}"] + p[f"b{k}"], 0)
        return self.cross_entropy(x @ p[f"W{last}"] + p[f"b{last}"], d["y"])

    def lenet(self, p: Params, d: Params) -> Any:
        xp, x = self.xp, d["x"]
        for k, padding in ((0, 2), (1, 0)):
            z = self.convolve(x, p[f"K{k}"], padding) + xp.reshape(p[f"c{k}"], (1, -1, 1, 1))
            x = self.pool(xp.maximum(z, 0))
        x = xp.reshape(x, (x.shape[0], -1))
        for k in range(2):
            x = xp.maximum(x @ p[f"W{k}"] + p[f"b{k}"], 0)
        return self.cross_entropy(x @ p["W2"] + p["b2"], d["y"])

    def convolutions(self, p: Params, d: Params) -> Any:
        xp, x = self.xp, p["x"]
        for k in range(2):
            x = self.convolve(x, p[f"K{k}"], 1)
            c = x - xp.mean(x, (0, 2, 3), keepdims=True)
            v = xp.mean(c * c, (0, 2, 3), keepdims=True)
            g, h = (xp.reshape(p[f"{name}{k}"], (1, -1, 1, 1)) for name in "gh")
            x = xp.maximum(c * (1 / xp.sqrt(v + d["eps"])) * g + h, 0)
        return 0.5 * xp.mean(x * x)

    def lstm_cell(self, z: Any, c: Any, hidden: int) -> tuple[Any, Any]:
        tanh = self.xp.tanh
        i, f, g, o = (z[:, k * hidden : (k + 1) * hidden] for k in range(4))
        i, f, o = (0.5 * tanh(0.5 * gate) + 0.5 for gate in (i, f, o))
        c = f * c + i * tanh(g)
        return o * tanh(c), c

    def lstm(self, p: Params, d: Params) -> Any:
        xp, x, hidden = self.xp, d["x"], d["hidden"]
        h = c = xp.zeros((x.shape[1], hidden), x.dtype)
        products = x @ p["Wx"] + p["b"]
        found = []
        for t in range(x.shape[0]):
            h, c = self.lstm_cell(products[t] + h @ p["Wh"], c, hidden)
            found.append(h)
        h = xp.stack(found)
        return xp.mean(h * h)

    def transformer(self, p: Params, d: Params) -> Any:
        xp, x, heads = self.xp, p["x"], d["heads"]
        batch, length, width = x.shape
        normed = self.layer_norm(x, p["g0"], p["h0"], d["eps"])
        qkv = xp.reshape(normed @ p["Wqkv"] + p["bqkv"], (batch, length, 3, heads, width // heads))
        q, k, v = (xp.transpose(qkv, (2, 0, 3, 1, 4))[n] for n in range(3))
        scores = (q @ xp.swapaxes(k, -1, -2)) * float((width // heads) ** -0.5)
        a = xp.transpose(self.softmax(scores) @ v, (0, 2, 1, 3))
        x = x + xp.reshape(a, (batch, length, width)) @ p["Wo"] + p["bo"]
        normed = self.layer_norm(x, p["g1"], p["h1"], d["eps"])
        x = x + self.gelu(normed @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
        return xp.mean(x * x)

    def logistic(self, w: Any, d: Params) -> Any:
        return self.xp.mean(self.xp.logaddexp(0, -d["y"] * (d["X"] @ w)))

    def normalized(self, p: Params, d: Params) -> Any:
        return self.xp.mean(self.gelu(self.layer_norm(p["x"], p["g"], p["h"], d["eps"])) * d["t"])
