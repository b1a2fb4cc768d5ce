"""Frames: files, tables, labels, splits, batches by threads, predictions of images."""

import builtins
import sys

import numpy as np
import pytest
from PIL import Image

import tapegrad as tg
from tapegrad import nn
from tapegrad.nn import data
from tapegrad.nn.data import (
    BytesToMat,
    CenterCrop,
    ChannelNormalize,
    DataSet,
    FixedLength,
    HFlip,
    ImageFeature,
    ImageFrame,
    ImageFrameToSample,
    MatToFloats,
    MatToTensor,
    MTImageFeatureToBatch,
    PaddingParam,
    RandomCrop,
    RandomTransformer,
    Resize,
    RoiLabel,
    Sample,
    picture_pipeline,
)

RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.integers(0, 256, (6, 5, 4, 3), np.uint8)
TO_SAMPLE = MatToTensor() >> ImageFrameToSample()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "below").mkdir()
    for index, pixels in enumerate(IMAGES):
        place = tmp_path / ("below" if index > 3 else ".") / f"{index}.png"
        Image.fromarray(pixels).save(place)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "9.jpg").write_bytes(b"broken")
    return tmp_path


# Frames -------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_order_and_broken_files_are_counted(folder):
    frame = ImageFrame.read(folder)
    names = [f["uri"].rpartition("/")[2].rpartition("\\")[2] for f in frame]
    assert names == ["0.png", "1.png", "2.png", "3.png", "9.jpg", "4.png", "5.png"]
    assert [f["uri"] for f in frame.invalid] == [str(folder / "9.jpg")]
    assert repr(frame) == "LocalImageFrame(7 images, 1 invalid)"
    assert np.array_equal(frame[0]["mat"], IMAGES[0][:, :, ::-1])
    assert len(ImageFrame.read(folder / "*.png")) == 4
    assert len(ImageFrame.read(folder / "0.png")) == 1
    kept = ImageFrame.read(folder, decode=False)
    assert "mat" not in kept[0]
    assert not kept.invalid
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        ImageFrame.read(folder / "nothing")
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        ImageFrame.read(folder / "*.gif")
    assert frame.isLocal()
    assert not frame.is_distributed()
    assert frame.toLocal() is frame


def test_images_come_one_by_one(folder):
    stream = ImageFrame.stream(folder, Resize(2, 2))
    assert next(stream).getSize() == (2, 2, 3)
    assert sum(feature.isValid for feature in stream) == 5
    assert next(ImageFrame.stream(folder)).getSize() == (5, 4, 3)


def test_transform_changes_a_frame_and_the_arrow_makes_another():
    frame = ImageFrame.array(IMAGES, labels=range(6))
    other = frame >> CenterCrop(2, 2) >> TO_SAMPLE
    assert frame[0].getSize() == (5, 4, 3)
    assert other.get_sample()[3].feature().shape == (3, 2, 2)
    assert other.get_label() == list(range(6))
    assert frame.transform(Resize(3, 3)) is frame
    assert frame[5].getSize() == (3, 3, 3)
    assert frame.get_image()[0].shape == (3, 3, 3)
    assert frame.get_sample() == [None] * 6
    floats = (frame >> MatToFloats()).get_image(to_chw=False)
    assert np.array_equal(floats[0], frame[0]["mat"])
    assert HFlip()(frame) is frame
    made = frame >> (lambda feature: feature.getLabel())
    assert list(made) == list(range(6))


def test_labels_and_splits():
    frame = ImageFrame.array([ImageFeature(x, uri=str(i)) for i, x in enumerate(IMAGES)])
    frame.setLabel({"1": 7, "nobody": 3})
    assert frame.get_label() == [None, 7, None, None, None, None]
    frame.setLabel([5] * 6)
    assert frame.get_label() == [5] * 6
    with pytest.raises(ValueError, match="2 labels for 6 images"):
        frame.setLabel([1, 2])
    first, second = frame.randomSplit([2, 1], seed=3)
    assert (len(first), len(second)) == (4, 2)
    assert sorted(f["uri"] for f in [*first, *second]) == [str(i) for i in range(6)]
    again, _ = frame.randomSplit([2, 1], seed=3)
    assert [f["uri"] for f in again] == [f["uri"] for f in first]
    with pytest.raises(ValueError, match="weights are at least 0"):
        frame.randomSplit([0, 0])


