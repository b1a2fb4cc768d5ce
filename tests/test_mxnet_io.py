"""MXNet's iterators of files, record files and pictures."""

from __future__ import annotations

import gzip
import pickle
import random
import struct

import numpy as np
import pytest

from tapegrad.nn import mxnet as mx
from tapegrad.nn.formats import FormatError, LimitError, TruncatedError
from tapegrad.nn.mxnet import recordio
from tapegrad.nn.mxnet.resample import resized

MAGIC = struct.pack("<I", 0xCED7230A)


def epoch(batches):
    return [
        (b.data[0].asnumpy().ravel().tolist(), b.label[0].asnumpy().tolist(), b.pad)
        for b in batches
    ]


class TestTables:
    def test_a_last_batch_takes_rows_from_the_next_epoch(self, tmp_path):
        (tmp_path / "x.csv").write_text("\n".join(map(str, range(10))))
        it = mx.io.CSVIter(data_csv=tmp_path / "x.csv", data_shape=(1,), batch_size=4)
        assert epoch(it) == [
            ([0, 1, 2, 3], [0] * 4, 0), ([4, 5, 6, 7], [0] * 4, 0), ([8, 9, 0, 1], [0] * 4, 2),
        ]  # fmt: skip
        assert epoch(it) == []
        it.reset()
        assert [x for x, _, _ in epoch(it)] == [[2, 3, 4, 5], [6, 7, 8, 9]]
        it.reset()
        assert next(it).data[0].asnumpy().ravel().tolist() == [0, 1, 2, 3]

    def test_without_rounding_a_last_batch_keeps_old_rows(self, tmp_path):
        (tmp_path / "x.csv").write_text("0,1\n2,3\n4,5\n")
        (tmp_path / "y.csv").write_text("7\n8\n9\n")
        it = mx.io.CSVIter(
            data_csv=str(tmp_path / "x.csv"), data_shape="(2,)", label_csv=str(tmp_path / "y.csv"),
            batch_size=2, round_batch=False, preprocess_threads=4,
        )  # fmt: skip
        assert it.provide_data[0] == ("data", (2, 2))
        assert it.provide_label[0] == ("softmax_label", (2,))
        for _ in range(2):
            assert epoch(it) == [([0, 1, 2, 3], [7, 8], 0), ([4, 5, 2, 3], [9, 8], 1)]
            it.reset()

    def test_shapes_and_types_of_csv(self, tmp_path):
        (tmp_path / "x.csv").write_text("1,2,3,4\n5,6,7,8\n")
        it = mx.io.CSVIter(
            data_csv=tmp_path / "x.csv", data_shape=(2, 2), label_csv=tmp_path / "x.csv",
            label_shape=(4,), batch_size=2, dtype="int64",
        )  # fmt: skip
        batch = it.next()
        assert batch.data[0].shape == (2, 2, 2)
        assert batch.data[0].dtype == np.int64
        assert batch.label[0].shape == (2, 4)
        assert it.getindex().tolist() == [0, 1]

    @pytest.mark.parametrize("text", ["1,x\n", "1,2\n3\n", "1,\xff\n"])
    def test_other_csv_is_refused_by_line(self, text, tmp_path):
        (tmp_path / "x.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(FormatError, match=r"line [12]"):
            mx.io.CSVIter(data_csv=tmp_path / "x.csv", data_shape=(2,))

    def test_a_csv_with_other_columns_or_few_rows_is_refused(self, tmp_path):
        (tmp_path / "x.csv").write_text("1,2\n3,4\n")
        (tmp_path / "y.csv").write_text("1\n")
        with pytest.raises(mx.MXNetError, match="row-length=2"):
            mx.io.CSVIter(data_csv=tmp_path / "x.csv", data_shape=(3,))
        with pytest.raises(mx.MXNetError, match="1 labels for 2 rows"):
            mx.io.CSVIter(
                data_csv=tmp_path / "x.csv", data_shape=(2,), label_csv=tmp_path / "y.csv"
            )
        with pytest.raises(mx.MXNetError, match="bigger than batch size"):
            next(mx.io.CSVIter(data_csv=tmp_path / "x.csv", data_shape=(2,), batch_size=5))
        with pytest.warns(UserWarning, match="rond_batch has no effect"):
            mx.io.CSVIter(data_csv=tmp_path / "x.csv", data_shape=(2,), rond_batch=False)

    def test_libsvm_with_the_example_of_mxnets_page(self, tmp_path):
        (tmp_path / "data.t").write_text(
            "1.0 0:0.5 2:1.2\n-2.0\n-3.0 0:0.6 1:2.4 2:1.2\n4 2:-1.2\n"
        )
        (tmp_path / "label.t").write_text("1.0\n-2.0 0:0.125\n-3.0 2:1.2\n4 1:1.0 2:-1.2\n")
        it = mx.io.LibSVMIter(data_libsvm=tmp_path / "data.t", data_shape=(3,), batch_size=3)
        first, second = list(it)
        np.testing.assert_allclose(
            first.data[0].asnumpy(), [[0.5, 0, 1.2], [0, 0, 0], [0.6, 2.4, 1.2]], rtol=1e-6
        )
        assert first.label[0].asnumpy().tolist() == [1, -2, -3]
        assert second.label[0].asnumpy().tolist() == [4, 1, -2]
        it = mx.io.LibSVMIter(
            data_libsvm=tmp_path / "data.t", data_shape=(3,), label_libsvm=tmp_path / "label.t",
            label_shape=(3,), batch_size=3,
        )  # fmt: skip
        assert next(it).label[0].asnumpy()[1].tolist() == [0.125, 0, 0]

    @pytest.mark.parametrize("line", ["1 3:1", "1 -1:1", "1 a:1", "1 1:b", "1 1", "1 1:", "x"])
    def test_other_libsvm_is_refused(self, line, tmp_path):
        (tmp_path / "x").write_text("1 0:1\n" + line)
        with pytest.raises(FormatError, match="line 2"):
            mx.io.LibSVMIter(data_libsvm=tmp_path / "x", data_shape=(3,))

    def test_a_wide_libsvm_table_is_not_made(self, tmp_path):
        (tmp_path / "x").write_text("1 0:1\n")
        with pytest.raises(LimitError):
            mx.io.LibSVMIter(data_libsvm=tmp_path / "x", data_shape=(10**12,))


def idx(values, kind=8):
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return head + values.tobytes()


class TestMNIST:
    @pytest.fixture
    def files(self, tmp_path):
        x = np.arange(10 * 6, dtype=np.uint8).reshape(10, 2, 3)
        (tmp_path / "x").write_bytes(idx(x))
        (tmp_path / "y").write_bytes(gzip.compress(idx(np.arange(10, dtype=np.uint8))))
        return {"image": str(tmp_path / "x"), "label": str(tmp_path / "y")}

    def test_pictures_are_fractions_and_a_short_batch_is_dropped(self, files):
        it = mx.io.MNISTIter(**files, batch_size=4, shuffle=False)
        assert it.provide_data[0] == ("data", (4, 1, 2, 3))
        for _ in range(2):
            first, second = list(it)
            np.testing.assert_array_equal(
                first.data[0].asnumpy().ravel(), np.arange(24, dtype=np.float32) / 256
            )
            assert second.label[0].asnumpy().tolist() == [4, 5, 6, 7]
            it.reset()

    def test_flat_shuffled_and_in_parts(self, files):
        it = mx.io.MNISTIter(**files, batch_size=2, flat=True, seed=3, input_shape=(6,))
        rows = [(b.data[0].asnumpy() * 256, b.label[0].asnumpy()) for b in it]
        labels = np.concatenate([y for _, y in rows])
        assert sorted(labels) == list(range(10))
        assert labels.tolist() != list(range(10))
        for x, y in rows:
            assert x.shape == (2, 6)
            np.testing.assert_array_equal(x[:, 0], y * 6)
        again = mx.io.MNISTIter(**files, batch_size=2, seed=3)
        assert [b.label[0].asnumpy().tolist() for b in again] == [y.tolist() for _, y in rows]
        parts = [
            mx.io.MNISTIter(**files, batch_size=1, shuffle=False, num_parts=3, part_index=i)
            for i in range(3)
        ]
        found = [[int(b.label[0].asnumpy()[0]) for b in part] for part in parts]
        assert found == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]

    def test_cut_files_are_refused_at_every_byte(self, files, tmp_path):
        for name in ("x", "y"):
            data = (tmp_path / name).read_bytes()
            for k in range(len(data)):
                (tmp_path / "cut").write_bytes(data[:k])
                with pytest.raises(FormatError):
                    mx.io.MNISTIter(image=tmp_path / "cut", label=files["label"])

    def test_more_than_is_there_is_not_allocated(self, tmp_path):
        (tmp_path / "x").write_bytes(b"\0\0\x08\x03" + b"\xff" * 12)
        with pytest.raises(TruncatedError):
            mx.io.MNISTIter(image=tmp_path / "x", label=tmp_path / "x")
        (tmp_path / "x").write_bytes(gzip.compress(b"\0\0\x08\x01" + b"\x7f" * 4 + b"1234"))
        with pytest.raises(TruncatedError):
            mx.io.MNISTIter(image=tmp_path / "x", label=tmp_path / "x")


