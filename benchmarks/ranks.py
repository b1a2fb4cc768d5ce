"""What training on several ranks costs: sums against MPI itself, overlap, and steps on two ranks.

`python benchmarks/ranks.py [--rounds N]` starts itself under mpiexec and prints tables:

- a sum of 4 MB and of 100 MB through tapegrad.devices.collectives, and through mpi4py as it is;
- steps of two models on one rank, and on two ranks with half of each batch, one thread each;
- when each buffer of gradients was sent and summed, and when the reverse sweep ended;
- from the figures of one and two ranks, what 8, 64 and 512 ranks would take (see `on_paper`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _timing import machine, one_thread

if "--on-ranks" not in sys.argv:
    one_thread()

import numpy as np  # after the number of threads is set

SIZES = {"4 MB": 1 << 20, "100 MB": 25 << 20}  # entries of float32
NETWORKS = {"shared memory": (3e-6, 4e9), "100 Gbit/s": (2e-6, 11e9), "10 Gbit/s": (2e-5, 1.1e9)}


def smallest(run: Any, rounds: int, barrier: Any) -> float:
    """Seconds of the fastest of some runs that all ranks begin together."""
    best = float("inf")
    for _ in range(rounds):
        barrier()
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def sums(rounds: int) -> None:
    """Print what sums take, through this package and through mpi4py."""
    from mpi4py import MPI

    from tapegrad.devices import collectives

    group, comm = collectives.world(), MPI.COMM_WORLD
    say(group, f"\nsum over {group.size} ranks, in place, smallest of {rounds}")
    for name, entries in SIZES.items():
        buffer = np.ones(entries, np.float32)

        def plain(buffer: Any = buffer) -> None:
            comm.Allreduce(MPI.IN_PLACE, buffer)

        def ours(buffer: Any = buffer) -> None:
            group.all_reduce(buffer)

        times = {"mpi4py": float("inf"), "tapegrad": float("inf")}
        for _ in range(rounds):  # in turns
            for label, run in (("mpi4py", plain), ("tapegrad", ours)):
                times[label] = min(times[label], smallest(run, 1, comm.Barrier))
                buffer[:] = 1
        ratio, more = times["tapegrad"] / times["mpi4py"], times["tapegrad"] - times["mpi4py"]
        say(
            group,
            f"  {name:>6}: mpi4py {1e3 * times['mpi4py']:8.3f} ms, tapegrad "
            f"{1e3 * times['tapegrad']:8.3f} ms = {ratio:.2f} × ({1e3 * more:+.3f} ms)",
        )


def models() -> dict[str, Any]:
    """Return the models, each with a batch."""
    from tapegrad import nn

    draw = np.random.default_rng(0)
    return {
        "w3, MLP 784-1024²-10, batch 256": (
            nn.Sequential(
                nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(),
                nn.Linear(1024, 10),
            ),
            (draw.normal(size=(256, 784)).astype(np.float32), draw.integers(0, 10, 256)),
        ),
        "w5, two 3×3 convolution blocks, batch 16": (
            nn.Sequential(
                *_block(3, 32), *_block(32, 64), nn.View(64 * 8 * 8), nn.Linear(4096, 10)
            ),
            (draw.normal(size=(16, 3, 32, 32)).astype(np.float32), draw.integers(0, 10, 16)),
        ),
    }  # fmt: skip


def _block(planes: int, out: int) -> list[Any]:
    from tapegrad import nn

    return [
        nn.SpatialConvolution(planes, out, 3, 3, 1, 1, 1, 1), nn.SpatialBatchNormalization(out),
        nn.ReLU(), nn.SpatialMaxPooling(2, 2, 2, 2),
    ]  # fmt: skip


def steps(rounds: int, out: Path) -> None:
    """Seconds of a step: written to a file by rank 0."""
    import tapegrad as tg
    from tapegrad import nn, optim
    from tapegrad.devices import collectives
    from tapegrad.optim.parallel import buckets

    group = collectives.world()
    criterion = nn.CrossEntropyCriterion()
    for name, (model, batch) in models().items():
        optimizer = optim.SGD(model, lr=0.01, momentum=0.9)
        parallel = optim.DataParallel(model, check_every=0)

        def step(model: Any = model, batch: Any = batch, parallel: Any = parallel,
                 optimizer: Any = optimizer) -> None:  # fmt: skip
            optimizer.zero_grad()
            if parallel.is_alone:
                criterion(model(tg.Tensor(batch[0])), tg.Tensor(batch[1])).backward()
            else:
                parallel.gradients(batch, lambda x, t: criterion(model(tg.Tensor(x)), tg.Tensor(t)))
            optimizer.step()

        for _ in range(3):
            step()
        best = smallest(step, rounds, group.barrier)
        if group.rank == 0:
            with out.open("a", encoding="utf-8") as file:
                file.write(
                    f"{name}|{group.size}|{best}|{sum(p.size for p in optimizer.named.values())}\n"
                )
        if group.size > 1:
            timeline(group, name, step, buckets.Buckets)


def timeline(group: Any, name: str, step: Any, kind: Any) -> None:
    """Print when buffers were sent, when the sweep ended, and when all sums were there."""
    events: list[tuple[str, float]] = []
    send, finish = kind._send, kind.finish

    def sent(self: Any, bucket: Any) -> None:
        events.append((f"{bucket.buffer.nbytes / 1e6:.1f} MB sent", time.perf_counter()))
        send(self, bucket)
        request = self._sent[-1]
        wait = request.wait

        def waited() -> None:
            wait()
            events.append(("a sum is there", time.perf_counter()))

        request.wait = waited

    def finished(self: Any) -> None:
        events.append(("the sweep has ended", time.perf_counter()))
        finish(self)

    kind._send, kind.finish = sent, finished
    start = time.perf_counter()
    step()
    end = time.perf_counter()
    kind._send, kind.finish = send, finish
    say(group, f"\ntimeline of a step, {name}")
    for what, when in events:
        say(group, f"  {1e3 * (when - start):7.2f} ms  {what}")
    say(group, f"  {1e3 * (end - start):7.2f} ms  the step has ended")


def on_paper(one: float, two: float, parameters: int, ranks: int, network: str) -> float:
    """Seconds of a step of `ranks` ranks with the batch of one each (weak scaling).

    A ring sums n bytes in 2·(p - 1)·latency + 2·n·(p - 1)/p / bandwidth.  Half of a step of one
    rank is the reverse sweep, during which three quarters of the buffers can travel; what two ranks
    took beyond half a step of one, without the sum, is the overhead of each step.
    """
    latency, bandwidth = NETWORKS[network]
    size = 4 * parameters
    travel = 2 * (ranks - 1) * latency + 2 * size * (ranks - 1) / ranks / bandwidth
    visible = max(0.25 * travel, travel - 0.5 * one)
    overhead = max(two - 0.5 * one - size / NETWORKS["shared memory"][1], 0.0)
    return one + visible + overhead


def say(group: Any, text: str) -> None:
    """Print on rank 0."""
    if group.rank == 0:
        print(text, flush=True)


def main() -> None:
    """Start the ranks, and print what they measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--on-ranks", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.on_ranks:
        from tapegrad.devices import collectives

        if collectives.world().size > 1:
            sums(arguments.rounds)
        steps(max(arguments.rounds // 5, 3), arguments.on_ranks)
        return
    print(machine(1))
    out = Path(os.environ.get("TMPDIR", "/tmp")) / f"ranks-{os.getpid()}.txt"
    mpiexec = Path(sys.executable).parent / "mpiexec"
    command = [sys.executable, __file__, "--rounds", str(arguments.rounds), "--on-ranks", str(out)]
    for ranks in (1, 2):
        start = [str(mpiexec), "-n", str(ranks)] if ranks > 1 else []
        subprocess.run([*start, *command], check=True)
    found: dict[str, dict[int, tuple[float, int]]] = {}
    for line in out.read_text(encoding="utf-8").splitlines():
        name, ranks, seconds, parameters = line.split("|")
        found.setdefault(name, {})[int(ranks)] = (float(seconds), int(parameters))
    out.unlink()
    for name, times in found.items():
        (one, parameters), (two, _) = times[1], times[2]
        print(f"\n{name}: {1e3 * one:.1f} ms on one rank, {1e3 * two:.1f} ms on two: "
              f"{one / two:.2f} × as fast")  # fmt: skip
        for network in ("100 Gbit/s", "10 Gbit/s"):
            row = []
            for ranks in (8, 64, 512):
                seconds = on_paper(one, two, parameters, ranks, network)
                row.append(f"{ranks} ranks {100 * one / seconds:.0f} %")
            print(f"  on paper, a batch for each rank, {network}: {', '.join(row)} efficient")


if __name__ == "__main__":
    main()
