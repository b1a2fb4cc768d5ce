"""predict, predict_class and evaluate over any data: order, memory, modes, and equal bits."""

import builtins
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.nn import data
from tapegrad.nn.core import evaluation
from tapegrad.nn.core.evaluation import evaluation_mode
from tapegrad.nn.core.services import service
from tapegrad.nn.data import DataSet, MiniBatch, PaddingParam, Sample, SampleToMiniBatch
from tapegrad.nn.data.backends import find_backend, register_backend

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(37, 5)).astype(np.float32)
T = RANDOM.integers(0, 3, 37)


def network():
    tg.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 3))


MODEL = network()
EXPECTED = np.concatenate([MODEL.clone().evaluate()(X[i : i + 8]).numpy() for i in range(0, 37, 8)])


@dataclass
class Sum:
    """A result that adds exactly."""

    total: Fraction
    count: int

    def __add__(self, other):
        return Sum(self.total + other.total, self.count + other.count)


def exact_loss(output, target):
    rows = output.numpy().astype(np.float64)
    logs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    chosen = logs[np.arange(len(rows)), np.asarray(target, int)]
    return Sum(sum(map(Fraction, chosen.tolist()), Fraction(0)), len(rows))


def right(output, target):
    return Sum(Fraction(int((output.numpy().argmax(1) == target).sum())), len(target))


class Recorder(nn.Module):
    """Keeps the shapes that it ran on, and whether it was in training mode."""

    def __init__(self):
        self.seen, self.modes = [], []

    def updateOutput(self, x):
        self.seen.append(x.shape)
        self.modes.append(bool(self.train))
        return x * 2


# Kinds of data ------------------------------------------------------------------------------------

KINDS = {
    "array": lambda: X,
    "tensor": lambda: tg.Tensor(X),
    "tuple of one": lambda: (X,),
    "list of rows": lambda: list(X),
    "list of samples": lambda: [Sample(x) for x in X],
    "labelled samples": lambda: [Sample(x, 1) for x in X],
    "generator": lambda: (x for x in X),
    "generator of samples": lambda: (Sample(x) for x in X),
    "data set": lambda: DataSet.array(X),
    "labelled data set": lambda: DataSet.array(X, T),
    "data set of samples": lambda: DataSet.array([Sample(x) for x in X]),
    "transformed data set": lambda: DataSet.array(X / 2) >> (lambda s: Sample(s.feature() * 2)),
    "batches": lambda: DataSet.array(X) >> SampleToMiniBatch(8),
    "batch": lambda: MiniBatch(X[:8]),
    "optim.Batches": lambda: optim.Batches(X, batch_size=8, shuffle=False),
    "view backwards": lambda: X[::-1][::-1],
}


@pytest.mark.parametrize("kind", KINDS)
def test_predict_takes_any_data_and_keeps_its_order(kind):
    found = list(data.predict(MODEL, KINDS[kind](), 8))
    expected = EXPECTED[:8] if kind == "batch" else EXPECTED
    assert len(found) == len(expected)
    assert np.array_equal(np.stack(found), expected)


