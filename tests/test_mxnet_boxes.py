"""Boxes of detectors against plain loops written from their descriptions."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad.nn import mxnet as mx


def iou(a, b, extra=0.0):
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + extra)
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + extra)
    areas = [(c[2] - c[0] + extra) * (c[3] - c[1] + extra) for c in (a, b)]
    return w * h / (areas[0] + areas[1] - w * h)


def boxes(rng, *shape):
    corner = rng.uniform(0, 0.6, (*shape, 2))
    return np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (*shape, 2))], -1)


def expected_targets(anchors, truth, threshold):
    """(label of each anchor or -1): the best free pair first, then all above the threshold."""
    shares = np.array([[iou(a, t[1:]) for t in truth] for a in anchors])
    owner = np.full(len(anchors), -1)
    free = set(range(len(truth)))
    while free:
        pairs = [(shares[i, k], i, k) for i in range(len(anchors)) if owner[i] < 0 for k in free]
        share, i, k = max(pairs, key=lambda p: p[0])
        if share <= 1e-6:
            break
        owner[i] = k
        free.remove(k)
    for i in range(len(anchors)):
        if owner[i] < 0 and shares[i].max() > threshold:
            owner[i] = shares[i].argmax()
    return owner


@pytest.mark.parametrize("seed", range(5))
def test_targets_are_those_of_the_best_pairs(seed):
    rng = np.random.default_rng(seed)
    anchors, truth = boxes(rng, 1, 12), boxes(rng, 3)
    label = np.concatenate([np.array([[1.0], [0], [2]]), truth], 1)
    padded = np.concatenate([label, np.full((1, 5), -1.0)])[None]
    scores = np.zeros((1, 4, 12))
    place, mask, cls = (
        y.asnumpy()
        for y in mx.nd.contrib.MultiBoxTarget(
            mx.nd.array(anchors), mx.nd.array(padded), mx.nd.array(scores), overlap_threshold=0.4
        )
    )
    owner = expected_targets(anchors[0], label, 0.4)
    np.testing.assert_array_equal(cls[0], np.where(owner < 0, 0, label[owner, 0] + 1))
    np.testing.assert_array_equal(mask.reshape((12, 4)).all(1), owner >= 0)
    # the targets, decoded, are the boxes of the labels
    back = mx.nd.contrib.MultiBoxDetection(
        mx.nd.array(np.stack([owner < 0, owner >= 0])[None]), mx.nd.array(place),
        mx.nd.array(anchors), nms_threshold=2, clip=False,
    ).asnumpy()[0]  # fmt: skip
    np.testing.assert_allclose(
        back[: (owner >= 0).sum(), 2:], truth[owner[owner >= 0]], rtol=1e-4, atol=1e-5
    )


def test_hard_negatives_are_the_least_like_background():
    rng = np.random.default_rng(0)
    anchors, truth = boxes(rng, 1, 10), boxes(rng, 1)
    label = np.concatenate([[[1.0]], truth], 1)[None]
    scores = rng.standard_normal((1, 3, 10))
    owner = expected_targets(anchors[0], label[0], 0.5)
    _, _, cls = mx.nd.contrib.MultiBoxTarget(
        mx.nd.array(anchors), mx.nd.array(label), mx.nd.array(scores), negative_mining_ratio=3,
        negative_mining_thresh=0.5, ignore_label=-7,
    )  # fmt: skip
    found = cls.asnumpy()[0]
    p = np.exp(scores[0, 0]) / np.exp(scores[0]).sum(0)
    negatives = [i for i in np.argsort(p) if owner[i] < 0][: 3 * (owner >= 0).sum()]
    assert set(np.flatnonzero(found == 0)) == set(negatives)
    assert (found == -7).sum() == 10 - len(negatives) - (owner >= 0).sum()


def test_an_image_without_labels_has_no_targets():
    place, mask, cls = mx.nd.contrib.MultiBoxTarget(
        mx.nd.array(boxes(np.random.default_rng(0), 1, 4)), mx.nd.array(np.full((1, 2, 5), -1)),
        mx.nd.zeros((1, 2, 4)),
    )  # fmt: skip
    assert not place.asnumpy().any()
    assert not mask.asnumpy().any()
    assert (cls.asnumpy() == -1).all()


@pytest.mark.parametrize("seed", range(5))
def test_suppression_keeps_the_best_of_each_class(seed):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.integers(0, 2, (20, 1)), rng.random((20, 1)), boxes(rng, 20)], 1)
    rows[3, 1] = 0  # no detection
    found = mx.nd.contrib.box_nms(mx.nd.array(rows), overlap_thresh=0.3, id_index=0).asnumpy()
    order, kept = np.argsort(-rows[:, 1]), []
    for i in order:
        if rows[i, 1] > 0 and all(
            rows[k, 0] != rows[i, 0] or iou(rows[k, 2:], rows[i, 2:]) <= 0.3 for k in kept
        ):
            kept.append(i)
    np.testing.assert_allclose(found[: len(kept)], rows[kept], rtol=1e-6)
    assert (found[len(kept) :] == -1).all()


@pytest.mark.parametrize("seed", range(3))
def test_detections_are_sorted_and_suppressed(seed):
    rng = np.random.default_rng(seed)
    chances = rng.random((1, 3, 15))
    anchors = boxes(rng, 1, 15)
    found = mx.nd.contrib.MultiBoxDetection(
        mx.nd.array(chances), mx.nd.zeros((1, 60)), mx.nd.array(anchors), threshold=0.4
    ).asnumpy()[0]
    best, score = chances[0, 1:].argmax(0), chances[0, 1:].max(0)
    order = [i for i in np.argsort(-score) if score[i] >= 0.4]
    kept = []
    for n, i in enumerate(order):
        np.testing.assert_allclose(found[n, 1:], [score[i], *anchors[0, i]], rtol=1e-5)
        alive = all(best[k] != best[i] or iou(anchors[0, k], anchors[0, i]) < 0.5 for k in kept)
        assert found[n, 0] == (best[i] if alive else -1)
        if alive:
            kept.append(i)
    assert (found[len(order) :] == -1).all()


def test_anchors_of_proposals_are_those_of_the_paper():
    """The published anchors of Faster R-CNN for stride 16: ratio 0.5 and scale 8, ratio 1, …"""
    shape = (1, 18, 1, 1)
    rois = mx.nd.contrib.Proposal(
        mx.nd.array(np.ones(shape)), mx.nd.zeros((1, 36, 1, 1)), mx.nd.array([[1e4, 1e4, 1]]),
        scales=(8, 16, 32), ratios=(0.5, 1, 2), rpn_min_size=0, threshold=1.1,
        rpn_post_nms_top_n=9,
    ).asnumpy()  # fmt: skip
    # boxes are cut at 0; the published ones reach from -84 to 99 and from -56 to 71
    np.testing.assert_array_equal(rois[0], [0, 0, 0, 99, 55])
    np.testing.assert_array_equal(rois[3], [0, 0, 0, 71, 71])
    np.testing.assert_array_equal(rois[6], [0, 0, 0, 51, 95])


def test_proposals_repeat_where_few_are_left_and_take_one_image():
    rng = np.random.default_rng(0)
    settings = {"scales": (1.0,), "ratios": (1.0,), "rpn_post_nms_top_n": 6, "threshold": 0.1}
    arrays = [
        mx.nd.array(rng.random((1, 2, 2, 2))), mx.nd.zeros((1, 4, 2, 2)),
        mx.nd.array([[32.0, 32, 1]]),
    ]  # fmt: skip
    rois, score = mx.nd.contrib.Proposal(*arrays, output_score=True, **settings)
    np.testing.assert_array_equal(rois.asnumpy()[:2], rois.asnumpy()[4:])
    assert (np.diff(score.asnumpy()[:4, 0]) <= 0).all()
    two = [mx.nd.concat(x, x, dim=0) for x in arrays]
    with pytest.raises(mx.MXNetError, match="one image"):
        mx.nd.contrib.Proposal(*two, **settings)
    both = mx.nd.contrib.MultiProposal(*two, **settings).asnumpy()
    np.testing.assert_array_equal(both[:6], rois.asnumpy())
    np.testing.assert_array_equal(both[6:, 1:], rois.asnumpy()[:, 1:])
    assert (both[6:, 0] == 1).all()


def test_align_of_a_whole_image_is_its_mean_and_a_pixel_its_own():
    x = np.arange(16.0).reshape((1, 1, 4, 4))
    rois = mx.nd.array([[0, 1, 1, 2, 2], [-1, 0, 0, 2, 2]])
    settings = {"pooled_size": (1, 1), "spatial_scale": 1.0, "sample_ratio": 2}
    found = mx.nd.contrib.ROIAlign(mx.nd.array(x), rois, **settings).asnumpy()
    # samples at 1.25 and 1.75 along both axes
    np.testing.assert_allclose(found[0, 0], [[1.5 * 4 + 1.5]])
    np.testing.assert_allclose(found[1, 0], [[0]])
    found = mx.nd.contrib.ROIAlign(mx.nd.array(x), rois, aligned=True, **settings).asnumpy()
    np.testing.assert_allclose(found[0, 0], [[1 * 4 + 1]])


def test_a_deformable_convolution_without_offsets_is_a_convolution():
    rng = np.random.default_rng(0)
    x, w = (mx.nd.array(rng.standard_normal(s)) for s in ((2, 4, 5, 5), (6, 2, 3, 3)))
    settings = {
        "kernel": (3, 3), "num_filter": 6, "num_group": 2, "stride": (2, 2), "pad": (1, 1),
        "dilate": (1, 1), "no_bias": True,
    }  # fmt: skip
    offset = mx.nd.zeros((2, 36, 3, 3))
    found = mx.nd.contrib.DeformableConvolution(x, offset, w, num_deformable_group=2, **settings)
    np.testing.assert_allclose(
        found.asnumpy(), mx.nd.Convolution(x, w, **settings).asnumpy(), rtol=1e-4, atol=1e-5
    )
    # a shift by one row reads the row below
    offset[:, 0::2] = 1
    moved = mx.nd.concat(x[:, :, 1:], mx.nd.zeros((2, 4, 1, 5)), dim=2)
    found = mx.nd.contrib.DeformableConvolution(x, offset, w, num_deformable_group=2, **settings)
    expected = mx.nd.Convolution(moved, w, **settings).asnumpy()
    np.testing.assert_allclose(found.asnumpy()[:, :, 1:], expected[:, :, 1:], rtol=1e-4, atol=1e-5)
