"""Gradients of each sample of a batch: `per_sample_grad` against the loop of `grad`, and JAX.

    python benchmarks/per_sample.py

A batch of 64 in float32, through a multilayer perceptron and a small convolutional network, with
respect to every parameter.  The loop is what one writes without it: `grad` on one sample after the
other, and the results stacked.  JAX, where it is installed, runs ``jit(vmap(grad(loss)))``, on one
thread too.
"""

from __future__ import annotations

import os
from typing import Any

from _timing import machine, one_thread, smallest_times

one_thread()
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import numpy as np  # noqa: E402  # after the number of threads is set

from tapegrad import grad, ops, per_sample_grad  # noqa: E402  # imports NumPy

BATCH = 64


def perceptron(parameters: Any, x: Any, label: Any) -> Any:
    """The loss of one sample of 784 numbers: two hidden layers, ten classes."""
    for i in range(0, 4, 2):
        x = np.tanh(x @ parameters[i] + parameters[i + 1])
    return -ops.log_softmax(x @ parameters[4] + parameters[5])[label]


def convolutional(parameters: Any, x: Any, label: Any) -> Any:
    """The loss of one image of 28 × 28: two convolutions with pooling, ten classes."""
    kernel1, kernel2, weight, bias = parameters
    y = ops.max_pool2d(ops.relu(ops.conv2d(x.reshape((1, 1, 28, 28)), kernel1)), kernel=2)
    y = ops.max_pool2d(ops.relu(ops.conv2d(y, kernel2)), kernel=2)
    return -ops.log_softmax(y.reshape((-1,)) @ weight + bias)[label]


def perceptron_in_jax(jax: Any) -> Any:
    """The same loss in JAX."""
    jnp = jax.numpy

    def loss(parameters: Any, x: Any, label: Any) -> Any:
        for i in range(0, 4, 2):
            x = jnp.tanh(x @ parameters[i] + parameters[i + 1])
        return -jax.nn.log_softmax(x @ parameters[4] + parameters[5])[label]

    return loss


def convolutional_in_jax(jax: Any) -> Any:
    """The same loss in JAX."""
    lax, jnp = jax.lax, jax.numpy

    def pooled(x: Any) -> Any:
        y = jnp.maximum(x, 0)
        return lax.reduce_window(y, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def loss(parameters: Any, x: Any, label: Any) -> Any:
        kernel1, kernel2, weight, bias = parameters
        y = pooled(lax.conv(x.reshape((1, 1, 28, 28)), kernel1, (1, 1), "VALID"))
        y = pooled(lax.conv(y, kernel2, (1, 1), "VALID"))
        return -jax.nn.log_softmax(y.reshape((-1,)) @ weight + bias)[label]

    return loss


def drawn(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Parameters of these shapes, small random numbers."""
    rng = np.random.default_rng(0)
    return [(rng.standard_normal(shape) * 0.1).astype(np.float32) for shape in shapes]


NETWORKS = {
    "perceptron 784-128-64-10": (
        perceptron,
        perceptron_in_jax,
        drawn((784, 128), (128,), (128, 64), (64,), (64, 10), (10,)),
    ),
    "perceptron 32-32-32-10": (
        perceptron,
        perceptron_in_jax,
        drawn((32, 32), (32,), (32, 32), (32,), (32, 10), (10,)),
    ),
    "convolutional 8-16": (
        convolutional,
        convolutional_in_jax,
        drawn((8, 1, 5, 5), (16, 8, 5, 5), (256, 10), (10,)),
    ),
}


def measure(name: str) -> None:
    """Print the times for one network, and check that the gradients agree."""
    loss, in_jax, parameters = NETWORKS[name]
    rng = np.random.default_rng(1)
    width = 784 if loss is convolutional else parameters[0].shape[0]
    x = rng.standard_normal((BATCH, width)).astype(np.float32)
    labels = rng.integers(0, 10, BATCH)

    slope, slopes = grad(loss), per_sample_grad(loss)

    def loop() -> list[np.ndarray]:
        each = [slope(parameters, x[i], labels[i]) for i in range(BATCH)]
        return [np.stack(rows) for rows in zip(*each, strict=True)]

    def batch() -> Any:
        return slopes(parameters, x, labels)

    competitors: dict[str, Any] = {"loop": loop, "per_sample_grad": batch}
    for a, b in zip(loop(), batch(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    try:
        import jax
    except ImportError:
        jax = None
    if jax is not None:
        compiled = jax.jit(jax.vmap(jax.grad(in_jax(jax)), in_axes=(None, 0, 0)))
        for a, b in zip(compiled(parameters, x, labels), batch(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
        competitors["jax"] = lambda: jax.block_until_ready(compiled(parameters, x, labels))
    times = smallest_times(competitors, rounds=20)
    ratio = times["loop"] / times["per_sample_grad"]
    print(f"{name}: loop {1e3 * times['loop']:.2f} ms, ", end="")
    print(
        f"per_sample_grad {1e3 * times['per_sample_grad']:.2f} ms, {ratio:.1f} times faster", end=""
    )
    if jax is not None:
        share = times["per_sample_grad"] / times["jax"]
        print(f"; jit(vmap(grad)) of JAX {1e3 * times['jax']:.2f} ms, ratio {share:.2f}", end="")
    print()


if __name__ == "__main__":
    print(machine(1))
    for network in NETWORKS:
        measure(network)
