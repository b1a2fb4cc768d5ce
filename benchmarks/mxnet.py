"""MXNet's Module against the same step written with nn and optim, one thread.

    python benchmarks/mxnet.py [--rounds 60]

LeNet-5 (5×5 convolutions 1 -> 6 -> 16, max pooling, 400-120-84-10, ReLU), batch 64 of 1×28×28,
softmax cross-entropy, SGD with momentum; the same weights.  The nn step is recorded by `replay`.
`fit` fetches batches and updates the metric besides.  All competitors take eight steps in a turn.
"""

from __future__ import annotations

import argparse
import logging
import warnings

import _timing

_timing.one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

from tapegrad import nn, optim  # noqa: E402  # as above
from tapegrad.autograd import replay  # noqa: E402  # as above
from tapegrad.nn import mxnet as mx  # noqa: E402  # as above

RNG = np.random.default_rng(0)
BATCH, BATCHES = 64, 8
SETTINGS = {"learning_rate": 0.01, "momentum": 0.9}


def symbol():
    """LeNet-5 as a Symbol."""
    y = mx.sym.Variable("data")
    for i, (count, pad) in enumerate(((6, (2, 2)), (16, (0, 0)))):
        y = mx.sym.Convolution(y, num_filter=count, kernel=(5, 5), pad=pad, name=f"conv{i}")
        y = mx.sym.Activation(y, act_type="relu")
        y = mx.sym.Pooling(y, pool_type="max", kernel=(2, 2), stride=(2, 2))
    y = mx.sym.Flatten(y)
    for i, count in enumerate((120, 84)):
        y = mx.sym.FullyConnected(y, num_hidden=count, name=f"fc{i}")
        y = mx.sym.Activation(y, act_type="relu")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(y, num_hidden=10, name="fc2"), name="softmax")


def model():
    """LeNet-5 as an nn.Module."""
    return nn.Sequential(
        nn.SpatialConvolution(1, 6, 5, 5, 1, 1, 2, 2), nn.ReLU(), nn.SpatialMaxPooling(2, 2),
        nn.SpatialConvolution(6, 16, 5, 5), nn.ReLU(), nn.SpatialMaxPooling(2, 2), nn.View(400),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def by_hand(net, x, y):
    """The step with nn and optim, recorded."""
    criterion = nn.CrossEntropyCriterion()
    optimizer = optim.SGD(net, lr=SETTINGS["learning_rate"], momentum=SETTINGS["momentum"])

    @replay
    def step(x, y):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return lambda: float(step(x, y))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="turns of each competitor")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    x = RNG.standard_normal((BATCH * BATCHES, 1, 28, 28)).astype(np.float32)
    y = RNG.integers(0, 10, BATCH * BATCHES)
    net = model()
    weights = [np.array(p.numpy()) for p in net.parameters()[0]]
    module = mx.mod.Module(symbol())
    data = mx.io.NDArrayIter(x, y.astype(np.float32), BATCH)
    module.bind(data.provide_data, data.provide_label)
    module.init_params(arg_params=dict(zip(module._param_names, weights, strict=True)))
    module.init_optimizer(optimizer_params=SETTINGS)
    batch = data.next()
    taken = mx.mod.Module(model(), loss=nn.CrossEntropyCriterion())
    taken.bind(data.provide_data, data.provide_label)
    taken.init_params()
    taken.init_optimizer(optimizer_params=SETTINGS)

    def steps(one):
        for _ in range(BATCHES):
            one.forward_backward(batch)
            one.update()

    def epoch():
        data.reset()
        module.fit(data, num_epoch=1)

    hand = by_hand(net, x[:BATCH], y[:BATCH])
    runs = {
        "nn and optim, replayed": lambda: [hand() for _ in range(BATCHES)],
        "Module": lambda: steps(module),
        "Module of an nn.Module": lambda: steps(taken),
        "Module.fit": epoch,
    }
    warnings.simplefilter("ignore")  # "already bound", as fit says in each epoch but the first
    for _ in range(3):
        for run in runs.values():
            run()
    times = _timing.smallest_times(runs, rounds=options.rounds)
    print(_timing.machine(threads=1))
    for name, seconds in times.items():
        ratio = seconds / times["nn and optim, replayed"]
        print(f"  {name:<24} {seconds / BATCHES * 1e3:8.3f} ms per step   {ratio:.2f} ×")


if __name__ == "__main__":
    main()
