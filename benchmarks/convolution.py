"""Convolution and pooling of the `fast` extra against PyTorch eager: training steps and layers.

    python benchmarks/convolution.py [--threads 1] [--rounds 30] [--plain]

- lenet:  LeNet on 64 digits, cross entropy, SGD with momentum: small images and few planes
- blocks: two blocks of 3×3 convolution, batch normalization and ReLU, 16 images 64 × 32 × 32
- layers: forward and reverse of one operation each

Steps run by ordinary calls and compiled.  The competitors take turns, and the least time of each
counts.  With one thread it is the time of the processor, which other programs disturb less.
`--plain` measures the bodies without the extra.
"""

from __future__ import annotations

import argparse
import time

PARSER = argparse.ArgumentParser(description=__doc__.splitlines()[0])
PARSER.add_argument("--threads", type=int, default=1)
PARSER.add_argument("--rounds", type=int, default=30)
PARSER.add_argument("--plain", action="store_true")

import numpy as np  # noqa: E402  # below what it is told
import torch  # noqa: E402  # as above

import tapegrad as tg  # noqa: E402  # as above
from tapegrad import nn, ops, optim  # noqa: E402  # as above
from tapegrad.autograd.core import declaration  # noqa: E402  # as above

F = torch.nn.functional


def floats(*shape):
    """The same numbers in each call."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


# Steps: (ours as a function of what wraps it, PyTorch's) ------------------------------------------


def lenet():
    """A training step of LeNet."""
    x, labels = floats(64, 1, 28, 28), np.random.default_rng(1).integers(0, 10, 64)
    ours = nn.Sequential(
        nn.SpatialConvolution(1, 6, 5, 5, 1, 1, 2, 2), nn.ReLU(), nn.SpatialMaxPooling(2, 2),
        nn.SpatialConvolution(6, 16, 5, 5), nn.ReLU(), nn.SpatialMaxPooling(2, 2), nn.View(400),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(6, 16, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(400, 120), torch.nn.ReLU(), torch.nn.Linear(120, 84), torch.nn.ReLU(),
        torch.nn.Linear(84, 10),
    )  # fmt: skip
    criterion, label_tensor = nn.CrossEntropyCriterion(), torch.from_numpy(labels)
    return (
        trained(ours, lambda y: criterion(y, labels), x),
        trained_there(theirs, lambda y: F.cross_entropy(y, label_tensor), x),
    )


def blocks():
    """A training step of two blocks."""
    x = floats(16, 64, 32, 32)
    ours, theirs = nn.Sequential(), torch.nn.Sequential()
    for _ in range(2):
        ours.add(nn.SpatialConvolution(64, 64, 3, 3, 1, 1, 1, 1).noBias())
        ours.add(nn.SpatialBatchNormalization(64)).add(nn.ReLU())
        theirs.append(torch.nn.Conv2d(64, 64, 3, padding=1, bias=False))
        theirs.append(torch.nn.BatchNorm2d(64)).append(torch.nn.ReLU())
    return (
        trained(ours, lambda y: np.mean(y * y) * np.float32(0.5), x),
        trained_there(theirs, lambda y: torch.mean(y * y) * 0.5, x),
    )


def trained(model, loss_of, x):
    """A function of a wrapper -> a step with SGD."""
    optimizer = optim.SGD(model, lr=0.01, momentum=0.9)

    def body(x):
        optimizer.zero_grad()
        loss = loss_of(model(x))
        loss.backward()
        optimizer.step()
        return loss

    def make(wrap):
        step = wrap(body)
        return lambda: step(x)

    return make


def trained_there(model, loss_of, x):
    """PyTorch's step with SGD."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = torch.from_numpy(x)

    def step():
        optimizer.zero_grad()
        loss_of(model(images)).backward()
        optimizer.step()

    return step


# Layers: name -> (shape, ours, PyTorch's) ---------------------------------------------------------


