"""Programs that tests run on several ranks: `mpiexec -n 2 python rank_programs.py NAME OUT …`.

Each rank writes OUT/rank-K.npz at its end: the model's arrays and the losses of its steps.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.devices import collectives
from tapegrad.nn import mxnet as mx
from tapegrad.optim.parallel.buckets import Buckets
from tapegrad.optim.training import checkpoint

SAMPLES, BATCH = 240, 24


def digits() -> tuple[Any, Any]:
    """Small images of two patterns and noise, and their labels: made, not loaded."""
    draw = np.random.default_rng(5)
    labels = draw.integers(0, 4, SAMPLES)
    patterns = draw.normal(size=(4, 1, 8, 8))
    x = patterns[labels] + 0.5 * draw.normal(size=(SAMPLES, 1, 8, 8))
    return x.astype(np.float32), labels


def lenet() -> Any:
    return nn.Sequential(
        nn.SpatialConvolution(1, 4, 3, 3), nn.Tanh(), nn.SpatialMaxPooling(2, 2, 2, 2),
        nn.View(4 * 3 * 3), nn.Linear(36, 16), nn.Tanh(), nn.Linear(16, 4), nn.LogSoftMax(),
    )  # fmt: skip


def mlp() -> Any:
    return nn.Sequential(
        nn.View(64), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4), nn.LogSoftMax()
    )


def norm() -> Any:
    return nn.Sequential(
        nn.View(64), nn.Linear(64, 32), nn.BatchNormalization(32), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(32, 4), nn.LogSoftMax(),
    )  # fmt: skip


def sync() -> Any:
    # A bias in front of a normalization has no gradient but rounding, which Adam makes large.
    model = nn.Sequential(
        nn.View(64), nn.Linear(64, 32, False), nn.BatchNormalization(32), nn.ReLU(),
        nn.Linear(32, 4), nn.LogSoftMax(),
    )  # fmt: skip
    return nn.SyncBatchNormalization.convert(model)


MODELS = {f.__name__: f for f in (lenet, mlp, norm, sync)}


class Fault(optim.Callback):
    """What goes wrong, on the last rank and only the first time: at a step, in a save, …"""

    def __init__(self, how: str, step: int) -> None:
        self.how, self.step = how, step

    def on_step_end(self, trainer: Any, loss: float) -> None:
        group = trainer.group
        if trainer.step_count != self.step or group.rank != group.size - 1:
            return
        if self.how == "differ":
            next(iter(trainer.model.parameters()[0])).data[...] += 1e-3
        elif collectives.restarts() == 0:
            fail(self.how)


def fail(how: str) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise ValueError("a planted fault")
    if how == "exit":
        sys.exit(3)
    if how == "leave":
        sys.exit(0)


def plant(how: str, where: str, step: int) -> None:
    """Let the last rank fail inside a collective, in the reverse sweep, or while rank 0 saves."""
    group = collectives.world()
    if collectives.restarts() or group.rank != (0 if where == "save" else group.size - 1):
        return
    target: Any
    target, name = {
        "collective": (type(group), "_all_reduce_now"),
        "sweep": (Buckets, "receive"),
        "save": (checkpoint, "save_checkpoint"),
    }[where]
    original, calls = getattr(target, name), [0]

    def broken(*args: Any, **settings: Any) -> Any:
        calls[0] += 1
        if calls[0] == step:
            if where == "save":
                (Path(args[1]).parent / ".half.tmp").write_bytes(b"half")
            fail(how)
        return original(*args, **settings)

    setattr(target, name, broken)


def train(options: argparse.Namespace) -> dict[str, Any]:
    tg.manual_seed(11)
    model = MODELS[options.model]()
    optimizer = optim.Adam(model, lr=1e-2)
    parallel: Any = True
    if options.shards or options.check:
        parallel = optim.DataParallel(
            model, shards=options.shards or None, check_every=options.check or 100
        )
    callbacks = [Fault(options.fault if options.where == "step" else "", options.at)]
    if options.fault and options.where != "step":
        plant(options.fault, options.where, options.at)
    trainer = optim.Trainer(
        model, nn.ClassNLLCriterion(), optimizer, progress=False, folder=options.folder,
        save_every=options.save_every, parallel=parallel, metrics=["top1", "auc"],
        callbacks=callbacks, compile=options.compile,
    )  # fmt: skip
    x, t = digits()
    results = trainer.fit(
        (x, t), steps=options.steps, batch_size=options.batch, validation=(x[:50], t[:50]),
        resume=options.resume or None,
    )  # fmt: skip
    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    figures = {f"result.{name}": value for name, value in results[-1].items()}
    return {**arrays, **figures, "losses": np.array(trainer.step_losses)}


def store(options: argparse.Namespace) -> dict[str, Any]:
    """MXNet's recorded run with two workers: three steps of SGD from ones."""
    rank = collectives.world().rank
    given = np.load(options.folder + f"/given-{rank}.npz")
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    module = mx.mod.Module(mx.sym.SoftmaxOutput(net, name="softmax"))
    module.bind([("data", (4, 5))], [("softmax_label", (4,))])
    module.init_params()
    module.set_params({"fc_weight": mx.nd.ones((3, 5)), "fc_bias": mx.nd.zeros((3,))}, {})
    module.init_optimizer(
        kvstore=options.model, optimizer="sgd",
        optimizer_params={"learning_rate": 0.5, "momentum": 0.9},
    )  # fmt: skip
    batch = mx.io.DataBatch([mx.nd.array(given["X"])], [mx.nd.array(given["Y"])])
    for _ in range(3):
        module.forward_backward(batch)
        module.update()
    kv = module._kvstore
    kv.barrier()
    module._params_dirty = True
    params = {name: array.asnumpy() for name, array in module.get_params()[0].items()}
    states = Path(options.folder) / f"states-{rank}"
    module.save_optimizer_states(str(states))
    rescale = module._optimizer.rescale_grad
    return {**params, "rank": kv.rank, "workers": kv.num_workers, "rescale": rescale}


