"""Boxes and pixels stay together: a marked rectangle is where its box says, after every step."""

import inspect
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapegrad.nn.data import (
    AspectScale,
    CenterCrop,
    DetectionCrop,
    Expand,
    Filler,
    FixedCrop,
    FixExpand,
    HFlip,
    ImageFeature,
    RandomAlterAspect,
    RandomAspectScale,
    RandomCrop,
    RandomCropper,
    RandomResize,
    RandomSampler,
    RandomTransformer,
    Resize,
    RoiHFlip,
    RoiLabel,
    RoiNormalize,
    RoiProject,
    RoiResize,
    ScaleResize,
)
from tapegrad.nn.data.images import crop, geometry
from tapegrad.nn.data.images.resample import NEAREST

# Each step, and how far beyond its box a pixel may get: 1 where neighbours are blended, 2 in a
# cubic one, ½ in OpenCV's nearest one, which takes the value at a pixel's upper left corner.
STEPS = {
    "HFlip": (lambda h, w: HFlip(), 0),
    "nearest": (lambda h, w: Resize(2 * h, 3 * w, NEAREST), 0),
    "smaller": (lambda h, w: Resize(max(h // 2, 1), max(w // 3, 1)), 1),
    "linear": (lambda h, w: Resize(2 * h + 1, w + 3), 1),
    "AspectScale": (lambda h, w: AspectScale(25, 4), 1),
    "RandomAspectScale": (lambda h, w: RandomAspectScale([20, 45]), 1),
    "ScaleResize": (lambda h, w: ScaleResize(30, 50), 1),
    "RandomResize": (lambda h, w: RandomResize(15, 40), 2),
    "CenterCrop": (lambda h, w: CenterCrop(w - w // 3, h - h // 4), 0),
    "RandomCrop": (lambda h, w: RandomCrop(w // 2, h // 2), 0),
    "too large a crop": (lambda h, w: RandomCrop(3 * w, 3 * h), 0),
    "FixedCrop": (lambda h, w: FixedCrop(0.1, 0.2, 0.9, 0.7), 0),
    "FixedCrop in pixels": (lambda h, w: FixedCrop(1, 2, w - 1, h + 9, normalized=False), 0),
    "RandomCropper": (lambda h, w: RandomCropper(w // 2, h // 2, mirror=True), 0),
    "Expand": (lambda h, w: Expand(0, 0, 0, 1, 3), 0),
    "FixExpand": (lambda h, w: FixExpand(h + 7, w + 4), 0),
    "RandomAlterAspect": (lambda h, w: RandomAlterAspect(interpMode="NEAREST", cropLength=96), 0.5),
    "RandomSampler": (lambda h, w: RandomSampler(), 0),
    "perhaps": (lambda h, w: RandomTransformer(HFlip(), 0.5), 0),
    "two": (lambda h, w: HFlip() >> RandomCrop(w // 2, h // 2), 0),
    "SSD": (
        lambda h, w: (
            RoiNormalize() >> Expand(0, 0, 0, 1, 2) >> RoiProject() >> RandomSampler()
            >> Resize(64, 64, NEAREST) >> RandomTransformer(HFlip() >> RoiHFlip(), 0.5)
        ),
        0.5,
    ),
}  # fmt: skip

sizes = st.integers(8, 40)


drawn = given(sizes, sizes, st.data(), st.integers(0, 10**6), st.booleans())


@pytest.mark.parametrize("name", STEPS)
@settings(max_examples=4, deadline=None)
@drawn
def test_marked_pixels_stay_in_their_box(name, h, w, draw, seed, normalized):
    check_marked_pixels(name, h, w, draw, seed, normalized)


@pytest.mark.extra
@pytest.mark.parametrize("name", STEPS)
@settings(max_examples=20, deadline=None)
@drawn
def test_marked_pixels_stay_in_their_box_in_many_draws(name, h, w, draw, seed, normalized):
    check_marked_pixels(name, h, w, draw, seed, normalized)


def test_every_transformer_that_moves_pixels_is_among_the_steps():
    moving = {*geometry.__all__, *crop.__all__} - {"Filler", "DetectionCrop"}
    text = inspect.getsource(sys.modules[__name__]).partition("STEPS = {")[2].partition("\n}")[0]
    missing = {name for name in moving if f" {name}(" not in text}
    assert missing == set(), "give it a line in STEPS"


def check_marked_pixels(name, h, w, draw, seed, normalized):
    make, blends = STEPS[name]
    x1, y1 = draw.draw(st.integers(0, w - 1)), draw.draw(st.integers(0, h - 1))
    x2, y2 = draw.draw(st.integers(x1 + 1, w)), draw.draw(st.integers(y1 + 1, h))
    mat = np.zeros((h, w, 3), np.uint8)
    mat[y1:y2, x1:x2] = 255
    box = np.array([[x1, y1, x2, y2]], np.float32)
    if normalized:
        box = box / [w, h, w, h]
    feature = ImageFeature(mat, label=RoiLabel([1], box, normalized=normalized))
    make(h, w).seed(seed).transform(feature)
    assert feature.isValid, feature.error
    height, width, _ = feature.getSize()
    rows, columns = np.nonzero(feature["mat"][:, :, 0] > (128 if blends >= 1 else 0))
    boxes = feature["label"].pixels(height, width)
    if not len(boxes):  # dropped: nothing of it is seen, or only a part without its middle
        assert not len(rows) or name in {"RandomSampler", "SSD"}
        return
    [(left, top, right, bottom)] = boxes
    slack = blends + 1e-3
    assert 0 <= left < right <= width + 1e-3
    assert 0 <= top < bottom <= height + 1e-3
    assert (columns + 0.5 >= left - slack).all()
    assert (columns + 0.5 <= right + slack).all()
    assert (rows + 0.5 >= top - slack).all()
    assert (rows + 0.5 <= bottom + slack).all()
    if not blends:
        # and the box is no larger than what it holds
        ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.allclose([left, top, right, bottom], ends, atol=1e-3)


def moved(step, box, size=(10, 20), **label):
    feature = ImageFeature(np.zeros((*size, 3), np.uint8), label=RoiLabel([7], [box], **label))
    step.transform(feature)
    assert feature.isValid, feature.error
    return feature["label"].bboxes.tolist()


def test_boxes_by_hand():
    assert moved(HFlip(), [2, 1, 5, 4]) == [[15, 1, 18, 4]]
    assert moved(Resize(20, 10), [2, 1, 5, 4]) == [[1, 2, 2.5, 8]]
    assert moved(Resize(20, 10), [0.5, 0.25, 1, 0.5], normalized=True) == [[0.5, 0.25, 1, 0.5]]
    assert moved(CenterCrop(10, 4), [2, 1, 8, 9]) == [[0, 0, 3, 4]]
    assert moved(CenterCrop(10, 4), [0, 0, 4, 4]) == []
    assert moved(FixExpand(14, 30), [2, 1, 5, 4]) == [[7, 3, 10, 6]]
    assert moved(Filler(0, 0, 1, 1), [2, 1, 5, 4]) == [[2, 1, 5, 4]]
    assert moved(RoiNormalize(), [2, 1, 10, 5]) == [pytest.approx([0.1, 0.1, 0.5, 0.5])]


def test_bigdls_box_transformers_do_only_what_is_left():
    box = [2, 1, 5, 4]
    assert moved(HFlip() >> RoiHFlip(normalized=False), box) == [[15, 1, 18, 4]]
    assert moved(RoiHFlip(normalized=False), box) == [[15, 1, 18, 4]]
    assert moved(HFlip() >> RoiHFlip() >> HFlip() >> RoiHFlip(), box) == [box]
    assert moved(HFlip() >> HFlip() >> RoiHFlip() >> RoiHFlip(), box) == [box]
    assert moved(Resize(20, 10) >> RoiResize(), box) == [[1, 2, 2.5, 8]]
    feature = ImageFeature(np.zeros((10, 20, 3)), label=RoiLabel([7], [box]))
    feature["mat"] = np.zeros((20, 10, 3))  # resized by somebody else
    assert RoiResize()(feature)["label"].bboxes.tolist() == [[1, 2, 2.5, 8]]
    assert RoiResize(normalized=True)(feature)["label"].bboxes.tolist() == [[1, 2, 2.5, 8]]


def test_roi_project_drops_what_has_its_middle_outside():
    crop = FixedCrop(0, 0, 0.5, 1)
    inside, outside = [8, 2, 11, 4], [9, 2, 13, 4]
    for box, kept in ((inside, [[8, 2, 10, 4]]), (outside, [[9, 2, 10, 4]])):
        assert moved(crop, box) == kept
        assert moved(crop >> RoiProject(needMeetCenterConstraint=False), box) == kept
    assert moved(crop >> RoiProject(), inside) == [[8, 2, 10, 4]]
    assert moved(crop >> RoiProject(), outside) == []
    assert moved(crop >> Resize(20, 20) >> RoiProject(), inside) == [[16, 4, 20, 8]]
    assert moved(crop >> Resize(20, 20) >> RoiProject(), outside) == []
    # by hand, as in BigDL: the part in fractions, boxes in fractions
    feature = ImageFeature(np.zeros((10, 20, 3)))
    feature["label"] = RoiLabel([[1, 2], [0, 1]], [[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9]],
                                normalized=True)  # fmt: skip
    feature["boundingBox"] = (0.0, 0.0, 0.5, 0.5)
    label = RoiProject()(feature)["label"]
    assert np.allclose(label.bboxes, [[0.2, 0.2, 0.6, 0.6]])
    assert label.classes.tolist() == [[1], [0]]


def test_the_window_of_a_crop_is_kept():
    feature = ImageFeature(np.zeros((10, 20, 3)))
    assert CenterCrop(10, 4)(feature)["boundingBox"] == (0.25, 0.3, 0.75, 0.7)
    feature = FixExpand(20, 40)(ImageFeature(np.zeros((10, 20, 3))))
    assert feature["boundingBox"] == (-0.5, -0.5, 1.5, 1.5)


def test_crops_cut_the_pixels_that_they_say():
    mat = np.arange(60, dtype=np.uint8).reshape(6, 10, 1)

    def cut(step):
        feature = step(ImageFeature(mat))
        return feature["mat"][..., 0] if feature.isValid else feature.error

    assert np.array_equal(cut(CenterCrop(4, 2)), mat[2:4, 3:7, 0])
    assert np.array_equal(cut(CenterCrop(5, 3)), mat[1:4, 2:7, 0])
    assert cut(CenterCrop(30, 2)).shape == (2, 10)
    assert cut(CenterCrop(30, 2, isClip=False)).startswith("CenterCrop: the part (-10, 2, 20, 4)")
    assert np.array_equal(cut(FixedCrop(0.3, 0.5, 0.7, 1)), mat[3:6, 3:7, 0])
    assert cut(FixedCrop(0.5, 0.5, 0.5, 1)).endswith("of an image of 6×10 is empty")
    places = {tuple(cut(step)[0, :1]) for step in [RandomCrop(9, 6).seed(0)] * 40}
    assert places == {(0,), (1,)}
    assert np.array_equal(cut(RandomCropper(4, 2, False, "Center", 1)), mat[2:4, 3:7, 0])
    assert "not 3" in cut(RandomCropper(4, 2, mirror=False))
    assert "is not inside" in cut(RandomCropper(40, 2, mirror=False, channels=1))
    sides = {tuple(cut(s)[0]) for s in [RandomCropper(10, 6, True, channels=1).seed(1)] * 30}
    assert sides == {tuple(range(10)), tuple(range(9, -1, -1))}
    feature = ImageFeature(mat)
    feature["found"] = np.array([[1, 0.9, 0.3, 0.5, 0.7, 1.0]])
    assert np.array_equal(DetectionCrop("found")(feature)["mat"], mat[3:6, 3:7])
    feature = ImageFeature(mat)
    feature["found"] = np.array([1, 1, 0.9, 3, 3, 7, 6])
    assert np.array_equal(DetectionCrop("found", normalized=False)(feature)["mat"], mat[3:6, 3:7])
    feature["found"] = np.zeros((0, 6))
    assert np.array_equal(DetectionCrop("found")(feature)["mat"], mat[3:6, 3:7])
    with pytest.raises(ValueError, match="cropperMethod"):
        RandomCropper(1, 1, True, "corner")


def test_expansions_and_fillers():
    mat = np.full((4, 6, 3), 9, np.uint8)
    wide = Expand(3, 2, 1, 2, 2).seed(0)(ImageFeature(mat))["mat"]
    assert wide.shape == (8, 12, 3)
    assert (wide == 9).all(axis=2).sum() == 24
    assert np.unique(wide.reshape(-1, 3), axis=0).tolist() == [[1, 2, 3], [9, 9, 9]]
    assert Expand(maxExpandRatio=1.0)(ImageFeature(mat))["mat"] is not None
    fixed = FixExpand(7, 9)(ImageFeature(mat))["mat"]
    assert (fixed[1:5, 1:7] == 9).all()
    assert fixed.sum() == mat.sum()
    assert "does not fit into 3×9" in FixExpand(3, 9)(ImageFeature(mat)).error
    filled = Filler(0.5, 0, 1, 0.5, 200)(ImageFeature(mat))["mat"]
    assert (filled[:2, 3:] == 200).all()
    assert (filled == 200).sum() == 18
    assert (mat == 9).all()
    for wrong in (lambda: Filler(0.5, 0, 0.5, 1), lambda: Filler(-1, 0, 1, 1),
                  lambda: Expand(minExpandRatio=0.5),
                  lambda: RandomAlterAspect(0.5, 0.2),
                  lambda: RandomAlterAspect(interpMode="BEST")):  # fmt: skip
        with pytest.raises(ValueError, match=r"Filler|Expand|RandomAlterAspect"):
            wrong()


def test_random_alter_aspect_gives_up_after_ten():
    mat = np.zeros((2, 200, 3), np.uint8)
    feature = RandomAlterAspect(0.9, 1.0, cropLength=16).seed(0)(ImageFeature(mat))
    assert feature.getSize() == (16, 16, 3)
    assert "boundingBox" not in feature


def test_labels_say_what_is_wrong_with_them():
    with pytest.raises(ValueError, match=r"classes and 1 boxes"):
        RoiLabel([1, 2], [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match=r"bboxes are \(N, 4\)"):
        RoiLabel([1], [[0, 0, 1]])
    empty = RoiLabel([], [])
    assert empty.size() == 0
    assert moved_empty(empty) == []
    assert repr(RoiLabel([1], [[0, 0, 1, 1]], normalized=True)) == "RoiLabel(1 boxes, normalized)"
    with pytest.raises(TypeError, match="needs a RoiLabel"):
        RoiNormalize()(ImageFeature(np.zeros((2, 2, 3)), label=3))
    with pytest.raises(TypeError, match="RandomSampler needs a RoiLabel"):
        RandomSampler()(ImageFeature(np.zeros((2, 2, 3))))
    masks = RoiLabel([1, 2], [[0, 0, 1, 1], [5, 5, 9, 9]], ["a", "b"])
    feature = FixedCrop(0, 0, 0.3, 0.3)(ImageFeature(np.zeros((10, 10, 3)), label=masks))
    assert feature["label"].masks == ["a"]
    assert masks.masks == ["a", "b"]


def moved_empty(label):
    return (HFlip() >> CenterCrop(2, 2))(ImageFeature(np.zeros((4, 4, 3)), label))[
        "label"
    ].bboxes.tolist()
