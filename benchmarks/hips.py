"""The examples of HIPS autograd's documentation, on tapegrad and on HIPS autograd: value and time.

Each example is one function of an array namespace and a `grad`, written for this file in plain
NumPy: tapegrad runs it on `numpy` itself, HIPS autograd on its own `autograd.numpy`.

    python benchmarks/hips.py --hips PYTHON

PYTHON is an interpreter that has HIPS autograd (`pip install autograd`): it runs in a process of
its own with -P, since at the root of this repository `import autograd` would find our folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy  # noqa: ICN001  # np is the library that an example is given

TARGET = 0.7


def logistic_regression(np: Any, grad: Any) -> Callable[[], Any]:
    """Gradient of the log-likelihood of 200 labelled points in 10 dimensions."""
    rng = numpy.random.default_rng(0)
    x, labels = rng.standard_normal((200, 10)), rng.integers(0, 2, 200)

    def loss(w):
        p = 1 / (1 + np.exp(-np.dot(x, w)))
        return -np.sum(np.log(p * labels + (1 - p) * (1 - labels)))

    slope, w = grad(loss), rng.standard_normal(10) / 10
    return lambda: slope(w)


def tanh_to_order_five(np: Any, grad: Any) -> Callable[[], Any]:
    """The fifth derivative of tanh at 200 points."""

    def derivative(f):
        return grad(lambda x: np.sum(f(x)))

    f = np.tanh
    for _ in range(5):
        f = derivative(f)
    x = numpy.linspace(-3, 3, 200)
    return lambda: f(x)


def fluid(np: Any, grad: Any) -> Callable[[], Any]:
    """Gradient of a picture's error after 8 steps of a fluid, with respect to its velocities."""
    n = 24
    rng = numpy.random.default_rng(1)
    wanted, smoke = rng.random((n, n)), rng.random((n, n))
    velocity = rng.standard_normal((2, n, n)) * 0.3
    rows, columns = numpy.meshgrid(numpy.arange(n), numpy.arange(n), indexing="ij")

    def shift(f, by, axis):
        return np.roll(f, by, axis=axis)

    def advect(f, vx, vy):
        px, py = rows - vx, columns - vy
        left, top = np.floor(px), np.floor(py)
        wx, wy = px - left, py - top
        i = (numpy.asarray(plain(left)).astype(int)) % n
        j = (numpy.asarray(plain(top)).astype(int)) % n
        k, m = (i + 1) % n, (j + 1) % n
        low = (1 - wy) * f[i, j] + wy * f[i, m]
        high = (1 - wy) * f[k, j] + wy * f[k, m]
        return (1 - wx) * low + wx * high

    def project(vx, vy):
        divergence = (shift(vx, -1, 0) - shift(vx, 1, 0) + shift(vy, -1, 1) - shift(vy, 1, 1)) / -2
        p = np.zeros((n, n))
        for _ in range(6):
            near = shift(p, 1, 0) + shift(p, -1, 0) + shift(p, 1, 1) + shift(p, -1, 1)
            p = (divergence + near) / 4
        vx = vx - (shift(p, -1, 0) - shift(p, 1, 0)) / 2
        vy = vy - (shift(p, -1, 1) - shift(p, 1, 1)) / 2
        return vx, vy

    def loss(v):
        vx, vy, picture = v[0], v[1], smoke
        for _ in range(8):
            new = advect(vx, vx, vy), advect(vy, vx, vy)
            vx, vy = project(*new)
            picture = advect(picture, vx, vy)
        return np.mean((picture - wanted) ** 2)

    slope = grad(loss)
    return lambda: slope(velocity)


def plain(x: Any) -> Any:
    """The value behind a Tensor or a box of HIPS autograd's."""
    while hasattr(x, "_value"):
        x = x._value
    return x.numpy() if hasattr(x, "tracked") else x


def gaussian_mixture(np: Any, grad: Any) -> Callable[[], Any]:
    """Gradient of the log-likelihood of 300 points under 5 Gaussians in 2 dimensions."""
    rng = numpy.random.default_rng(2)
    x, k, d = rng.standard_normal((300, 2)), 5, 2
    parameters = rng.standard_normal(k + k * d + k * d * d) / 5

    def loss(p):
        weights = p[:k] - np.log(np.sum(np.exp(p[:k])))
        means = np.reshape(p[k : k + k * d], (k, d))
        roots = np.reshape(p[k + k * d :], (k, d, d)) + numpy.eye(d)
        terms = []
        for i in range(k):
            root = roots[i]
            y = np.dot(x - means[i], root)
            determinant = np.log(np.abs(np.linalg.det(root)))
            terms.append(weights[i] + determinant - np.sum(y**2, axis=1) / 2)
        stacked = np.stack(terms)
        top = np.max(stacked, axis=0)
        return -np.sum(top + np.log(np.sum(np.exp(stacked - top), axis=0)))

    slope = grad(loss)
    return lambda: slope(parameters)