def sums(options: argparse.Namespace) -> dict[str, Any]:
    """Every collective once, of every dtype."""
    group = collectives.world()
    found: dict[str, Any] = {}
    for dtype in ("float16", "float32", "float64", "int32", "int64", "complex64"):
        own = np.arange(6).astype(dtype).reshape(2, 3) + group.rank
        for op in ("sum", "max", "min") if own.dtype.kind != "c" else ("sum",):
            buffer = own.copy()
            group.all_reduce(buffer, op)
            found[f"{op} {dtype}"] = buffer
        if group.size & (group.size - 1) == 0:
            buffer = own.copy()
            group.all_reduce(buffer, ordered=True)
            found[f"ordered {dtype}"] = buffer
        found[f"gather {dtype}"] = group.all_gather(own)
        buffer = own.copy()
        group.broadcast(buffer, group.size - 1)
        found[f"broadcast {dtype}"] = buffer
        flat = np.arange(2 * group.size).astype(dtype)
        found[f"scatter {dtype}"] = group.reduce_scatter(flat)
    texts = group.all_gather_bytes(b"x" * group.rank)
    found["bytes"] = np.array([len(text) for text in texts])
    window = group.window(np.zeros(8, np.uint8), group.size - 1)
    for _ in range(25):
        window.update(lambda content: content.view(np.int64).__iadd__(1))
    group.barrier()
    found["window"] = window.read().view(np.int64)
    return found


PROGRAMS = {f.__name__: f for f in (train, store, sums)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--shards", type=int, default=0)
    parser.add_argument("--check", type=int, default=0)
    parser.add_argument("--folder")
    parser.add_argument("--save-every", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--fault", default="")
    parser.add_argument("--where", default="step")
    parser.add_argument("--at", type=int, default=10)
    options = parser.parse_args()
    found = PROGRAMS[options.program](options)
    np.savez(options.out / f"rank-{collectives.world().rank}.npz", **found)


if __name__ == "__main__":
    main()