RECORDS = [
    b"", b"a", b"1234", MAGIC, MAGIC * 3, b"abcd" + MAGIC + b"tail", b"ab" + MAGIC, b"12345" * 9,
    MAGIC + b"x", b"1234" + MAGIC,
]  # fmt: skip


class TestRecords:
    def test_records_come_back_and_the_magic_number_is_taken_out(self, tmp_path):
        path = str(tmp_path / "x.rec")
        writer = recordio.MXRecordIO(path, "w")
        for record in RECORDS:
            writer.write(record)
        writer.close()
        reader = recordio.MXRecordIO(path, "r")
        for _ in range(2):
            assert [reader.read() for _ in RECORDS] == RECORDS
            assert reader.read() is None
            reader.reset()
        data = (tmp_path / "x.rec").read_bytes()
        assert len(data) % 4 == 0
        # a mark at a multiple of 4 begins a part, and none hides in one
        at = 0
        while at < len(data):
            assert data[at : at + 4] == MAGIC
            length = struct.unpack_from("<I", data, at + 4)[0] & ((1 << 29) - 1)
            body = data[at + 8 : at + 8 + length]
            assert all(body[i : i + 4] != MAGIC for i in range(0, length, 4))
            at += 8 + length + -length % 4

    def test_the_bytes_of_records(self, tmp_path):
        with recordio.MXRecordIO(tmp_path / "x", "w") as writer:
            writer.write(b"abc")
            writer.write(b"wxyz" + MAGIC + b"!")
            writer.write(b"ab" + MAGIC)  # not at a multiple of 4: it stays
        assert (tmp_path / "x").read_bytes() == (
            MAGIC + struct.pack("<I", 3) + b"abc\0"
            + MAGIC + struct.pack("<I", 1 << 29 | 4) + b"wxyz"
            + MAGIC + struct.pack("<I", 3 << 29 | 1) + b"!\0\0\0"
            + MAGIC + struct.pack("<I", 6) + b"ab" + MAGIC + b"\0\0"
        )  # fmt: skip

    def test_an_index_finds_records(self, tmp_path):
        rec, index = str(tmp_path / "x.rec"), str(tmp_path / "x.idx")
        writer = recordio.MXIndexedRecordIO(index, rec, "w")
        for i, record in enumerate(RECORDS):
            writer.write_idx(i * 2, record)
        writer.close()
        assert (tmp_path / "x.idx").read_text().splitlines()[:3] == ["0\t0", "2\t8", "4\t20"]
        reader = recordio.MXIndexedRecordIO(index, rec, "r")
        assert reader.keys == [2 * i for i in range(len(RECORDS))]
        assert [reader.read_idx(k) for k in reversed(reader.keys)] == RECORDS[::-1]
        copied = pickle.loads(pickle.dumps(reader))
        assert copied.read_idx(8) == RECORDS[4]
        with pytest.raises(KeyError):
            reader.read_idx(1)

    def test_a_file_that_fails_leaves_the_old_one(self, tmp_path):
        (tmp_path / "x").write_bytes(b"old")

        def fail():
            with recordio.MXRecordIO(tmp_path / "x", "w") as writer:
                writer.write(b"abc")
                assert (tmp_path / "x").read_bytes() == b"old"
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert [p.name for p in tmp_path.iterdir()] == ["x"]
        assert (tmp_path / "x").read_bytes() == b"old"

    def test_wrong_use_says_so(self, tmp_path):
        with pytest.raises(ValueError, match="Invalid flag a"):
            recordio.MXRecordIO(tmp_path / "x", "a")
        writer = recordio.MXRecordIO(tmp_path / "x", "w")
        with pytest.raises(AssertionError, match="open for writing"):
            writer.read()
        writer.close()
        reader = recordio.MXRecordIO(tmp_path / "x", "r")
        with pytest.raises(AssertionError, match="for reading"):
            reader.write(b"")
        reader.close()
        with pytest.raises(AssertionError, match="closed"):
            reader.read()

    def test_cut_files_give_whole_records_or_an_error(self, tmp_path):
        with recordio.MXRecordIO(tmp_path / "x", "w") as writer:
            for record in RECORDS:
                writer.write(record)
        data = (tmp_path / "x").read_bytes()
        ends = 0
        for k in range(len(data)):
            (tmp_path / "cut").write_bytes(data[:k])
            reader = recordio.MXRecordIO(tmp_path / "cut", "r")
            for record in RECORDS:
                try:
                    found = reader.read()
                except TruncatedError:
                    break
                if found is None:
                    ends += 1
                    break
                assert found == record
            reader.close()
        assert ends == len(RECORDS)

    @pytest.mark.parametrize(
        "data",
        [
            b"12345678",
            MAGIC + struct.pack("<I", (1 << 29) - 1),
            MAGIC + struct.pack("<I", 2 << 29),
            MAGIC + struct.pack("<I", 7 << 29),
            MAGIC + struct.pack("<I", 1 << 29) + MAGIC + struct.pack("<I", 0),
        ],
    )
    def test_attacks_are_refused(self, data, tmp_path):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(FormatError):
            recordio.MXRecordIO(tmp_path / "x", "r").read()

    @pytest.mark.parametrize("text", ["a\n", "1\tx\n", "1\t-2\n", "1\t" + "9" * 30, "\xff\t1"])
    def test_other_indices_are_refused(self, text, tmp_path):
        (tmp_path / "x").write_bytes(b"")
        (tmp_path / "i").write_bytes(text.encode("latin-1"))
        with pytest.raises(FormatError):
            recordio.MXIndexedRecordIO(tmp_path / "i", tmp_path / "x", "r")

    def test_headers(self):
        header = recordio.IRHeader(0, 4.5, 2574, 1)
        packed = recordio.pack(header, b"rest")
        assert packed == struct.pack("<IfQQ", 0, 4.5, 2574, 1) + b"rest"
        assert recordio.unpack(packed) == (header, b"rest")
        packed = recordio.pack(recordio.IRHeader(0, [1, 2, 3], 7, 0), b"rest")
        found, rest = recordio.unpack(packed)
        assert (found.flag, found.id, rest) == (3, 7, b"rest")
        assert found.label.tolist() == [1, 2, 3]
        for k in range(36):
            with pytest.raises(TruncatedError):
                recordio.unpack(packed[:k])
        with pytest.raises(ValueError, match="flag"):
            recordio.pack((0, 1.0, -1, 0), b"")


