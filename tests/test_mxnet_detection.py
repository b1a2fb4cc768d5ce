"""mx.image for detection: the label's form, boxes that follow the pixels, batches."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tapegrad.nn import mxnet as mx
from tapegrad.nn.mxnet import recordio

HEIGHT, WIDTH = 24, 32


@pytest.fixture(autouse=True)
def seeded():
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002  # LightingAug draws from it, as MXNet's


def scene(boxes, height=HEIGHT, width=WIDTH):
    """(picture, labels): a rectangle of brightness 100 + 10 · class for each (class, pixels)."""
    picture = np.zeros((height, width, 3), np.uint8)
    rows = []
    for name, (left, top, right, bottom) in boxes:
        picture[top:bottom, left:right] = 100 + 10 * name
        rows.append([name, left / width, top / height, right / width, bottom / height])
    return picture, np.array(rows, np.float32)


TWO = [(0, (4, 4, 12, 10)), (2, (16, 8, 28, 20))]


def measured(picture):
    """Class -> (left, top, right, bottom) as shares, read off the pixels."""
    found = {}
    for value in np.unique(picture[..., 0]):
        if 100 <= value < 128:  # 128 is a border
            rows, columns = np.nonzero(picture[..., 0] == value)
            h, w = picture.shape[:2]
            found[int(value - 100) // 10] = (
                columns.min() / w, rows.min() / h, (columns.max() + 1) / w, (rows.max() + 1) / h,
            )  # fmt: skip
    return found


def agree(picture, labels):
    """The labels say where the pixels are."""
    seen = measured(np.asarray(picture))
    for row in labels:
        np.testing.assert_allclose(row[1:5], seen[int(row[0])], atol=1e-6)


@pytest.mark.parametrize("kind", ["flip", "crop", "pad"])
def test_boxes_follow_the_pixels(kind):
    picture, labels = scene(TWO)
    step = {
        "flip": mx.image.DetHorizontalFlipAug(1),
        "crop": mx.image.DetRandomCropAug(0.2, (0.7, 1.4), (0.1, 0.8), 0.05),
        "pad": mx.image.DetRandomPadAug((0.7, 1.4), (1.0, 3.0), pad_val=128),
    }[kind]
    before = labels.copy()
    shapes = set()
    for _ in range(30):
        found, moved = step(picture, labels)
        shapes.add(found.shape)
        agree(found, moved)
        assert len(moved)
        if kind == "pad" and found.shape != picture.shape:
            assert (found == 128).any()
            assert len(moved) == 2
    np.testing.assert_array_equal(labels, before)
    assert (len(shapes) > 5) == (kind != "flip")
    as_array, moved = step(mx.nd.array(picture, dtype="uint8"), labels)
    agree(as_array.asnumpy(), moved)


def test_a_crop_covers_its_objects_and_stays_in_its_ranges():
    picture, labels = scene(TWO)
    step = mx.image.DetRandomCropAug(0.6, (0.9, 1.1), (0.2, 0.6), 0.5)
    dropped = 0
    for _ in range(60):
        found, moved = step(picture, labels)
        if found.shape == picture.shape:
            continue
        h, w = found.shape[:2]
        assert 0.2 <= w * h / (WIDTH * HEIGHT) <= 0.6
        assert 0.8 < w / h < 1.25
        for row in moved:
            whole = labels[labels[:, 0] == row[0]][0]
            share = (row[3] - row[1]) * (row[4] - row[2]) * w * h / (WIDTH * HEIGHT)
            assert share / ((whole[3] - whole[1]) * (whole[4] - whole[2])) > 0.6
        dropped += len(moved) < 2
    assert dropped
    rests = []
    step = mx.image.DetRandomCropAug(0.05, (0.9, 1.1), (0.2, 0.6), 0.5)
    for _ in range(60):
        found, moved = step(picture, labels)
        h, w = found.shape[:2]
        whole = {row[0]: (row[3] - row[1]) * (row[4] - row[2]) for row in labels}
        rests += [
            (r[3] - r[1]) * (r[4] - r[2]) * w * h / (WIDTH * HEIGHT) / whole[r[0]] for r in moved
        ]
    assert min(rests) > 0.499  # what would keep less is dropped
    assert min(rests) < 0.8
    alone = mx.image.DetRandomCropAug(0.99, (1.0, 1.0), (0.01, 0.01), max_attempts=5)
    assert alone(picture, labels)[0] is picture  # no such rectangle covers an object
    with pytest.warns(UserWarning, match=r"DetRandomCropAug does nothing: area_range"):
        assert mx.image.DetRandomCropAug(area_range=(0.5, 0.1))(picture, labels)[0] is picture
    with pytest.warns(UserWarning, match="DetRandomPadAug does nothing: aspect_ratio_range"):
        step = mx.image.DetRandomPadAug(aspect_ratio_range=(2.0, 1.0))
    assert step(picture, labels)[0] is picture


def test_one_of_several_steps_or_none():
    picture, labels = scene(TWO)
    many = mx.image.CreateMultiRandCropAugmenter(
        min_object_covered=[0.1, 0.5, 0.9], area_range=[(0.1, 1.0), (0.2, 1.0), (0.3, 0.9)]
    )
    assert [step.min_object_covered for step in many.aug_list] == [0.1, 0.5, 0.9]
    assert [step.area_range[0] for step in many.aug_list] == [0.1, 0.2, 0.3]
    never = mx.image.DetRandomSelectAug([mx.image.DetHorizontalFlipAug(1)], skip_prob=1)
    assert never(picture, labels)[0] is picture
    assert mx.image.DetRandomSelectAug([])(picture, labels)[0] is picture
    with pytest.raises(ValueError, match="one length or 1, not"):
        mx.image.CreateMultiRandCropAugmenter([0.1, 0.5], area_range=[(0.1, 1.0)] * 3)
    with pytest.raises(ValueError, match="holds DetAugmenters, not CastAug"):
        mx.image.DetRandomSelectAug([mx.image.CastAug()])
    with pytest.raises(TypeError, match="takes an Augmenter, not int"):
        mx.image.DetBorrowAug(3)


def test_the_usual_steps_in_their_order():
    steps = mx.image.CreateDetAugmenter(
        (3, 12, 16), resize=20, rand_crop=0.5, rand_pad=0.5, rand_gray=0.1, rand_mirror=True,
        mean=True, std=True, brightness=0.1, contrast=0.1, saturation=0.1, pca_noise=0.05, hue=0.1,
        min_object_covered=[0.1, 0.5],
    )  # fmt: skip
    names = [
        type(getattr(step, "augmenter", step)).__name__ for step in steps
    ]  # fmt: skip
    assert names == [
        "ResizeAug", "DetRandomSelectAug", "DetHorizontalFlipAug", "DetRandomSelectAug",
        "ForceResizeAug", "CastAug", "ColorJitterAug", "HueJitterAug", "LightingAug",
        "RandomGrayAug", "ColorNormalizeAug",
    ]  # fmt: skip
    picture, labels = scene(TWO)
    data = mx.nd.array(picture, dtype="uint8")
    for step in steps:
        data, labels = step(data, labels)
        assert step.dumps()
    assert data.shape == (12, 16, 3)
    assert data.dtype == np.float32


def test_colours_of_augmenters():
    x = np.random.default_rng(0).uniform(0, 255, (4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(mx.image.HueJitterAug(0.0)(x), x, atol=0.6)  # of rounded numbers
    turned = mx.image.HueJitterAug(0.5)(mx.nd.array(x)).asnumpy()
    assert np.abs(turned - x).max() > 5
    np.testing.assert_allclose(turned @ [0.299, 0.587, 0.114], x @ [0.299, 0.587, 0.114], atol=0.5)
    gray = mx.image.RandomGrayAug(1)(x)
    np.testing.assert_allclose(gray[..., 1], x @ [0.21, 0.72, 0.07], rtol=1e-5)
    assert mx.image.RandomGrayAug(0)(x) is x
    sizes, directions = np.array([3.0, 2.0, 1.0]), np.eye(3)[:, [1, 0, 2]]
    step = mx.image.LightingAug(0.5, sizes, directions)
    added = np.array([step(x)[0, 0] - x[0, 0] for _ in range(400)])
    np.testing.assert_allclose(added.std(0), 0.5 * np.array([2.0, 3.0, 1.0]), rtol=0.15)
    assert "eigvec" in step.dumps()
    names = [
        type(step).__name__
        for step in mx.image.CreateAugmenter((3, 4, 4), hue=0.1, pca_noise=0.1, rand_gray=0.5)
    ]
    assert names == ["CenterCropAug", "CastAug", "HueJitterAug", "LightingAug", "RandomGrayAug"]


def test_borders():
    x = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    y = mx.image.copyMakeBorder(x, 1, 0, 2, 1, 0, (7, 8, 9))
    assert y.shape == (3, 5, 3)
    np.testing.assert_array_equal(y[1:, 2:4], x)
    assert (y[0] == [7, 8, 9]).all()
    assert (y[:, :2] == [7, 8, 9]).all()
    np.testing.assert_array_equal(mx.image.copyMakeBorder(x, 1, 0, 0, 0, 1)[0], x[0])
    np.testing.assert_array_equal(mx.image.copyMakeBorder(x, 1, 0, 0, 0, 4)[0], x[1])
    with pytest.raises(ValueError, match="type is one of 0, 1, 2"):
        mx.image.copyMakeBorder(x, 1, 1, 1, 1, 9)


SCENES = [TWO, TWO[:1], [(1, (2, 2, 20, 20)), (3, (3, 3, 3, 9))], TWO, TWO[1:]]


@pytest.fixture
def records(tmp_path):
    """A record file of five scenes with labels [4, 5, height, width, objects]."""
    path, index = str(tmp_path / "d.rec"), str(tmp_path / "d.idx")
    with recordio.MXIndexedRecordIO(index, path, "w") as out:
        for i, boxes in enumerate(SCENES):
            picture, labels = scene(boxes)
            label = np.concatenate([[4, 5, HEIGHT, WIDTH], labels.ravel()]).astype(np.float32)
            header = recordio.IRHeader(0, label, i, 0)
            # pack_img takes blue first, as OpenCV's pictures are
            out.write_idx(i, recordio.pack_img(header, picture[..., ::-1], 3, ".png"))
    return {"path_imgrec": path, "path_imgidx": index}


def test_batches_have_labels_that_minus_one_fills(records):
    it = mx.image.ImageDetIter(2, (3, HEIGHT, WIDTH), **records)
    assert it.label_shape == (2, 5)
    assert it.provide_label[0].name == "label"
    assert it.provide_label[0].shape == (2, 2, 5)
    for _ in range(2):
        batches = list(it)
        assert [b.pad for b in batches] == [0, 0, 1]
        data = np.concatenate([b.data[0].asnumpy() for b in batches])[:5]
        labels = np.concatenate([b.label[0].asnumpy() for b in batches])[:5]
        assert data.shape == (5, 3, HEIGHT, WIDTH)
        for picture, rows, boxes in zip(data, labels, SCENES, strict=True):
            agree(picture.transpose(1, 2, 0), rows[rows[:, 0] >= 0])
            kept = [b for b in boxes if b[1][2] > b[1][0]]  # boxes with an area
            assert (rows[:, 0] >= 0).sum() == len(kept)
            assert (rows[len(kept) :] == -1).all()
        it.reset()


def test_steps_may_leave_a_picture_out_and_labels_may_be_larger(records):
    def left_out(src, label):
        return src, label[label[:, 0] != 2]

    it = mx.image.ImageDetIter(5, (3, HEIGHT, WIDTH), **records, aug_list=[left_out])
    it.reshape(label_shape=(7, 5))
    [batch] = list(it)
    assert batch.label[0].shape == (5, 7, 5)
    assert batch.pad == 1  # the last scene has class 2 alone
    other = mx.image.ImageDetIter(1, (3, HEIGHT, WIDTH), **records)
    assert it.sync_label_shape(other) is other
    assert other.label_shape == (7, 5)
    with pytest.raises(ValueError, match=r"\(1, 5\) holds no labels of \(7, 5\)"):
        it.reshape(label_shape=(1, 5))
    it = mx.image.ImageDetIter(
        5, (3, 12, 16), **records, rand_crop=1, rand_pad=0.5, rand_mirror=True, shuffle=True
    )
    batch = it.next()
    assert batch.data[0].shape == (5, 3, 12, 16)
    rows = batch.label[0].asnumpy().reshape(-1, 5)
    rows = rows[rows[:, 0] >= 0]
    assert ((rows[:, 1:] >= 0) & (rows[:, 1:] <= 1)).all()
    assert mx.image.det.ImageDetIter is mx.image.ImageDetIter


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ([1.0], r"is \[n, k, …, objects of k ≥ 5 numbers\], not \[1.0\]"),
        ([2, 5, 0, 0.1, 0.1, 0.5, 0.5, 1], "8 numbers is no header of 2 and objects of 5"),
        ([2, 4, 0, 0.1, 0.1, 0.5, 0.5], "no header of 2 and objects of 4"),
        ([2, 5, 0, 0.5, 0.1, 0.5, 0.5], "no box of the label .* has an area"),
    ],
)
def test_a_label_of_another_form_is_refused(tmp_path, label, text):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(mx.MXNetError, match=text):
        mx.image.ImageDetIter(1, (3, 4, 4), imglist=[[label, "a.png"]], path_root=str(tmp_path))
