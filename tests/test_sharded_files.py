"""Samples in many files: one order for any number of ranks, entered anywhere, read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapegrad import nn, optim
from tapegrad.devices import collectives
from tapegrad.devices.collectives import RankGroup, run_in_threads
from tapegrad.nn.data import SampleFiles

LENGTHS = (10, 1, 37, 0, 25)
COUNT = sum(LENGTHS)


@pytest.fixture
def files(tmp_path: Path) -> list[Any]:
    found, start = [], 0
    for i, length in enumerate(LENGTHS):
        numbers = np.arange(start, start + length)
        paths = (tmp_path / f"x-{i}.npy", tmp_path / f"t-{i}.npy")
        np.save(paths[0], np.stack([numbers, -numbers], 1).astype(np.float32))
        np.save(paths[1], numbers % 3)
        found.append(paths)
        start += length
    return found


SMALL = {"batch_size": 8, "stretches": 4, "block": 5, "window": 7}


def numbers_of(batches: Any) -> list[list[int]]:
    return [batch[0][:, 0].astype(int).tolist() for batch in batches]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_epoch_has_every_sample_once_and_another_order_than_the_next(
    files: list[Any], prefetch: int
) -> None:
    data = SampleFiles(files, prefetch=prefetch, **SMALL)
    epochs = [numbers_of(data.epoch(e)) for e in range(2)]
    for batches in epochs:
        assert len(batches) == len(data) == -(-COUNT // 8)
        assert sorted(n for batch in batches for n in batch) == list(range(COUNT))
        assert [len(batch) for batch in batches[:-1]] == [8] * (len(data) - 1)
    assert epochs[0] != epochs[1]
    assert numbers_of(data) == epochs[0]
    assert numbers_of(data) == epochs[1]
    assert numbers_of(SampleFiles(files, seed=1, **SMALL)) != epochs[0]
    for x, t in data.epoch(0):
        assert np.array_equal(x[:, 1], -x[:, 0])
        assert np.array_equal(t, x[:, 0].astype(int) % 3)
    whole = SampleFiles(files, drop_last=True, **SMALL)
    assert [len(b) for b in numbers_of(whole)] == [8] * (COUNT // 8)
    plain = SampleFiles(files, shuffle=False, **{**SMALL, "stretches": 1})
    assert [n for batch in numbers_of(plain) for n in batch] == list(range(COUNT))


def test_an_epoch_is_entered_at_any_batch(files: list[Any]) -> None:
    data = SampleFiles(files, **SMALL)
    whole = numbers_of(data.epoch(3))
    for start in range(len(data) + 1):
        assert numbers_of(data.epoch(3, start)) == whole[start:]


def test_ranks_have_the_same_batches_and_read_their_share(files: list[Any]) -> None:
    def each(group: RankGroup) -> tuple[Any, int]:
        data = SampleFiles(files, group=group, prefetch=0, **SMALL)
        begin = data.bytes_read
        batches = [(numbers_of([b])[0], b.total) for b in data.epoch(1)]
        return batches, data.bytes_read - begin

    [(whole, all_bytes)] = run_in_threads(1, each)
    for size in (2, 4):
        found = run_in_threads(size, each)
        for index, (batch, total) in enumerate(whole):
            assert [n for batches, _ in found for n in batches[index][0]] == batch
            assert {batches[index][1] for batches, _ in found} == {total}
        assert sum(count for _, count in found) == all_bytes
        assert max(count for _, count in found) <= all_bytes / size * 1.1


def test_a_trainer_on_ranks_takes_them(files: list[Any]) -> None:
    def each(group: RankGroup) -> tuple[Any, list[float]]:
        draw = np.random.default_rng(0)
        model = nn.Sequential(nn.Linear(2, 3), nn.LogSoftMax())
        for p in model.parameters()[0]:
            p.detach()[...] = draw.normal(size=p.shape)
        with collectives.use(group):
            data = SampleFiles(files, **SMALL)
            trainer = optim.Trainer(
                model, nn.ClassNLLCriterion(), optim.SGD(model, lr=1e-4), progress=False,
                parallel=optim.DataParallel(model, shards=4),
            )  # fmt: skip
            trainer.fit(data, epochs=2)
        return model.state_dict(), trainer.step_losses

    [(right, losses)] = run_in_threads(1, each)
    for size in (2, 4):
        for arrays, own in run_in_threads(size, each):
            assert own == losses
            assert all(np.array_equal(arrays[k], right[k]) for k in right)


def test_tables(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    numbers = np.arange(50)
    table = pa.table(
        {"a": numbers.astype(np.float32), "b": -numbers.astype(np.float32), "y": numbers % 3}
    )
    parquet.write_table(table.slice(0, 30), tmp_path / "0.parquet", row_group_size=7)
    with (
        pa.OSFile(str(tmp_path / "1.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as out,
    ):
        out.write_table(table.slice(30))
    paths = [tmp_path / "0.parquet", tmp_path / "1.arrow"]
    data = SampleFiles(paths, features=["a", "b"], labels="y", **SMALL)
    found = list(data.epoch(0))
    assert sorted(n for batch in numbers_of(found) for n in batch) == list(range(50))
    for x, t in found:
        assert np.array_equal(x[:, 1], -x[:, 0])
        assert np.array_equal(t, x[:, 0].astype(int) % 3)
    with pytest.raises(ValueError, match="features= and labels="):
        SampleFiles(paths, **SMALL)


def test_records(tmp_path: Path) -> None:
    from tapegrad.nn import mxnet as mx

    paths = str(tmp_path / "r.idx"), str(tmp_path / "r.rec")
    with mx.recordio.MXIndexedRecordIO(*paths, "w") as out:
        for i in range(30):
            header = mx.recordio.IRHeader(0, float(i % 3), i, 0)
            out.write_idx(i, mx.recordio.pack(header, np.array([i, -i], np.float32).tobytes()))

    def decode(record: bytes) -> tuple[Any, ...]:
        header, content = mx.recordio.unpack(record)
        return np.frombuffer(content, np.float32), np.int64(header.label)

    found = list(SampleFiles([mx.recordio.RecordShard(*paths, decode)], **SMALL))
    assert sorted(n for batch in numbers_of(found) for n in batch) == list(range(30))
    for x, t in found:
        assert np.array_equal(t, x[:, 0].astype(int) % 3)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"files": []}, "no files"),
        ({"files": ["a.txt"]}, "a.txt: files are .npy"),
        ({"batch_size": 6}, "does not divide"),
        ({"mixed": True}, "the first file of"),
        ({"unequal": True}, "different numbers"),
    ],
)
def test_what_cannot_be_read_is_refused(
    files: list[Any], change: dict[str, Any], text: str, tmp_path: Path
) -> None:
    given = {"files": files, **SMALL, **change}
    if given.pop("mixed", False):
        np.save(tmp_path / "other.npy", np.ones((4, 3)))
        given["files"] = [*files, (tmp_path / "other.npy", tmp_path / "other.npy")]
    if given.pop("unequal", False):
        given["files"] = [(files[0][0], files[2][1])]
    with pytest.raises(ValueError, match=text):
        SampleFiles(given.pop("files"), **given)


def test_shards_must_fit_the_stretches(files: list[Any]) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LogSoftMax())
    data = SampleFiles(files, **SMALL)
    trainer = optim.Trainer(
        model, nn.ClassNLLCriterion(), optim.SGD(model, lr=1e-4), progress=False,
        parallel=optim.DataParallel(model, shards=8),
    )  # fmt: skip
    with pytest.raises(ValueError, match="as many stretches"):
        trainer.fit(data, epochs=1)