def test_pictures_for_notebooks():
    boxes = RoiLabel([1], [[0, 1, 3, 4]])
    frame = ImageFrame.array([ImageFeature(IMAGES[0], boxes, "<a>.png"), ImageFeature(b"")])
    frame[1].invalidate("why not")
    shown = frame._repr_html_()
    assert shown.count("<img") == 1
    assert "&lt;a&gt;.png" in shown
    assert "invalid: why not" in shown
    assert "5×4×3 uint8, 1 boxes" in shown
    png = frame[0]._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert frame[1]._repr_png_() is None
    pipeline = HFlip() >> ChannelNormalize(120, 110, 100, 50, 50, 50) >> MatToFloats()
    picture = picture_pipeline(pipeline, frame[0])
    assert [name for name, _ in picture.steps] == [
        "input",
        "HFlip",
        "ChannelNormalize",
        "MatToFloats",
    ]
    assert picture._repr_html_().count("<img") == 4
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert "HFlip: 5×4×3 uint8, 1 boxes" in repr(picture)
    assert np.array_equal(frame[0]["mat"], IMAGES[0])
    assert len(picture_pipeline(HFlip(), frame[0]).steps) == 2


def test_what_a_picture_shows(monkeypatch):
    pixels = np.zeros((6, 6, 3), np.uint8)
    pixels[..., 0] = 200  # blue
    feature = ImageFeature(pixels, RoiLabel([1], [[1, 1, 5, 4]]))
    shown = data.images.display.picture_of(feature)
    assert shown[0, 0].tolist() == [0, 0, 200]
    red = (shown == (255, 40, 40)).all(axis=2)
    assert red.sum() == 2 * 4 + 2 * 1
    assert red[1, 1:5].all()
    assert red[3, 1:5].all()
    assert red[2, 1]


# Tables -------------------------------------------------------------------------------------------


@pytest.mark.extra
def test_parquet_and_arrow_keep_bytes_uris_and_labels(folder, tmp_path):
    frame = ImageFrame.read(folder, decode=False)
    frame.setLabel(list(range(7)))
    ImageFrame.writeParquet(frame, tmp_path / "images.parquet")
    again = ImageFrame.readParquet(tmp_path / "images.parquet")
    assert [f["uri"] for f in again] == [f["uri"] for f in frame]
    assert again.get_label() == list(range(7))
    assert [f["bytes"] for f in again] == [f["bytes"] for f in frame]
    assert len((again >> BytesToMat()).invalid) == 1
    ImageFrame.writeParquet(folder, tmp_path / "folder.parquet")
    read = ImageFrame.readParquet(tmp_path / "folder.parquet")
    assert read.get_label() == [None] * 7
    table = frame.to_arrow().rename_columns(["uri", "png", "label"])
    assert ImageFrame.from_arrow(table, bytes_column="png")[0]["bytes"] == frame[0]["bytes"]
    with pytest.raises(KeyError, match="no column 'image'"):
        ImageFrame.from_arrow(table)
    with pytest.raises(KeyError, match="bytes"):
        ImageFrame.array(IMAGES).to_arrow()


def test_what_is_not_installed_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] in {"PIL", "pyarrow"}:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    for name in list(sys.modules):
        if name.partition(".")[0] in {"PIL", "pyarrow"}:
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"tapegrad\[images\]"):
        BytesToMat()(ImageFeature(b"1"))
    with pytest.raises(ImportError, match=r"tapegrad\[frames\]"):
        ImageFrame.array(IMAGES).to_arrow()
    with pytest.raises(ImportError, match=r"tapegrad\[frames\]"):
        ImageFrame.readParquet("nowhere")


# Batches ------------------------------------------------------------------------------------------


def test_batches_by_threads_are_in_order_and_the_same_for_any_number():
    features = [ImageFeature(x, label=i) for i, x in enumerate(IMAGES)]
    features.insert(2, ImageFeature(b""))
    features[2].invalidate("no")
    random = RandomTransformer(HFlip(), 0.5) >> RandomCrop(3, 2)

    def batches(workers, **options):
        tg.manual_seed(3)
        step = MTImageFeatureToBatch(3, 2, 4, random, workers=workers, **options)
        made = list(step.apply(iter(features)))
        assert step.invalid == 1
        return made

    one, three = batches(1), batches(3)
    assert [batch.size() for batch in one] == [4, 2]
    assert [t for batch in one for t in batch.getTarget().tolist()] == list(range(6))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(one, three, strict=True))
    assert one[0].getInput().shape == (4, 3, 2, 3)
    assert one[0].getInput().dtype == np.float32
    same = [ImageFeature(IMAGES[0]) for _ in range(12)]
    [drawn] = MTImageFeatureToBatch(3, 2, 12, random).apply(iter(same))
    [other] = MTImageFeatureToBatch(3, 2, 12, random).apply(iter(same))
    assert len({image.tobytes() for image in drawn.getInput()}) > 2  # each draws for itself
    assert not np.array_equal(drawn.getInput(), other.getInput())
    blue = batches(2, toRGB=False)
    assert np.array_equal(blue[0].getInput(), one[0].getInput()[:, ::-1])
    assert features[0].getSize() == (5, 4, 3)


