"""Loader and prefetch: orders, weights, threads, errors."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.nn import data
from tapegrad.nn.data import DataSet, Loader, PaddingParam, Sample, prefetch
from tapegrad.nn.data.randomness import current_draws, draw_from, generator_for, weighted_order

X = np.arange(20, dtype=np.float32).reshape(10, 2)
T = np.arange(10)


def labels(loader, *epoch):
    return [int(label) for batch in loader.epoch(*epoch) for label in batch.getTarget()]


# Order --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 8),
    st.integers(0, 1000),
    st.integers(0, 5),
    st.integers(0, 3),
    st.booleans(),
)
def test_an_epoch_has_each_sample_once_whatever_the_workers(n, size, seed, epoch, workers, rows):
    x, t = np.arange(n, dtype=np.float32)[:, None], np.arange(n)
    given = [Sample(a, b) for a, b in zip(x, t, strict=True)] if rows else (x, t)
    loader = Loader(given, size, seed=seed, workers=workers)
    found = labels(loader, epoch)
    assert sorted(found) == list(range(n))
    assert found == labels(Loader((x, t), size, seed=seed), epoch)
    start = min(1, len(loader))
    assert labels(loader, epoch, start) == found[start * size :]
    for batch in loader.epoch(epoch):
        assert np.array_equal(batch.getInput()[:, 0], batch.getTarget())


def test_epochs_differ_and_iteration_counts_them():
    loader = Loader((X, T), 4, seed=1)
    assert labels(loader, 0) != labels(loader, 1)
    assert [int(t) for b in loader for t in b[1]] == labels(loader, 0)
    assert [int(t) for b in loader for t in b[1]] == labels(loader, 1)
    assert labels(Loader((X, T), 4, shuffle=False), 3) == list(range(10))
    assert len(loader) == 3
    assert len(Loader((X, T), 4, drop_last=True)) == 2
    assert len(labels(Loader((X, T), 4, drop_last=True), 0)) == 8
    tg.manual_seed(2)
    first = labels(Loader((X, T)), 0)
    tg.manual_seed(2)
    assert labels(Loader((X, T)), 0) == first


def test_weights_are_frequencies():
    weights = [0, 1, 2, 5, 0]
    loader = Loader((np.zeros((5, 1)), np.arange(5)), 5, seed=0, weights=weights)
    counts = np.bincount([t for e in range(400) for t in labels(loader, e)], minlength=5)
    assert counts[[0, 4]].tolist() == [0, 0]
    assert np.allclose(counts / counts.sum(), np.array(weights) / 8, atol=0.03)
    for wrong in ([1, 1], [1, 1, 1, 1, -1], [0] * 5, [np.nan] * 5):
        with pytest.raises(ValueError, match="weights"):
            Loader((np.zeros((5, 1)), np.arange(5)), weights=wrong)


def test_weighted_order_never_takes_a_weight_of_zero():
    class Draws:
        def __init__(self, value):
            self.value = value

        def uniform(self, shape, dtype):
            return np.full(shape, self.value)

    assert weighted_order(np.array([1.0, 3, 0]), 2, Draws(np.nextafter(1, 0))).tolist() == [1, 1]
    assert weighted_order(np.array([0.0, 1]), 1, Draws(0.0)).tolist() == [1]


def test_a_loader_takes_iterators_only_as_they_come():
    loader = Loader(iter([Sample(x, t) for x, t in zip(X, T, strict=True)]), 4, shuffle=False)
    assert labels(loader, 0) == list(range(10))
    with pytest.raises(ValueError, match="give a list or arrays"):
        Loader(iter(X))
    with pytest.raises(TypeError, match="give a list or arrays"):
        len(loader)
    with pytest.raises(ValueError, match="at least 1"):
        Loader((X, T), 0)


def test_padding_and_transformers_make_batches():
    ragged = [Sample(np.ones(n), n) for n in (3, 1, 2)]
    [batch] = Loader(ragged, 3, shuffle=False, padding=PaddingParam()).epoch(0)
    assert batch.getInput().tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    ds = DataSet.array(X, T) >> (lambda s: Sample(-s.feature(), s.label()))
    [batch] = ds.batches(10, shuffle=False).epoch(0)
    assert np.array_equal(batch.getInput(), -X)
    cut = ds >> data.SampleToMiniBatch(5)
    assert [b.size() for b in cut.batches(5).epoch(0)] == [5, 5]
    with pytest.raises(ValueError, match="cut a batch into several"):
        list(cut.batches(10).epoch(0))
    made = DataSet.function(lambda: [Sample(x, t) for x, t in zip(X, T, strict=True)])
    loader = made.batches(3)
    assert labels(loader, 0) == labels(loader, 1) == list(range(10))


def test_random_transformers_draw_the_same_in_any_number_of_threads():
    def noisy(sample):
        return Sample(sample.feature() + current_draws().normal((2,)), sample.label())

    def first(workers):
        loader = Loader((X, T), 3, seed=7, transformer=noisy, workers=workers)
        return np.concatenate([batch.getInput() for batch in loader.epoch(2)])

    assert np.array_equal(first(0), first(3))
    with draw_from(3):
        one = current_draws().normal((4,))
    with draw_from(generator_for(3, 1)):
        other = current_draws().normal((4,))
    with draw_from(3):
        assert np.array_equal(current_draws().normal((4,)), one)
    assert not np.array_equal(one, other)
    assert current_draws() is tg.devices.generator("cpu")


def test_workers_run_at_the_same_time_and_their_errors_arrive():
    both = threading.Barrier(2, timeout=10)

    def meet(sample):
        both.wait()
        return sample

    loader = Loader((X[:2], T[:2]), 1, shuffle=False, transformer=meet, workers=2)
    assert labels(loader, 0) == [0, 1]

    def fail(sample):
        if sample.label() == 5:
            raise RuntimeError("sample 5")
        return sample

    loader = Loader((X, T), 1, shuffle=False, transformer=fail, workers=2)
    batches = loader.epoch(0)
    assert [int(next(batches).getTarget()[0]) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="sample 5"):
        next(batches)


def test_a_trainer_resumes_on_a_loader_with_equal_bits(tmp_path):
    def trained(steps, resume=False):
        tg.manual_seed(0)
        model = nn.Linear(2, 10)
        trainer = optim.Trainer(
            model, nn.CrossEntropyCriterion(), optim.SGD(model, lr=0.01), progress=False,
            folder=tmp_path / ("resumed" if resume else "whole"), save_every=1,
        )  # fmt: skip
        loader = Loader((X / 20, T), 3, seed=4, workers=2)
        for count in steps:
            trainer.fit(loader, steps=count, resume=resume)
        return model.weight.numpy()

    assert np.array_equal(trained([10]), trained([3, 10], resume=True))


# Prefetch -----------------------------------------------------------------------------------------


def test_prefetch_gives_the_same_in_order_and_reads_ahead():
    made = []

    def source():
        for i in range(10):
            made.append(i)
            yield i

    ahead = prefetch(source(), 3)
    assert next(ahead) == 0
    for _ in range(200):
        if len(made) >= 4:
            break
        time.sleep(0.01)
    assert 4 <= len(made) <= 6
    assert list(ahead) == list(range(1, 10))
    with pytest.raises(ValueError, match="depth must be at least 1"):
        prefetch([1], 0)


def test_an_error_arrives_where_its_batch_would_have_come():
    def source():
        yield 1
        yield 2
        raise KeyError("broken file")

    ahead = prefetch(source(), 1)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="broken file"):
        next(ahead)


def test_a_consumer_that_stops_ends_the_thread():
    before = threading.active_count()
    ahead = prefetch(iter(int, 1), 2)
    next(ahead)
    assert threading.active_count() == before + 1
    ahead.close()
    assert threading.active_count() == before