def test_predict_reads_memory_maps(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.array_equal(np.stack(data.predict(MODEL, mapped, 8)), EXPECTED)


def test_predict_returns_a_list_and_of_an_iterator_an_iterator():
    assert isinstance(data.predict(MODEL, X), list)
    made = []

    def rows():
        for x in X:
            made.append(1)
            yield x

    results = data.predict(MODEL, rows(), 8)
    assert made == []
    next(results)
    assert len(made) == 8
    assert len(list(results)) == 36


def test_the_last_batch_is_smaller_and_the_mode_is_as_before():
    model = nn.Sequential(Recorder(), nn.Dropout(0.5).evaluate())
    assert len(data.predict(model, X, 10)) == 37
    recorder = model.get(0)
    assert [shape[0] for shape in recorder.seen] == [10, 10, 10, 7]
    assert recorder.modes == [False] * 4
    assert recorder.train
    assert not model.get(1).train
    generator = data.predict(model, iter(X), 10)
    next(generator)
    assert recorder.train  # also between two outputs of an iterator
    model.get(0).evaluate()
    list(generator)
    assert not recorder.train


def test_an_error_in_the_model_leaves_its_mode():
    model = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(ValueError, match="last axis"):
        data.predict(model, X)
    assert model.train
    assert model.get(0).train


def test_share_buffer_shares_and_without_it_outputs_keep_their_values():
    shared = list(data.predict(MODEL, X, 8, shareBuffer=True))
    assert np.shares_memory(shared[0], shared[8])
    assert np.array_equal(shared[0], EXPECTED[32])  # overwritten by the last batch
    read = [row.copy() for row in data.predict(MODEL, X, 8, shareBuffer=True)]
    assert np.array_equal(read, EXPECTED)
    own = data.predict(nn.Identity(), X, 8)
    assert not any(np.shares_memory(row, X) for row in own)
    assert not np.shares_memory(own[0], own[8])


def test_outputs_may_be_tables_and_inputs_several():
    two = nn.ConcatTable(nn.Linear(5, 1), nn.Linear(5, 2))
    found = data.predict(two, X[:5], 2)
    assert [[leaf.shape for leaf in row] for row in found] == [[(1,), (2,)]] * 5
    joined = nn.CAddTable()
    assert np.array_equal(data.predict(joined, (X, X), 4), 2 * X)
    rows = [Sample([x, x]) for x in X]
    assert np.array_equal(data.predict(joined, rows, 4), 2 * X)
    assert np.array_equal(data.predict(joined, [(x, x) for x in X], 4), 2 * X)

    class Named(nn.Module):
        def updateOutput(self, x):
            return {"sum": x["a"] + x["b"]}

    found = data.predict(Named(), {"a": X, "b": X}, 4)
    assert np.array_equal([row["sum"] for row in found], 2 * X)


def test_one_row_is_not_squeezed():
    found = data.predict(nn.Reshape(1, 2), np.zeros((5, 2), np.float32), 4)
    assert [row.shape for row in found] == [(1, 2)] * 5
    # Torch7's View takes a batch of one for a sample: the last of five is in such a batch
    for model in (nn.View(2), nn.Sequential(nn.View(2), nn.Linear(2, 1)), nn.Sum(1)):
        rows = data.predict(model, np.ones((5, 2, 1), np.float32), 4)
        assert len({row.shape for row in rows}) == 1
        assert len(rows) == 5
        assert all(np.allclose(row, rows[0]) for row in rows)


def test_features_of_different_lengths_need_a_padding():
    rows = [np.ones((n, 2), np.float32) for n in (3, 1, 2)]
    with pytest.raises(ValueError, match="PaddingParam"):
        data.predict(nn.Sum(1), rows)
    found = data.predict(nn.Sum(1), rows, featurePaddingParam=PaddingParam())
    assert np.array_equal(found, [[3, 3], [1, 1], [2, 2]])


def test_predict_class_counts_from_zero_and_takes_the_first_of_equals():
    scores = np.array([[0.1, 0.5, 0.5], [2, 1, 0]], np.float32)
    found = data.predict_class(nn.Identity(), scores)
    assert found.tolist() == [1, 0]
    assert found.dtype == np.int64
    assert list(data.predict_class(nn.Identity(), iter(scores))) == [1, 0]
    with pytest.raises(ValueError, match=r"of shape \(1, 3\): one score for each class"):
        data.predict_class(nn.Identity(), scores[:, None])


def test_wrong_calls_say_what_is_right():
    for wrong in (0, -2):
        with pytest.raises(ValueError, match="at least 1, or -1 for 32"):
            data.predict(MODEL, X, wrong)
    for wrong in (1.5, True, "8"):
        with pytest.raises(TypeError, match="batchSize is a whole number"):
            data.predict(MODEL, X, wrong)
    for wrong in (3, "data", None):
        with pytest.raises(TypeError, match="predict: the data is"):
            data.predict(MODEL, wrong)
    with pytest.raises(ValueError, match="one row for each sample is needed"):
        data.predict(nn.Sum(0), X)
    with pytest.raises(ValueError, match="the batches are shuffled"):
        data.predict(MODEL, optim.Batches(X))
    with pytest.raises(ValueError, match="a number has no samples"):
        data.predict(MODEL, np.array(1.0))
    assert data.predict(MODEL, X[:0]) == []


# evaluate -----------------------------------------------------------------------------------------


def test_evaluate_adds_up_what_the_methods_find():
    [(hits, method), (loss, _)] = data.evaluate(MODEL, (X, T), [right, exact_loss], 8)
    assert method is right
    assert hits == Sum(Fraction(int((EXPECTED.argmax(1) == T).sum())), 37)
    assert loss == exact_loss(tg.Tensor(EXPECTED), T)
    [(alone, _)] = data.evaluate(MODEL, (X, T), right)
    assert alone == hits
    assert MODEL.train


EVALUATED = {
    "arrays": lambda: (X, T),
    "samples": lambda: [Sample(x, t) for x, t in zip(X, T, strict=True)],
    "pairs": lambda: list(zip(X, T, strict=True)),
    "generator": lambda: zip(X, T, strict=True),
    "data set": lambda: DataSet.array(X, T),
    "mini-batches": lambda: DataSet.array(X, T) >> SampleToMiniBatch(8),
    "a list of mini-batches": lambda: [
        MiniBatch(X[i : i + 8], T[i : i + 8]) for i in range(0, 37, 8)
    ],
    "optim.Batches": lambda: optim.Batches(X, T, batch_size=8, shuffle=False),
    "pieces": lambda: DataSet.joined([(X[:5], T[:5]), (X[5:30], T[5:30]), (X[30:], T[30:])]),
}


@pytest.mark.parametrize("kind", EVALUATED)
def test_evaluate_takes_any_data_with_labels(kind):
    [(found, _)] = data.evaluate(MODEL, EVALUATED[kind](), exact_loss, 8)
    assert found == exact_loss(tg.Tensor(EXPECTED), T)


@pytest.mark.parametrize("pieces", [1, 2, 7, 64])
def test_results_are_the_same_bits_however_the_data_are_divided(pieces):
    expected = data.evaluate(MODEL, (X, T), [exact_loss, right], 4)
    for given in ((X, T), [Sample(x, t) for x, t in zip(X, T, strict=True)]):
        found = data.evaluate(MODEL, given, [exact_loss, right], 4, partitions=pieces)
        assert found == expected
    one = np.stack(data.predict(MODEL, X, 4))
    assert np.array_equal(data.predict(MODEL, X, 4, partitions=pieces), one)
    parts = zip(np.array_split(X, pieces), np.array_split(T, pieces), strict=True)
    by_hand = DataSet.joined(list(parts))
    assert data.evaluate(MODEL, by_hand, [exact_loss, right], 4) == expected


def test_exact_makes_a_result_depend_on_its_sample_alone():
    whole = data.evaluate(MODEL, (X, T), exact_loss, exact=True)
    for pieces in (2, 7, 36):
        parts = [
            data.evaluate(MODEL, (x, t), exact_loss, exact=True)[0][0]
            for x, t in zip(np.array_split(X, pieces), np.array_split(T, pieces), strict=True)
        ]
        assert sum(parts[1:], parts[0]) == whole[0][0]
    batches = DataSet.array(X, T) >> SampleToMiniBatch(8)
    assert data.evaluate(MODEL, batches, exact_loss, exact=True) == whole


def test_evaluate_says_what_is_missing():
    with pytest.raises(ValueError, match="the data has inputs only: give"):
        data.evaluate(MODEL, X, right)
    with pytest.raises(ValueError, match="a sample has no label"):
        data.evaluate(MODEL, [Sample(X[0])], right)
    with pytest.raises(ValueError, match="no samples in the data"):
        data.evaluate(MODEL, (X[:0], T[:0]), right)
    with pytest.raises(ValueError, match="at least one validation method"):
        data.evaluate(MODEL, (X, T), [])
    with pytest.raises(TypeError, match="cannot be called"):
        data.evaluate(MODEL, (X, T), ["top1"])
    with pytest.raises(TypeError, match="cannot be called"):
        data.evaluate(MODEL, (X, T), [Sum])
    with pytest.raises(ValueError, match="different numbers of samples"):
        data.evaluate(MODEL, (X, T[:3]), right)


# Back ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [None, 1, 3])
def test_threads_give_the_same_bits_in_order(partitions):
    found = data.predict(MODEL, X, 8, backend="threads", workers=2, partitions=partitions)
    assert np.array_equal(found, EXPECTED)
    found = list(data.predict(MODEL, iter(X), 2, backend="threads", workers=2))
    assert np.array_equal(found, np.stack(data.predict(MODEL, X, 2)))
    assert data.evaluate(MODEL, (X, T), exact_loss, 8, backend="threads", workers=2) == (
        data.evaluate(MODEL, (X, T), exact_loss, 8)
    )
    assert MODEL.train


def test_a_thread_does_not_put_back_the_mode_that_another_one_runs_in():
    model = network()
    entered, end = threading.Event(), threading.Event()

    def first():
        with evaluation_mode(model):
            entered.set()
            end.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(10)
    with evaluation_mode(model):
        end.set()
        thread.join()
        assert not any(part.train for part in model.listModules())
    assert all(part.train for part in model.listModules())
    assert evaluation._running == {}


@pytest.mark.extra
def test_processes_give_the_same_bits_in_order():
    found = data.predict(MODEL, X, 8, backend="processes", workers=2)
    assert np.array_equal(found, EXPECTED)
    assert np.array_equal(
        list(data.predict(MODEL, iter(X), 8, backend="processes", workers=2)), EXPECTED
    )


def test_a_back_end_is_found_by_name_or_by_its_data():
    class Far(list):
        """What another system holds: partitions of samples."""

    class FarBackend:
        def accepts(self, given):
            return isinstance(given, Far)

        def map(self, job, given):
            return Far([list(job.function(part)) for part in given])

        def reduce(self, job, given, combine):
            found = [result for part in given for result in job.function(part)]
            total = found[-1]
            for result in found[-2::-1]:
                total = combine(result, total)
            return total

    register_backend("far", FarBackend())
    try:
        given = Far([list(X[:8]), list(X[8:16]), []])
        found = data.predict(MODEL, given, 8)
        assert isinstance(found, Far)
        assert np.array_equal(np.concatenate(found[:2]), EXPECTED[:16])
        pairs = Far([list(zip(X[i : i + 8], T[i : i + 8], strict=True)) for i in range(0, 37, 8)])
        assert data.evaluate(MODEL, pairs, exact_loss, 8) == data.evaluate(
            MODEL, (X, T), exact_loss, 8
        )
        with pytest.raises(ValueError, match="'far' is there already"):
            register_backend("far", FarBackend())
    finally:
        data.backends._backends.pop("far")
    with pytest.raises(
        ValueError, match="no back end 'pigeons': there are local, threads, processes, spark, dask"
    ):
        data.predict(MODEL, X, backend="pigeons")
    assert find_backend(None, X) is find_backend("local", X)


def without(monkeypatch, *names):
    """Let imports of some libraries fail."""
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] in names:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch):
    without(monkeypatch, "joblib", "tqdm")
    with pytest.raises(ImportError, match=r"tapegrad\[partitioned\]"):
        data.predict(MODEL, X, backend="threads")
    with pytest.raises(ImportError, match=r"tapegrad\[progress\]"):
        data.predict(MODEL, X, progress=True)