def test_batches_of_rois_and_of_wrong_sizes():
    label = RoiLabel([3], [[0, 0, 2, 2]])
    frame = ImageFrame.array([ImageFeature(IMAGES[0], label=label)])
    [batch] = frame >> MTImageFeatureToBatch(4, 5, 2, HFlip(), extractRoi=True)
    [found] = batch.getTarget()
    assert found["bboxes"].tolist() == [[2, 0, 4, 2]]
    assert found["classes"].tolist() == [3]
    assert batch.slice(0, 1).getTarget() == [found]
    assert batch.slice(0, 0).getTarget() == []
    with pytest.raises(ValueError, match="end the transformer with Resize"):
        list(frame >> MTImageFeatureToBatch(9, 9, 2, HFlip()))
    labelled = ImageFrame.array(IMAGES, [1] * 6)
    with pytest.raises(TypeError, match="extractRoi needs a RoiLabel"):
        list(labelled >> MTImageFeatureToBatch(4, 5, 2, HFlip(), extractRoi=True))
    with pytest.raises(ValueError, match="at least 1"):
        MTImageFeatureToBatch(0, 1, 1, HFlip())
    unlabelled = ImageFrame.array(IMAGES) >> MTImageFeatureToBatch(4, 5, 6, MatToFloats())
    [batch] = unlabelled
    assert batch.getTarget() is None
    assert np.array_equal(batch.getInput(), IMAGES[..., ::-1].transpose(0, 3, 1, 2))


def test_a_loader_makes_batches_of_images():
    frame = ImageFrame.array(IMAGES, labels=range(6))
    loader = data.Loader(
        list(frame), 4, shuffle=False, transformer=RandomCrop(2, 2) >> TO_SAMPLE, workers=2
    )
    first = np.concatenate([batch.getInput() for batch in loader.epoch(0)])
    assert first.shape == (6, 3, 2, 2)
    loader.workers = 0
    assert np.array_equal(np.concatenate([b.getInput() for b in loader.epoch(0)]), first)
    plain = data.Loader(list(frame), 6, shuffle=False)
    [batch] = plain.epoch(0)
    assert batch.getTarget().tolist() == list(range(6))


# Predictions --------------------------------------------------------------------------------------


def model_and_frame():
    tg.manual_seed(0)
    model = nn.Sequential(nn.View(60), nn.Linear(60, 4), nn.Tanh(), nn.Linear(4, 3))
    frame = ImageFrame.array(IMAGES).transform(TO_SAMPLE)
    frame[2].invalidate("broken")
    return model, frame


def test_predict_image_skips_invalid_images_and_keeps_the_features():
    model, frame = model_and_frame()
    found = data.predict_image(model, frame)
    assert [a is b for a, b in zip(found, frame, strict=True)] == [True] * 6
    assert ["predict" in f for f in found] == [True, True, False, True, True, True]
    assert len(found.invalid) == 1
    x = np.stack([f["sample"].feature() for f in frame])
    expected = model.clone().evaluate()(x).numpy()
    for index, (_, value) in enumerate(found.get_predict()):
        if index == 2:
            assert value is None
        else:
            assert np.allclose(value, expected[index], atol=1e-6)
    assert not np.shares_memory(found[0]["predict"], found[1]["predict"])
    assert model.train
    whole = data.predict_image(model, frame, None, False, 6, "all")
    assert np.allclose(whole[5]["all"], found[5]["predict"], atol=1e-6)