def layers():
    """Operations with one image batch and, of convolutions, weights."""
    return {
        "depthwise 3×3, 8·32·16·16": convolved(
            (8, 32, 16, 16), (32, 1, 3, 3), padding=1, groups=32
        ),
        "4 groups 3×3, 8·64·16·16": convolved((8, 64, 16, 16), (64, 16, 3, 3), padding=1, groups=4),
        "3×3 stride 2, 8·64·28·28": convolved(
            (8, 64, 28, 28), (128, 64, 3, 3), stride=2, padding=1
        ),
        "5×5, 8·32·28·28": convolved((8, 32, 28, 28), (64, 32, 5, 5), padding=2),
        "1×1, 8·256·14·14": convolved((8, 256, 14, 14), (64, 256, 1, 1)),
        "3×3, 8·128·28·28": convolved((8, 128, 28, 28), (128, 128, 3, 3), padding=1),
        "3×3, 8·256·14·14": convolved((8, 256, 14, 14), (256, 256, 3, 3), padding=1),
        "max 2, 64·6·28·28": pooled((64, 6, 28, 28), ops.max_pool2d, F.max_pool2d, 2, 2, 0),
        "max 3 stride 2, 8·64·56·56": pooled(
            (8, 64, 56, 56), ops.max_pool2d, F.max_pool2d, 3, 2, 1
        ),
        "average 2, 64·6·28·28": pooled((64, 6, 28, 28), ops.avg_pool2d, F.avg_pool2d, 2, 2, 0),
        "average 3 stride 1, 8·64·28·28": pooled(
            (8, 64, 28, 28), ops.avg_pool2d, F.avg_pool2d, 3, 1, 1
        ),
    }


def convolved(x_shape, w_shape, **settings):
    """Forward and both gradients of a convolution."""
    x, w = floats(*x_shape), floats(*w_shape)
    return pulled(lambda x, w: ops.conv2d(x, w, **settings), x, w), pulled_there(
        lambda x, w: F.conv2d(x, w, **settings), x, w
    )


def pooled(shape, ours, theirs, *settings):
    """Forward and gradient of pooling."""
    return pulled(lambda x: ours(x, *settings), floats(*shape)), pulled_there(
        lambda x: theirs(x, *settings), floats(*shape)
    )


def pulled(function, *arrays):
    """Run a function and pull its output back."""
    g = floats(*function(*arrays).shape)

    def run():
        tg.vjp(function, arrays)[1](g)

    return run


def pulled_there(function, *arrays):
    """The same in PyTorch."""
    tensors = [torch.from_numpy(a).requires_grad_() for a in arrays]
    g = torch.from_numpy(floats(*function(*tensors).shape))
    return lambda: torch.autograd.grad(function(*tensors), tensors, g)


# Timing -------------------------------------------------------------------------------------------


def race(competitors, rounds, clock):
    """The least time of each, in turns."""
    best = dict.fromkeys(competitors, float("inf"))
    for run in competitors.values():
        for _ in range(4):
            run()
    for _ in range(rounds):
        for name, run in competitors.items():
            for _ in range(3):
                start = clock()
                run()
                best[name] = min(best[name], clock() - start)
    return best


def report(name, competitors, options):
    """Print a line of milliseconds and of ratios to PyTorch."""
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    best = race(competitors, options.rounds, clock)
    theirs = best.pop("torch")
    ours = "".join(f"  {k} {1e3 * v:8.3f} ({v / theirs:4.2f})" for k, v in best.items())
    print(f"{name:34} torch {1e3 * theirs:8.3f}{ours}", flush=True)


def main():
    """Run all."""
    options = PARSER.parse_args()
    if options.plain:
        declaration._numba[:] = [False]
    tg.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, milliseconds (ratio to PyTorch)")
    for name, make in {"lenet": lenet, "blocks": blocks}.items():
        ours, theirs = make()
        runs = {"torch": theirs, "eager": ours(lambda f: f), "compiled": ours(tg.compile)}
        report(name, runs, options)
    for name, (ours, theirs) in layers().items():
        report(name, {"torch": theirs, "eager": ours}, options)


if __name__ == "__main__":
    main()
