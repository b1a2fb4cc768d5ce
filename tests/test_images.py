"""Images: features, decoding, colours and sizes, by hand and against Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

import tapegrad as tg
from tapegrad.errors import ImageError
from tapegrad.nn import data
from tapegrad.nn.data import (
    AspectScale,
    Brightness,
    BytesToMat,
    ChannelNormalize,
    ChannelOrder,
    ChannelScaledNormalizer,
    ColorJitter,
    Contrast,
    FeatureTransformer,
    Hue,
    ImageFeature,
    ImageFrameToSample,
    MatToFloats,
    MatToTensor,
    PixelBytesToMat,
    PixelNormalizer,
    RandomAspectScale,
    RandomResize,
    RandomTransformer,
    Resize,
    RoiLabel,
    Sample,
    Saturation,
    ScaleResize,
)
from tapegrad.nn.data.images.color import bgr_to_hsv, hsv_to_bgr
from tapegrad.nn.data.images.resample import AREA, CUBIC, LANCZOS4, LINEAR, NEAREST, resample

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6, 8, 3), np.uint8)


def file_bytes(pixels=PIXELS, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def after(transformer, pixels=PIXELS, **keys):
    feature = ImageFeature(pixels)
    for key, value in keys.items():
        feature[key] = value
    transformer.transform(feature)
    assert feature.isValid, feature.error
    return feature


# Features -----------------------------------------------------------------------------------------


def test_a_feature_is_a_mapping_with_sizes():
    feature = ImageFeature(PIXELS, label=3, uri="a.png")
    assert feature.getSize() == feature["size"] == feature["originalSize"] == (6, 8, 3)
    assert (feature.getHeight(), feature.getWidth(), feature.getChannel()) == (6, 8, 3)
    assert feature[ImageFeature.label] == feature.getLabel() == feature.get_label() == 3
    assert set(feature.keys()) == {"mat", "label", "uri", "originalSize"}
    feature["mat"] = np.zeros((3, 4))
    assert feature.getSize() == (3, 4, 1)
    assert feature.opencvMat().dtype == np.float32
    assert feature["imInfo"].tolist() == [3, 4, 0.5, 0.5]
    sizes = (feature.getOriginalHeight(), feature.getOriginalWidth(), feature.getOriginalChannel())
    assert sizes == (6, 8, 3)
    other = feature.clone()
    other.update("label", 5)
    assert feature["label"] == 3
    assert "label" in feature
    assert feature.contains("uri")
    assert feature.get("nothing", 7) == 7
    del other["label"]
    assert not other.hasLabel()
    other.clear()
    assert list(other.keys()) == []
    assert other.getSize() == (-1, -1, -1)
    assert repr(feature) == "ImageFeature(a.png, 3×4×1)"
    assert repr(ImageFeature(b"")) == "ImageFeature(not decoded)"
    feature.setLabel({"a.png": 9})
    assert feature["label"] == 9
    with pytest.raises(KeyError, match=r"MatToFloats\(\) makes them"):
        feature["floats"]
    with pytest.raises(ValueError, match="an image is"):
        ImageFeature(np.zeros(3))


def test_floats_are_copied_channel_after_channel():
    feature = ImageFeature(PIXELS)
    planes = feature.toTensor()
    assert np.array_equal(planes, PIXELS.transpose(2, 0, 1))
    assert np.array_equal(feature.get_image(to_chw=False), PIXELS)
    storage = np.zeros(200, np.float32)
    feature.copyTo(storage, 10)
    assert np.array_equal(storage[10:154].reshape(3, 6, 8), planes[::-1])
    feature.copyTo(storage, toRGB=False)
    assert np.array_equal(storage[:144].reshape(3, 6, 8), planes)
    with pytest.raises(ValueError, match="144 floats from 100 on, in 200"):
        feature.copyTo(storage, 100)


# Conversions --------------------------------------------------------------------------------------


def test_bytes_are_decoded_to_blue_green_red():
    for kind in ("PNG", "BMP"):
        feature = ImageFeature(file_bytes(kind=kind), uri="x")
        BytesToMat().transform(feature)
        assert np.array_equal(feature["mat"], PIXELS[:, :, ::-1])
        assert feature["originalSize"] == (6, 8, 3)
    grey = ImageFeature(file_bytes(PIXELS[:, :, 0]))
    assert np.array_equal(BytesToMat()(grey)["mat"], np.repeat(PIXELS[:, :, :1], 3, axis=2))
    held = ImageFeature()
    held["raw"] = file_bytes()
    assert BytesToMat("raw").transform(held).isValid


def test_pictures_are_turned_as_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    feature = ImageFeature(file_bytes(exif=exif.tobytes()))
    assert np.array_equal(BytesToMat()(feature)["mat"], np.rot90(PIXELS[:, :, ::-1], -1))


@pytest.mark.parametrize(
    "broken", [b"", b"no image", file_bytes()[:60], file_bytes(kind="JPEG")[:99]]
)
def test_broken_bytes_make_a_feature_invalid_and_pass_through(broken):
    pipeline = BytesToMat() >> Resize(2, 2) >> MatToTensor() >> ImageFrameToSample()
    feature = pipeline.transform(ImageFeature(broken))
    assert not feature.isValid
    assert feature.error.startswith("BytesToMat: no image that Pillow reads")
    assert "sample" not in feature
    assert "invalid" in repr(feature)
    with pytest.raises(ValueError, match="is invalid: BytesToMat"):
        feature.to_sample()


def test_raw_pixels_need_their_size():
    feature = ImageFeature(PIXELS.tobytes())
    feature["originalSize"] = (6, 8, 3)
    assert np.array_equal(PixelBytesToMat()(feature)["mat"], PIXELS)
    feature["originalSize"] = (6, 8, 1)
    assert PixelBytesToMat()(feature).error == (
        "PixelBytesToMat: 144 bytes, and the image of (6, 8, 1) has 48"
    )
    with pytest.raises(KeyError, match="originalSize") as caught:
        PixelBytesToMat()(ImageFeature(b"123"))
    assert "PixelBytesToMat" in caught.value.__notes__[0]


def test_floats_take_the_place_of_the_mat():
    feature = after(MatToFloats())
    assert feature["floats"].dtype == np.float32
    assert np.array_equal(feature["floats"], PIXELS)
    assert "mat" not in feature
    assert feature.getSize() == (6, 8, 3)
    own = [after(step := MatToFloats(), PIXELS + i)["floats"] for i in range(2)]
    assert not np.shares_memory(*own)
    step = MatToFloats(shareBuffer=True)
    shared = [after(step, PIXELS // 2 + i)["floats"] for i in range(2)]
    assert np.shares_memory(*shared)
    broken = ImageFeature(b"")
    broken.invalidate("why")
    MatToFloats(4, 5, 1, "f").transform(broken)
    assert broken["f"].shape == (4, 5, 1)
    assert not broken["f"].any()
    assert not broken.isValid


def test_tensors_and_samples():
    assert np.array_equal(after(MatToTensor())["imageTensor"], PIXELS.transpose(2, 0, 1))
    red = after(MatToTensor(toRGB=True, tensorKey="t"))["t"]
    assert np.array_equal(red, PIXELS[:, :, ::-1].transpose(2, 0, 1))
    grey = after(MatToTensor(greyToRGB=True), PIXELS[:, :, 0])["imageTensor"]
    assert grey.shape == (3, 6, 8)
    step = MatToTensor(shareBuffer=True)
    assert np.shares_memory(after(step)["imageTensor"], after(step)["imageTensor"])
    chain = MatToTensor() >> ImageFrameToSample(targetKeys=["label"])
    sample = after(chain, label=2)["sample"]
    assert sample == Sample(PIXELS.transpose(2, 0, 1).astype(np.float32), 2)
    boxes = after(chain, label=RoiLabel([1], [[0, 0, 2, 2]]))["sample"]
    assert [label.shape for label in boxes.labels] == [(1,), (1, 4)]
    assert after(MatToTensor(), label=1).to_sample().label() == 1


# Colours ------------------------------------------------------------------------------------------


def test_brightness_and_contrast_round_and_clip():
    row = np.array([[[0, 10, 250], [3, 128, 255]]], np.uint8)
    assert after(Brightness(10.5, 10.5), row)["mat"].tolist() == [[[10, 20, 255], [14, 138, 255]]]
    assert after(Brightness(-20, -20), row)["mat"].tolist() == [[[0, 0, 230], [0, 108, 235]]]
    assert after(Contrast(1.5, 1.5), row)["mat"].tolist() == [[[0, 15, 255], [4, 192, 255]]]
    floats = after(Brightness(10, 10), row.astype(np.float32))["mat"]
    assert floats.max() == 265
    with pytest.raises(ValueError, match="deltaLow 2 > deltaHigh 1"):
        Brightness(2, 1)
    with pytest.raises(ValueError, match="at least 0"):
        Contrast(-1, 1)


def test_hue_saturation_value_against_pillow():
    every = RANDOM.integers(0, 256, (64, 64, 3), np.uint8)
    hsv = bgr_to_hsv(every[:, :, ::-1])
    theirs = np.asarray(Image.fromarray(every).convert("HSV")).astype(int)
    assert np.array_equal(hsv[..., 2], theirs[..., 2])
    assert np.abs(hsv[..., 1].astype(int) - theirs[..., 1]).max() <= 1
    # ours is rounded to half degrees, 0.71 of theirs at most; theirs is cut off, 1 at most
    around = np.abs(hsv[..., 0] / 180 * 255 - theirs[..., 0])
    assert np.minimum(around, 255 - around).max() <= 1.72
    back = hsv_to_bgr(bgr_to_hsv(every.astype(np.float32)))
    assert np.abs(back - every).max() < 1e-3


def test_hue_and_saturation_by_hand():
    # blue, green, red of pure red, of green and of grey
    row = np.array([[[0, 0, 255], [0, 255, 0], [90, 90, 90]]], np.uint8)
    assert after(Hue(60, 60), row)["mat"].tolist() == [[[0, 255, 0], [255, 0, 0], [90, 90, 90]]]
    assert after(Hue(-30, -30), row)["mat"][0, 1].tolist() == [0, 255, 255]
    pale = np.array([[[200, 200, 250]]], np.uint8)  # saturation 50/250
    assert after(Saturation(2, 2), pale)["mat"].tolist() == [[[150, 150, 250]]]
    assert after(Saturation(0, 0), pale)["mat"].tolist() == [[[250, 250, 250]]]
    floats = after(Hue(120, 120), row.astype(np.float32))["mat"]
    assert np.allclose(floats, [[[0, 255, 0], [255, 0, 0], [90, 90, 90]]])
    grey = Hue(1, 1).transform(ImageFeature(PIXELS[:, :, 0]))
    assert grey.error == "Hue: Hue needs an image of three channels, and this one has 1"


def test_normalizers_take_red_green_blue():
    mat = after(ChannelNormalize(30, 20, 10, 3, 2, 1))["mat"]
    expected = (PIXELS.astype(np.float32) - [10, 20, 30]) / [1, 2, 3]
    assert np.allclose(mat, expected)
    assert mat.dtype == np.float32
    scaled = after(ChannelScaledNormalizer(30, 20, 10, 0.5))["mat"]
    assert np.allclose(scaled, (PIXELS.astype(np.float32) - [10, 20, 30]) * 0.5)
    means = RANDOM.normal(size=PIXELS.size)
    subtracted = after(PixelNormalizer(means))["mat"]
    assert np.allclose(subtracted, PIXELS - means.reshape(PIXELS.shape), atol=1e-4)
    wrong = PixelNormalizer(means[1:]).transform(ImageFeature(PIXELS))
    assert wrong.error == "PixelNormalizer: 143 means, and the image has 144 numbers"
    with pytest.raises(ValueError, match="divide by zero"):
        ChannelNormalize(1, 2, 3, 0)


def test_random_colours_are_seeded_and_keep_what_they_should():
    order = after(ChannelOrder().seed(1))["mat"]
    assert sorted(map(tuple, order.reshape(-1, 3).T)) == sorted(map(tuple, PIXELS.reshape(-1, 3).T))
    for shuffle in (False, True):
        step = ColorJitter(randomOrderProb=0.5, shuffle=shuffle).seed(3)
        first = [after(step)["mat"] for _ in range(5)]
        step.seed(3)
        assert all(np.array_equal(after(step)["mat"], mat) for mat in first)
        assert not all(np.array_equal(first[0], mat) for mat in first[1:])
    tg.manual_seed(4)
    one = after(Brightness(-50, 50))["mat"]
    tg.manual_seed(4)
    assert np.array_equal(after(Brightness(-50, 50))["mat"], one)
    never, always = RandomTransformer(Brightness(9, 9), 0), RandomTransformer(Brightness(9, 9), 1)
    assert np.array_equal(after(never)["mat"], PIXELS)
    assert not np.array_equal(after(always)["mat"], PIXELS)
    half = RandomTransformer(Brightness(9, 9), 0.5).seed(0)
    changed = sum(not np.array_equal(after(half)["mat"], PIXELS) for _ in range(200))
    assert 70 < changed < 130
    with pytest.raises(ValueError, match="between 0 and 1"):
        RandomTransformer(Brightness(1, 1), 1.5)


# Sizes --------------------------------------------------------------------------------------------


def test_resizing_by_hand():
    row = np.array([[[0], [10], [20], [30]]], np.float32)
    assert resample(row, 1, 2, LINEAR).ravel().tolist() == [5, 25]
    assert resample(row, 1, 2, NEAREST).ravel().tolist() == [0, 20]
    assert resample(row, 1, 2, AREA).ravel().tolist() == [5, 25]
    assert resample(row, 1, 8, LINEAR).ravel().tolist() == [0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30]
    # (11·0 + 111·10 + 30·… ) with the weights −0.09375, 0.59375 at a half
    cubic = resample(row, 1, 2, CUBIC).ravel()
    assert np.allclose(cubic, [0.59375 * 10 - 0.09375 * 20, 0.59375 * 50 - 0.09375 * 40])
    flat = np.full((5, 7, 2), 9, np.uint8)
    for mode in (NEAREST, LINEAR, CUBIC, AREA, LANCZOS4):
        for size in ((3, 3), (10, 14), (5, 3), (7, 7)):
            assert (resample(flat, *size, mode) == 9).all()
    third = resample(np.arange(6, dtype=np.float32).reshape(1, 6, 1), 1, 4, AREA).ravel()
    assert np.allclose(third, [1 / 3, 5 / 3, 10 / 3, 14 / 3])
    with pytest.raises(ValueError, match="modes are 0 to 4"):
        resample(row, 2, 2, 7)


def test_resizing_against_pillow():
    # Pillow's reduce averages over whole pixels, as INTER_AREA; its nearest is the pixel's middle
    big = RANDOM.integers(0, 256, (12, 18, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(big).reduce(3))
    assert np.abs(resample(big, 4, 6, AREA).astype(int) - theirs).max() <= 1
    box = np.asarray(Image.fromarray(big).resize((7, 5), Image.Resampling.BOX))
    assert np.abs(resample(big, 5, 7, AREA).astype(int) - box).mean() < 12
    wide = np.asarray(Image.fromarray(big).resize((36, 24), Image.Resampling.BILINEAR))
    assert np.abs(resample(big, 24, 36, LINEAR).astype(int) - wide).max() <= 1  # it enlarges alike


def test_sizes_of_the_resizing_transformers():
    def size(step, height, width):
        return after(step, np.zeros((height, width, 3), np.uint8)).getSize()[:2]

    assert size(Resize(4, 9), 6, 8) == (4, 9)
    assert size(AspectScale(10), 20, 40) == (10, 20)
    assert size(AspectScale(10, maxSize=15), 20, 40) == (8, 15)
    assert size(AspectScale(10, scaleMultipleOf=4), 20, 40) == (8, 20)
    assert size(AspectScale(10, minScale=2.0), 20, 40) == (40, 80)
    assert size(ScaleResize(100), 375, 500) == (100, 133)
    assert size(ScaleResize(100, 120), 375, 500) == (90, 120)
    assert size(ScaleResize(20), 20, 40) == (20, 40)
    assert size(ScaleResize(10), 40, 20) == (20, 10)
    assert size(RandomAspectScale([10, 30]).seed(0), 20, 40) in {(10, 20), (30, 60)}
    sizes = {size(step, 20, 40) for step in [RandomResize(5, 7).seed(1)] * 60}
    assert sizes == {(5, 10), (6, 12), (7, 14)}
    assert size(RandomResize(5, 5), 40, 20) == (10, 5)
    assert size(Resize(3, 3, -1).seed(0), 9, 9) == (3, 3)
    assert np.array_equal(
        after(Resize(3, 4, NEAREST, useScaleFactor=False))["mat"], after(Resize(3, 4))["mat"]
    )
    for wrong in (lambda: Resize(0, 3), lambda: Resize(3, 3, 9), lambda: AspectScale(3, 1, 9, 8),
                  lambda: RandomResize(3, 2), lambda: RandomAspectScale([])):  # fmt: skip
        with pytest.raises(ValueError, match=r"Resize|AspectScale"):
            wrong()


def test_bigdls_vision_list_is_there():
    for name in [
        "BytesToMat",
        "PixelBytesToMat",
        "MatToFloats",
        "MatToTensor",
        "ImageFrameToSample",
        "Brightness",
        "Contrast",
        "Saturation",
        "Hue",
        "ColorJitter",
        "ChannelNormalize",
        "ChannelOrder",
        "ChannelScaledNormalizer",
        "PixelNormalizer",
        "CenterCrop",
        "RandomCrop",
        "FixedCrop",
        "DetectionCrop",
        "Expand",
        "FixExpand",
        "Filler",
        "HFlip",
        "Resize",
        "ScaleResize",
        "AspectScale",
        "RandomAspectScale",
        "RandomResize",
        "RandomAlterAspect",
        "RandomCropper",
        "RandomTransformer",
        "RoiNormalize",
        "RoiHFlip",
        "RoiResize",
        "RoiProject",
        "RandomSampler",
        "MTImageFeatureToBatch",
        "ImageFeature",
        "ImageFrame",
        "LocalImageFrame",
        "RoiLabel",
    ]:
        assert isinstance(getattr(data, name), type)
        assert name in data.__all__


# Composition --------------------------------------------------------------------------------------


def test_transformers_compose_and_leave_what_they_got():
    chain = Brightness(1, 1) >> Contrast(2, 2) >> (MatToTensor() >> ImageFrameToSample())
    assert len(chain.steps) == 4
    features = [ImageFeature(PIXELS // 4), ImageFeature(PIXELS // 3)]
    made = list(chain.apply(iter(features)))
    assert set(features[0].keys()) == {"mat", "originalSize"}
    assert np.array_equal(features[0]["mat"], PIXELS // 4)
    assert made[0]["sample"].feature().max() == (PIXELS // 4).max() * 2 + 2
    mixed = chain >> (lambda feature: feature["sample"]) >> data.SampleToMiniBatch(2)
    [batch] = mixed(iter(features))
    assert batch.getInput().shape == (2, 3, 6, 8)
    assert "Brightness(1, 1) >> Contrast(2, 2)" in repr(chain)
    with pytest.raises(NotImplementedError, match="does not define transformMat"):
        FeatureTransformer()(features[0])


def test_ones_own_transformer_and_its_errors():
    class Half(FeatureTransformer):
        def transformMat(self, feature):
            mat = feature.opencvMat()
            if mat.shape[0] % 2:
                raise ImageError("an odd height")
            feature["mat"] = mat[::2]

    assert after(Half()).getSize() == (3, 8, 3)
    assert Half()(ImageFeature(PIXELS[:5])).error == "Half: an odd height"
    with pytest.raises(KeyError, match="BytesToMat"):
        Half()(ImageFeature(file_bytes()))