def test_progress_counts_samples(capsys):
    assert len(data.predict(MODEL, X, progress=True)) == 37
    assert "37/37" in capsys.readouterr().err
    data.evaluate(MODEL, (X, T), right, 8, progress=True)
    assert "5/5" in capsys.readouterr().err


def test_the_services_are_these_functions():
    assert service("predict") is data.predict
    assert service("predict_class") is data.predict_class
    assert service("evaluate") is data.evaluate
    assert service("predict_image") is data.predict_image
    assert service("evaluate_image") is data.evaluate_image


def memory_of(n):
    """The most memory that predict over a generator of n samples takes, in bytes."""
    row = np.ones(2, np.float32)
    model = nn.Linear(2, 1)
    tracemalloc.start()
    try:
        count = sum(1 for _ in data.predict(model, (row for _ in range(n)), 1000))
        assert count == n
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_that_of_a_batch():
    small, large = memory_of(2_000), memory_of(12_000)
    assert large < 1.2 * small


A_MILLION = """
import resource
import numpy as np
from tapegrad import nn

row, model = np.ones(2, np.float32), nn.Linear(2, 1)
for n in (20_000, 1_000_000):
    assert sum(1 for _ in nn.data.predict(model, (row for _ in range(n)), 1000)) == n
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.extra
def test_a_million_samples_keep_memory_flat(figures):
    code = [sys.executable, "-c", A_MILLION]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    unit = 1024 if sys.platform == "darwin" else 1  # ru_maxrss is in bytes there, else in KiB
    assert large - small < 4096 * unit
    first, more = (kibibytes / unit / 1024 for kibibytes in (small, large - small))
    figures(f"predict over a generator: {first:.1f} MB, and {more:.2f} MB more for 1,000,000 rows")
