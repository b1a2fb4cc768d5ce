"""JAX's steps: each whole step is one function under `jax.jit`, whose state is donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from formulas import Formulas
from jax import lax
from workloads import Data

Step = Callable[[], float]


def set_threads(threads: int) -> None:
    """The driver's environment says how many threads XLA has."""


def convolve(x: Any, weight: Any, padding: int) -> Any:
    return lax.conv_general_dilated(
        x, weight, (1, 1), [(padding, padding)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW")
    )


def pool(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


FORMULAS = Formulas(jnp, lambda z, y: jnp.take_along_axis(z, y[:, None], 1)[:, 0], convolve, pool)


def arrays(d: Data) -> Data:
    return {k: jnp.asarray(v) for k, v in d.items()}


def train(loss: Callable[[Data, Data], Any], d: Data, *leaves: str) -> Step:
    """SGD over d["params"]; `leaves` are data whose gradients are wanted too."""
    params = arrays(d["params"])
    speed = {k: jnp.zeros_like(p) for k, p in params.items()}
    given = {k: jnp.asarray(d[k]) for k in leaves}
    held = {k: v for k, v in d.items() if k != "params" and k not in leaves}
    data = arrays({k: v for k, v in held.items() if isinstance(v, np.ndarray)})
    numbers = {k: v for k, v in held.items() if not isinstance(v, np.ndarray)}

    def one(params: Data, speed: Data, given: Data, data: Data) -> Any:
        def value_of(params: Data, given: Data) -> Any:
            return loss({**params, **given}, {**data, **numbers})

        value, (g, of_given) = jax.value_and_grad(value_of, argnums=(0, 1))(params, given)
        speed = {k: d["momentum"] * speed[k] + g[k] for k in params}
        params = {k: params[k] - d["lr"] * speed[k] for k in params}
        return params, speed, value, of_given

    run = jax.jit(one, donate_argnums=(0, 1))
    state = [params, speed]

    def step() -> float:
        state[0], state[1], value, of_given = run(state[0], state[1], given, data)
        jax.block_until_ready((state, of_given))
        return float(value)

    return step


def chain(d: Data) -> Step:
    x, a, b = (jnp.asarray(d[k]) for k in "xab")
    run = jax.jit(jax.value_and_grad(lambda x: FORMULAS.chain(x, a, b, d["length"])))

    def step() -> float:
        value, g = run(x)
        g.block_until_ready()
        return float(value)

    return step


def lstm(d: Data) -> Step:
    def loss(p: Data, d: Data) -> Any:
        products, n = d["x"] @ p["Wx"] + p["b"], d["hidden"]
        zero = jnp.zeros((d["x"].shape[1], n))

        def body(state: Any, product: Any) -> Any:
            h, c = FORMULAS.lstm_cell(product + state[0] @ p["Wh"], state[1], n)
            return (h, c), h

        _, h = lax.scan(body, (zero, zero), products)
        return jnp.mean(h * h)

    return train(loss, d)


def logistic(d: Data) -> Step:
    X, y, w, v = (jnp.asarray(d[k]) for k in ("X", "y", "w", "v"))
    gradient = jax.grad(lambda w, X: FORMULAS.logistic(w, {"X": X, "y": y}))
    run = jax.jit(lambda w, X, v: jax.jvp(lambda w: gradient(w, X), (w,), (v,))[1])
    return lambda: float(run(w, X, v).block_until_ready().sum())


def normalized(d: Data) -> Step:
    p, t = {k: jnp.asarray(d[k]) for k in "xgh"}, jnp.asarray(d["t"])

    def value_of(p: Data, t: Any) -> Any:
        return FORMULAS.normalized(p, {"t": t, "eps": d["eps"]})

    run = jax.jit(jax.value_and_grad(value_of))

    def step() -> float:
        value, g = run(p, t)
        jax.block_until_ready(g)
        return float(value)

    return step


def adam(d: Data) -> Step:
    g, (b1, b2) = arrays(d["grads"]), d["betas"]

    def one(p: Data, m: Data, v: Data, k: Any, g: Data) -> Any:
        m = {n: b1 * m[n] + (1 - b1) * g[n] for n in p}
        v = {n: b2 * v[n] + (1 - b2) * g[n] * g[n] for n in p}
        rate, scale = d["lr"] / (1 - b1**k), (1 / (1 - b2**k)) ** 0.5
        p = {n: p[n] - rate * m[n] / (jnp.sqrt(v[n]) * scale + d["eps"]) for n in p}
        return p, m, v

    run = jax.jit(one, donate_argnums=(0, 1, 2))
    p = arrays(d["params"])
    state = [
        p,
        {n: jnp.zeros_like(a) for n, a in p.items()},
        {n: jnp.zeros_like(a) for n, a in p.items()},
    ]
    count = 0

    def step() -> float:
        nonlocal count
        count += 1
        state[:] = run(*state, float(count), g)
        jax.block_until_ready(state)
        return float(state[0]["p0"][0])

    return step


def network(d: Data) -> Step:
    operands = [jnp.asarray(a) for a in d["operands"]]
    value_of = jax.value_and_grad(lambda *a: jnp.einsum(d["equation"], *a), tuple(range(6)))
    run = jax.jit(value_of)

    def step() -> float:
        value, g = run(*operands)
        jax.block_until_ready(g)
        return float(value)

    return step


def embedding(d: Data) -> Step:
    i, t = jnp.asarray(d["i"].astype("int32")), jnp.asarray(d["t"])

    def one(E: Any, i: Any, t: Any) -> Any:
        value, g = jax.value_and_grad(lambda E: jnp.mean(E[i] * t))(E)
        return E - d["lr"] * g, value

    run = jax.jit(one, donate_argnums=(0,))
    state = [jnp.asarray(d["E"])]

    def step() -> float:
        state[0], value = run(state[0], i, t)
        state[0].block_until_ready()
        return float(value)

    return step


PEERS = {
    "JAX jit": {
        "w1": chain,
        "w2": lambda d: train(FORMULAS.perceptron, d),
        "w3": lambda d: train(FORMULAS.perceptron, d),
        "w4": lambda d: train(FORMULAS.lenet, d),
        "w5": lambda d: train(FORMULAS.convolutions, d, "x"),
        "w6": lstm,
        "w7": lambda d: train(FORMULAS.transformer, d, "x"),
        "w8": logistic,
        "w9": normalized,
        "w10": adam,
        "w11": network,
        "w12": embedding,
        "w13a": chain,
    }
}