def test_predict_image_gives_the_output_of_any_layer_by_name():
    model, frame = model_and_frame()
    x = np.stack([f["sample"].feature() for f in frame])
    hidden = model.get(1)(x.reshape(6, 60)).numpy()
    found = data.predict_image(model, frame, outputLayer="1", predictKey="hidden")
    assert np.allclose(found[4]["hidden"], hidden[4], atol=1e-5)
    assert "predict" not in found[4]
    found = data.predict_image(model, frame, outputLayer="2", predictKey="tanh")
    assert np.allclose(found[4]["tanh"], np.tanh(hidden[4]), atol=1e-5)
    assert model.get(1)._tapegrad_hooks in (None, {"after": []})
    with pytest.raises(ValueError, match="no layer is called 'conv'; there are 0, 1, 2, 3"):
        data.predict_image(model, frame, outputLayer="conv", predictKey="new")
    assert "new" not in frame[0]


def test_a_given_name_finds_a_layer_and_two_of_a_name_are_refused():
    _, frame = model_and_frame()
    model = nn.Sequential(nn.View(60), nn.Linear(60, 3).setName("lin"), nn.Tanh())
    found = data.predict_image(model, frame, "lin")
    assert found[0]["predict"].shape == (3,)
    model.add(nn.Linear(3, 3).setName("lin"))
    with pytest.raises(ValueError, match="2 layers are called 'lin'"):
        data.predict_image(model, frame, "lin")


def test_a_layer_that_runs_twice_gives_its_last_output():
    shared = nn.MulConstant(2)
    model = nn.Sequential(nn.View(60), shared, nn.AddConstant(1), shared)
    _, frame = model_and_frame()
    found = data.predict_image(model, frame, outputLayer="1")
    assert np.allclose(found[0]["predict"], (frame[0]["sample"].feature().ravel() * 2 + 1) * 2)


def test_predict_image_of_a_stream_has_a_batch_in_memory_and_may_share():
    model, frame = model_and_frame()
    made = []

    def stream():
        for feature in frame:
            made.append(feature)
            yield feature

    found = data.predict_image(model, stream(), batchPerPartition=2)
    next(found)
    assert len(made) == 2
    assert len(list(found)) == 5
    shared = data.predict_image(model, iter(list(frame)), None, True, 2)
    first = next(shared)["predict"]
    kept = first.copy()
    next(shared)
    next(shared)
    next(shared)
    assert not np.array_equal(first, kept)


def test_images_of_different_sizes_are_padded():
    frame = ImageFrame.array([IMAGES[0], IMAGES[1][:, :2]]).transform(TO_SAMPLE)
    model = nn.Sequential(nn.Sum(1), nn.Sum(1), nn.Sum(1))
    with pytest.raises(ValueError, match="PaddingParam"):
        data.predict_image(model, frame)
    found = data.predict_image(model, frame, featurePaddingParam=PaddingParam())
    assert [float(f["predict"]) for f in found] == [IMAGES[0].sum(), IMAGES[1][:, :2].sum()]
    wider = PaddingParam([1], FixedLength([4]))
    found = data.predict_image(model, frame, featurePaddingParam=wider)
    assert float(found[0]["predict"]) == IMAGES[0].sum() + 20


def test_a_valid_image_needs_a_sample():
    model, frame = model_and_frame()
    del frame[4]["sample"]
    with pytest.raises(ValueError, match=r"has no sample: end the pipeline with MatToTensor"):
        data.predict_image(model, frame)
    assert "predict" not in frame[0]
    with pytest.raises(ValueError, match="evaluate_image: the valid image"):
        data.evaluate_image(model, frame, lambda y, t: 1)


def test_evaluate_image_leaves_invalid_images_out():
    class Count:
        def __call__(self, output, target):
            return np.array([len(target), int((output.numpy().argmax(1) == target).sum())])

    model, frame = model_and_frame()
    for index, feature in enumerate(frame):
        feature["sample"] = Sample(feature["sample"].features, index % 3)
    classes = data.predict_class(model, [f["sample"] for f in frame])
    right = sum(classes[i] == i % 3 for i in range(6) if i != 2)
    [(found, method)] = data.evaluate_image(model, frame, [Count()])
    assert found.tolist() == [5, right]
    assert isinstance(method, Count)
    [(streamed, _)] = data.evaluate_image(model, iter(list(frame)), Count(), 2)
    assert streamed.tolist() == found.tolist()


def test_a_data_set_of_features_augments_anew_in_each_pass():
    frame = ImageFrame.array(IMAGES, labels=range(6))
    ds = DataSet.array(list(frame)) >> RandomCrop(2, 2) >> TO_SAMPLE
    first, second = ([f["sample"] for f in ds.data(train=False)] for _ in range(2))
    assert first[0].feature().shape == (3, 2, 2)
    assert any(a != b for a, b in zip(first, second, strict=True))
    assert frame[0].getSize() == (5, 4, 3)
