"""Samples, mini-batches, data sets and transformers: the right values, in order."""

import pickle
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.nn import data
from tapegrad.nn.data import (
    DataSet,
    FixedLength,
    MiniBatch,
    PaddingLongest,
    PaddingParam,
    Sample,
    SampleToMiniBatch,
)


def numbered(n, label=True):
    return [Sample(np.full(2, i, np.float32), np.float32(i % 3) if label else ()) for i in range(n)]


# Samples ------------------------------------------------------------------------------------------


def test_a_sample_holds_one_array_or_several():
    one = Sample([1.0, 2.0], 3)
    assert one.input.dtype == np.float32
    assert (one.numFeature(), one.numLabel(), one.featureLength()) == (1, 1, 2)
    assert one.target.shape == ()
    two = Sample([np.zeros(2), np.ones((3, 4))], [np.int64(1), np.zeros(2)])
    assert two.getFeatureSize() == [(2,), (3, 4)]
    assert two.getLabelSize() == [(), (2,)]
    assert two.featureLength(1) == 3
    assert two.labelLength(0) == 1
    assert [x.shape for x in two.input] == [(2,), (3, 4)]
    assert Sample(np.zeros(2)).target is None
    assert Sample.from_ndarray(np.zeros(2), 1) == Sample(np.zeros(2), 1)
    assert Sample(np.zeros(2)) != Sample(np.ones(2))
    assert Sample(np.zeros(2)) != 3
    assert Sample([[1, 2], [3, 4]]).feature().shape == (2, 2)
    assert len(Sample(([1, 2], [3])).features) == 2
    assert repr(two) == "Sample(float64[2], float64[3, 4]; labels int64[], float64[2])"
    assert Sample(tg.Tensor([1.0])).label is not None
    with pytest.raises(TypeError, match="arrays of numbers, not 'cat'"):
        Sample("cat")
    with pytest.raises(TypeError, match="arrays of numbers"):
        Sample([[1], [2, 3]])


def test_a_mini_batch_is_a_tuple_that_slices():
    batch = MiniBatch.of(numbered(5))
    x, t = batch
    assert batch.size() == 5
    assert np.array_equal(batch.getInput(), x)
    part = batch.slice(1, 3)
    assert part.getTarget().tolist() == [1, 2, 0]
    assert np.shares_memory(part.getInput(), x)
    assert part.toSamples() == numbered(5)[1:4]
    with pytest.raises(ValueError, match="samples 3 to 6 of 5"):
        batch.slice(3, 3)
    again = pickle.loads(pickle.dumps(batch))
    assert type(again) is MiniBatch
    assert np.array_equal(again.getTarget(), t)
    alone = MiniBatch([np.zeros((2, 1)), np.zeros((2, 3))])
    assert alone.getTarget() is None
    assert alone.size() == 2
    assert len(alone) == 1
    assert "float64[2, 3]" in repr(alone)
    with pytest.raises(ValueError, match="of no samples"):
        MiniBatch.of([])


def test_two_labels_that_are_numbers_make_two_targets():
    rows = [Sample(np.zeros(1), [np.array(i), np.array(-i)]) for i in range(3)]
    _, target = MiniBatch.of(rows)
    assert [t.tolist() for t in target] == [[0, 1, 2], [0, -1, -2]]


# Padding ------------------------------------------------------------------------------------------

RAGGED = [
    np.array([[1, 2, 3], [4, 5, 6]], np.float32),
    np.array([[7, 8, 9]], np.float32),
    np.array([[10, 11, 12], [13, 14, 15], [16, 17, 18]], np.float32),
]


def stacked(padding, rows=RAGGED):
    samples = (Sample(row) for row in rows)
    [batch] = SampleToMiniBatch(len(rows), featurePaddingParam=padding).apply(samples)
    return batch.getInput()