def hamiltonian(np: Any, grad: Any) -> Callable[[], Any]:
    """40 leapfrog steps of three bodies on springs, by the gradient of their energy."""

    def energy(state):
        q, p = state[0], state[1]
        kinetic = np.sum(p**2) / 2
        gaps = np.sqrt(np.sum((q[1:] - q[:-1]) ** 2, axis=1) + 0.01)
        return kinetic + np.sum((gaps - 1) ** 2) + np.sum(np.cos(q)) / 10

    slope = grad(energy)
    start = numpy.random.default_rng(3).standard_normal((2, 3, 2))

    def run():
        q, p = start
        for _ in range(40):
            p = p - 0.025 * slope(numpy.stack([q, p]))[0]
            q = q + 0.05 * slope(numpy.stack([q, p]))[1]
            p = p - 0.025 * slope(numpy.stack([q, p]))[0]
        return numpy.stack([q, p])

    return run


def rosenbrock(np: Any, grad: Any) -> Callable[[], Any]:
    """Rosenbrock's function of 20 variables brought down by scipy.optimize with its gradient."""
    from scipy.optimize import minimize

    def f(x):
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    slope = grad(f)
    start = numpy.full(20, -0.5)

    def value(x):
        return 100 * numpy.sum((x[1:] - x[:-1] ** 2) ** 2) + numpy.sum((1 - x[:-1]) ** 2)

    return lambda: minimize(value, start, jac=slope, method="BFGS", options={"maxiter": 40}).x


def neural_network(np: Any, grad: Any) -> Callable[[], Any]:
    """Gradient of a network of two hidden layers on 64 points."""
    rng = numpy.random.default_rng(4)
    x, y = rng.standard_normal((64, 8)), rng.standard_normal((64, 1))
    shapes = [(8, 32), (32, 32), (32, 1)]
    weights = [(rng.standard_normal(s) / 4, numpy.zeros(s[1])) for s in shapes]

    def loss(layers):
        h = x
        for w, b in layers[:-1]:
            h = np.tanh(np.dot(h, w) + b)
        w, b = layers[-1]
        return np.mean((np.dot(h, w) + b - y) ** 2)

    slope = grad(loss)
    return lambda: numpy.concatenate([numpy.ravel(a) for pair in slope(weights) for a in pair])


def convolutional_network(np: Any, grad: Any) -> Callable[[], Any]:
    """Gradient of a convolution, a pooling and a softmax on 16 pictures of 12 by 12."""
    rng = numpy.random.default_rng(5)
    pictures, labels = rng.standard_normal((16, 12, 12)), rng.integers(0, 4, 16)
    start = [rng.standard_normal((6, 3, 3)) / 3, rng.standard_normal((150, 4)) / 12, numpy.zeros(4)]
    rows = numpy.arange(16)

    def loss(parameters):
        kernels, w, b = parameters
        maps = 0.0
        for i in range(3):
            for j in range(3):
                window = pictures[:, None, i : i + 10, j : j + 10]
                maps = maps + window * np.reshape(kernels[:, i, j], (1, 6, 1, 1))
        pooled = np.max(np.reshape(np.tanh(maps), (16, 6, 5, 2, 5, 2)), axis=(3, 5))
        scores = np.dot(np.reshape(pooled, (16, 150)), w) + b
        top = np.max(scores, axis=1, keepdims=True)
        total = np.log(np.sum(np.exp(scores - top), axis=1)) + top[:, 0]
        return np.mean(total - scores[rows, labels])

    slope = grad(loss)
    return lambda: numpy.concatenate([numpy.ravel(a) for a in slope(start)])


def lstm(np: Any, grad: Any) -> Callable[[], Any]:
    """Gradient of an LSTM's error after 12 steps of 8 sequences."""
    rng = numpy.random.default_rng(6)
    x, wanted = rng.standard_normal((12, 8, 5)), rng.standard_normal((8, 10))
    weights = rng.standard_normal((16, 40)) / 4

    def gate(z):
        return (np.tanh(z / 2) + 1) / 2

    def loss(w):
        h = c = numpy.zeros((8, 10))
        for t in range(12):
            z = np.dot(np.concatenate([x[t], h, numpy.ones((8, 1))], axis=1), w)
            keep, write, read = gate(z[:, :10]), gate(z[:, 10:20]), gate(z[:, 20:30])
            c = keep * c + write * np.tanh(z[:, 30:])
            h = read * np.tanh(c)
        return np.mean((h - wanted) ** 2)

    slope = grad(loss)
    return lambda: slope(weights)


