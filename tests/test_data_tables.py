"""Pandas frames and Arrow tables as data, read batch by batch."""

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.nn import data
from tapegrad.nn.data import DataSet, Loader

X = np.arange(30, dtype=np.float32).reshape(10, 3)
T = np.arange(10) % 3


class Frame:
    """As much of a pandas frame as is read: columns, rows by position, and what was asked for."""

    def __init__(self, columns, asked=None):
        self.held, self.asked = columns, [] if asked is None else asked
        self.columns = list(columns)

    def __len__(self):
        return len(next(iter(self.held.values())))

    @property
    def iloc(self):
        return self

    def __getitem__(self, key):
        if isinstance(key, str):
            return Column(self.held[key])
        if isinstance(key, slice):
            self.asked.append((key.start, key.stop))
        return Frame({name: values[key] for name, values in self.held.items()}, self.asked)


class Column:
    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return self.values


def frame():
    return Frame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "t": T})


def test_columns_are_read_batch_by_batch():
    given = frame()
    ds = DataSet.frame(given, labels="t")
    assert np.array_equal(np.stack(data.predict(nn.Identity(), ds, 4)), X)
    assert given.asked == [(0, 4), (4, 8), (8, 10)]
    [(found, _)] = data.evaluate(
        nn.Identity(), ds, lambda y, t: np.stack([y.numpy()[:, 0], t]).sum(1)
    )
    assert found.tolist() == [X[:, 0].sum(), T.sum()]
    both = DataSet.frame(given, features=["c", "a"])
    assert np.array_equal(np.stack(data.predict(nn.Identity(), both)), X[:, [2, 0]])
    assert DataSet.frame(given, "a", ["t", "b"]).source.input[:3].__array__().shape == (3,)
    assert [s.label().item() for s in ds] == T.tolist()
    batches = list(Loader((X, T), 4, seed=1).epoch(0))
    for batch, same in zip(ds.batches(4, seed=1).epoch(0), batches, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(batch, same, strict=True))
    with pytest.raises(KeyError, match="no column 'z'; there are"):
        DataSet.frame(given, ["z"])
    texts = Frame({"a": np.array(["x", "y"])})
    with pytest.raises(TypeError, match="column 'a' holds"):
        data.predict(nn.Identity(), texts)


def test_a_column_of_lists_makes_further_axes():
    lists = np.empty(4, object)
    lists[:] = [[i, i + 1] for i in range(4)]
    [*rows] = data.predict(nn.Identity(), Frame({"x": lists}))
    assert np.array_equal(rows, [[0, 1], [1, 2], [2, 3], [3, 4]])
    lists[1] = [1]
    with pytest.raises(TypeError, match="lists of several lengths"):
        data.predict(nn.Identity(), Frame({"x": lists}))


@pytest.mark.extra
def test_pandas():
    import pandas as pd

    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}, index=range(100, 110))
    assert np.array_equal(np.stack(data.predict(nn.Identity(), table, 4)), X)
    assert np.array_equal(data.predict(nn.Identity(), table["b"], 4), X[:, 1])
    ds = DataSet.frame(table.assign(t=T), labels="t")
    shuffled = np.concatenate([b.getInput() for b in ds.batches(3, seed=0).epoch(0)])
    assert not np.array_equal(shuffled, X)
    assert np.array_equal(np.sort(shuffled[:, 0]), X[:, 0])
    [part, rest] = ds.randomSplit([0.5, 0.5], 1)
    assert part.size() + rest.size() == 10
    lists = pd.DataFrame({"x": [[1, 2], [3, 4]]})
    assert np.array_equal(np.stack(data.predict(nn.Identity(), lists)), [[1, 2], [3, 4]])


@pytest.mark.extra
def test_arrow():
    import pyarrow as pa

    table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "t": T})
    ds = DataSet.frame(table, ["a", "b", "c"], "t")
    assert np.array_equal(np.stack(data.predict(nn.Identity(), ds, 4)), X)
    [(found, _)] = data.evaluate(nn.Identity(), ds, lambda y, t: np.array([len(t), t.sum()]), 4)
    assert found.tolist() == [10, T.sum()]
    plain = table.select(["a", "b", "c"])
    assert np.array_equal(np.stack(data.predict(nn.Identity(), plain)), X)
    [batch] = plain.to_batches()
    assert np.array_equal(np.stack(data.predict(nn.Identity(), batch)), X)
    reader = pa.RecordBatchReader.from_batches(plain.schema, plain.to_batches(max_chunksize=3))
    assert np.array_equal(np.stack(list(data.predict(nn.Identity(), reader, 4))), X)
    loaded = np.concatenate([b.getInput() for b in ds.batches(4, shuffle=False).epoch(0)])
    assert np.array_equal(loaded, X)
    lists = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 3)})
    assert np.array_equal(np.stack(data.predict(nn.Identity(), lists)), X)