def picture(seed, height=8, width=9):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def rec(tmp_path):
    pytest.importorskip("PIL")
    writer = recordio.MXIndexedRecordIO(tmp_path / "x.idx", tmp_path / "x.rec", "w")
    for i in range(5):
        header = recordio.IRHeader(0, float(i), i, 0)
        writer.write_idx(i, recordio.pack_img(header, picture(i)[:, :, ::-1], 3, ".png"))
    writer.close()
    return {"path_imgrec": str(tmp_path / "x.rec"), "path_imgidx": str(tmp_path / "x.idx")}


class TestPictures:
    def test_a_packed_picture_is_blue_first(self):
        pytest.importorskip("PIL")
        image = picture(0)
        packed = recordio.pack_img(recordio.IRHeader(0, 1.0, 0, 0), image, 3, ".png")
        header, found = recordio.unpack_img(packed)
        assert header.label == 1
        np.testing.assert_array_equal(found, image)
        np.testing.assert_array_equal(
            mx.image.imdecode(recordio.unpack(packed)[1]).asnumpy(), image[:, :, ::-1]
        )
        assert recordio.unpack_img(packed, 0)[1].shape == (8, 9)
        smooth = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None], (64, 64, 3))
        packed = recordio.pack_img(recordio.IRHeader(0, 1.0, 0, 0), smooth)
        found = recordio.unpack_img(packed)[1].astype(int)
        assert np.abs(found - smooth).max() < 4
        with pytest.raises(ValueError, match="end in"):
            recordio.pack_img((0, 0, 0, 0), image, img_fmt=".xyz")

    def test_no_picture_is_a_format_error(self):
        pytest.importorskip("PIL")
        good = recordio.unpack(recordio.pack_img((0, 0, 0, 0), picture(0), 3, ".png"))[1]
        for data in (b"nothing", good[:20], good[:60], b"\xff\xd8\xff\xe0" + b"\0" * 40):
            with pytest.raises(FormatError):
                mx.image.imdecode(data)
        large = good[:16] + struct.pack(">II", 100_000, 100_000) + good[24:]
        with pytest.raises(FormatError):
            mx.image.imdecode(large)

    def test_record_iter_cuts_the_middle_and_normalizes(self, rec):
        it = mx.io.ImageRecordIter(
            **rec, data_shape=(3, 4, 5), batch_size=2, mean_r=1, mean_g=2, mean_b=3, std_r=2,
            std_g=4, std_b=8, scale=0.5, preprocess_threads=4,
        )  # fmt: skip
        assert it.provide_data[0] == ("data", (2, 3, 4, 5))
        batches = list(it)
        assert [b.pad for b in batches] == [0, 0, 1]
        assert batches[2].index.tolist() == [4, 0]
        expected = picture(1)[2:6, 2:7].transpose(2, 0, 1).astype(np.float32)
        expected -= np.array([1, 2, 3]).reshape(3, 1, 1)
        expected *= 0.5 / np.array([2, 4, 8]).reshape(3, 1, 1)
        np.testing.assert_allclose(batches[0].data[0].asnumpy()[1], expected, rtol=1e-6)
        it.reset()
        assert [b.label[0].asnumpy().tolist() for b in it] == [[1, 2], [3, 4]]

    def test_record_iter_draws_crops_mirrors_and_orders(self, rec):
        kw = {**rec, "data_shape": (3, 4, 5), "batch_size": 5, "rand_crop": True}
        it = mx.io.ImageRecordIter(**kw, rand_mirror=True, shuffle=True, seed=1)
        seen, orders = set(), set()
        for _ in range(12):
            batch = it.next()
            labels = batch.label[0].asnumpy().astype(int)
            orders.add(tuple(labels))
            for label, x in zip(labels, batch.data[0].asnumpy(), strict=True):
                whole = picture(label).transpose(2, 0, 1)
                places = [
                    (y, z, m)
                    for y in range(5) for z in range(5) for m in (1, -1)
                    if np.array_equal(whole[:, y : y + 4, z : z + 5][:, :, ::m], x)
                ]  # fmt: skip
                assert len(places) == 1
                seen.add(places[0])
            it.reset()
        assert len(orders) > 6
        assert len(seen) > 20
        assert {m for _, _, m in seen} == {1, -1}

    def test_record_iter_without_index_labels_parts_and_errors(self, rec, tmp_path):
        path = rec["path_imgrec"]
        it = mx.io.ImageRecordIter(path_imgrec=path, data_shape="(3, 8, 9)", batch_size=5)
        assert next(it).label[0].asnumpy().tolist() == [0, 1, 2, 3, 4]
        (tmp_path / "l").write_text("".join(f"{i}\t{i}\t{-i}\tx.png\n" for i in range(5)))
        it = mx.io.ImageRecordIter(
            path_imgrec=path, path_imglist=tmp_path / "l", label_width=2, data_shape=(1, 8, 9),
            batch_size=2, part_index=1, num_parts=2,
        )  # fmt: skip
        assert it.next().label[0].asnumpy().tolist() == [[2, -2], [3, -3]]
        with pytest.raises(mx.MXNetError, match="smaller than input shape"):
            next(mx.io.ImageRecordIter(path_imgrec=path, data_shape=(3, 9, 9), batch_size=2))
        with pytest.raises(mx.MXNetError, match="1 labels, not 2"):
            next(
                mx.io.ImageRecordIter(
                    path_imgrec=path, data_shape=(3, 8, 8), batch_size=2, label_width=2
                )
            )
        with pytest.raises(mx.MXNetError, match="max_rotate_angle is not here"):
            mx.io.ImageRecordIter(
                path_imgrec=path, data_shape=(3, 8, 8), batch_size=2, max_rotate_angle=10
            )
        it = mx.io.ImageRecordUInt8Iter(path_imgrec=path, data_shape=(3, 8, 9), batch_size=1)
        assert it.next().data[0].dtype == np.uint8

    def test_resize_mean_picture_and_resized_crops(self, rec, tmp_path):
        mean = tmp_path / "mean.nd"
        kw = {**rec, "data_shape": (3, 6, 6), "batch_size": 5, "resize": 6, "mean_img": mean}
        first = mx.io.ImageRecordIter(**kw).next().data[0].asnumpy()
        np.testing.assert_allclose(first.mean(0), 0, atol=1e-4)
        again = mx.io.ImageRecordIter(**kw).next().data[0].asnumpy()  # from the file
        np.testing.assert_array_equal(again, first)
        assert list(mx.nd.load(str(mean))) == ["mean_img"]
        it = mx.io.ImageRecordIter(
            **rec, data_shape=(3, 4, 4), batch_size=5, random_resized_crop=True,
            min_random_area=0.2, max_random_area=0.9, max_aspect_ratio=0.25, pad=1,
        )  # fmt: skip
        assert it.next().data[0].shape == (5, 3, 4, 4)

    def test_image_iter(self, rec, tmp_path):
        it = mx.image.ImageIter(2, (3, 4, 5), **rec, rand_mirror=True, mean=True, std=True)
        batches = list(it)
        assert [b.pad for b in batches] == [0, 0, 1]
        assert batches[0].data[0].shape == (2, 3, 4, 5)
        assert batches[1].label[0].asnumpy().tolist() == [2, 3]
        (tmp_path / "a.png").write_bytes(
            recordio.unpack(recordio.pack_img((0, 0, 0, 0), picture(0), 3, ".png"))[1]
        )
        it = mx.image.ImageIter(
            1, (3, 8, 9), imglist=[[3.0, "a.png"]] * 3, path_root=str(tmp_path), aug_list=[],
            last_batch_handle="discard", num_parts=3, part_index=2,
        )  # fmt: skip
        [batch] = list(it)
        np.testing.assert_array_equal(
            batch.data[0].asnumpy()[0], picture(0)[:, :, ::-1].transpose(2, 0, 1)
        )
        with pytest.raises(ValueError, match="path_imgidx"):
            mx.image.ImageIter(1, (3, 8, 9), path_imgrec=rec["path_imgrec"], shuffle=True)

    def test_functions_on_pictures(self, tmp_path):
        image = picture(3)
        found, box = mx.image.center_crop(mx.nd.array(image, dtype="uint8"), (5, 4))
        assert box == (2, 2, 5, 4)
        np.testing.assert_array_equal(found.asnumpy(), image[2:6, 2:7])
        random.seed(1)
        found, (x, y, w, h) = mx.image.random_crop(image, (5, 4))
        np.testing.assert_array_equal(found, image[y : y + h, x : x + w])
        assert mx.image.resize_short(image, 4).shape == (4, 4, 3)
        assert mx.image.random_crop(image, (20, 10))[0].shape == (10, 20, 3)
        assert mx.image.random_size_crop(image, (3, 3), 0.3, (0.7, 1.4))[0].shape == (3, 3, 3)
        np.testing.assert_allclose(
            mx.image.color_normalize(image, np.array([1, 2, 3]), 2.0), (image - [1.0, 2, 3]) / 2
        )
        with pytest.raises(ValueError, match="not inside"):
            mx.image.fixed_crop(image, 5, 5, 5, 5)

    @pytest.mark.extra
    def test_resizing_is_opencvs(self):
        cv2 = pytest.importorskip("cv2")
        methods = [
            cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA,
            cv2.INTER_LANCZOS4,
        ]  # fmt: skip
        for shape in [(37, 53), (8, 9), (64, 64)]:
            image = picture(0, *shape)
            for size in [(20, 30), (53, 37), (100, 80), (7, 5), (32, 32), (60, 20)]:
                for method, theirs in enumerate(methods):
                    expected = cv2.resize(image, size, interpolation=theirs).astype(int)
                    found = resized(image, *size, method)
                    assert np.abs(found - expected).max() <= 1, (shape, size, method)

    def test_methods_of_resizing(self):
        ramp = np.arange(8, dtype=np.float32)[:, None, None] * np.ones((1, 4, 1), np.float32)
        assert resized(ramp, 4, 4, 0)[:, 0, 0].tolist() == [0, 2, 4, 6]
        assert resized(ramp, 4, 4, 1)[:, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
        assert resized(ramp, 4, 4, 3)[:, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
        assert resized(ramp, 4, 4, 2)[1:3, 0, 0].tolist() == [2.5, 4.5]
        np.testing.assert_allclose(resized(ramp, 4, 16, 4)[7:9, 0, 0], [3.25, 3.75], atol=0.02)
        np.testing.assert_allclose(resized(ramp, 4, 3, 3)[:, 0, 0], [0.875, 3.5, 6.125], rtol=1e-6)
        assert resized(picture(0), 3, 3, 10).shape == (3, 3, 3)
        with pytest.raises(ValueError, match="0 to 4"):
            resized(ramp, 4, 4, 5)
