"""Validation methods: what they find, that results add up exactly, and what they refuse."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapegrad import Tensor, nn
from tapegrad.nn.data import DataSet
from tapegrad.optim import validation as v

SCORES = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3]], np.float32)
LABELS = np.array([3.0, 1.0, 1.0])  # from 1, as BigDL has them
ITEMS = np.array([0.1, 0.5, 0.3, 0.2, 0.9], np.float32)
CHOSEN = np.array([0, 0, 1, 0, 0])


# What BigDL recorded (behaviours.txt), or the correct value where BigDL's is a bug.
@pytest.mark.parametrize(
    ("method", "output", "target", "expected"),
    [
        pytest.param(v.Top1Accuracy(1), SCORES, LABELS, (2 / 3, 3), id="top1"),
        pytest.param(v.Top1Accuracy(1), SCORES[0], LABELS[:1], (1.0, 1), id="top1 1D"),
        pytest.param(
            v.Top1Accuracy(), SCORES[:, :1] + 0.3, [0, 1, 0], (2 / 3, 3), id="top1 binary"
        ),
        pytest.param(v.Top5Accuracy(1), np.arange(7.0)[None], [2], (0.0, 1), id="top5"),
        pytest.param(v.Top5Accuracy(1), np.arange(7.0)[None], [3], (1.0, 1), id="top5 fifth"),
        pytest.param(v.Loss(first_label=1), SCORES, LABELS, (-0.5, 3), id="loss"),
        pytest.param(v.MAE(1), SCORES, LABELS, (1 / 3, 3), id="mae, by sample and not by batch"),
        pytest.param(v.MAE(), [[1.0, 3.0]], [[2.0, 0.0]], (2.0, 1), id="mae of numbers"),
        pytest.param(v.HitRatio(2, 4), ITEMS, CHOSEN, (0.0, 1), id="hit, the last item counts"),
        pytest.param(v.HitRatio(3, 4), ITEMS, CHOSEN, (1.0, 1), id="hit of three"),
        pytest.param(v.NDCG(10, 4), ITEMS, CHOSEN, (0.5, 1), id="ndcg, the last item counts"),
        pytest.param(v.NDCG(2, 4), ITEMS, CHOSEN, (0.0, 1), id="ndcg beyond k"),
        pytest.param(
            v.TreeNNAccuracy(1), [[[0.1, 0.9], [0.3, 0.2]]], [[2, 1]], (1.0, 1), id="treenn"
        ),
        pytest.param(v.MeanAveragePrecision(3, 3), SCORES, [2, 0, 0], (2 / 3, 1), id="map"),
        pytest.param(
            v.PrecisionRecallAUC(), [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], (19 / 24, 4), id="auc"
        ),
    ],
)  # fmt: skip
def test_a_method_finds_what_is_expected(method, output, target, expected):
    value, count = method(np.asarray(output), np.asarray(target)).result()
    assert value == pytest.approx(expected[0], rel=1e-6)
    assert count == expected[1]


def test_labels_from_0_are_the_same_as_from_1():
    for method in (v.Top1Accuracy, v.Loss, v.MAE):
        one = method(first_label=1)(SCORES, LABELS)
        assert method()(Tensor(SCORES), Tensor(LABELS - 1)) == one


def test_missing_labels_are_not_counted_and_nan_is_never_correct():
    assert v.Top1Accuracy()(SCORES, [2, -1, 0]).result() == (0.5, 2)
    assert v.Top1Accuracy()(np.full((2, 3), np.nan), [0, 0]).result() == (0.0, 2)
    assert v.HitRatio(1, 2)(np.array([np.nan, 0, 0]), [1, 0, 0]).result() == (0.0, 1)
    assert math.isnan(v.Top1Accuracy()(np.zeros((0, 3)), np.zeros(0)).result()[0])


@pytest.mark.parametrize(
    ("method", "output", "target", "words"),
    [
        (v.Top1Accuracy(), SCORES, [1, 2], "fill up a batch"),
        (v.Top1Accuracy(), SCORES, [1, 2, 3], "first_label=1"),
        (v.Top1Accuracy(1), SCORES, [0, 2, 3], "from 1 to 3"),
        (v.Top1Accuracy(), SCORES, [0.5, 0, 0], "whole numbers"),
        (v.Top1Accuracy(), SCORES[:, :1], [0, 1, 2], "one score"),
        (v.Top1Accuracy(), SCORES[None], [0], "neither"),
        (v.Top5Accuracy(), SCORES, [0, 1, 2], "5 are needed"),
        (v.MAE(), SCORES, [[1, 2]], "alike"),
        (v.HitRatio(2, 4), ITEMS, [1, 0, 0, 0, 1], "2 chosen"),
        (v.NDCG(2, 3), ITEMS, CHOSEN, "negNum"),
        (v.PrecisionRecallAUC(), [0.1, 0.2], [0, 2], "0 or 1"),
        (v.MeanAveragePrecision(3, 4), SCORES, [0, 1, 2], "not 4"),
        (v.TreeNNAccuracy(), SCORES[0], [0], "alike"),
    ],
)
def test_a_method_refuses_what_it_cannot_read(method, output, target, words):
    with pytest.raises(ValueError, match=words):
        method(np.asarray(output), np.asarray(target))


def test_a_method_refuses_settings():
    for make in (
        lambda: v.HitRatio(0),
        lambda: v.MeanAveragePrecision(0, 3),
        lambda: v.MeanAveragePrecision(1, 3, style="voc"),
    ):
        with pytest.raises(ValueError, match=r"must be"):
            make()


# Results add up -----------------------------------------------------------------------------------

CLASSES = 5
METHODS = {
    "top1": v.Top1Accuracy(),
    "top5": v.Top5Accuracy(),
    "loss": v.Loss(),
    "criterion": v.Loss(nn.CrossEntropyCriterion()),
    "weighted": v.Loss(nn.CrossEntropyCriterion(np.array([0.1, 1, 2, 0.7, 3]))),
    "mae": v.MAE(),
    "map": v.MeanAveragePrecision(4, CLASSES),
    "auc": v.PrecisionRecallAUC(),
    "hit": v.HitRatio(2, CLASSES - 1),
    "ndcg": v.NDCG(3, CLASSES - 1),
    "detection": v.MeanAveragePrecisionObjectDetection.cocoBBox(CLASSES),
}


def samples_for(name, rng, n):
    """Outputs and targets of n samples, with ties among the scores."""
    scores = rng.normal(size=(n, CLASSES)).round(1).astype(np.float32)
    labels = rng.integers(0, CLASSES, n)
    if name == "auc":
        return scores[:, 0], labels % 2
    if name in {"hit", "ndcg"}:
        return scores, np.eye(CLASSES, dtype=int)[labels]
    if name == "detection":
        boxes = rng.integers(0, 4, (n, 3, 4)) + np.array([0, 0, 4, 4])
        found = [np.column_stack([labels[i] + np.arange(3) % 2, scores[i, :3], boxes[i]])
                 for i in range(n)]  # fmt: skip
        return found, [np.column_stack([[labels[i]] * 2, boxes[i, :2]]) for i in range(n)]
    return scores, labels


def pieces(name, seed, cuts):
    output, target = samples_for(name, np.random.default_rng(seed), 12)
    bounds = sorted({0, 12, *cuts})
    return [METHODS[name](output[a:b], target[a:b]) for a, b in itertools.pairwise(bounds)]


@pytest.mark.parametrize("name", METHODS)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.integers(1, 11), max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_results_add_up_to_the_last_digit_in_any_order_and_grouping(name, seed, cuts, order):
    [whole] = pieces(name, seed, [])
    parts = pieces(name, seed, cuts)
    order.shuffle(parts)
    while len(parts) > 1:
        i = order.randrange(len(parts) - 1)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    assert parts[0] == whole
    assert hash(parts[0]) == hash(whole)
    assert parts[0].result() == whole.result() or math.isnan(whole.result()[0])


@pytest.mark.extra
@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_a_model_is_measured_alike_on_any_number_of_pieces(count):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(200, 6)).astype(np.float32), rng.integers(0, CLASSES, 200)
    model = nn.Sequential(nn.Linear(6, CLASSES), nn.LogSoftMax())
    methods = [METHODS[name] for name in ("top1", "top5", "loss", "weighted", "mae", "map")]
    whole = [result for result, _ in model.evaluate((x, labels), methods, 16)]
    pieces = list(zip(np.array_split(x, count), np.array_split(labels, count), strict=True))
    for data, options in ((DataSet.joined(pieces), {}), ((x, labels), {"partitions": count})):
        found = [result for result, _ in model.evaluate(data, methods, 16, **options)]
        assert found == whole
        assert [each.result() for each in found] == [each.result() for each in whole]
    alone = [model.evaluate(piece, methods, 16, exact=True) for piece in pieces]
    exact = model.evaluate((x, labels), methods, 16, exact=True)
    for k, (result, _) in enumerate(exact):
        assert sum([each[k][0] for each in reversed(alone)]).result() == result.result()


def test_adding_changes_neither_result_and_sum_begins_at_0():
    one = v.Top1Accuracy(1)(SCORES, LABELS)
    both = one + one
    assert one.result() == (2 / 3, 3)
    assert both == sum([one, one])
    assert repr(both) == "Accuracy(correct: 4, count: 6, accuracy: 0.6666666666666666)"
    with pytest.raises(TypeError, match="cannot be added"):
        one + v.Loss(first_label=1)(SCORES, LABELS)
    with pytest.raises(TypeError, match="other settings"):
        v.MeanAveragePrecision(1, 3)(SCORES, [0, 1, 2]) + v.MeanAveragePrecision(2, 3)(
            SCORES, [0, 1, 2]
        )


def test_a_sum_is_exact_and_says_what_is_not_finite():
    values = [1e308, 1.0, -1e308, 5e-324, -1.0]
    assert v.ExactSum(values).divided_by(1) == 5e-324
    assert v.ExactSum([1e308] * 3).divided_by(1) == math.inf
    assert v.ExactSum([1e308] * 3).divided_by(3) == 1e308
    assert math.isnan(v.ExactSum([math.inf, -math.inf]).divided_by(1))
    assert v.ExactSum([math.inf, 1.0]).divided_by(2) == math.inf


def test_the_loss_of_weighted_classes_is_the_criterions_own():
    weights = np.array([0.5, 2.0, 1.0])
    criterion = nn.CrossEntropyCriterion(weights)
    found = v.Loss(criterion)(SCORES, LABELS - 1).result()[0]
    assert found == pytest.approx(float(criterion(Tensor(SCORES), Tensor(LABELS - 1))), rel=1e-6)


# Detection ----------------------------------------------------------------------------------------


def test_overlaps_of_boxes():
    one, other = np.array([[0, 0, 2, 2]]), np.array([[1, 1, 3, 3], [5, 5, 6, 6], [0, 0, 2, 2]])
    assert v.box_overlaps(one, other).tolist() == [[1 / 7, 0, 1]]
    # With pixels that belong to the box: 4 of 9 + 9 - 4.
    assert v.box_overlaps(one, other, inclusive=True).tolist() == [[4 / 14, 0, 1]]
    crowd = np.array([True, False, False])
    assert v.box_overlaps(one, other, crowd=crowd).tolist() == [[1 / 4, 0, 1]]


def test_average_precision_by_hand():
    correct = np.array([True, False, True, False, False])
    # Three to be found: precision 1 at recall 1/3, 2/3 at 2/3, and 0 at 1.
    assert v.average_precision(correct, 3) == pytest.approx((1 + 2 / 3 + 0) / 3)
    # 0 … 0.3: 1 (four), 0.4 … 0.6: 2/3 (three), above: 0.
    assert v.average_precision(correct, 3, "voc2007") == pytest.approx((4 + 3 * 2 / 3) / 11)
    assert v.average_precision(correct, 3, "coco") == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert v.average_precision(correct, 0) == 0


# Class 1 has two objects; of the detections the first is right, the second finds the same object
# once more, the third is right, and the fourth finds nothing.  Class 2 has one object, not found.
FOUND = [
    {
        "labels": [1, 1, 1, 1],
        "scores": [0.9, 0.8, 0.7, 0.6],
        "boxes": [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [50, 50, 60, 60]],
    }
]
OBJECTS = [
    {"labels": [1, 1, 2], "boxes": [[0, 0, 10, 10], [20, 20, 30, 31], [40, 40, 45, 45]]},
]


def test_detections_by_hand():
    voc = v.MeanAveragePrecisionObjectDetection.pascalVOC(3)
    # Class 1: precisions 1 at recall 1/2, and 2/3 at recall 1.  Class 2: 0.
    assert voc(FOUND, OBJECTS).result()[0] == pytest.approx((1 + 2 / 3) / 2 / 2)
    older = v.MeanAveragePrecisionObjectDetection.pascalVOC(3, useVoc2007=True)
    assert older(FOUND, OBJECTS).result()[0] == pytest.approx((6 + 5 * 2 / 3) / 11 / 2)
    coco = v.MeanAveragePrecisionObjectDetection.cocoBBox(3)
    # The third overlaps by 100/110: right for all but 0.95, where only the first is.  The second
    # is a further find of one object.
    at_most = (51 + 50 * 2 / 3) / 101
    assert coco(FOUND, OBJECTS).result()[0] == pytest.approx((9 * at_most + 51 / 101) / 10 / 2)


def test_difficult_objects_and_crowds_are_neither_right_nor_wrong():
    found = [np.array([[1, 0.9, 0, 0, 10, 10], [1, 0.8, 20, 20, 30, 30]])]
    hard = [np.array([[1, 0, 0, 10, 10, 1], [1, 20, 20, 30, 30, 0]])]
    assert v.MeanAveragePrecisionObjectDetection.pascalVOC(2)(found, hard).result()[0] == 1
    crowd = [{"labels": [1, 1], "boxes": [[0, 0, 90, 90], [20, 20, 30, 30]], "iscrowd": [1, 0]}]
    coco = v.MeanAveragePrecisionObjectDetection.cocoBBox(2)
    assert coco(found, crowd).result()[0] == 1
    # Without the crowd the first one is wrong.
    alone = [{"labels": [1], "boxes": [[20, 20, 30, 30]]}]
    assert coco(found, alone).result()[0] == pytest.approx(0.5)


def test_coco_takes_the_best_object_that_is_free_and_voc_the_best():
    objects = [np.array([[1, 0, 0, 10, 10], [1, 0, 2, 10, 12]])]
    found = [np.array([[1, 0.9, 0, 0, 10, 10], [1, 0.8, 0, 0, 10, 11]])]
    # The second one overlaps the first object by 100/110, and the second by 90/120.
    half = v.MeanAveragePrecisionObjectDetection(2, (0.5,), style="coco")
    assert half(found, objects).result()[0] == 1
    voc = v.MeanAveragePrecisionObjectDetection(2, (0.5,), style="voc2010")
    assert voc(found, objects).result()[0] == 0.5


def test_masks_and_bigdls_array_of_detections():
    mask = np.zeros((2, 4, 4), bool)
    mask[0, :2], mask[1, 2:] = True, True
    method = v.MeanAveragePrecisionObjectDetection.cocoSegmentation(2)
    found = [{"labels": [1, 1], "scores": [0.9, 0.5], "masks": mask}]
    assert method(found, [{"labels": [1, 1], "masks": mask}]).result()[0] == 1
    assert method(found, [{"labels": [1, 1], "masks": ~mask[:1].repeat(2, 0)}]).result()[0] < 1
    rows = np.array([[1, 1, 0.9, 0, 0, 10, 10], [0, 0, 0, 0, 0, 0, 0]])
    targets = [np.array([[1, 0, 0, 10, 10]]), np.zeros((0, 5))]
    voc = v.MeanAveragePrecisionObjectDetection.pascalVOC(2)
    assert voc(rows, targets).result()[0] == 1
    with pytest.raises(ValueError, match="targets of 1"):
        voc(rows, targets[:1])
    with pytest.raises(ValueError, match="lack 'scores'"):
        voc([{"labels": [1], "boxes": [[0, 0, 1, 1]]}], targets[:1])
    with pytest.raises(ValueError, match=r"not \(n, 6\)"):
        voc([np.zeros((2, 4))], targets[:1])