def test_padding_by_hand():
    padded = stacked(PaddingParam())
    assert padded.shape == (3, 3, 3)
    assert np.array_equal(padded[1], [[7, 8, 9], [0, 0, 0], [0, 0, 0]])
    row = np.array([-1, -2, -3], np.float32)
    fixed = stacked(PaddingParam([row], FixedLength([4])))
    assert fixed.shape == (3, 4, 3)
    assert np.array_equal(fixed[0, 2:], [row, row])
    assert np.array_equal(fixed[2, :3], RAGGED[2])
    longer = stacked(PaddingParam([9], PaddingLongest([2])))
    assert longer.shape == (3, 5, 3)
    assert (longer[1, 1:] == 9).all()
    assert stacked(PaddingParam(None, FixedLength([-1]))).shape == (3, 3, 3)
    wide = stacked(PaddingParam(), [np.ones((1, 2)), np.ones((2, 1))])
    assert wide.tolist() == [[[1, 1], [0, 0]], [[1, 0], [1, 0]]]


def test_padding_names_what_does_not_fit():
    with pytest.raises(ValueError, match=r"sample 1 of a batch has a feature of shape \(1, 3\)"):
        stacked(None)
    with pytest.raises(ValueError, match=r"FixedLength\(2\): a feature 0 has length 3"):
        stacked(PaddingParam(None, FixedLength([2])))
    with pytest.raises(ValueError, match=r"paddingTensor is of shape \(2,\)"):
        stacked(PaddingParam([np.zeros(2)]))
    with pytest.raises(ValueError, match="sample 1 of a batch"):
        stacked(PaddingParam(), [np.zeros(2), np.zeros((2, 2))])


def test_several_features_and_labels_are_padded_each():
    rows = [Sample([np.ones(n), np.ones(n + 1)], np.full(n, n)) for n in (1, 3)]
    [batch] = SampleToMiniBatch(2, PaddingParam([7, 8]), PaddingParam([-1])).apply(iter(rows))
    first, second = batch.getInput()
    assert first.tolist() == [[1, 7, 7], [1, 1, 1]]
    assert second.tolist() == [[1, 1, 8, 8], [1, 1, 1, 1]]
    assert batch.getTarget().tolist() == [[1, -1, -1], [3, 3, 3]]


def test_buckets_put_lengths_together_and_lose_nobody():
    lengths = [3, 9, 2, 8, 5, 1, 7, 20]
    samples = [Sample(np.full(n, n, np.float32)) for n in lengths]
    step = SampleToMiniBatch(2, PaddingParam(), bucketBoundaries=[4, 8])
    batches = [batch.getInput() for batch in step.apply(iter(samples))]
    assert [batch.max(axis=1).tolist() for batch in batches] == [
        [3, 2], [8, 5], [9, 20], [1], [7],
    ]  # fmt: skip
    assert [batch.shape[1] for batch in batches] == [3, 8, 20, 1, 7]


def test_sample_to_mini_batch_checks_what_it_gets():
    assert [b.size() for b in SampleToMiniBatch(2).apply(iter(numbered(5)))] == [2, 2, 1]
    assert [b.size() for b in SampleToMiniBatch(2, dropLast=True).apply(iter(numbered(5)))] == [
        2,
        2,
    ]
    assert SampleToMiniBatch(8, partitionNum=4).batchSize == 2
    with pytest.raises(ValueError, match="batchSize 3 is not divided by 2 partitions"):
        SampleToMiniBatch(3, partitionNum=2)
    with pytest.raises(TypeError, match="item 0 is int: put"):
        list(SampleToMiniBatch(2).apply(iter([1])))


# Transformers and data sets -----------------------------------------------------------------------


def test_transformers_and_functions_compose():
    double = data.Each(lambda s: Sample(s.feature() * 2, s.label()))
    chain = double >> (lambda s: Sample(s.feature() + 1, s.label())) >> SampleToMiniBatch(2)
    assert repr(chain).startswith("Each(<lambda>) >> Each(<lambda>) >> SampleToMiniBatch(2)")
    [first, _] = chain(numbered(3))
    assert first.getInput().tolist() == [[1, 1], [3, 3]]
    both = (lambda s: s) >> double
    assert len(both.steps) == 2
    with pytest.raises(TypeError, match="3 is no transformer"):
        double >> 3
    with pytest.raises(NotImplementedError, match="does not define apply"):
        data.DataTransformer().apply(iter([]))
    assert [b.size() for b in chain(DataSet.array(numbered(3)))] == [2, 1]