def control_flow(np: Any, grad: Any) -> Callable[[], Any]:
    """The derivative of a root found by Newton's method, which stops when its value says so."""

    def root(x):
        y = x
        while np.abs(plain(y * y * y - x)) > 1e-12:
            y = y - (y * y * y - x) / (3 * y * y)
        return y if plain(x) < 5 else -y

    slope = grad(root)
    return lambda: numpy.array([slope(x) for x in (0.3, 2.0, 7.0, 40.0)])


def bayesian_regression(np: Any, grad: Any) -> Callable[[], Any]:
    """Gradient of a linear model's evidence by the logarithms of its two precisions."""
    rng = numpy.random.default_rng(7)
    x = rng.standard_normal((60, 8))
    y = x @ rng.standard_normal(8) + 0.3 * rng.standard_normal(60)
    n, d = x.shape

    def evidence(logs):
        alpha, beta = np.exp(logs[0]), np.exp(logs[1])
        precision = alpha * numpy.eye(d) + beta * (x.T @ x)
        mean = beta * np.linalg.solve(precision, x.T @ y)
        error = beta * np.sum((y - np.dot(x, mean)) ** 2) + alpha * np.sum(mean**2)
        determinant = np.log(np.linalg.det(precision))
        return (d * logs[0] + n * logs[1] - error - determinant) / 2

    slope = grad(evidence)
    return lambda: slope(numpy.array([0.1, 0.7]))


def variational_inference(np: Any, grad: Any) -> Callable[[], Any]:
    """20 steps of black-box variational inference: a Gaussian fitted to a bent density."""
    rng = numpy.random.default_rng(8)
    noise = rng.standard_normal((20, 50, 2))

    def log_density(z):
        width = 1.35
        return -((z[:, 1] / width) ** 2) / 2 - (z[:, 0] / np.exp(z[:, 1])) ** 2 / 2 - z[:, 1]

    def bound(parameters, e):
        mean, log_std = parameters[:2], parameters[2:]
        z = mean + np.exp(log_std) * e
        return np.mean(log_density(z)) + np.sum(log_std)

    slope = grad(bound)

    def run():
        parameters = numpy.array([0.0, 0.0, -1.0, -1.0])
        for e in noise:
            parameters = parameters + 0.05 * slope(parameters, e)
        return parameters

    return run


EXAMPLES = {
    "logistic regression": logistic_regression,
    "tanh, fifth derivative": tanh_to_order_five,
    "fluid simulation": fluid,
    "Gaussian mixture": gaussian_mixture,
    "Hamiltonian dynamics": hamiltonian,
    "Rosenbrock with scipy.optimize": rosenbrock,
    "neural network": neural_network,
    "convolutional network": convolutional_network,
    "LSTM": lstm,
    "control flow by values": control_flow,
    "Bayesian linear regression": bayesian_regression,
    "variational inference": variational_inference,
}


def library(name: str) -> tuple[Any, Any]:
    """The array namespace and the `grad` of a library."""
    if name == "hips":
        import autograd.numpy

        import autograd

        return autograd.numpy, autograd.grad
    from tapegrad.autograd import grad

    return numpy, grad


def measured(name: str) -> dict[str, Any]:
    """The value of each example, and its time in seconds: the least of several runs."""
    namespace, grad = library(name)
    results = {}
    for title, example in EXAMPLES.items():
        run = example(namespace, grad)
        value = run()
        times = []
        until = time.perf_counter() + 0.6
        while time.perf_counter() < until or len(times) < 3:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        results[title] = {"seconds": min(times), "value": numpy.asarray(value).tolist()}
    return results


def measured_elsewhere(name: str, python: str) -> dict[str, Any]:
    """`measured` in a process of its own, from another directory."""
    command = [python, "-P", str(Path(__file__).resolve()), "--only", name]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> int:
    """Print the table; the exit code is 1 where values differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hips", metavar="PYTHON", help="an interpreter with HIPS autograd")
    parser.add_argument("--only", choices=["hips", "tapegrad"], help="print one side as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measured(options.only)))
        return 0
    ours = measured_elsewhere("tapegrad", sys.executable)
    theirs = measured_elsewhere("hips", options.hips) if options.hips else {}
    wrong = 0
    for title, mine in ours.items():
        line = f"{title:32} {mine['seconds'] * 1e3:9.3f} ms"
        if title in theirs:
            other = theirs[title]
            agrees = numpy.allclose(mine["value"], other["value"], rtol=1e-6, atol=1e-9)
            wrong += not agrees
            ratio = mine["seconds"] / other["seconds"]
            line += f"   HIPS {other['seconds'] * 1e3:9.3f} ms   ratio {ratio:5.2f}"
            line += "" if agrees else "   VALUES DIFFER"
            line += "" if ratio <= TARGET else f"   (target {TARGET})"
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