def numbers(ds, count):
    """The first features of a training stream."""
    return [int(s.feature()[0]) for s in islice(ds.data(train=True), count)]


def test_a_data_set_has_an_order_for_training_and_its_own_for_evaluation():
    ds = DataSet.array(numbered(10), seed=3)
    assert ds.size() == len(ds) == 10
    plain = [int(s.feature()[0]) for s in ds.data(train=False)]
    assert plain == list(range(10))
    assert numbers(ds, 20) == plain * 2
    first = numbers(ds.shuffle(), 20)
    assert first[:10] == first[10:] != plain
    assert sorted(first[:10]) == plain
    assert numbers(ds.shuffle(), 10) != first[:10]
    assert numbers(DataSet.array(numbered(10), seed=3).shuffle(), 10) == first[:10]
    assert [int(s.feature()[0]) for s in ds.data(train=False)] == plain
    assert list(DataSet.array([]).data(train=True)) == []


def test_manual_seed_decides_the_order_without_a_seed():
    def order(seed):
        tg.manual_seed(seed)
        return numbers(DataSet.array(numbered(9)).shuffle(), 9)

    assert order(5) == order(5) != order(6)


def test_a_data_set_is_made_of_many_things():
    x, t = np.arange(12.0).reshape(6, 2), np.arange(6)
    assert [s.label().item() for s in DataSet.array((x, t))] == list(range(6))
    assert [s.feature().tolist() for s in DataSet.array(x)][2] == [4, 5]
    assert DataSet.array(x, t).size() == 6
    made = DataSet.function(lambda: iter(numbered(4)))
    assert len(list(made)) == len(list(made)) == 4
    joined = DataSet.joined([numbered(3), (x, t)])
    assert len(list(joined)) == 9
    batches = DataSet.array([MiniBatch(x, t), MiniBatch(x[:2], t[:2])])
    assert batches.size() == 8
    assert (
        repr(DataSet.array(x) >> SampleToMiniBatch(2)) == "LocalDataSet(6) >> SampleToMiniBatch(2)"
    )
    assert repr(made) == "LocalDataSet(…)"
    for call in (made.size, made.shuffle, lambda: made.randomSplit([1])):
        with pytest.raises(TypeError, match="how many samples a function makes"):
            call()
    with pytest.raises(TypeError, match="takes a function"):
        DataSet.function([1])
    with pytest.raises(ValueError, match=r"different numbers of samples: \[6, 5\]"):
        DataSet.array(x, t[:5])
    with pytest.raises(TypeError, match=r"the data is (a str|'abc')"):
        DataSet.array("abc")


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 40), st.integers(0, 100), st.booleans())
def test_a_random_split_has_each_sample_once(n, seed, arrays):
    whole = DataSet.array((np.arange(n), np.arange(n))) if arrays else DataSet.array(numbered(n))
    parts = whole.randomSplit([0.5, 0.5], seed)
    found = [int(s.feature().reshape(-1)[0]) for part in parts for s in part]
    assert sorted(found) == list(range(n))
    assert abs(parts[0].size() - n / 2) <= 1
    assert [list(p.data(False)) for p in whole.randomSplit([0.5, 0.5], seed)] == [
        list(p.data(False)) for p in parts
    ]


def test_a_random_split_refuses_what_is_no_split():
    ds = DataSet.array(numbered(4))
    with pytest.raises(ValueError, match="sum to 1"):
        ds.randomSplit([0.5, 0.6])
    with pytest.raises(ValueError, match=r"0\.01 of 4 samples are none"):
        ds.randomSplit([0.99, 0.01])


def test_a_data_set_of_mini_batches_trains_a_model():
    tg.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    t = (x[:, 0] > 0).astype(int)
    model, criterion = nn.Linear(2, 2), nn.CrossEntropyCriterion()
    loader = DataSet.array(x, t).batches(10, seed=1)
    optimizer = optim.SGD(model, lr=0.5)
    trainer = optim.Trainer(model, criterion, optimizer, progress=False)
    history = trainer.fit(loader, epochs=5)
    assert history[-1]["loss"] < 0.3 < history[0]["loss"]
    assert trainer.step_count == 30
    right = nn.data.predict_class(model, x) == t
    assert right.mean() > 0.9
